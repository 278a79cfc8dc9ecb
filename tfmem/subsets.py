"""Uniform random subsets of exactly m of the n training examples (Sec. 2, Algorithm 1 line 1)."""

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

    Every subset of that size is equally likely: I ~ P([n], m) in Sec. 2.
    """
    chosen = seeds.generator(base_seed, trial, "subset").permutation(n)[: subset_size(n, ratio)]
    mask = np.zeros(n, bool)
    mask[chosen] = True
    return mask
