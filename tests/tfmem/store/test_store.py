import dataclasses
import json
import os
import pathlib
import re
import time

import numpy as np
import pytest

from tests.trials import assert_same_trial, random_trial
from tfmem.config import ImportConfig
from tfmem.datasets import ArraySplit
from tfmem.disk import processes
from tfmem.store.store import DamagedFileError, Store, StoreError


@pytest.fixture
def store(tmp_path, tiny, tiny_config):
    command = ["train_trials", "--experiment=digits_mlp"]
    return Store.create(tmp_path / "store", tiny_config, tiny, command)


def test_trials_both_ways(store, tiny, rng):
    trials = [random_trial(number, tiny, rng) for number in (3, 0, 123_456_789)]
    for trial in trials:
        store.write(trial)
    opened = Store.open(store.path)
    assert opened.numbers() == [0, 3, 123_456_789]
    for trial in trials:
        read = opened.read(trial.number)
        assert_same_trial(read, trial)
        assert read.seconds == trial.seconds
    assert opened.config == store.config
    assert opened.head.dataset_fingerprint == tiny.fingerprint
    assert opened.dataset.class_names == tiny.class_names
    np.testing.assert_array_equal(opened.dataset.train.labels, tiny.train.labels)
    np.testing.assert_array_equal(opened.dataset.test.ids, tiny.test.ids)


def test_the_layout_is_the_documented_one(store, tiny, rng):
    """TensorFlow reads the file by the names, types and byte orders of docs/formats.md."""
    import tensorflow as tf

    trial = random_trial(42, tiny, rng)
    store.write(trial)
    path = store.path / "trials" / "trial-000042.tfrecord"
    about, train, test = (
        tf.train.Example.FromString(record.numpy()).features.feature
        for record in tf.data.TFRecordDataset(str(path))
    )
    assert about["trial"].int64_list.value[0] == 42
    assert about["base_seed"].int64_list.value[0] == 0
    assert about["subset_size"].int64_list.value[0] == 10
    accuracy = about["test_accuracy"].float_list.value[0]
    assert accuracy == pytest.approx(trial.test.correct.mean())
    seen = trial.train.correct[trial.subset].mean()
    assert about["subset_accuracy"].float_list.value[0] == pytest.approx(seen)
    unseen = trial.train.correct[~trial.subset].mean()
    assert about["heldout_accuracy"].float_list.value[0] == pytest.approx(unseen)
    assert about["config_digest"].bytes_list.value[0].decode() == store.head.digest
    assert "numpy" in json.loads(about["versions"].bytes_list.value[0])
    assert train["count"].int64_list.value[0] == 21

    def bits(feature, count):
        packed = np.frombuffer(feature.bytes_list.value[0], np.uint8)
        return np.unpackbits(packed, count=count, bitorder="little").astype(bool)

    np.testing.assert_array_equal(bits(train["subset"], 21), trial.subset)
    np.testing.assert_array_equal(bits(train["correct"], 21), trial.train.correct)
    np.testing.assert_array_equal(bits(test["correct"], 9), trial.test.correct)
    predicted = np.frombuffer(test["predicted"].bytes_list.value[0], "<u2")
    np.testing.assert_array_equal(predicted, trial.test.predicted)
    probability = np.frombuffer(train["label_probability"].bytes_list.value[0], "<f2")
    np.testing.assert_array_equal(probability, trial.train.label_probability)


def test_what_a_source_does_not_know_is_absent(tmp_path, tiny, rng):
    store = Store.create(tmp_path, ImportConfig("arrays", "x", "", "", 1), tiny)
    trial = dataclasses.replace(
        random_trial(0, tiny, rng, with_predictions=False), base_seed=None, seconds=None
    )
    store.write(trial)
    read = store.read(0)
    assert_same_trial(read, trial)
    assert read.seconds is None
    assert b"predicted" not in store.trial_path(0).read_bytes()


def test_load_stacks_the_trials(store, tiny, rng):
    trials = [random_trial(number, tiny, rng) for number in range(5)]
    for trial in trials:
        store.write(trial)
    loaded = store.load()
    for name, arrays in (
        ("subset", [trial.subset for trial in trials]),
        ("train_correct", [trial.train.correct for trial in trials]),
        ("test_correct", [trial.test.correct for trial in trials]),
    ):
        np.testing.assert_array_equal(getattr(loaded, name).columns(), np.stack(arrays))
    np.testing.assert_array_equal(loaded.train_labels, tiny.train.labels)
    some = loaded.take(np.array([4, 1]))
    assert some.numbers.tolist() == [4, 1]
    np.testing.assert_array_equal(some.subset.columns()[0], trials[4].subset)
    assert store.load([2, 3]).numbers.tolist() == [2, 3]


def test_probabilities_are_loaded_when_asked_for(tmp_path, store, tiny, rng):
    trials = [random_trial(number, tiny, rng) for number in range(3)]
    for trial in trials:
        store.write(trial)
    assert store.load().train_probability is None
    loaded = store.load(probabilities=True).take(np.array([2, 0]))
    for row, trial in enumerate((trials[2], trials[0])):
        for name in ("train", "test"):
            array = getattr(loaded, f"{name}_probability")
            assert array.dtype == np.float16
            np.testing.assert_array_equal(array[row], getattr(trial, name).label_probability)
    other = Store.create(tmp_path / "other", ImportConfig("arrays", "x", "", "", 1), tiny)
    other.write(random_trial(0, tiny, rng, with_predictions=False))
    with pytest.raises(StoreError, match=r"trial 0 of .* has no probabilities of the true labels"):
        other.load(probabilities=True)


def test_every_single_byte_change_is_detected_and_named(store, tiny, rng):
    store.write(random_trial(7, tiny, rng))
    path = pathlib.Path(store.trial_path(7))
    content = path.read_bytes()
    command = "tfmem train_trials --experiment=digits_mlp"
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with pytest.raises(DamagedFileError) as error:
            store.read(7)
        assert str(path) in str(error.value)
        assert command in str(error.value)
        assert "--trials=7:8" in str(error.value)
    path.write_bytes(content)
    store.read(7)


def test_every_truncation_is_detected(store, tiny, rng):
    store.write(random_trial(7, tiny, rng))
    path = pathlib.Path(store.trial_path(7))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError):
            store.load()
    path.write_bytes(content + b"\0")
    with pytest.raises(DamagedFileError):
        store.load()


def test_a_trial_under_another_number_is_detected(store, tiny, rng):
    store.write(random_trial(1, tiny, rng))
    store.trial_path(2).write_bytes(store.trial_path(1).read_bytes())
    with pytest.raises(DamagedFileError, match="it holds trial 1"):
        store.read(2)
    assert list(store.damaged([1, 2])) == [2]


def test_a_trial_of_another_store_is_detected(store, tmp_path, tiny, tiny_config, rng):
    other = Store.create(tmp_path / "other", dataclasses.replace(tiny_config, seed=1), tiny)
    other.write(random_trial(1, tiny, rng))
    store.trial_path(1).write_bytes(other.trial_path(1).read_bytes())
    with pytest.raises(DamagedFileError, match="another configuration"):
        store.read(1)


def test_predictions_that_contradict_the_bits_are_detected(store, tiny, rng):
    trial = random_trial(0, tiny, rng)
    wrong = dataclasses.replace(trial.test, correct=~trial.test.correct)
    store.write(dataclasses.replace(trial, test=wrong))
    with pytest.raises(DamagedFileError, match="contradict"):
        store.read(0)


def test_another_config_or_dataset_is_refused(store, tiny, tiny_config):
    with pytest.raises(StoreError, match=r"epochs: 4 and 3; seed: 9 and 0"):
        Store.create(store.path, dataclasses.replace(tiny_config, epochs=4, seed=9), tiny)
    labels = tiny.train.labels.copy()
    labels[0] = 2
    other = dataclasses.replace(tiny, train=ArraySplit(labels, tiny.train.ids, tiny.train.images))
    with pytest.raises(StoreError, match="dataset fingerprint"):
        Store.create(store.path, tiny_config, other)
    assert Store.create(store.path, tiny_config, tiny).head.digest == store.head.digest


def test_no_store_and_no_trials(store, tmp_path):
    with pytest.raises(StoreError, match="is not a store"):
        Store.open(tmp_path / "nothing")
    with pytest.raises(StoreError, match=r"no finished trials yet.*--trials=0:1000"):
        store.load()
    with pytest.raises(StoreError, match=r"trial 5 is not in .*--trials=5:6"):
        store.read(5)


@pytest.mark.parametrize("name", ["experiment.json", "dataset.tfrecord"])
def test_damaged_head_files_are_named(store, name):
    path = pathlib.Path(store.path) / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DamagedFileError, match=name):
        Store.open(store.path)


def test_a_store_whose_making_was_interrupted_is_completed(store, tiny, tiny_config):
    (store.path / "dataset.tfrecord").unlink()
    Store.create(store.path, tiny_config, tiny)
    assert Store.open(store.path).dataset.class_names == ("a", "b", "c")


def test_abandoned_temporary_files_go_and_others_stay(store, tiny, tiny_config):
    folder = pathlib.Path(store.path) / "trials"
    this = processes.current()
    ended = dataclasses.replace(this, pid=2**22 + 1)
    earlier = dataclasses.replace(this, start=this.start - 1)  # Its number was given again.
    elsewhere = dataclasses.replace(this, host=f"other-{this.host}")
    paths = [
        folder / f".trial-{number:06d}.tfrecord.{process}.{'0' * 32}.tmp"
        for number, process in enumerate([ended, earlier, this, elsewhere, elsewhere])
    ]
    for path in paths:
        path.write_bytes(b"half")
    an_hour_ago = time.time() - 3601
    os.utime(paths[4], (an_hour_ago, an_hour_ago))
    assert Store.create(store.path, tiny_config, tiny).numbers() == []
    assert {path.name for path in folder.iterdir()} == {path.name for path in paths[2:4]}


def test_a_failed_write_leaves_nothing(store, tiny, rng, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(random_trial(0, tiny, rng))
    assert list((store.path / "trials").iterdir()) == []


def test_arrays_of_the_wrong_length_are_refused(store, tiny, rng):
    trial = random_trial(0, tiny, rng)
    with pytest.raises(ValueError, match=r"subset has shape \(20,\), expected \(21,\)"):
        store.write(dataclasses.replace(trial, subset=trial.subset[:20]))
    with pytest.raises(ValueError, match=r"test correct has shape \(21,\), expected \(9,\)"):
        store.write(dataclasses.replace(trial, test=trial.train))


def test_equal_trials_are_equal_files(store, tiny):
    first, second = (random_trial(0, tiny, np.random.default_rng(1)) for _ in range(2))
    store.write(first)
    content = store.trial_path(0).read_bytes()
    store.write(second)
    assert store.trial_path(0).read_bytes() == content


def test_the_store_keeps_the_command_that_made_it(tmp_path, tiny, tiny_config):
    """Wherever the store is now; it is no part of what tells stores apart."""
    made_by = ["train_trials", "--experiment=digits_mlp", "--epochs=3"]
    store = Store.create(tmp_path / "one", tiny_config, tiny, made_by)
    store.path.rename(tmp_path / "my store")
    moved = Store.open(tmp_path / "my store")
    flags = f"--experiment=digits_mlp --epochs=3 '--store={tmp_path}/my store'"
    assert moved.command(3, 4) == f"tfmem train_trials {flags} --trials=3:4"
    assert moved.command() == f"tfmem train_trials {flags} --trials=0:1000"
    again = Store.create(moved.path, tiny_config, tiny, ["train_trials", "--stack=none"])
    assert (again.head.digest, again.command()) == (store.head.digest, moved.command())


def test_a_store_knows_what_launches_have_asked_for(store, tmp_path, tiny, tiny_config):
    assert store.head.asked == [range(0, 1000)]  # Nobody said which ones: all of the experiment's.
    some = Store.create(tmp_path / "some", tiny_config, tiny, trials=range(0, 400))
    assert some.head.asked == [range(0, 400)]
    other = Store.open(some.path)
    some.ask_for(range(600, 700))
    other.ask_for(range(350, 450))
    assert Store.open(some.path).head.asked == other.head.asked == [range(0, 450), range(600, 700)]
    before = os.stat(some.path / "experiment.json").st_ino  # What is known is not written again.
    Store.create(some.path, tiny_config, tiny, trials=range(0, 1000)).ask_for(range(620, 650))
    assert os.stat(some.path / "experiment.json").st_ino == before


def test_what_was_asked_for_must_be_there_and_in_order(store):
    path = store.path / "experiment.json"
    about = json.loads(path.read_text())
    assert about.pop("asked") == [[0, 1000]]
    path.write_text(json.dumps(about))
    with pytest.raises(DamagedFileError, match="lacks 'asked'"):
        Store.open(store.path)
    path.write_text(json.dumps({**about, "asked": [[5, 2]]}))
    with pytest.raises(DamagedFileError, match=r"asked is \[\[5, 2\]\], expected ascending"):
        Store.open(store.path)


def test_an_import_always_imports_all_trials(tmp_path, tiny):
    made_by = ["import_trials", "--format=arrays", "--source=a.npz"]
    config = ImportConfig("arrays", "a.npz", "", "digits", 7)
    store = Store.create(tmp_path, config, tiny, made_by)
    expected = f"tfmem import_trials --format=arrays --source=a.npz --store={tmp_path}"
    assert store.command(3, 4) == expected


def test_a_store_of_the_librarys_own_has_no_command(tmp_path, tiny, tiny_config):
    store = Store.create(tmp_path, tiny_config, tiny)
    expected = "what made it (Python that called Store.create), for trials 3:4"
    assert store.command(3, 4) == expected
    message = re.escape(f"trial 3 is not in {tmp_path}; run: {expected}")
    with pytest.raises(StoreError, match=message):
        store.read(3)


def test_stores_of_the_same_experiment_can_be_copied_together(tmp_path, tiny, tiny_config, rng):
    """docs/many_machines.md says so to those whose machines share no disk."""
    trials = [random_trial(number, tiny, rng) for number in range(4)]
    stores = [Store.create(tmp_path / name, tiny_config, tiny) for name in ("one", "two")]
    for trial in trials:
        stores[trial.number // 2].write(trial)
    for number in (2, 3):
        content = stores[1].trial_path(number).read_bytes()
        stores[0].trial_path(number).write_bytes(content)
    assert stores[0].damaged(stores[0].numbers()) == {}
    for trial in trials:
        assert_same_trial(stores[0].read(trial.number), trial)
