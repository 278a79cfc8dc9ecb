"""Stores of one experiment whose trials were made apart, estimated from as one."""

import dataclasses
import functools
import shutil
import weakref

import numpy as np
import pytest

from analysis.estimates import estimators, files
from analysis.estimates.values import ESTIMATORS
from tests.archived import compact
from tests.conftest import run_program
from tests.stores import TRIALS, imported_arrays
from tests.trials import trial_set
from tfmem.datasets import Dataset, Split, numbered_ids
from tfmem.disk.bits import packed_length
from tfmem.store import parts


@pytest.fixture
def split(random_subsets, tmp_path):
    """Returns what copies a store so that its trials are divided, and the copies."""

    def make(*parts):
        paths = []
        for index, numbers in enumerate(parts):
            path = tmp_path / f"part{index}"
            shutil.copytree(random_subsets.store.path, path)
            for number in set(range(12)) - set(numbers):
                (path / "trials" / f"trial-{number:06d}.tfrecord").unlink()
            paths.append(path)
        return paths

    return make


def estimate(out, *stores, flags=(), check=True):
    words = [f"--store={store}" for store in stores]
    return run_program("analysis.estimate", *words, f"--out={out}", *flags, check=check)


def arrays(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(params=[1, 3, 12])
def in_blocks(request, random_subsets, monkeypatch):
    """Counts add over blocks of so many trials of the twelve."""
    data = random_subsets.store.dataset
    lengths = [packed_length(len(split)) for split in (data.train, data.train, data.test)]
    read = functools.partial(parts.blocks, max_bytes=request.param * sum(lengths) + 1)
    monkeypatch.setattr(parts, "blocks", read)


@pytest.mark.usefixtures("in_blocks")
@pytest.mark.parametrize("influence", ["class", "none"])
def test_counts_of_blocks_add(split, random_subsets, tmp_path, influence):
    """The file is that of all trials at once, whose influence comes from their bits."""
    store, out, expected = random_subsets.store, tmp_path / "e.npz", tmp_path / "expected.npz"
    at_once = estimators.estimate(store.load(), store.dataset, influence)
    files.write(expected, dataclasses.replace(at_once, num_trials_expected=12))
    estimate(out, *split(range(0, 12, 2), range(1, 12, 2)), flags=[f"--influence={influence}"])
    np.testing.assert_equal(arrays(out), arrays(expected))


def test_counts_of_more_trials_than_a_byte_holds(rng):
    sizes, labels = (20, 20, 12), [rng.integers(0, 3, count) for count in (20, 12)]
    trials = trial_set(*(rng.random((600, count)) < 0.9 for count in sizes), *labels)
    splits = (Split(own, numbered_ids("x", len(own))) for own in labels)
    data = Dataset("", *splits, tuple("abc"))
    seen = []

    def blocks():
        for part in np.split(np.arange(600), [7, 400]):
            assert not any(earlier() for earlier in seen)  # One is in memory at a time.
            block = [trials.take(part)]
            seen.append(weakref.ref(block[0]))
            yield block.pop()

    found = estimators.estimate_in_blocks(blocks(), 600, data)
    assert len(seen) == 3
    expected = estimators.estimate(trials, data)
    for own, other in zip(found.influences, expected.influences, strict=True):
        np.testing.assert_equal(dataclasses.asdict(own), dataclasses.asdict(other))
    np.testing.assert_equal(dataclasses.asdict(found.details), dataclasses.asdict(expected.details))
    assert found.test_accuracy_deviation == expected.test_accuracy_deviation


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "divided",
    [
        (range(5), range(5, 12)),
        (range(5, 12), range(5)),
        (range(0, 12, 2), [1, 3, 11], [5, 7, 9]),
        (range(12), []),
    ],
)
def test_parts_count_as_one(split, random_subsets, tmp_path, divided, estimator):
    stores = split(*divided)
    compact(stores[0])
    flags = (f"--estimator={estimator}", "--influence=full")
    whole, joined = tmp_path / "whole.npz", tmp_path / "joined.npz"
    said = estimate(whole, random_subsets.store.path, flags=flags).stdout
    assert estimate(joined, *stores, flags=flags).stdout == said.replace(str(whole), str(joined))
    np.testing.assert_equal(arrays(joined), arrays(whole))


def test_only_the_wanted_trials_count(split, random_subsets, tmp_path):
    stores = split(range(8), range(4, 12))
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    done = estimate(one, *stores, check=False)
    assert done.returncode == 2
    assert f"{stores[0]} and {stores[1]} both have the trials 4:8; each trial" in done.stderr
    done = estimate(one, *stores, flags=["--trials=8:10"])
    estimate(two, random_subsets.store.path, flags=["--trials=8:10"])
    np.testing.assert_equal(arrays(one), arrays(two))
    done = estimate(one, *stores, flags=["--trials=20:30"], check=False)
    assert f"--trials=20:30: {stores[0]}, {stores[1]} has none of these" in done.stderr


def test_what_are_no_parts_of_one(split, tmp_path):
    (store,) = split(range(6))
    other, out = tmp_path / "other", tmp_path / "e.npz"
    run_program("launchers.train_trials", *TRIALS, "--seed=1", "--trials=6:7", f"--store={other}")
    done = estimate(out, store, other, check=False)
    assert (done.returncode, out.exists()) == (2, False)
    said = f"{store} and {other} hold trials of different configurations: seed: 0 and 1"
    assert done.stderr == f"error: {said}; parts differ in --trials alone\n"
    done = estimate(out, store, store, check=False)
    assert f"{store} and {store} both have the trials 0:6" in done.stderr


def test_two_imports_are_no_parts_of_one(rng, tmp_path):
    """The trials of each are numbered from 0, and nothing tells whether they are others."""
    stores = [tmp_path / name for name in ("a", "b")]
    for store in stores:
        np.savez(f"{store}.npz", **imported_arrays(rng))
        flags = "--format=arrays", f"--source={store}.npz", f"--store={store}"
        run_program("launchers.import_trials", *flags)
    done = estimate(tmp_path / "e.npz", *stores, check=False)
    assert done.returncode == 2
    assert f"{stores[0]} and {stores[1]} hold trials of different configurations" in done.stderr
    assert done.stderr.endswith("the same numbers: import all of them from one source\n")


def test_common_trials_that_are_many_ranges_are_named_in_short(split, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_MOST_NAMED", 2)
    stores = split(range(12), [0, 1, 3, 6, 7])
    done = estimate(tmp_path / "e.npz", *stores, check=False)
    assert "both have the trials 0:2, 3 and others, 5 in all; each trial counts" in done.stderr


def test_a_damaged_part_ends_it(split, tmp_path):
    stores, out = split(range(6), range(6, 12)), tmp_path / "e.npz"
    wrong = stores[1] / "trials" / "trial-000007.tfrecord"
    wrong.write_bytes(wrong.read_bytes()[:-1])
    done = estimate(out, *stores, check=False)
    assert (done.returncode, str(wrong) in done.stderr) == (2, True)
    done = estimate(out, *stores, flags=["--allow_missing"])
    assert f"left out: 1 damaged trial, 7: {wrong}" in done.stdout
    assert "11 of 12 trials: " in done.stdout
