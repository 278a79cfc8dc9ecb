"""App. D of Liu et al. (2021) as numbers: how soon the scores are what they are in the end."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style


def draw(
    ax: Axes, epochs: np.ndarray, correlation: np.ndarray, overlap: np.ndarray, target: float
) -> None:
    """Draws how the scores after each epoch agree with the final ones.

    Args:
      ax: where.
      epochs: int [e], ascending; the last one is final.
      correlation: float [e], Spearman's; what is nan is left out.
      overlap: float [e], the share of the highest tenth of the final scores that is in the highest
        tenth of an epoch.
      target: correlation that is marked by a line.
    """
    style.dress(ax, "epoch", "agreement with the final scores")
    labels = "Spearman's rank correlation", "share of the top 10% found"
    for look, values, label in zip(style.CURVES, (correlation, overlap), labels, strict=False):
        style.curve(ax, epochs, values, style.thinned(look, len(epochs)), label)
    ax.axhline(
        target, color=style.QUIET, linewidth=1, linestyle=(0, (1, 2)), label=f"{target:g}", zorder=2
    )
    style.epoch_axis(ax, int(epochs[-1]))
    lowest = np.nanmin([*correlation, *overlap, 0])
    ax.set_ylim(lowest if lowest < 0 else 0, 1)
    style.legend_above(ax, 3)


def figure(
    epochs: np.ndarray,
    correlation: np.ndarray,
    overlap: np.ndarray,
    target: float,
    width: float = style.WIDE,
) -> Figure:
    """Returns the figure; see `draw`."""
    fig = style.figure(width, 3.2)
    draw(fig.subplots(), epochs, correlation, overlap, target)
    return fig
