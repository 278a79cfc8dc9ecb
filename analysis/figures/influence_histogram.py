"""Fig. 3: the number of high-influence pairs at every level of influence."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.figures import histogram, style


def draw(ax: Axes, influence: np.ndarray, threshold: float) -> None:
    """Draws the histogram as in Fig. 3: bins of width 0.05 up to 1, the count above each bar.

    Args:
      ax: where.
      influence: float [p], infl(A, S, i, j) of the selected pairs.
      threshold: theta_infl, where the first bin starts.
    """
    counts, edges = histogram.bins(influence, threshold)
    style.dress(ax, style.INFLUENCE_LABEL, "pairs")
    histogram.bars(ax, counts, edges, [style.INFLUENCE] * len(counts))
    ax.set_ylim(0, 1.18 * max(1, counts.max()))
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def figure(influence: np.ndarray, threshold: float, width: float = style.WIDE) -> Figure:
    """Returns the figure; see `draw`."""
    fig = style.figure(width, 3.0)
    draw(fig.subplots(), influence, threshold)
    return fig
