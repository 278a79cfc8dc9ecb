"""How well two estimates agree, threshold by threshold: Sec. 3.5 and eq. 4 of Feldman & Zhang.

A set is what has an estimate at or above a threshold. Two sets are compared by their Jaccard
similarity, and the two estimates by the mean of |a - b| over the union of the sets. What only one
of the two has an estimate of is in neither set.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from analysis.estimates.scores import Scores
from analysis.estimates.values import ClassInfluence, Estimates, influences_of

# Curves are drawn at these thresholds, and the paper's own are among them.
THRESHOLDS = np.arange(21) / 20

# The two estimates of some elements, and whether an element may be in the first and in the second
# set (bool, of a shape that broadcasts to theirs).
_Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Agreement(NamedTuple):
    """How two sets agree at one threshold.

    Attributes:
      jaccard: |both| / |either|, nan when the union is empty.
      difference: the mean of |a - b| over the union (eq. 4), nan when it is empty.
      size_a: elements of the first set.
      size_b: of the second.
      size_both: of both.
    """

    jaccard: float
    difference: float
    size_a: int
    size_b: int
    size_both: int

    @property
    def share_of_a(self) -> float:
        """How much of the first set is in the second too; nan when it is empty."""
        return self.size_both / self.size_a if self.size_a else math.nan

    @property
    def share_of_b(self) -> float:
        """How much of the second set is in the first too; nan when it is empty."""
        return self.size_both / self.size_b if self.size_b else math.nan


@dataclasses.dataclass(frozen=True)
class Curve:
    """How two estimates agree at k thresholds.

    Attributes:
      thresholds: float64 [k], ascending, inclusive.
      jaccard: float64 [k]; nan where the union is empty, a gap in the curve.
      difference: float64 [k], the mean of |a - b| over the union (eq. 4); nan where it is empty.
      size_a: int64 [k], elements of the first set.
      size_b: int64 [k], of the second.
      size_both: int64 [k], of both.
    """

    thresholds: np.ndarray
    jaccard: np.ndarray
    difference: np.ndarray
    size_a: np.ndarray
    size_b: np.ndarray
    size_both: np.ndarray

    def at(self, threshold: float) -> Agreement:
        """Returns the agreement at one of the thresholds; ValueError if it is none of them."""
        (found,) = np.nonzero(self.thresholds == threshold)
        if not len(found):
            raise ValueError(f"the curve has no threshold {threshold:g}")
        return Agreement(*(getattr(self, name)[found[0]].item() for name in Agreement._fields))


def compare(
    a: np.ndarray, b: np.ndarray, in_a: np.ndarray, in_b: np.ndarray
) -> tuple[float, float]:
    """Returns the Jaccard similarity of two sets and eq. 4's mean difference over their union.

    Args:
      a: float, one estimate per element.
      b: float, the other estimate, of the same shape.
      in_a: bool, whether the element is in the first set.
      in_b: bool, in the second.

    Returns:
      Two numbers, both nan when the union is empty.
    """
    union = in_a | in_b
    size = np.count_nonzero(union)
    if not size:
        return math.nan, math.nan
    jaccard = np.count_nonzero(in_a & in_b) / size
    return jaccard, float(np.abs(a[union] - b[union]).mean())


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Spearman's rank correlation of float [k] and [k]; nan if one of them is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    from scipy import stats

    return float(stats.spearmanr(a, b).statistic)


def require_same_examples(
    a: Estimates | Scores, b: Estimates | Scores, name_a: str, name_b: str
) -> None:
    """Raises ValueError, naming the first example that disagrees, if the examples are not the same.

    Their numbers, labels and, where both files have them, ids are compared.

    Args:
      a: estimates, or scores.
      b: others.
      name_a: what the message calls the first.
      name_b: what it calls the second.
    """
    for split, what in (("train", "training"), ("test", "test")):
        labels_a, labels_b = (getattr(side, f"{split}_labels") for side in (a, b))
        if len(labels_a) != len(labels_b):
            raise ValueError(
                f"{name_a} has {len(labels_a):,} {what} examples and {name_b} {len(labels_b):,}: "
                "they are not of one dataset"
            )
        # Ids come first, for where they disagree, labels do so by accident.
        for field, noun in (("ids", "id"), ("labels", "label")):
            of_a, of_b = (getattr(side, f"{split}_{field}") for side in (a, b))
            if of_a is None or of_b is None:
                continue
            different = np.flatnonzero(of_a != of_b)
            if len(different):
                first = different[0]
                raise ValueError(
                    f"{what} example {first} has the {noun} {of_a[first]} in {name_a} and "
                    f"{of_b[first]} in {name_b}: they are not of one dataset in one order"
                )


def memorization_curve(a: Estimates, b: Estimates, thresholds: np.ndarray = THRESHOLDS) -> Curve:
    """Returns J_mem and D_mem at every threshold (Sec. 3.5, eq. 4).

    The sets are the training examples with mem >= theta_mem.

    Args:
      a: estimates.
      b: estimates of the same examples.
      thresholds: float [k], theta_mem, ascending, inclusive.
    """
    all_may = np.ones(len(a.memorization), bool)
    return _curve([(a.memorization, b.memorization, all_may, all_may)], thresholds)


def influence_curve(
    a: Estimates,
    b: Estimates,
    thresholds: np.ndarray = THRESHOLDS,
    mem_threshold: float | None = None,
) -> Curve:
    """Returns J_infl and D_infl at every threshold (Sec. 3.5).

    The sets are the pairs (i, j) of one class with infl >= theta_infl and, by the same estimates,
    mem >= mem_threshold of the training example (Fig. 7). Without the latter it is Fig. 8's.

    Args:
      a: estimates, with influence of every class.
      b: estimates of the same examples.
      thresholds: float [k], theta_infl, ascending, inclusive.
      mem_threshold: theta_mem, inclusive; None is no condition.

    Raises:
      ValueError: the two have influence of different classes or examples.
    """
    known = a.known & b.known
    memorized_a, memorized_b = (
        known if mem_threshold is None else known & (side.memorization >= mem_threshold)
        for side in (a, b)
    )
    either = memorized_a | memorized_b
    blocks_a, blocks_b = (influences_of(side.influences, either) for side in (a, b))
    return block_curve(blocks_a, blocks_b, memorized_a, memorized_b, thresholds)


def block_curve(
    blocks_a: Iterable[ClassInfluence],
    blocks_b: Iterable[ClassInfluence],
    memorized_a: np.ndarray,
    memorized_b: np.ndarray,
    thresholds: np.ndarray,
) -> Curve:
    """Returns `influence_curve` of blocks that need not all be in memory.

    Args:
      blocks_a: one per class.
      blocks_b: one per class, of the same examples.
      memorized_a: bool [n], the training examples whose pairs may be in the first set.
      memorized_b: bool [n], in the second.
      thresholds: float [k], ascending, inclusive.
    """

    def parts() -> Iterator[_Part]:
        for a, b in zip(blocks_a, blocks_b, strict=True):
            for name in ("train_index", "test_index"):
                if not np.array_equal(getattr(a, name), getattr(b, name)):
                    raise ValueError("the two have influence on different examples of a class")
            # Most rows are in neither set, and a row that is in none costs nothing.
            rows = np.flatnonzero(memorized_a[a.train_index] | memorized_b[a.train_index])
            index = a.train_index[rows, None]
            yield a.value[rows], b.value[rows], memorized_a[index], memorized_b[index]

    return _curve(parts(), thresholds)


def _curve(parts: Iterable[_Part], thresholds: np.ndarray) -> Curve:
    """Compares at all thresholds in one pass: an element counts by how many thresholds it reaches.

    It is in the union where the larger of its two counts says so, in both where the smaller does.
    """
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.ndim != 1 or not len(thresholds) or np.any(np.diff(thresholds) <= 0):
        raise ValueError(f"thresholds are {thresholds}, expected an ascending list of them")
    bins = len(thresholds) + 1
    counts, gaps = np.zeros((4, bins), np.int64), np.zeros(bins)
    for a, b, may_a, may_b in parts:
        in_a, in_b = may_a & (a >= thresholds[0]), may_b & (b >= thresholds[0])
        union = in_a | in_b
        union[union] = ~np.isnan(a[union] - b[union])  # Both are known.
        a, b = a[union], b[union]
        reached_a = np.where(in_a[union], np.searchsorted(thresholds, a, side="right"), 0)
        reached_b = np.where(in_b[union], np.searchsorted(thresholds, b, side="right"), 0)
        either, both = np.maximum(reached_a, reached_b), np.minimum(reached_a, reached_b)
        for row, reached in enumerate((reached_a, reached_b, both, either)):
            counts[row] += np.bincount(reached, minlength=bins)
        gaps += np.bincount(either, weights=np.abs(a - b), minlength=bins)
    # Sums from the end turn "reach exactly k thresholds" into "reach at least k", for k > 0.
    size_a, size_b, size_both, size = counts[:, ::-1].cumsum(axis=1)[:, -2::-1]
    total = gaps[::-1].cumsum()[-2::-1]
    divisor = np.where(size > 0, size, np.nan)
    return Curve(thresholds, size_both / divisor, total / divisor, size_a, size_b, size_both)
