"""A store whose files were changed: the advice that programs print, followed to its end.

What was trained is never lost by it, and the file that is wrong is the one that is named.
"""

import json
import os
import shutil

import numpy as np
import pytest

from tests.conftest import run_program
from tests.printed import check_store, follow
from tests.stores import TRIALS
from tfmem.disk import tfrecord
from tfmem.store import head
from tfmem.store.store import Store

COUNT = 12  # Trials of the store.


@pytest.fixture
def store(random_subsets, tmp_path):
    """A copy of a store of 12 trials."""
    path = tmp_path / "store"
    shutil.copytree(random_subsets.store.path, path)
    return path


def trials(path):
    return {found.name: found.read_bytes() for found in (path / "trials").iterdir()}


def change_head(path, **changes):
    """Changes fields of a config in experiment.json."""
    about = json.loads((path / head.NAME).read_text())
    about["config"] |= changes
    (path / head.NAME).write_text(json.dumps(about))


def test_one_changed_number_in_experiment_json_costs_no_trial(store):
    before = trials(store)
    change_head(store, seed=1)
    done = check_store(store, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {store}/experiment.json cannot be read (it was changed")
    assert len(done.stderr.splitlines()) == 1
    words = [word for word in TRIALS if word != "--seed=0"]
    again = run_program("launchers.train_trials", *words, f"--store={store}", check=False)
    assert (again.returncode, again.stderr) == (2, done.stderr)
    assert follow(store)
    assert trials(store) == before
    assert Store.open(store).config.seed == 0
    # All are there: nothing was trained, and nothing was put aside.
    assert not (store / "quarantine").exists()


def test_how_experiment_json_is_spaced_does_not_count(store):
    about = json.loads((store / head.NAME).read_text())
    (store / head.NAME).write_text(json.dumps(dict(reversed(about.items()))))
    assert check_store(store).returncode == 0


def test_experiment_json_of_another_store_is_named_and_its_trials_are_not(store, tmp_path):
    before = trials(store)
    other = tmp_path / "other"
    words = ("launchers.train_trials", *TRIALS, "--seed=1", "--trials=0:1")
    run_program(*words, f"--store={other}")
    kept = store / "kept.json"
    (store / head.NAME).rename(kept)
    shutil.copy(other / head.NAME, store)
    done = check_store(store, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "0 trials are there and sound",
        f"{store}/experiment.json is not what these trials were made with, which are whole: 0:12; "
        "restore it from a copy; or move it aside, and it is made again, and they are kept, if "
        "you run what made them",
    ]
    # Neither another launch nor moving damaged files takes them away.
    launch = run_program(*words[:-1], "--trials=0:2", f"--store={store}", check=False)
    assert launch.returncode == 2
    assert f"{store}/experiment.json is not what these trials were made with" in launch.stderr
    moved = check_store(store, "--quarantine", check=False)
    assert (moved.returncode, "moved" in moved.stdout) == (1, False)
    assert trials(store) == before
    out = tmp_path / "estimates.npz"
    estimate = run_program("analysis.estimate", f"--store={store}", f"--out={out}", check=False)
    assert estimate.returncode == 2
    assert "trial-000000.tfrecord is whole, but it was made with another" in estimate.stderr
    # Made again by flags that they were not made with, it is not.
    (store / head.NAME).unlink()
    wrong = run_program(*words, f"--store={store}", check=False)
    assert wrong.returncode == 2
    assert "has no experiment.json, and 12 of its 12 trials were made with another" in wrong.stderr
    assert not (store / head.NAME).exists()
    run_program(words[0], *TRIALS, f"--store={store}", f"--trials=0:{COUNT}")
    assert trials(store) == before
    assert check_store(store).returncode == 0


def test_one_trial_of_another_configuration_is_moved_aside_and_made_again(store, tmp_path):
    before = trials(store)
    other = tmp_path / "other"
    words = ("launchers.train_trials", *TRIALS)
    run_program(*words, "--seed=1", "--trials=3:4", f"--store={other}")
    name = "trial-000003.tfrecord"
    shutil.copy(other / "trials" / name, store / "trials" / name)
    launch = run_program(*words, "--trials=0:12", f"--store={store}", check=False)
    assert launch.returncode == 2
    assert "made with another configuration or dataset, and whole: 3" in launch.stderr
    follow(store)
    assert contents(trials(store)) == contents(before)
    assert (store / "quarantine" / name).read_bytes() == (other / "trials" / name).read_bytes()


def test_another_stores_dataset_is_named_and_made_again(store, tmp_path):
    before = trials(store)
    other = tmp_path / "other"
    flags = ("--corrupted_labels=400", "--trials=0:1", f"--store={other}")
    run_program("launchers.train_trials", *TRIALS, *flags)
    sizes = [(folder / "dataset.tfrecord").stat().st_size for folder in (store, other)]
    shutil.copy(other / "dataset.tfrecord", store)
    assert sizes[0] != sizes[1]
    out = tmp_path / "estimates.npz"
    estimate = run_program("analysis.estimate", f"--store={store}", f"--out={out}", check=False)
    assert (estimate.returncode, out.exists()) == (2, False)
    assert estimate.stderr.startswith(
        f"error: {store}/dataset.tfrecord is damaged, or another store's (its labels or ids are "
    )
    launch = run_program("launchers.train_trials", *TRIALS, f"--store={store}", check=False)
    assert (launch.returncode, launch.stderr) == (2, estimate.stderr)
    follow(store)
    assert trials(store) == before


def test_a_dataset_of_equal_size_with_two_labels_changed_is_named(store):
    """No count differs, and no checksum."""
    before = trials(store)
    path = store / "dataset.tfrecord"
    train, test = map(tfrecord.decode_example, tfrecord.decode(path.read_bytes()))
    train["label"][[0, 1]] = train["label"][[1, 0]]
    path.write_bytes(tfrecord.encode(map(tfrecord.encode_example, (train, test))))
    assert check_store(store, check=False).stderr.startswith(
        f"error: {path} is damaged, or another store's"
    )
    follow(store)
    assert trials(store) == before


def change_records(path, change):
    """Writes a trial anew, with sound checksums, after a change of its three records."""
    found = list(map(tfrecord.decode_example, tfrecord.decode(path.read_bytes())))
    change(*found)
    path.write_bytes(tfrecord.encode(map(tfrecord.encode_example, found)))


def test_records_that_are_mixed_between_trials_are_found(store):
    one, two = (store / "trials" / f"trial-00000{number}.tfrecord" for number in (1, 2))
    records = [tfrecord.decode(path.read_bytes()) for path in (one, two)]
    for index, name in ((1, "train"), (2, "test")):
        mixed = list(records[0])
        mixed[index] = records[1][index]
        one.write_bytes(content := tfrecord.encode(mixed))
        done = check_store(store, check=False)
        assert done.returncode == 1
        assert f"{one} is damaged (its record {name} is of trial 2)" in done.stdout
    follow(store)
    assert (store / "quarantine" / one.name).read_bytes() == content


@pytest.mark.parametrize("name", ["subset_accuracy", "test_accuracy", "heldout_accuracy"])
def test_accuracies_are_those_of_the_bits(store, name):
    path = store / "trials" / "trial-000004.tfrecord"

    def change(about, train, test):
        about[name] = about[name] + np.float32(0.01)

    change_records(path, change)
    done = check_store(store, check=False)
    assert done.returncode == 1
    assert f"{path} is damaged (its {name} is " in done.stdout


@pytest.mark.parametrize("what", ["a link to nothing", "a link to itself", "a folder"])
@pytest.mark.parametrize("kind", ["trial", "archive"])
def test_what_is_no_file_is_said_what_it_is_and_moved_aside(store, kind, what):
    before = trials(store)
    path = store / "trials" / "trial-000005.tfrecord"
    path.unlink()
    if kind == "archive":
        path = store / "archives" / "trials-000005-000005.0a1b2c3d.tfrecord"
        path.parent.mkdir()
    if what == "a folder":
        path.mkdir()
    else:
        path.symlink_to(path if what == "a link to itself" else "/nowhere/trial")
    reason = {
        "a link to nothing": "it is a link to /nowhere/trial: No such file or directory",
        "a link to itself": f"it is a link to {path}: Too many levels of symbolic links",
        "a folder": "Is a directory",
    }[what]
    done = check_store(store, check=False)
    assert done.returncode == 1
    assert f"{path} is damaged ({reason})" in done.stdout
    follow(store)
    assert os.path.lexists(store / "quarantine" / path.name)
    assert contents(trials(store)) == contents(before)


def contents(files):
    """Returns what trials hold, but for the time that each took."""
    found = {}
    for name, content in files.items():
        about, *others = map(tfrecord.decode_example, tfrecord.decode(content))
        del about["seconds"]
        found[name] = str([about, *others])
    return found
