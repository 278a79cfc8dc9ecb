"""Estimates against a twin written straight from Algorithm 1, and against known probabilities."""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.estimates import estimators, pairs
from analysis.estimates.values import ESTIMATORS, influences_of
from tests.trials import trial_set
from tfmem.disk import bits


def conditional(correct, chosen):
    """Pr_{k ~ [t]}[h_k right | chosen_k], exactly; nan if nothing is chosen."""
    picked = [right for right, taken in zip(correct, chosen, strict=True) if taken]
    return Fraction(sum(picked), len(picked)) if picked else math.nan


def algorithm_1(subset, correct, i, j):
    """Lines 5 and 7, one pair at a time: the trials that saw i against those that did not.

    The paper's proof of Lemma 2.1 takes 1/2 for a rate over no trials. Here such an example, which
    all trials saw or none did, has no estimate: nan.
    """
    right = [bool(row[j]) for row in correct]
    seen = [bool(row[i]) for row in subset]
    if all(seen) or not any(seen):
        return math.nan
    return conditional(right, seen) - conditional(right, [not yes for yes in seen])


@st.composite
def trials(draw):
    t = draw(st.integers(1, 12))
    n, n_test, classes = draw(st.integers(1, 9)), draw(st.integers(1, 7)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    subset = rng.random((t, n)) < draw(st.sampled_from([0.1, 0.5, 0.7, 0.95]))
    subset[:, rng.random(n) < 0.2] = True  # Some examples in every trial,
    subset[:, rng.random(n) < 0.2] = False  # and some in none.
    train_correct, test_correct = rng.random((t, n)) < 0.6, rng.random((t, n_test)) < 0.6
    train_labels = rng.integers(0, classes, n)
    test_labels = rng.integers(0, classes, n_test)  # Some classes have no test example.
    return subset, train_correct, test_correct, train_labels, test_labels


@given(trials())
@settings(max_examples=200)
def test_estimates_equal_algorithm_1(data):
    subset, train_correct, test_correct, train_labels, test_labels = data
    given_trials = trial_set(*data)
    mem = estimators.memorization(given_trials)
    n, n_test = subset.shape[1], test_correct.shape[1]
    # Counts, bit for bit.
    assert mem.num_in.tolist() == [sum(map(int, subset[:, i])) for i in range(n)]
    assert mem.num_out.tolist() == [sum(1 - int(s) for s in subset[:, i]) for i in range(n)]
    counts = estimators.in_counts(subset.T, test_correct.T)
    for i, j in itertools.product(range(n), range(n_test)):
        assert counts[i, j] == sum(
            a and b for a, b in zip(subset[:, i], test_correct[:, j], strict=True)
        )
    for i in range(n):
        exact = algorithm_1(subset, train_correct, i, i)
        assert mem.value[i] == pytest.approx(float(exact), abs=1e-15, nan_ok=True)
        assert math.isnan(mem.standard_error[i]) == math.isnan(exact)
        out = conditional(train_correct[:, i], ~subset[:, i])
        assert mem.heldout_accuracy[i] == pytest.approx(float(out), abs=1e-15, nan_ok=True)
    full = np.concatenate(list(estimators.full_influence(given_trials)))
    assert full.shape == (n, n_test)
    exact = [
        [float(algorithm_1(subset, test_correct, i, j)) for j in range(n_test)] for i in range(n)
    ]
    np.testing.assert_allclose(full, exact, atol=2e-7)
    for label in range(given_trials.num_classes):
        block = estimators.class_influence(given_trials, label)
        assert block.train_index.tolist() == np.flatnonzero(train_labels == label).tolist()
        assert block.test_index.tolist() == np.flatnonzero(test_labels == label).tolist()
        assert block.value.shape == (len(block.train_index), len(block.test_index))
        chosen = np.array(exact)[np.ix_(block.train_index, block.test_index)]
        np.testing.assert_allclose(block.value, chosen, atol=1e-15)
        np.testing.assert_array_equal(np.isnan(block.standard_error), np.isnan(chosen))


def test_three_examples_by_hand():
    """Example 0 is in trials 0 and 1, example 1 in all, example 2 in none."""
    found = estimators.memorization(
        trial_set(
            subset=[[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]],
            train_correct=[[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0]],
            test_correct=[[1]] * 4,
            train_labels=[0, 0, 0],
            test_labels=[0],
        )
    )
    # 2/2 - 1/2, and what only one of the two terms is known of has no estimate.
    np.testing.assert_array_equal(found.value, [0.5, math.nan, math.nan])
    np.testing.assert_array_equal(np.isnan(found.standard_error), [False, True, True])
    np.testing.assert_array_equal(found.heldout_accuracy, [0.5, math.nan, 0.5])
    assert found.num_in.tolist() == [2, 4, 0]
    # Variances: 4/6 * 2/6 / 2 and 3/6 * 3/6 / 2, by (k + 2) / (n + 4).
    assert found.standard_error[0] == pytest.approx(np.sqrt(1 / 9 + 1 / 8))


def test_order_and_blocks_give_the_same_bits(rng, monkeypatch):
    data = [rng.random((40, count)) < 0.6 for count in (70, 70, 30)]
    data += [rng.integers(0, 3, 70), rng.integers(0, 3, 30)]
    given_trials = trial_set(*data)
    shuffled = given_trials.take(rng.permutation(40))
    monkeypatch.setattr(bits, "_BLOCK", 2)
    monkeypatch.setattr(estimators, "_ROWS", 8)
    in_blocks = estimators.memorization(shuffled), list(estimators.full_influence(shuffled))
    monkeypatch.undo()
    at_once = estimators.memorization(given_trials), list(estimators.full_influence(given_trials))
    assert (len(in_blocks[1]), len(at_once[1])) == (9, 1)
    np.testing.assert_array_equal(np.concatenate(in_blocks[1]), at_once[1][0])
    np.testing.assert_array_equal(in_blocks[0].value, at_once[0].value)
    np.testing.assert_array_equal(in_blocks[0].standard_error, at_once[0].standard_error)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_is_chosen_is_computed_alone_with_the_same_bits(rng, estimator):
    """Training examples, classes and errors; pairs and their errors follow from these alone."""
    subset = rng.random((40, 70)) < 0.6
    subset[:, [3, 8]] = True, False  # Two have no estimate.
    correct = [rng.random((40, count)) < 0.6 for count in (70, 30)]
    labels = rng.integers(0, 3, 70), rng.integers(0, 3, 30)
    given_trials = dataclasses.replace(
        trial_set(subset, *correct, *labels),
        train_probability=rng.random((40, 70)).astype(np.float16),
        test_probability=rng.random((40, 30)).astype(np.float16),
    )
    lazy = estimators.estimate(given_trials, estimator=estimator)
    whole = dataclasses.replace(lazy, influences=tuple(lazy.influences))
    chosen = rng.random(70) < 0.3
    for some in (chosen, np.zeros(70, bool), None):
        for wanted in (None, [1]):
            for errors in (False, True):
                mine, other = (
                    list(influences_of(side.influences, some, wanted, errors))
                    for side in (lazy, whole)
                )
                assert len(mine) == len(other) == (3 if wanted is None else 1)
                for a, b in zip(mine, other, strict=True):
                    np.testing.assert_equal(vars(a), vars(b))
                    assert (a.standard_error is not None) == errors
    for mem, infl in ((0.1, 0.1), (-1, 0.2), (2, 0)):
        found = pairs.select(lazy.memorization, lazy.influences, mem, infl)
        other = pairs.select(whole.memorization, whole.influences, mem, infl)
        np.testing.assert_equal(vars(found), vars(other))
        assert bool(len(found)) == (mem < 2)
        of_pairs = found.train_index, found.test_index
        np.testing.assert_array_equal(
            lazy.influence_errors(*of_pairs), whole.influence_errors(*of_pairs)
        )


# P[correct | in], P[correct | out]: typical, memorized, and near or at the ends, where the plug-in
# standard error is often 0.
ORACLE = np.array(
    list(itertools.product([0, 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999, 1], repeat=2))
)


def oracle_trials(t, rng, repeats):
    """An oracle learner: right on i with a chosen probability that depends on seeing i alone."""
    p_in, p_out = np.repeat(ORACLE, repeats, axis=0).T
    subset = rng.random((t, len(p_in))).argsort(axis=1) < round(0.7 * len(p_in))
    correct = rng.random(subset.shape) < np.where(subset, p_in, p_out)
    labels = np.zeros(len(p_in), int)
    return trial_set(subset, correct, correct[:, :1], labels, labels[:1]), p_in - p_out


@pytest.mark.parametrize("t", [10, 100, 1000])
def test_squared_error_is_below_the_bound_of_lemma_2_1(t, rng):
    """Of the examples that have an estimate: with 10 trials, some are in all of them."""
    found_trials, truth = oracle_trials(t, rng, repeats=40)
    error = (estimators.memorization(found_trials).value - truth) ** 2
    assert np.isnan(error).any() == (t == 10)
    p = 0.3  # min(m / n, 1 - m / n)
    bound = 1 / (p * t) + 1 / ((1 - p) * t) + np.exp(-p * t / 16) / 2
    assert np.nanmean(error) < bound
    # For every pair of probabilities, not only on average.
    assert np.nanmean(error.reshape(len(ORACLE), -1), axis=1).max() < bound


@pytest.mark.parametrize("t", [100, 300, pytest.param(1000, marks=pytest.mark.slow)])
def test_two_standard_errors_cover_the_truth(t, rng):
    """At least 93% of the time, for every pair of probabilities, the ends included."""
    found_trials, truth = oracle_trials(t, rng, repeats=300)
    found = estimators.memorization(found_trials)
    covered = np.abs(found.value - truth) <= 2 * found.standard_error
    by_pair = covered.reshape(len(ORACLE), -1).mean(axis=1)
    assert covered.mean() > 0.95
    # 300 repetitions of 93% have a standard deviation of 1.5%: 3 of those below.
    assert by_pair.min() > 0.93 - 3 * 0.015
    at_ends = np.isin(ORACLE, [0, 0.001, 0.999, 1]).all(axis=1)
    assert by_pair[at_ends].mean() > 0.97
    # The plug-in error is what this replaces: at the ends it is often 0.
    plug_in = np.zeros(len(truth))
    for successes, count in (
        (found.heldout_accuracy * found.num_out, found.num_out),
        ((found.value + found.heldout_accuracy) * found.num_in, found.num_in),
    ):
        share = successes / count
        plug_in += share * (1 - share) / count
    ends = np.repeat(np.isin(ORACLE, [0.001, 0.999]).any(axis=1), 300)
    naive = np.abs(found.value - truth)[ends] <= 2 * np.sqrt(np.maximum(plug_in[ends], 0)) + 1e-12
    assert naive.mean() < 0.93 < covered[ends].mean()


@pytest.mark.parametrize("count", [100, 300, 1000])
def test_coverage_by_enumeration(count):
    """The exact coverage of two standard errors, over a fine grid of pairs of probabilities."""
    from scipy import stats

    num_in, num_out = round(0.7 * count), round(0.3 * count)
    inside, outside = np.arange(num_in + 1), np.arange(num_out + 1)
    value, error = estimators.difference(inside[:, None], num_in, outside[None, :], num_out)
    low = np.concatenate([[0], np.geomspace(1e-4, 0.5, 15)])
    grid = np.unique(np.concatenate([low, 1 - low]))
    weights_in = stats.binom.pmf(inside, num_in, grid[:, None])
    weights_out = stats.binom.pmf(outside, num_out, grid[:, None])
    for i, j in itertools.product(range(len(grid)), repeat=2):
        covered = np.abs(value - (grid[i] - grid[j])) <= 2 * error + 1e-12
        assert weights_in[i] @ covered @ weights_out[j] >= 0.93, (grid[i], grid[j])


def test_a_difference_that_is_a_threshold_reaches_it():
    """All counts of 40 trials in 20 and 20 out, 13 and 27, and so on, against exact fractions."""
    num_in = np.arange(1, 40)[:, None, None]
    num_out = 40 - num_in
    right_in, right_out = np.arange(40)[None, :, None], np.arange(40)[None, None, :]
    possible = (right_in <= num_in) & (right_out <= num_out)
    value = np.full(possible.shape, np.nan)
    counts = np.broadcast_arrays(right_in, num_in, right_out, num_out)
    value[possible], _ = estimators.difference(*(part[possible] for part in counts))
    for threshold in (Fraction(3, 20), Fraction(1, 4), Fraction(1, 10)):
        scaled = (right_in * num_out - right_out * num_in) * threshold.denominator
        exact = scaled >= threshold.numerator * num_in * num_out
        reached = value >= float(threshold)
        assert np.array_equal(reached[possible], exact[possible])
        assert ((scaled == threshold.numerator * num_in * num_out) & possible).sum() >= 10
