"""A store on gs://, by TensorFlow's own file interface: trained, stopped, checked and estimated."""

import signal
import subprocess
import time

import numpy as np
import pytest

from analysis import files
from tests import objects
from tests.conftest import ROOT, run_program
from tests.trials import assert_same_trial
from tfmem.store import Store

FLAGS = ("--experiment=digits_mlp", "--epochs=40", "--trials=0:3")
STORE = "gs://bucket/some/store"


def run(root, program, *flags, code=0):
    command = objects.words(root, program, *flags)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def files_of(root):
    folder = objects.path(root, STORE)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stack", ["none", "auto"])
def test_a_store_of_objects_is_like_any_other(tmp_path, stack):
    root, alone = tmp_path / "root", tmp_path / "alone"
    flags = (*FLAGS, f"--stack={stack}")
    run_program("launchers.train_trials", f"--store={alone}", *flags)
    if stack == "none":
        # Killed when it has saved the first trial, and continued from there.
        train = objects.words(root, "launchers.train_trials", f"--store={STORE}", *flags)
        process = subprocess.Popen([*train, "--checkpoint_seconds=0"], cwd=ROOT)
        saved = objects.path(root, f"{STORE}/checkpoints/trial-000000/state.npz")
        while not saved.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(root, "launchers.train_trials", f"--store={STORE}", *flags)
    assert f"3 trials in {STORE}" in done.stdout
    done = run(root, "launchers.check_store", f"--store={STORE}", "--trials=0:3")
    assert "3 trials are there and sound" in done.stdout
    # The bytes are those of a local store.
    assert_same_stores(objects.path(root, STORE), alone)
    trials = {f"trials/trial-{number:06d}.tfrecord" for number in range(3)}
    logs = {f"logs/trial-{number:06d}.log" for number in range(3)}
    assert files_of(root) == {"experiment.json", "dataset.tfrecord", *trials, *logs}
    if stack == "none":
        log = objects.path(root, f"{STORE}/logs/trial-000000.log").read_text()
        last = log[log.rindex("attempt 1") :]
        assert "epoch 40 of 40" in last
        assert "epoch 1 of 40" not in last
        return
    run(root, "launchers.compact_store", f"--store={STORE}")
    assert not files_of(root) & trials
    estimates = f"{STORE}/estimates.npz"
    run(root, "analysis.estimate", f"--store={STORE}", f"--out={estimates}")
    local = tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={alone}", f"--out={local}")
    ours, theirs = map(files.read_estimates, (objects.path(root, estimates), local))
    np.testing.assert_array_equal(ours.memorization, theirs.memorization)
    # A damaged trial is trained again.
    (archive,) = objects.path(root, f"{STORE}/trials").iterdir()
    content = bytearray(archive.read_bytes())
    content[-100] ^= 1
    archive.write_bytes(bytes(content))
    done = run(root, "launchers.check_store", f"--store={STORE}", "--trials=0:3", code=1)
    assert "is damaged" in done.stdout
    done = run(root, "launchers.train_trials", f"--store={STORE}", *flags)
    assert "2 of 3 trials are already in the store" in done.stdout
    assert_same_stores(objects.path(root, STORE), alone)


def assert_same_stores(one, two):
    one, two = Store.open(one), Store.open(two)
    assert one.numbers() == two.numbers() == [0, 1, 2]
    for number in range(3):
        assert_same_trial(one.read(number), two.read(number))
