"""Fig. 2 of Liu et al. (2021): how many training examples have a score, real and corrupted ones."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.plots import style

_MOST_BINS = 80
_WIDTHS = (1, 2, 5)  # They are multiplied by a power of ten.


def bins(score: np.ndarray) -> np.ndarray:
    """Returns the edges of bins that hold all scores: float64 [b + 1].

    Their width is the smallest of 1, 2 and 5 times a power of ten that needs at most 80 bins, and
    the edges are its multiples, so that 0 is one if scores are on both sides of it: a tenth of a
    nat where the tail ends at 5, half a nat where it ends at 30.

    Args:
      score: float [k], finite; without any, or with none but equal ones, there is one bin.
    """
    lowest, highest = (float(score.min()), float(score.max())) if len(score) else (0.0, 0.0)
    if lowest == highest:
        return math.floor(lowest) + np.array([0.0, 1.0])
    exponent = math.floor(math.log10((highest - lowest) / _MOST_BINS))
    while True:
        for mantissa in _WIDTHS:
            # Divided like this, an edge is the same float as 0.3 in a program.
            up, down = mantissa * 10 ** max(exponent, 0), 10 ** max(-exponent, 0)
            first, last = math.floor(lowest * down / up), math.ceil(highest * down / up)
            if last - first <= _MOST_BINS:
                return np.arange(first, last + 1) * up / down
        exponent += 1


def draw(ax: Axes, score: np.ndarray, corrupted: np.ndarray | None = None) -> None:
    """Draws the histogram, with a logarithmic axis: near 0 are far more examples than in the tail.

    Args:
      ax: where.
      score: float [n], in nats; how many are not finite is said.
      corrupted: bool [n], whose labels were replaced: they and the others have a colour each. None
        where none were.
    """
    finite = np.isfinite(score)
    unknown = int(np.count_nonzero(~finite))
    label = f"{style.SCORE_LABEL} (nats" + (f"; of {unknown:,} unknown)" if unknown else ")")
    style.dress(ax, label, "training examples (log scale)")
    ax.autoscale(False)  # Both axes are given below.
    edges = bins(score[finite])
    real = finite if corrupted is None else finite & ~corrupted
    parts = [(real, "real labels", style.MEMORIZATION, style.MEMORIZATION_PALE)]
    if corrupted is not None:
        replaced = finite & corrupted
        parts.append((replaced, "replaced labels", style.INFLUENCE, style.INFLUENCE_PALE))
    highest = 1
    for chosen, name, colour, pale in parts:
        counts, _ = np.histogram(score[chosen], edges)
        highest = max(highest, int(counts.max()))
        label = f"{name} ({np.count_nonzero(chosen):,} examples)"
        area: dict[str, Any] = dict(facecolor=(pale, 0.35), edgecolor=colour, linewidth=1.2)
        ax.stairs(counts, edges, fill=True, label=label, **area)
        ax.stairs(counts, edges, color=colour, linewidth=1.2, zorder=3)  # Above all areas.
    style.count_axis(ax, highest, 2)
    margin = 0.01 * (edges[-1] - edges[0])
    ax.set_xlim(edges[0] - margin, edges[-1] + margin)
    if corrupted is not None:
        style.legend_above(ax, 2)


figure = style.alone(draw, 3.2)
