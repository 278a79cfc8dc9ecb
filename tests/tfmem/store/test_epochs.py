"""What is kept of each epoch of a run that is followed."""

import dataclasses

import numpy as np
import pytest

from tests.trials import assert_same_trial, random_trial
from tfmem.disk import tfrecord
from tfmem.store import epochs
from tfmem.store.store import DamagedFileError, Store


def random_epoch(rng):
    return {
        "unmuted_loss": rng.random(21).astype(np.float32),
        "muted_loss": rng.random(21).astype(np.float32) * 1e-9,
        "unmuted_predicted": rng.integers(0, 65_536, 21).astype(np.uint16),
        "muted_predicted": rng.integers(0, 3, 21).astype(np.uint16),
        "train_correct": rng.random(21) < 0.5,
        "test_correct": rng.random(9) < 0.5,
        "similarity": np.array([0.25, np.nan, -1e-300]),
        "contribution": np.array([0.5, 2, np.nan]),
        "gradients": np.array([21, 0, 2**40]),
    }


def assert_same_epoch(a, b):
    assert a.keys() == b.keys()
    for name, array in a.items():
        assert b[name].dtype == array.dtype
        np.testing.assert_array_equal(b[name], array)


def test_an_epoch_both_ways(rng):
    epoch = random_epoch(rng)
    assert epoch.keys() == epochs.FIELDS.keys()
    number, found = epochs.decode(tfrecord.decode_example(epochs.encode(0, 7, epoch)))
    assert number == 7
    assert_same_epoch(epoch, found)


def test_a_trial_with_epochs_both_ways(tiny, tiny_config, tmp_path, rng):
    store = Store.create(tmp_path, tiny_config, tiny)
    kept = {0: {"train_correct": rng.random(21) < 0.5}, 2: random_epoch(rng)}
    trial = dataclasses.replace(random_trial(3, tiny, rng), epochs=kept)
    store.write(trial)
    found = store.read(3)
    assert_same_trial(found, trial)
    assert list(found.epochs) == [0, 2]
    for number, epoch in kept.items():
        assert_same_epoch(epoch, found.epochs[number])
    # The estimators read the trial as any other.
    np.testing.assert_array_equal(store.load().subset.columns()[0], trial.subset)


def test_a_record_that_is_no_epoch_is_damage(tiny, tiny_config, tmp_path, rng):
    store = Store.create(tmp_path, tiny_config, tiny)
    store.write(random_trial(0, tiny, rng))
    path = store.trial_path(0)
    records = tfrecord.decode(path.read_bytes())
    path.write_bytes(tfrecord.encode([*records, records[1]]))
    with pytest.raises(DamagedFileError, match="expected trial, train, test and epochs"):
        store.read(0)
    cut = epochs.encode(0, 1, {"train_correct": np.ones(21, bool)})
    features = tfrecord.decode_example(cut)
    with pytest.raises(ValueError, match="train_correct of an epoch has 3 bytes for 30 examples"):
        epochs.decode({**features, "train_correct_count": np.array([30])})
    with pytest.raises(ValueError, match="a record is not that of an epoch"):
        epochs.decode({"record": [b"train"]})


def test_a_file_that_ends_between_two_epochs_is_damage(tiny, tiny_config, tmp_path, rng):
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    kept = {number: random_epoch(rng) for number in range(3)}
    store.write(dataclasses.replace(random_trial(0, tiny, rng), epochs=kept))
    records = tfrecord.decode(store.trial_path(0).read_bytes())
    store.trial_path(0).write_bytes(tfrecord.encode(records[:-1]))
    with pytest.raises(DamagedFileError, match="holds 2 epochs, expected 3"):
        store.read(0)
