"""Fig. 9 of Liu et al. (2021): how muted and unmuted sub-networks fit the training examples."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.plots import style


def draw(
    ax: Axes, epochs: np.ndarray, unmuted: np.ndarray, muted: np.ndarray, test: np.ndarray
) -> None:
    """Draws an accuracy of each epoch per line.

    Args:
      ax: where.
      epochs: int [e], ascending.
      unmuted: float [e], of the unmuted sub-networks on the training examples.
      muted: float [e], of the muted ones.
      test: float [e], of the whole network on the test examples.
    """
    style.dress(ax, "epoch", "accuracy")
    for name, values in (("unmuted", unmuted), ("muted", muted)):
        label, *look = style.SUBNETWORKS[name]
        shown = style.thinned(look, len(epochs))
        style.curve(ax, epochs, values, shown, f"{label} sub-network, training")
    quiet = style.thinned((style.QUIET, ".", (0, (1, 1.5))), len(epochs))
    style.curve(ax, epochs, test, quiet, "whole network, test", width=1.4, size=3)
    style.epoch_axis(ax, int(epochs[-1]))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    style.in_percent(ax.yaxis)
    ax.set_ylim(top=1)
    style.legend_above(ax, 3)


def figure(
    epochs: np.ndarray,
    unmuted: np.ndarray,
    muted: np.ndarray,
    test: np.ndarray,
    width: float = style.WIDE,
) -> Figure:
    """Returns the figure; see `draw`."""
    fig = style.figure(width, 3.2)
    draw(fig.subplots(), epochs, unmuted, muted, test)
    return fig
