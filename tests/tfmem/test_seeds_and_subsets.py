import itertools

import numpy as np
import pytest

from tfmem import seeds, subsets


def test_streams_depend_on_each_part_of_their_name():
    names = [
        (0, 0, "subset", None),
        (1, 0, "subset", None),
        (0, 1, "subset", None),
        (0, 0, "batch_order", None),
        (0, 0, "batch_order", 0),
        (0, 0, "batch_order", 1),
    ]
    drawn = [tuple(seeds.generator(*name).integers(0, 2**63, 4)) for name in names]
    assert len(set(drawn)) == len(names)
    assert drawn == [tuple(seeds.generator(*name).integers(0, 2**63, 4)) for name in names]


def test_streams_never_change():
    """Numbers drawn when the project began: a change here changes every trial ever stored."""
    assert seeds.generator(0, 42, "subset").integers(0, 1000, 3).tolist() == [494, 639, 105]
    assert seeds.integers(0, 42, "initial_weights", 2) == [2012481522, 1846324388]


def test_subset_size():
    assert subsets.subset_size(50_000, 0.7) == 35_000
    assert subsets.subset_size(1257, 0.7) == 880
    assert subsets.subset_size(10, 0.5) == 5
    with pytest.raises(ValueError, match="takes 3 of 3"):
        subsets.subset_size(3, 0.9)
    with pytest.raises(ValueError, match="takes 0 of 3"):
        subsets.subset_size(3, 0.1)


def test_subsets_have_exactly_m_examples():
    for trial in range(50):
        assert subsets.RandomSubsets(101, 0.7, 3).mask(trial).sum() == 71


def test_only_candidates_are_left_out():
    """Of 5 candidates among 101, 70% are 4 (rounded): one is left out, each as often as another."""
    candidates = np.isin(np.arange(101), [0, 20, 40, 60, 100])
    chosen = subsets.RandomSubsets(101, 0.7, 3, candidates)
    assert chosen.size == 100
    left_out = np.array([np.flatnonzero(~chosen.mask(trial)) for trial in range(1000)])
    assert left_out.shape == (1000, 1)
    who, counts = np.unique(left_out, return_counts=True)
    assert who.tolist() == [0, 20, 40, 60, 100]
    assert np.abs(counts - 200).max() < 5 * np.sqrt(1000 * 0.2 * 0.8)


def test_all_as_candidates_are_no_restriction():
    free, all_of_them = (
        subsets.RandomSubsets(50, 0.7, 1, who) for who in (None, np.ones(50, bool))
    )
    np.testing.assert_array_equal(free.mask(7), all_of_them.mask(7))


def test_too_few_candidates():
    one = subsets.RandomSubsets(50, 0.7, 1, np.arange(50) == 3)
    with pytest.raises(ValueError, match="takes 1 of 1 candidates: it must leave at least one in"):
        _ = one.size


def test_every_subset_is_equally_likely():
    """All C(5, 2) = 10 subsets, 20,000 draws: each within 5 standard deviations of 2,000."""
    drawn = [
        tuple(np.flatnonzero(subsets.RandomSubsets(5, 0.4, 0).mask(trial)))
        for trial in range(20_000)
    ]
    counts = [drawn.count(subset) for subset in itertools.combinations(range(5), 2)]
    assert sum(counts) == 20_000
    assert max(abs(count - 2000) for count in counts) < 5 * np.sqrt(20_000 * 0.1 * 0.9)
