"""How well two estimates agree at a threshold: Sec. 3.5 and eq. 4 of Feldman & Zhang."""

import math

import numpy as np


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
