"""What the two histograms share: bins of one width, and bars with their counts above them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.plots import style

BINS_PER_UNIT = 20  # Fig. 3: bins of width 0.05.
# How a text stands above a place.
_ABOVE: dict[str, Any] = dict(
    xytext=(0, 3), textcoords="offset points", va="bottom", color=style.INK
)


def bins(values: np.ndarray, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts values in bins of width 0.05, whose edges are multiples of it, up to 1.

    Args:
      values: float [k], at most 1; nan is in no bin.
      lowest: the first bin holds this value.

    Returns:
      int64 [b] counts and float64 [b + 1] edges. A bin has its left edge, the last has both.
    """
    first = min(math.floor(lowest * BINS_PER_UNIT + 1e-9), BINS_PER_UNIT - 1)
    # Divided like this, an edge is the same float as 0.15 in a program.
    edges = np.arange(first, BINS_PER_UNIT + 1) / BINS_PER_UNIT
    return np.histogram(values, edges)


def bars(
    ax: Axes,
    counts: np.ndarray,
    edges: np.ndarray,
    colours: Sequence[str],
    start: float | None = None,
) -> None:
    """Draws one bar per bin, and each count above its bar; an empty bin has neither.

    Args:
      ax: where.
      counts: int [b].
      edges: float [b + 1].
      colours: b of them.
      start: where the axis starts, unless a bin is before it; the first bin's edge if None.
    """
    width = 1 / BINS_PER_UNIT
    left = edges[0] if start is None else min(start, edges[0])
    shown = counts > 0
    colours = [colour for colour, show in zip(colours, shown, strict=True) if show]
    drawn = ax.bar(edges[:-1][shown], counts[shown], 0.9 * width, align="edge", color=colours)
    # About how many points a bin is wide.
    inches = ax.figure.bbox.width / ax.figure.dpi
    room = 0.88 * 72 * inches * width / (edges[-1] - left) - 1
    for bar, count in zip(drawn, counts[shown], strict=True):
        text = f"{count:,}"
        place = bar.get_x() + bar.get_width() / 2, count
        turn = 90 if _text_width(text) > room else 0
        ax.annotate(text, place, **_ABOVE, ha="center", rotation=turn, fontsize=style.SMALL_TEXT)
    ax.set_xlim(left - 0.2 * width, edges[-1] + 0.2 * width)


def _text_width(text: str) -> float:
    """Returns about how many points a number is wide: a comma is half a digit."""
    return style.SMALL_TEXT * sum(0.32 if character == "," else 0.64 for character in text)


def threshold_line(ax: Axes, threshold: float, text: str) -> None:
    """Marks a threshold by a dashed line, if the axis holds it, with its name above the axes."""
    ax.axvline(threshold, color=style.INK, linewidth=1, linestyle=(0, (4, 3)))
    left, right = ax.get_xlim()
    place, side = (min(max(threshold, left), right), 1), "left" if threshold < 0.5 else "right"
    system = ("data", "axes fraction")
    ax.annotate(text, place, xycoords=system, **_ABOVE, ha=side, fontsize=style.TEXT)
