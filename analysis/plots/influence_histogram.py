"""Fig. 3: the number of high-influence pairs at every level of influence."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.plots import histogram, style


def draw(ax: Axes, influence: np.ndarray, threshold: float) -> None:
    """Draws the histogram as in Fig. 3: 0 to 1 in bins of width 0.05, the count above each bar.

    Args:
      ax: where.
      influence: float [p], infl(A, S, i, j) of the selected pairs.
      threshold: theta_infl, where the first bin starts.
    """
    counts, edges = histogram.bins(influence, threshold)
    style.dress(ax, style.INFLUENCE_LABEL, "pairs")
    histogram.bars(ax, counts, edges, [style.INFLUENCE] * len(counts), start=0)
    highest = max(1, counts.max())
    ax.set_ylim(0, 1.18 * highest)
    # No line is above the highest bar, where its count stands.
    ticks = MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]).tick_values(0, highest)
    ax.set_yticks(ticks[ticks <= highest])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


figure = style.alone(draw, 3.0)
