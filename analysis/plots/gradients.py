"""Fig. 4 of Liu, Lin & Jaggi: similarity and contribution of gradients against epoch."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.measures.dynamics import Curves
from analysis.plots import dynamics, style

_MEASURES = (("similarity", "mean cosine similarity"), ("contribution", "mean contribution"))


def draw(axes: Sequence[Axes], curves: Curves, window: int = 1) -> None:
    """Draws the similarity on the first axes (eq. 3), the contribution on the second (eq. 4).

    Args:
      axes: two.
      curves: with gradients; what is nan is left out.
      window: epochs of the sliding mean that they are; 1 is none.
    """
    labels = [name for name, *_ in style.GROUPS]
    for ax, (field, what) in zip(axes, _MEASURES, strict=True):
        dynamics.draw_groups(ax, curves.epochs, getattr(curves, field), labels)
        dynamics.dress(ax, curves.epochs, what, window)
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        ax.axhline(0, color=style.QUIET, linewidth=0.8, zorder=2)
        dynamics.legend(ax)


def figure(curves: Curves, window: int = 1) -> Figure:
    """Returns the figure.

    Args:
      curves: with gradients.
      window: epochs of a sliding mean; 1 is none.
    """
    fig = style.figure(style.WIDE, 3.1, wspace=0.06)
    draw(fig.subplots(1, 2), curves.smoothed(window), window)
    return fig
