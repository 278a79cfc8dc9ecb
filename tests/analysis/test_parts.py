"""Stores of one experiment whose trials were made apart, estimated from as one."""

import shutil

import numpy as np
import pytest

from analysis.estimates.values import ESTIMATORS
from tests.archived import compact
from tests.conftest import run_program
from tests.stores import TRIALS


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


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "parts",
    [
        (range(5), range(5, 12)),
        (range(5, 12), range(5)),
        (range(0, 12, 2), [1, 3, 11], [5, 7, 9]),
        (range(12), []),
    ],
)
def test_parts_count_as_one(split, random_subsets, tmp_path, parts, estimator):
    stores = split(*parts)
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
    assert done.stderr == f"error: {said}\n"
    done = estimate(out, store, store, check=False)
    assert f"{store} and {store} both have the trials 0:6" in done.stderr


def test_a_damaged_part_ends_it(split, tmp_path):
    stores, out = split(range(6), range(6, 12)), tmp_path / "e.npz"
    wrong = stores[1] / "trials" / "trial-000007.tfrecord"
    wrong.write_bytes(wrong.read_bytes()[:-1])
    done = estimate(out, *stores, check=False)
    assert (done.returncode, str(wrong) in done.stderr) == (2, True)
    done = estimate(out, *stores, flags=["--allow_missing"])
    assert f"left out: 1 damaged trial, 7: {wrong}" in done.stdout
    assert "11 of 12 trials: " in done.stdout
