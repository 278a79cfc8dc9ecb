"""Which training examples a trial sees: uniform random subsets, everything, all but some."""

import dataclasses
from typing import Protocol

import numpy as np

from tfmem import seeds
from tfmem.config import DIFFICULT, EASY, EVERYTHING, WITHOUT_DIFFICULT, Condition


def subset_size(n: int, ratio: float, what: str = "training examples") -> int:
    """Returns m, the nearest integer to ratio * n.

    Args:
      n: how many there are.
      ratio: in (0, 1).
      what: they are, in an error.

    Raises:
      ValueError: the ratio leaves every example in or every example out, so that nothing can be
        estimated.
    """
    m = round(ratio * n)
    if not 0 < m < n:
        raise ValueError(
            f"a subset ratio of {ratio} takes {m} of {n} {what}: "
            "it must leave at least one in and one out"
        )
    return m


def _mask(n: int, chosen: np.ndarray) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[chosen] = True
    return mask


class Subsets(Protocol):
    """The subsets of all trials of a problem, of one size."""

    @property
    def size(self) -> int:
        """Examples in a subset."""

    def mask(self, trial: int) -> np.ndarray:
        """Returns the trial's subset mask, bool [n]."""


@dataclasses.dataclass(frozen=True)
class RandomSubsets:
    """A uniform random subset of `subset_size(n, ratio)` examples for each trial.

    Every subset of that size is equally likely: I ~ P([n], m) in Sec. 2, Algorithm 1 line 1.

    Attributes:
      n: examples.
      ratio: m / n; with candidates, the share of these that is in.
      base_seed: of the random choices.
      candidates: bool [n], who may be left out: all others are in every subset. None: all may.
    """

    n: int
    ratio: float
    base_seed: int
    candidates: np.ndarray | None = None

    @property
    def size(self) -> int:
        return self.n - self._left_out

    def mask(self, trial: int) -> np.ndarray:
        rng = seeds.generator(self.base_seed, trial, "subset")
        everybody = np.arange(self.n)
        who = everybody if self.candidates is None else everybody[self.candidates]
        return ~_mask(self.n, rng.permutation(who)[len(who) - self._left_out :])

    @property
    def _left_out(self) -> int:
        if self.candidates is None:
            return self.n - subset_size(self.n, self.ratio)
        count = int(np.count_nonzero(self.candidates))
        return count - subset_size(count, self.ratio, "candidates")


@dataclasses.dataclass(frozen=True)
class FixedSubset:
    """The same examples in every trial.

    Attributes:
      kept: bool [n].
    """

    kept: np.ndarray

    @property
    def size(self) -> int:
        return int(self.kept.sum())

    def mask(self, trial: int) -> np.ndarray:
        return self.kept.copy()


@dataclasses.dataclass(frozen=True)
class RandomRemoval:
    """All but `removed` of the n examples, chosen anew for each trial (Sec. 3.2)."""

    n: int
    removed: int
    base_seed: int

    @property
    def size(self) -> int:
        return self.n - self.removed

    def mask(self, trial: int) -> np.ndarray:
        order = seeds.generator(self.base_seed, trial, "removal", self.removed).permutation(self.n)
        return _mask(self.n, order[self.removed :])


def by_corruption(corrupted: np.ndarray, size: int, base_seed: int) -> dict[str, np.ndarray]:
    """Chooses examples with real labels, which are easy, and with replaced ones (Fig. 3).

    Args:
      corrupted: bool [n], whether a training example's label was replaced.
      size: of each subset.
      base_seed: of the random choice.

    Returns:
      `tr_easy` and `tr_difficult`, bool [n].

    Raises:
      ValueError: there are fewer than `size` of one kind.
    """
    rng = seeds.generator(base_seed, 0, "followed_subsets")
    found = {}
    for name, replaced, what in (("tr_easy", False, "real"), ("tr_difficult", True, "replaced")):
        index = np.flatnonzero(corrupted == replaced)
        if len(index) < size:
            raise ValueError(
                f"--subset_size={size:,}: there are {len(index):,} training examples with {what} "
                "labels"
            )
        found[name] = _mask(len(corrupted), rng.permutation(index)[:size])
    return found


def by_score(score: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the examples with the lowest scores, which are easy, and with the highest.

    Args:
      score: float [n]; of equals, the first come first.
      size: of each subset, at most n / 2.

    Returns:
      Two bool [n], easy and difficult.

    Raises:
      ValueError: the two would overlap.
    """
    if 2 * size > len(score):
        raise ValueError(
            f"--subset_size={size:,}: the easy and the difficult subset of {len(score):,} examples "
            "would overlap"
        )
    order = np.argsort(score, kind="stable")
    return _mask(len(score), order[:size]), _mask(len(score), order[len(order) - size :])


def of_condition(condition: str, subsets: dict[str, np.ndarray]) -> FixedSubset:
    """Returns what the runs of a followed condition are trained on."""
    easy, difficult = subsets["tr_easy"], subsets["tr_difficult"]
    kept = {
        EVERYTHING: np.ones_like(easy),
        WITHOUT_DIFFICULT: ~difficult,
        EASY: easy,
        DIFFICULT: difficult,
    }
    return FixedSubset(kept[condition])


def useful_thresholds(
    memorization: np.ndarray, thresholds: tuple[float, ...]
) -> tuple[tuple[float, ...], list[str]]:
    """Returns the thresholds that remove some but not all examples, and why not the others.

    Args:
      memorization: float [n]; nan where there is no estimate.
      thresholds: of it, inclusive.
    """
    kept, notes, known = [], [], memorization[~np.isnan(memorization)]
    highest = f" (the highest is {known.max():.3f})" if len(known) else ""
    for threshold in thresholds:
        removed, high = memorization >= threshold, f"mem >= {threshold:g}"
        if not removed.any():
            reason = f"no example has {high}{highest}, so it would be the same as nothing removed"
        elif removed.all():
            reason = f"all examples have {high}, so there would be nothing to train on"
        else:
            kept.append(threshold)
            continue
        notes.append(f"threshold {threshold:g} is left out: {reason}")
    return tuple(kept), notes


def of_removal(
    condition: Condition, memorization: np.ndarray, in_pairs: np.ndarray | None, base_seed: int
) -> Subsets:
    """Returns what the removal runs of a condition are trained on.

    Args:
      condition: what is removed.
      memorization: float [n]; an example whose memorization is nan is kept.
      in_pairs: int, training examples of the high-influence pairs, for that condition.
      base_seed: of the random choice, with `random`.
    """
    kept = np.ones(len(memorization), bool)
    if condition.threshold is not None:
        kept = ~(memorization >= condition.threshold)
    if condition.removed == "random":
        return RandomRemoval(len(kept), int(np.count_nonzero(~kept)), base_seed)
    if condition.removed == "high_influence":
        kept[in_pairs] = False
    return FixedSubset(kept)
