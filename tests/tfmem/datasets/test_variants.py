"""Labels replaced by random ones, and test examples to train on."""

import dataclasses

import numpy as np
import pytest

from tfmem import datasets, experiments
from tfmem.config import TurnoverConfig
from tfmem.datasets import ArraySplit
from tfmem.datasets.variants import hold_out
from tfmem.store.store import Store


def test_as_many_labels_as_asked_for_are_replaced(digits):
    corrupted = datasets.corrupt_labels(digits, 400, base_seed=3)
    train = corrupted.train
    assert train.corrupted.sum() == 400
    np.testing.assert_array_equal(train.true_labels, digits.train.labels)
    changed = train.labels != train.true_labels
    assert not changed[~train.corrupted].any()
    # One in ten gets its own label back: 360 change, with a standard deviation of 6.
    assert abs(changed.sum() - 360) < 5 * 6
    np.testing.assert_array_equal(train.images, digits.train.images)
    np.testing.assert_array_equal(train.ids, digits.train.ids)
    assert corrupted.test is digits.test


def test_new_labels_and_examples_are_uniform(digits):
    """Over 300 seeds: labels of all classes, and every example, are equally likely."""
    labels, chosen = np.zeros(10), np.zeros(len(digits.train))
    for seed in range(300):
        train = datasets.corrupt_labels(digits, 200, seed).train
        labels += np.bincount(train.labels[train.corrupted], minlength=10)
        chosen += train.corrupted
    expected = 300 * 200 / 10
    assert np.abs(labels - expected).max() < 5 * np.sqrt(expected)
    share = 200 / len(chosen)
    assert np.abs(chosen - 300 * share).max() < 6 * np.sqrt(300 * share)


def test_corruption_depends_on_the_seed_alone(digits):
    first, again, other = (datasets.corrupt_labels(digits, 99, seed) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    assert len({first.fingerprint, other.fingerprint, digits.fingerprint}) == 3
    # Which labels were replaced counts, even where chance gave the true ones back.
    back = dataclasses.replace(first.train, labels=digits.train.labels)
    assert dataclasses.replace(first, train=back).fingerprint != digits.fingerprint


def of_classes(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return ArraySplit(labels, datasets.numbered_ids("x", len(labels)), images)


@pytest.mark.parametrize(
    ("counts", "share", "held_out"),
    [
        ((10, 20, 30), 0.2, [2, 4, 6]),
        ((10, 10), 0.25, [2, 3]),  # 5 in all; to which class the odd one goes is chance.
        ((1, 9), 0.5, [0, 5]),  # Of one example none can be held out.
        ((0, 4), 0.5, [0, 2]),  # A class without examples.
        ((2, 2, 2, 2), 0.25, [0, 0, 1, 1]),
        ((1, 1), 0.9, None),
        ((4, 4), 0.01, None),
        ((3, 2), 0.99, [2, 1]),  # Every class keeps one to train on.
    ],
)
def test_hold_out(counts, share, held_out):
    examples = of_classes(*counts)
    if held_out is None:
        with pytest.raises(ValueError, match=rf"--test_share={share:g} of \d examples is none"):
            hold_out(examples, share)
        return
    train, test = hold_out(examples, share)
    found = np.bincount(test.labels, minlength=len(counts)).tolist()
    assert (sorted(found) if len(set(counts)) == 1 else found) == held_out
    assert sorted([*train.ids, *test.ids]) == examples.ids.tolist()
    for split in (train, test):
        own = split.images[:, 0, 0, 0]
        assert (np.diff(own.astype(int)) > 0).all()
        np.testing.assert_array_equal(split.ids, examples.ids[own])
        np.testing.assert_array_equal(split.labels, examples.labels[own])


def test_held_out_examples_are_fixed_for_ever_and_random():
    _, test = hold_out(of_classes(10, 10), 0.3)
    assert test.images.ravel().tolist() == [2, 6, 7, 13, 15, 17]


def test_no_corrupted_labels_leave_the_dataset_as_it_is(digits):
    assert datasets.corrupt_labels(digits, 0, 0) is digits
    everything = datasets.corrupt_labels(digits, len(digits.train), 0)
    assert everything.train.corrupted.all()


@pytest.mark.parametrize("count", [-1, 1258])
def test_more_labels_than_there_are_cannot_be_corrupted(digits, count):
    with pytest.raises(ValueError, match="expected 0 to 1,257, the training examples of digits"):
        datasets.corrupt_labels(digits, count, 0)


def test_test_examples_are_behind_the_training_examples(tiny):
    joined = datasets.train_on_test_too(tiny)
    assert len(joined.train) == 30
    for name in ("labels", "ids", "images"):
        train, test = getattr(tiny.train, name), getattr(tiny.test, name)
        np.testing.assert_array_equal(getattr(joined.train, name)[:21], train)
        np.testing.assert_array_equal(getattr(joined.train, name)[21:], test)
    assert joined.test is tiny.test
    corrupted = datasets.train_on_test_too(datasets.corrupt_labels(tiny, 21, 0)).train
    assert corrupted.corrupted.tolist() == [True] * 21 + [False] * 9
    np.testing.assert_array_equal(corrupted.true_labels[21:], tiny.test.labels)


def test_a_config_says_what_its_dataset_is(digits):
    config = experiments.resolve("digits_mlp", {"corrupted_labels": 50, "seed": 4})
    corrupted = datasets.corrupt_labels(digits, 50, 4)
    assert datasets.load_for(config).fingerprint == corrupted.fingerprint
    assert datasets.load_for(TurnoverConfig(config)).fingerprint == corrupted.fingerprint
    joined = datasets.load_for(TurnoverConfig(config, test_examples=True))
    assert joined.fingerprint == datasets.train_on_test_too(corrupted).fingerprint
    assert datasets.load_for(experiments.get("digits_mlp")).fingerprint == digits.fingerprint


def test_a_store_keeps_what_labels_were(digits, tmp_path):
    config = experiments.resolve("digits_mlp", {"corrupted_labels": 50})
    dataset = datasets.load_for(config)
    Store.create(tmp_path, config, dataset)
    found = Store.open(tmp_path).dataset.train
    for name in ("labels", "true_labels", "corrupted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(dataset.train, name))
    assert Store.open(tmp_path).dataset.test.true_labels is None
    other = dataclasses.replace(config, corrupted_labels=51)
    with pytest.raises(ValueError, match="corrupted_labels: 51 and 50"):
        Store.create(tmp_path, other, datasets.load_for(other))
