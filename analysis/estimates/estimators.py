"""Memorization and influence from trials: Algorithm 1 of Feldman & Zhang, as counts.

With M [t, n] (which trial saw which training example) and C [t, n'] (which trial got which example
right), everything follows from integers: M'C counts the trials that saw i and were right on j, and
the column sums give the rest. Integers are exact in float32 products up to 2^24 trials, so any
order of trials or blocks gives the same bits, and one product does for both terms. Both are kept
eight trials to a byte, a row per example, so that an example's trials lie together.
"""

from collections.abc import Iterator

import numpy as np

from analysis.estimates.values import ClassInfluence, Memorization
from tfmem.disk.bits import BitMatrix
from tfmem.store.trials import TrialSet

_ADDED = 2  # Successes, and failures, that `rate_variance` adds.
_ROWS = 512  # Training examples in one block of the full influence matrix.


def rate(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Returns successes / trials, and 1/2 where there are no trials (proof of Lemma 2.1)."""
    return np.where(trials > 0, successes / np.maximum(trials, 1), 0.5)


def rate_variance(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Returns the estimated variance of `rate`, never 0.

    The plug-in p (1 - p) / trials is 0 for an example that was right in all its trials. Two
    successes and two failures are added to p (Agresti & Coull, 1998), so that two standard errors
    cover the truth in at least 93% of repetitions, whatever the two probabilities, at 100 trials or
    more (WORKSPACE.md).
    """
    smoothed = (successes + _ADDED) / (trials + 2 * _ADDED)
    return smoothed * (1 - smoothed) / np.maximum(trials, 1)


def difference(
    in_successes: np.ndarray, num_in: np.ndarray, out_successes: np.ndarray, num_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns P[right | in] - P[right | out] and its standard error, float64, from counts."""
    value = rate(in_successes, num_in) - rate(out_successes, num_out)
    variance = rate_variance(in_successes, num_in) + rate_variance(out_successes, num_out)
    return value, np.sqrt(variance)


def memorization(trials: TrialSet) -> Memorization:
    """Estimates the memorization of every training example (Algorithm 1, line 5)."""
    subset, correct = trials.subset.transposed, trials.train_correct.transposed
    num_in, successes = subset.row_sums(), correct.row_sums()
    in_successes = (subset & correct).row_sums()
    num_out = len(trials) - num_in
    value, standard_error = difference(in_successes, num_in, successes - in_successes, num_out)
    heldout_accuracy = rate(successes - in_successes, num_out)
    return Memorization(value, standard_error, heldout_accuracy, num_in, num_out)


def test_accuracies(trials: TrialSet) -> np.ndarray:
    """Returns the accuracy of each trial on the test examples, float64 [t]."""
    return trials.test_correct.row_means()


def in_counts(subset: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Returns M'C: in how many trials i was seen and j was right.

    Args:
      subset: bool [a, t], M'.
      correct: bool or float32 [b, t], C'.

    Returns:
      float32 [a, b] of exact integers; t is at most 2^24.
    """
    return subset.astype(np.float32) @ correct.astype(np.float32, copy=False).T


def class_influence(trials: TrialSet, label: int) -> ClassInfluence:
    """Estimates influence within one class (Algorithm 1, line 7, for y_i = y_j = label)."""
    train_index = np.flatnonzero(trials.train_labels == label)
    test_index = np.flatnonzero(trials.test_labels == label)
    subset = trials.subset.transposed.rows(train_index)
    correct = trials.test_correct.transposed.rows(test_index)
    num_in = subset.row_sums()[:, None]
    successes = correct.row_sums()[None, :]
    counts = in_counts(subset.columns(), correct.columns()).astype(np.int64)
    value, standard_error = difference(counts, num_in, successes - counts, len(trials) - num_in)
    return ClassInfluence(train_index, test_index, value, standard_error.astype(np.float32))


def class_influences(trials: TrialSet) -> Iterator[ClassInfluence]:
    """Yields `class_influence` of every class, in label order."""
    for label in range(trials.num_classes):
        yield class_influence(trials, label)


def full_influence(trials: TrialSet) -> Iterator[np.ndarray]:
    """Estimates influence of every training on every test example (Algorithm 1, line 7).

    Yields:
      float32 [rows, n'], the next rows of the [n, n'] matrix; their concatenation is the matrix.
    """
    return influence_rows(trials.subset, trials.test_correct.transposed.columns())


def influence_rows(subset: BitMatrix, outcome: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows of mean outcome with i minus mean outcome without it, in blocks.

    Args:
      subset: [t, n], which trial saw which training example.
      outcome: [n', t], what each trial achieved on each test example, such as 0 or 1.

    Yields:
      float32 [rows, n'].
    """
    num_trials, count = subset.shape
    total = outcome.sum(axis=1, dtype=np.float64)
    outcome = outcome.astype(np.float32)
    for start in range(0, count, _ROWS):
        block = subset.transposed.rows(slice(start, start + _ROWS))
        sums = in_counts(block.columns(), outcome)
        num_in = block.row_sums()
        num_out = num_trials - num_in
        # yes / in - (total - yes) / out, rearranged to two passes over a row in the cache.
        per_out = np.where(num_out > 0, 1 / np.maximum(num_out, 1), 0.0)
        per_yes = np.where(num_in > 0, 1 / np.maximum(num_in, 1), 0.0) + per_out
        # 1/2 for a term without trials (proof of Lemma 2.1).
        constant = 0.5 * (num_in == 0) - 0.5 * (num_out == 0)
        for row, yes in enumerate(sums):
            sums[row] = yes * per_yes[row] - (total * per_out[row] - constant[row])
        yield sums
