"""How the estimates settle: agreement of two halves of the trials, against their number."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.measures.settling import SplitHalf
from analysis.plots import style
from tfmem import experiments


def draw(axes: Sequence[Axes], halves: Sequence[SplitHalf]) -> None:
    """Draws the Jaccard similarity on the first axes, the mean difference on the second (eq. 4).

    Args:
      axes: two.
      halves: ascending in the number of trials; what is nan is left out.
    """
    numbers = [half.num_trials for half in halves]
    jaccard_ax, difference_ax = axes
    for ax, (measure, title) in zip(axes, style.AGREEMENT, strict=True):
        style.dress(ax, "trials in each half", title)
        for quantity, (label, *look) in style.SERIES.items():
            values = [getattr(half, f"{quantity}_{measure}") for half in halves]
            style.curve(ax, numbers, values, look, label, size=5)
        ax.set_xscale("log", base=2)
        ax.set_xticks(numbers, [f"{number:,}" for number in numbers])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_ylim(bottom=0)
    difference_ax.yaxis.set_major_locator(MaxNLocator(5))
    jaccard_ax.set_ylim(0, 1)
    target = experiments.JACCARD_AT_INFL_THRESHOLD
    style.target(jaccard_ax, target, f"{target:g}, asked for in Sec. 2")
    style.legend(jaccard_ax, loc="lower right", handlelength=2.6)


def figure(halves: Sequence[SplitHalf], width: float = style.WIDE) -> Figure:
    """Returns the figure: the two axes side by side, or one above the other where it is narrow."""
    narrow = width < style.WIDE
    fig = style.figure(width, 5.4 if narrow else 3.0, wspace=None if narrow else 0.08)
    draw(fig.subplots(2, 1) if narrow else fig.subplots(1, 2), halves)
    return fig
