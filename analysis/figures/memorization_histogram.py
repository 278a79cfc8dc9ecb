"""How much is memorized: the number of training examples at every level of memorization."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis.figures import histogram, style


def draw(ax: Axes, memorization: np.ndarray, threshold: float) -> None:
    """Draws the histogram, with a logarithmic axis: near 0 are far more examples than elsewhere.

    Args:
      ax: where.
      memorization: float [n], mem(A, S, i) of all training examples.
      threshold: theta_mem, marked by a line; bars above it are darker.
    """
    counts, edges = histogram.bins(memorization, min(0.0, float(memorization.min())))
    dark = edges[:-1] >= threshold - 1e-9
    colours = np.where(dark, style.MEMORIZATION, style.MEMORIZATION_PALE)
    style.dress(ax, style.MEMORIZATION_LABEL, "training examples (log scale)")
    histogram.bars(ax, counts, edges, colours.tolist())
    ax.set_yscale("log")
    # Room below for a bar of one example, and above for a count that stands upright.
    ax.set_ylim(0.6, 8 * counts.max())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    above = int(np.count_nonzero(memorization >= threshold))
    histogram.threshold_line(ax, threshold, f"{above:,} at or above {threshold:g}")


def figure(memorization: np.ndarray, threshold: float, width: float = style.WIDE) -> Figure:
    """Returns the figure; see `draw`."""
    fig = style.figure(width, 3.2)
    draw(fig.subplots(), memorization, threshold)
    return fig
