"""How much is memorized: the number of training examples at every level of memorization."""

import numpy as np
from matplotlib.axes import Axes

from analysis.plots import histogram, style


def draw(ax: Axes, memorization: np.ndarray, threshold: float) -> None:
    """Draws the histogram, with a logarithmic axis: near 0 are far more examples than elsewhere.

    Args:
      ax: where.
      memorization: float [n], mem(A, S, i) of all training examples; how many are nan is said.
      threshold: theta_mem, marked by a line; bars above it are darker.
    """
    known = memorization[~np.isnan(memorization)]
    counts, edges = histogram.bins(known, float(known.min(initial=0)))
    dark = edges[:-1] >= threshold - 1e-9
    colours = np.where(dark, style.MEMORIZATION, style.MEMORIZATION_PALE)
    unknown = len(memorization) - len(known)
    label = style.MEMORIZATION_LABEL + (f" (of {unknown:,} unknown)" if unknown else "")
    style.dress(ax, label, "training examples (log scale)")
    histogram.bars(ax, counts, edges, colours.tolist())
    highest = max(1, int(counts.max()))
    style.count_axis(ax, highest, 8)  # No line is above the highest bar, where its count stands.
    above = int(np.count_nonzero(memorization >= threshold))
    histogram.threshold_line(ax, threshold, f"{above:,} at or above {threshold:g}")


figure = style.alone(draw, 3.2)
