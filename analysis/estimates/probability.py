"""Memorization and influence from the probability of the true label: a second estimator.

The formulas are those of Algorithm 1, with the probability that a model gives to the true label in
the place of whether it is right. What they estimate differs a little: how much more probable, not
how much more often right. They vary less from trial to trial, so that fewer trials will do.
"""

from collections.abc import Iterator

import numpy as np

from analysis.estimates import estimators
from analysis.estimates.values import ClassInfluence, Memorization
from tfmem.store.trials import TrialSet

_COLUMNS = 2048  # Training examples whose probabilities are worked on at once.


def memorization(trials: TrialSet) -> Memorization:
    """Estimates how much more probable an example's label is to models that saw it.

    Args:
      trials: with `train_probability`.

    Returns:
      Estimates whose held-out accuracy is still the share of right predictions.
    """
    by_correctness = estimators.memorization(trials)
    count = trials.subset.count
    seen = np.empty((4, count))
    for start in range(0, count, _COLUMNS):
        block = slice(start, start + _COLUMNS)
        subset = trials.subset.transposed.rows(block).columns()
        probability = trials.train_probability[:, block].T.astype(np.float64)
        squares = probability**2
        seen[:, block] = (
            (probability * subset).sum(axis=1),
            (squares * subset).sum(axis=1),
            probability.sum(axis=1),
            squares.sum(axis=1),
        )
    num_in, num_out = by_correctness.num_in, by_correctness.num_out
    in_sum, in_squares, total, total_squares = seen
    value, standard_error = difference(
        (in_sum, in_squares, num_in), (total - in_sum, total_squares - in_squares, num_out)
    )
    return Memorization(value, standard_error, by_correctness.heldout_accuracy, num_in, num_out)


def class_influence(trials: TrialSet, label: int) -> ClassInfluence:
    """Estimates influence within one class; `trials` has `test_probability`."""
    train_index = np.flatnonzero(trials.train_labels == label)
    test_index = np.flatnonzero(trials.test_labels == label)
    subset = trials.subset.transposed.rows(train_index)
    # In float64: variances are small differences of sums of squares.
    seen = subset.columns().astype(np.float64)
    probability = trials.test_probability[:, test_index].astype(np.float64)
    squares = probability**2
    in_sum, in_squares = seen @ probability, seen @ squares
    num_in = subset.row_sums()[:, None]
    value, standard_error = difference(
        (in_sum, in_squares, num_in),
        (
            probability.sum(axis=0) - in_sum,
            squares.sum(axis=0) - in_squares,
            len(trials) - num_in,
        ),
    )
    return ClassInfluence(train_index, test_index, value, standard_error.astype(np.float32))


def class_influences(trials: TrialSet) -> Iterator[ClassInfluence]:
    """Yields `class_influence` of every class, in label order."""
    for label in range(trials.num_classes):
        yield class_influence(trials, label)


def full_influence(trials: TrialSet) -> Iterator[np.ndarray]:
    """Yields the rows of the [n, n'] matrix in blocks, as `estimators.full_influence` does."""
    return estimators.influence_rows(trials.subset, trials.test_probability.T)


def difference(
    inside: tuple[np.ndarray, np.ndarray, np.ndarray],
    outside: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the difference of two means and its standard error.

    Args:
      inside: the sum, the sum of squares and the number of the values of the first mean.
      outside: of the second.
    """
    (a, a_variance), (b, b_variance) = (_mean(*group) for group in (inside, outside))
    return a - b, np.sqrt(a_variance + b_variance)


def _mean(
    total: np.ndarray, squares: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a mean in [0, 1] and its variance; without a value 1/2 and, at the most, 1/4."""
    some = np.maximum(count, 1)
    mean = np.where(count > 0, total / some, 0.5)
    # The sample's variance; of a single value it is unknown, and 1/4 is the most it can be.
    sample = np.maximum(squares - total * mean, 0) / np.maximum(count - 1, 1)
    return mean, np.where(count > 1, sample, 0.25) / some
