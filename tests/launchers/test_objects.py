"""A store on gs://, by TensorFlow's own file interface: trained, stopped, checked and estimated."""

import shutil
import signal
import subprocess

import numpy as np
import pytest

from analysis.estimates import estimators, files
from tests import objects, signalled
from tests.conftest import ROOT, run_program
from tests.trials import assert_same_trial
from tfmem.store.store import Store

FLAGS = ("--experiment=digits_mlp", "--epochs=12", "--trials=0:2")
STORE = "gs://bucket/some/store"
HEADS = {"experiment.json", "dataset.tfrecord"}
TRIALS = {f"trials/trial-{number:06d}.tfrecord" for number in range(2)}
LOGS = {f"logs/trial-{number:06d}.log" for number in range(2)}


def run(root, program, *flags):
    with objects.installed(root):
        return run_program(program, *flags)


def files_of(root):
    folder = objects.path(root, STORE)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_same_stores(one, two):
    one, two = Store.open(one), Store.open(two)
    assert one.numbers() == two.numbers() == [0, 1]
    for number in range(2):
        assert_same_trial(one.read(number), two.read(number))


@pytest.mark.slow
def test_a_trial_is_killed_and_goes_on_from_its_checkpoint(tmp_path):
    root, alone, flags = tmp_path / "root", tmp_path / "alone", (*FLAGS, "--stack=none")
    run_program("launchers.train_trials", f"--store={alone}", *flags)
    words = ["launchers.train_trials", f"--store={STORE}", *flags, "--checkpoint_seconds=0"]
    words = signalled.words(words, signal.SIGKILL, "tfmem.training.checkpoints:Checkpoints.save")
    done = subprocess.run(objects.words(root, *words), cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert objects.path(root, f"{STORE}/checkpoints/trial-000000/state.npz").exists()
    done = run(root, "launchers.train_trials", f"--store={STORE}", *flags)
    assert f"2 trials in {STORE}" in done.stdout
    assert_same_stores(objects.path(root, STORE), alone)
    log = objects.path(root, f"{STORE}/logs/trial-000000.log").read_text()
    last = log[log.rindex("attempt 1") :]
    assert "epoch 12 of 12" in last
    assert "epoch 1 of 12" not in last
    done = run(root, "launchers.check_store", f"--store={STORE}", "--trials=0:2")
    assert "2 trials are there and sound" in done.stdout
    assert files_of(root) == {*HEADS, *TRIALS, *LOGS}


def test_a_store_of_objects_is_compacted_estimated_and_mended(tmp_path):
    root, alone = tmp_path / "root", tmp_path / "alone"
    run(root, "launchers.train_trials", f"--store={STORE}", *FLAGS)
    shutil.copytree(objects.path(root, STORE), alone)
    assert files_of(root) == {*HEADS, *TRIALS, *LOGS}
    run(root, "launchers.compact_store", f"--store={STORE}")
    assert not files_of(root) & TRIALS
    assert_same_stores(objects.path(root, STORE), alone)
    out = f"{STORE}/estimates.npz"
    run(root, "analysis.estimate", f"--store={STORE}", f"--out={out}")
    expected = estimators.memorization(Store.open(alone).load())
    read = files.read(objects.path(root, out))
    np.testing.assert_array_equal(read.memorization, expected.value)
    # A trial that is damaged in its archive is trained again, and the other is not.
    (archive,) = objects.path(root, f"{STORE}/archives").iterdir()
    content = bytearray(archive.read_bytes())
    content[-100] ^= 1
    archive.write_bytes(bytes(content))
    done = run(root, "launchers.train_trials", f"--store={STORE}", *FLAGS)
    assert "1 of 2 trials are already in the store" in done.stdout
    assert_same_stores(objects.path(root, STORE), alone)
