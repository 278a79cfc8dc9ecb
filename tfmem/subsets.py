"""Which training examples a trial sees: uniform random subsets, everything, all but some."""

import dataclasses
from typing import Protocol

import numpy as np

from tfmem import seeds


def subset_size(n: int, ratio: float) -> int:
    """Returns m, the nearest integer to ratio * n.

    Raises:
      ValueError: the ratio leaves every example in or every example out, so that nothing can be
        estimated.
    """
    m = round(ratio * n)
    if not 0 < m < n:
        raise ValueError(
            f"a subset ratio of {ratio} takes {m} of {n} training examples: "
            "it must leave at least one in and one out"
        )
    return m


def sample_subset(n: int, ratio: float, base_seed: int, trial: int) -> np.ndarray:
    """Returns the trial's subset mask: bool [n], exactly `subset_size(n, ratio)` of them true.

    Every subset of that size is equally likely: I ~ P([n], m) in Sec. 2, Algorithm 1 line 1.
    """
    chosen = seeds.generator(base_seed, trial, "subset").permutation(n)[: subset_size(n, ratio)]
    mask = np.zeros(n, bool)
    mask[chosen] = True
    return mask


class Subsets(Protocol):
    """The subsets of all trials of a problem, of one size.

    Attributes:
      size: examples in a subset.
    """

    size: int

    def mask(self, trial: int) -> np.ndarray:
        """Returns the trial's subset mask, bool [n]."""


@dataclasses.dataclass(frozen=True)
class RandomSubsets:
    """A uniform random subset for each trial (Sec. 2)."""

    n: int
    ratio: float
    base_seed: int

    @property
    def size(self) -> int:
        return subset_size(self.n, self.ratio)

    def mask(self, trial: int) -> np.ndarray:
        return sample_subset(self.n, self.ratio, self.base_seed, trial)


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
        mask = np.ones(self.n, bool)
        mask[order[: self.removed]] = False
        return mask
