"""Figs. 7 and 8: Jaccard similarity and mean difference of two estimates at every threshold."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from analysis.measures.agreement import Curve
from analysis.measures.comparison import Comparison, legend
from analysis.plots import style

_FEW = 10  # Elements in a union that say little: their marker is hollow.


def draw(axes: Sequence[Axes], curves: Sequence[tuple[str, Curve]], quantity: str) -> None:
    """Draws the Jaccard similarity on the first axes, the mean difference on the second (eq. 4).

    Args:
      axes: two.
      curves: a label and a curve each; what is nan, since no set has an element, is left out, and
        the marker is hollow where both sets together have fewer than 10.
      quantity: what the thresholds are of.
    """
    for ax, (field, title) in zip(axes, style.AGREEMENT, strict=True):
        style.dress(ax, f"{quantity} threshold", title)
        for index, (label, curve) in enumerate(curves):
            look = colour, marker, _ = style.CURVES[index % len(style.CURVES)]
            style.curve(ax, curve.thresholds, getattr(curve, field), look, label, width=1.6)
            few = curve.size_a + curve.size_b - curve.size_both < _FEW
            shown = few & ~np.isnan(curve.jaccard)
            if shown.any():
                x, y = curve.thresholds[shown], getattr(curve, field)[shown]
                ax.plot(x, y, marker, mec=colour, mfc="white", ms=4, clip_on=False, zorder=4)
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_locator(MultipleLocator(0.2))
        ax.set_ylim(bottom=0)
    axes[0].set_ylim(0, 1)
    axes[1].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))


def figure(comparisons: Sequence[Comparison], reference: str) -> Figure:
    """Returns Fig. 7: memorization above, influence below, one curve per comparison.

    Args:
      comparisons: with one reference.
      reference: what all are compared with; the legend's title.
    """
    return _figure(comparisons, reference, ("memorization", "influence"))


def influence_figure(comparison: Comparison, reference: str) -> Figure:
    """Returns Fig. 8: one comparison, influence alone; the arguments are those of `figure`."""
    return _figure([comparison], reference, ("influence",))


def _figure(comparisons: Sequence[Comparison], reference: str, rows: Sequence[str]) -> Figure:
    """Returns a figure with a row of axes for each of these quantities."""
    height = 5.2 + 0.2 * len(comparisons) if len(rows) > 1 else 3.3
    fig = style.figure(style.WIDE, height, wspace=0.08, hspace=0.06)
    axes = fig.subplots(len(rows), 2, squeeze=False)
    for row, quantity in zip(axes, rows, strict=True):
        curves = [
            (legend(found.name, found.pairs.size_b, found.test_accuracy), getattr(found, quantity))
            for found in comparisons
        ]
        draw(row, curves, quantity)
    title = f"compared with {reference}; hollow: sets of fewer than {_FEW}"
    style.legend_over(fig, axes[0, 0], min(2, len(comparisons)), title)
    return fig
