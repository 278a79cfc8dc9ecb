"""Estimates from probabilities of the true label, by hand and against a plain twin."""

import dataclasses

import numpy as np
import pytest

from analysis.estimates import estimators
from analysis.estimates.values import PROBABILITY
from tests.trials import trial_set


def with_probabilities(subset, train, test, train_labels, test_labels):
    """A label that is given more than half of the probability is predicted."""
    train, test = (np.asarray(values, np.float16) for values in (train, test))
    trials = trial_set(subset, train > 0.5, test > 0.5, train_labels, test_labels)
    return dataclasses.replace(trials, train_probability=train, test_probability=test)


def test_by_hand():
    """Example 0 is in trials 0 and 1, example 1 in all, example 2 in none."""
    trials = with_probabilities(
        subset=[[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]],
        train=[[1, 0.75, 0], [0.5, 0.25, 1], [0, 0.5, 1], [0.25, 0.5, 0]],
        test=[[1], [0.75], [0.25], [0.5]],
        train_labels=[0, 0, 0],
        test_labels=[0],
    )
    found = estimators.memorization(trials, PROBABILITY)
    # 0.75 - 0.125; the others have no estimate.
    np.testing.assert_array_equal(found.value, [0.625, np.nan, np.nan])
    # Sample variances 1/8 and 1/32, each over 2.
    expected = [np.sqrt(1 / 16 + 1 / 64), np.nan, np.nan]
    np.testing.assert_allclose(found.standard_error, expected)
    np.testing.assert_array_equal(found.heldout_accuracy, [0, np.nan, 0.5])
    block = estimators.class_influence(trials, 0, PROBABILITY)
    # 0.875 - 0.375, of sample variances 1/32 and 1/32, each over 2.
    np.testing.assert_array_equal(block.value[:, 0], [0.5, np.nan, np.nan])
    expected = [np.sqrt(1 / 64 + 1 / 64), np.nan, np.nan]
    np.testing.assert_allclose(block.standard_error[:, 0], expected)
    full = np.concatenate(list(estimators.full_influence(trials, PROBABILITY)))
    np.testing.assert_array_equal(full, block.value)


def test_equals_the_plain_twin(rng, monkeypatch):
    monkeypatch.setattr(estimators, "_COLUMNS", 7)
    subset = rng.random((60, 30)) < 0.7
    labels = rng.integers(0, 3, 30), rng.integers(0, 3, 20)
    trials = with_probabilities(subset, rng.random((60, 30)), rng.random((60, 20)), *labels)
    found = estimators.memorization(trials, PROBABILITY)
    blocks = list(estimators.class_influences(trials, PROBABILITY))
    assert len(blocks) == 3
    full = np.concatenate(list(estimators.full_influence(trials, PROBABILITY)))

    def twin(values, seen):
        inside, outside = values[seen].astype(float), values[~seen].astype(float)
        error = np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
        return inside.mean() - outside.mean(), error

    for i in range(30):
        value, error = twin(trials.train_probability[:, i], subset[:, i])
        assert found.value[i] == pytest.approx(value, abs=1e-12)
        assert found.standard_error[i] == pytest.approx(error)
        for j in range(20):
            value, error = twin(trials.test_probability[:, j], subset[:, i])
            assert full[i, j] == pytest.approx(value, abs=1e-6)
            block = blocks[labels[0][i]]
            if labels[1][j] == labels[0][i]:
                place = (
                    np.flatnonzero(block.train_index == i),
                    np.flatnonzero(block.test_index == j),
                )
                assert block.value[place] == pytest.approx(value, abs=1e-12)
                assert block.standard_error[place] == pytest.approx(error, rel=1e-6)


def test_it_varies_less_and_two_errors_cover_the_truth(rng):
    """Whoever saw the example is a little surer: probabilities uniform below 0.9 instead of 0.7."""
    count, t = 2000, 100
    subset = rng.random((t, count)) < 0.7
    train = rng.random((t, count)) * np.where(subset, 0.9, 0.7)
    labels = np.zeros(count, int)
    trials = with_probabilities(subset, train, train[:, :1], labels, labels[:1])
    found = estimators.memorization(trials, PROBABILITY)
    covered = np.abs(found.value - 0.1) <= 2 * found.standard_error
    # float16 moves a probability by 2.5e-4 at most.
    assert found.value.mean() == pytest.approx(0.1, abs=0.005)
    assert 0.93 < covered.mean() < 0.97
    by_correctness = estimators.memorization(trials)
    assert found.value.std() < 0.6 * by_correctness.value.std()
