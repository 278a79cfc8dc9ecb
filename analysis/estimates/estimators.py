"""Memorization and influence from trials: Algorithm 1 of Feldman & Zhang, as counts.

With M [t, n] (which trial saw which training example) and C [t, n'] (which trial got which example
right), everything follows from integers: M'C counts the trials that saw i and were right on j, and
the column sums give the rest. Integers are exact in float32 products up to 2^24 trials, so any
order of trials or blocks gives the same bits, and one product does for both terms. Both are kept
eight trials to a byte, a row per example, so that an example's trials lie together.

An example that was in all trials, or in none, has no estimate: its memorization, its influence and
their errors are nan.

The second estimator, `PROBABILITY`, has in the place of whether a trial is right the probability
that it gives to the true label. It estimates how much more probable that label is, not how much
more often it is predicted, and varies less from trial to trial, so that fewer trials will do.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from analysis.estimates.values import (
    CORRECTNESS,
    PROBABILITY,
    ClassInfluence,
    Estimates,
    Influences,
    Memorization,
)
from tfmem.datasets import Dataset
from tfmem.disk.bits import BitMatrix
from tfmem.store.trials import TrialSet

# Influence is estimated within classes, there and as a full matrix, or not at all.
CLASS, FULL, NONE = INFLUENCE = ("class", "full", "none")
_ADDED = 2  # Successes, and failures, that `rate_variance` adds.
_ROWS = 512  # Training examples in one block of the full influence matrix.
_COLUMNS = 2048  # Training examples whose probabilities are worked on at once.


def estimate(
    trials: TrialSet,
    dataset: Dataset | None = None,
    influence: str = CLASS,
    estimator: str = CORRECTNESS,
) -> Estimates:
    """Estimates memorization and influence from trials.

    Influence is computed whenever it is asked for, one class or block of rows at a time.

    Args:
      trials: with probabilities, if the estimator needs them.
      dataset: of the trials, whose ids name the examples; None leaves them without.
      influence: one of `INFLUENCE`.
      estimator: `CORRECTNESS` or `PROBABILITY`.
    """
    accuracies = test_accuracies(trials)
    details = memorization(trials, estimator)
    return Estimates(
        memorization=details.value,
        train_labels=trials.train_labels,
        test_labels=trials.test_labels,
        influences=() if influence == NONE else class_influences(trials, estimator),
        full=full_influence(trials, estimator) if influence == FULL else None,
        details=details,
        num_trials=len(trials),
        train_ids=None if dataset is None else dataset.train.ids,
        test_ids=None if dataset is None else dataset.test.ids,
        test_accuracy=float(accuracies.mean()),
        test_accuracy_deviation=float(accuracies.std()),
        estimator=estimator,
    )


def estimate_in_blocks(
    blocks: Iterable[TrialSet], num_trials: int, dataset: Dataset, influence: str = CLASS
) -> Estimates:
    """Estimates as `estimate` by `CORRECTNESS` does, to the bit: counts of blocks of trials add.

    So memory holds one block and the counts of all, however many trials there are.

    Args:
      blocks: of trials, ascending.
      num_trials: how many they are together.
      dataset: of the trials.
      influence: `CLASS` or `NONE`.
    """
    n, n_test = len(dataset.train), len(dataset.test)
    of_train, right = np.zeros((3, n), np.int64), np.zeros(n_test, np.int64)
    together: list[np.ndarray] = []
    index: list[tuple[np.ndarray, np.ndarray]] = []
    accuracies = []
    for block in blocks:
        of_train += train_counts(block)
        right += block.test_correct.transposed.row_sums()
        accuracies.append(test_accuracies(block))
        if influence == CLASS and not index:
            index = list(zip(block.train_of_class, block.test_of_class, strict=True))
            dtype = np.min_scalar_type(num_trials)
            together = [np.zeros((len(a), len(b)), dtype) for a, b in index]
        for counts, (train_index, test_index) in zip(together, index, strict=True):
            counts += _class_counts(block, train_index, test_index).astype(counts.dtype)
        del block  # Before the next one is read.

    def of_classes(
        labels: Sequence[int], chosen: np.ndarray | None, errors: bool
    ) -> Iterator[ClassInfluence]:
        for label in labels:
            train_index, test_index = index[label]
            value, error = _influence(
                together[label], of_train[0, train_index], right[test_index], num_trials, errors
            )
            yield ClassInfluence(train_index, test_index, value, error).of(chosen)

    details = _memorization(of_train, num_trials)
    accuracy = np.concatenate(accuracies)
    return Estimates(
        memorization=details.value,
        train_labels=dataset.train.labels,
        test_labels=dataset.test.labels,
        influences=Influences(len(index), of_classes),
        details=details,
        num_trials=num_trials,
        train_ids=dataset.train.ids,
        test_ids=dataset.test.ids,
        test_accuracy=float(accuracy.mean()),
        test_accuracy_deviation=float(accuracy.std()),
    )


def rate(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Returns successes / trials, and nan where there are no trials."""
    return successes / _some(trials)


def _some(count: np.ndarray) -> np.ndarray:
    """Returns float64 counts to divide by, with nan in the place of 0."""
    return np.where(count > 0, count, np.nan)


def rate_variance(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Returns the estimated variance of `rate`, never 0, and nan where there are no trials.

    The plug-in p (1 - p) / trials is 0 for an example that was right in all its trials. Two
    successes and two failures are added to p (Agresti & Coull, 1998), so that two standard errors
    cover the truth in at least 93% of repetitions, whatever the two probabilities, at 100 trials or
    more (docs/decisions/statistics.md).
    """
    smoothed = (successes + _ADDED) / (trials + 2 * _ADDED)
    return smoothed * (1 - smoothed) / _some(trials)


def _rate_difference(
    in_sum: np.ndarray, num_in: np.ndarray, out_sum: np.ndarray, num_out: np.ndarray
) -> np.ndarray:
    """Returns in_sum / num_in - out_sum / num_out, float64; nan where a number is 0.

    It is rounded once, so that of counts one that is 3/20 is equal to the threshold 0.15.
    """
    return (in_sum * num_out - out_sum * num_in) / _some(num_in * num_out)


def difference(
    in_successes: np.ndarray, num_in: np.ndarray, out_successes: np.ndarray, num_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns P[right | in] - P[right | out] and its standard error, float64, from counts.

    Both are nan where one of the two numbers of trials is 0.
    """
    counts = in_successes, num_in, out_successes, num_out
    return _rate_difference(*counts), difference_error(*counts)


def difference_error(
    in_successes: np.ndarray, num_in: np.ndarray, out_successes: np.ndarray, num_out: np.ndarray
) -> np.ndarray:
    """Returns the standard error of `difference`."""
    return np.sqrt(rate_variance(in_successes, num_in) + rate_variance(out_successes, num_out))


_Sums = tuple[np.ndarray, np.ndarray, np.ndarray]


def mean_difference(inside: _Sums, outside: _Sums) -> tuple[np.ndarray, np.ndarray]:
    """Returns the difference of two means of probabilities and its standard error.

    Both are nan where one of the means is of nothing.

    Args:
      inside: the sum, the sum of squares and the number of the values of the first mean.
      outside: of the second.
    """
    value = _rate_difference(inside[0], inside[2], outside[0], outside[2])
    return value, mean_difference_error(inside, outside)


def mean_difference_error(inside: _Sums, outside: _Sums) -> np.ndarray:
    """Returns the standard error of `mean_difference`."""
    return np.sqrt(_mean_variance(*inside) + _mean_variance(*outside))


def _mean_variance(total: np.ndarray, squares: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns the variance of a mean of values in [0, 1], nan without a value."""
    some = _some(count)
    # The sample's variance; of a single value it is unknown, and 1/4 is the most it can be.
    sample = np.maximum(squares - total**2 / some, 0) / np.maximum(count - 1, 1)
    return np.where(count > 1, sample, 0.25) / some


def memorization(trials: TrialSet, estimator: str = CORRECTNESS) -> Memorization:
    """Estimates the memorization of every training example (Algorithm 1, line 5).

    By either estimator, the held-out accuracy is the share of right predictions; it is nan for an
    example that no trial left out.
    """
    found = _memorization(train_counts(trials), len(trials))
    if estimator == PROBABILITY:
        value, error = _more_probable(trials, found.num_in, found.num_out)
        return dataclasses.replace(found, value=value, standard_error=error)
    return found


def train_counts(trials: TrialSet) -> np.ndarray:
    """Returns int64 [3, n]: how many trials saw i, were right on i, and both."""
    subset, correct = trials.subset.transposed, trials.train_correct.transposed
    return np.stack([subset.row_sums(), correct.row_sums(), (subset & correct).row_sums()])


def _memorization(counts: np.ndarray, num_trials: int) -> Memorization:
    """Returns `memorization` from `train_counts`."""
    num_in, successes, in_successes = counts
    num_out, out_successes = num_trials - num_in, successes - in_successes
    value, error = difference(in_successes, num_in, out_successes, num_out)
    return Memorization(value, error, rate(out_successes, num_out), num_in, num_out)


def _more_probable(
    trials: TrialSet, num_in: np.ndarray, num_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how much more probable a label is to those that saw it, and the standard error."""
    count = trials.subset.count
    sums = np.empty((4, count))
    for start in range(0, count, _COLUMNS):
        block = slice(start, start + _COLUMNS)
        subset = trials.subset.transposed.rows(block).columns()
        probability = _known(trials.train_probability)[:, block].T.astype(np.float64)
        squares = probability**2
        sums[:, block] = (
            (probability * subset).sum(axis=1),
            (squares * subset).sum(axis=1),
            probability.sum(axis=1),
            squares.sum(axis=1),
        )
    in_sum, in_squares, total, total_squares = sums
    return mean_difference(
        (in_sum, in_squares, num_in), (total - in_sum, total_squares - in_squares, num_out)
    )


def _known(probability: np.ndarray | None) -> np.ndarray:
    if probability is None:
        raise ValueError("the trials were loaded without the probabilities of the true label")
    return probability


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


def class_influence(
    trials: TrialSet,
    label: int,
    estimator: str = CORRECTNESS,
    chosen: np.ndarray | None = None,
    errors: bool = True,
) -> ClassInfluence:
    """Estimates influence within one class (Algorithm 1, line 7, for y_i = y_j = label).

    Args:
      trials: with probabilities, if the estimator needs them.
      label: of the class.
      estimator: `CORRECTNESS` or `PROBABILITY`.
      chosen: bool [n], the training examples that are wanted; None is all.
      errors: whether standard errors are, which take most of the time.
    """
    train_index, test_index = trials.train_of_class[label], trials.test_of_class[label]
    if chosen is not None:
        train_index = train_index[chosen[train_index]]
    if not len(train_index):  # Most classes, where few examples are memorized.
        nothing = np.zeros((0, len(test_index)))
        return ClassInfluence(
            train_index, test_index, nothing, nothing.astype(np.float32) if errors else None
        )
    if estimator == PROBABILITY:
        value, error = _more_probable_influence(trials, train_index, test_index, errors)
    else:
        num_in = trials.subset.transposed.rows(train_index).row_sums()
        successes = trials.test_correct.transposed.rows(test_index).row_sums()
        counts = _class_counts(trials, train_index, test_index)
        value, error = _influence(counts, num_in, successes, len(trials), errors)
    return ClassInfluence(train_index, test_index, value, error)


def _class_counts(trials: TrialSet, train_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    """Returns `in_counts` of some training and some test examples."""
    subset = trials.subset.transposed.rows(train_index)
    return in_counts(subset.columns(), trials.test_correct.transposed.rows(test_index).columns())


def _influence(
    counts: np.ndarray, num_in: np.ndarray, successes: np.ndarray, num_trials: int, errors: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns influence and, if wanted, its standard errors, from counts.

    Args:
      counts: [a, b], `in_counts`.
      num_in: int64 [a], how many trials saw i.
      successes: int64 [b], how many were right on j.
      num_trials: how many there are.
      errors: whether standard errors are wanted.
    """
    both, num_in = counts.astype(np.int64), num_in[:, None]
    of_rates = both, num_in, successes - both, num_trials - num_in
    error = difference_error(*of_rates).astype(np.float32) if errors else None
    return _rate_difference(*of_rates), error


def _more_probable_influence(
    trials: TrialSet, train_index: np.ndarray, test_index: np.ndarray, errors: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns how much more probable labels are to those that saw i, and the standard errors."""
    subset = trials.subset.transposed.rows(train_index)
    num_in = subset.row_sums()[:, None]
    num_out = len(trials) - num_in
    # In float64: variances are small differences of sums of squares.
    seen = subset.columns().astype(np.float64)
    probability = _known(trials.test_probability)[:, test_index].astype(np.float64)
    in_sum, total = seen @ probability, probability.sum(axis=0)
    value = _rate_difference(in_sum, num_in, total - in_sum, num_out)
    if not errors:
        return value, None
    squares = probability**2
    in_squares = seen @ squares
    inside = (in_sum, in_squares, num_in)
    outside = (total - in_sum, squares.sum(axis=0) - in_squares, num_out)
    return value, mean_difference_error(inside, outside).astype(np.float32)


def class_influences(trials: TrialSet, estimator: str = CORRECTNESS) -> Influences:
    """Returns `class_influence` of every class, each computed whenever it is asked for."""
    return Influences(
        trials.num_classes,
        lambda labels, chosen, errors: (
            class_influence(trials, label, estimator, chosen, errors) for label in labels
        ),
    )


def full_influence(trials: TrialSet, estimator: str = CORRECTNESS) -> Iterator[np.ndarray]:
    """Estimates influence of every training on every test example (Algorithm 1, line 7).

    Yields:
      float32 [rows, n'], the next rows of the [n, n'] matrix; their concatenation is the matrix.
    """
    if estimator == PROBABILITY:
        return influence_rows(trials.subset, _known(trials.test_probability).T)
    return influence_rows(trials.subset, trials.test_correct.transposed.columns())


def influence_rows(subset: BitMatrix, outcome: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows of mean outcome with i minus mean outcome without it, in blocks.

    Args:
      subset: [t, n], which trial saw which training example.
      outcome: [n', t], what each trial achieved on each test example, such as 0 or 1.

    Yields:
      float32 [rows, n'], nan for an example that was in all trials or in none.
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
        per_out = 1 / _some(num_out)
        per_yes = 1 / _some(num_in) + per_out
        for row, yes in enumerate(sums):
            sums[row] = yes * per_yes[row] - total * per_out[row]
        yield sums
