"""Fig. 2: test accuracy without memorized examples, and without as many random ones."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.measures.removal import ThresholdEffect
from analysis.plots import style

# Label, colour, colour of the band, marker, line; in the order of the legend.
_CURVES = {
    "random": ("remove random", style.INK, style.QUIET, "s", "--"),
    "memorized": ("remove memorized", style.MEMORIZATION, style.MEMORIZATION_PALE, "o", "-"),
}


def draw(axes: Sequence[Axes], effects: Sequence[ThresholdEffect], whole: float) -> None:
    """Draws accuracies on the first axes, the share of the training set on the second.

    Args:
      axes: two, one above the other.
      effects: ascending thresholds; what is nan is left out.
      whole: test accuracy of training on everything, marked by a line unless it is nan.
    """
    accuracy_ax, remaining_ax = axes
    thresholds = np.array([effect.threshold for effect in effects])
    style.dress(accuracy_ax, "", "test accuracy")
    for name, (label, colour, pale, marker, line) in _CURVES.items():
        means = [getattr(effect, name) for effect in effects]
        value = np.array([mean.value for mean in means])
        deviation = np.array([mean.deviation for mean in means])
        accuracy_ax.fill_between(
            thresholds, value - deviation, value + deviation, color=pale, alpha=0.3, linewidth=0
        )
        style.curve(accuracy_ax, thresholds, value, (colour, marker, line), label, size=5)
    if not np.isnan(whole):
        style.target(accuracy_ax, whole, "remove nothing")
    if not np.isfinite(accuracy_ax.dataLim.intervaly).all():  # No run is there yet.
        accuracy_ax.set_ylim(0, 1)
    accuracy_ax.tick_params(axis="x", length=0)
    style.legend_above(accuracy_ax, 3)
    style.dress(remaining_ax, "memorization threshold", "training set\nremaining")
    remaining = [effect.remaining for effect in effects]
    style.curve(remaining_ax, thresholds, remaining, (style.QUIET, "o", "-"))
    remaining_ax.set_ylim(top=1)
    for ax, ticks in ((accuracy_ax, 6), (remaining_ax, 4)):
        ax.set_xlim(0, 1)
        ax.yaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
        style.in_percent(ax.yaxis)


def figure(effects: Sequence[ThresholdEffect], whole: float, width: float = 6.2) -> Figure:
    """Returns the figure; see `draw`."""
    fig = style.figure(width, 4.6)
    axes = fig.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    draw(axes, effects, whole)
    fig.align_ylabels(axes)
    return fig
