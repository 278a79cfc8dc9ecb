"""App. D of Liu et al. (2021) as numbers: how soon the scores are what they are in the end."""

import numpy as np
from matplotlib.axes import Axes

from analysis.measures.turnover import SETTLED, SHARES, EarlyStopping
from analysis.plots import style


def draw(ax: Axes, found: EarlyStopping) -> None:
    """Draws how the scores after each epoch agree with the final ones; what is nan is left out."""
    style.dress(ax, "epoch", "agreement with the final scores")
    curves = found.correlation, found.overlap[-1]
    labels = "Spearman's rank correlation", f"share of the top {SHARES[-1]:.0%} found"
    for look, values, label in zip(style.CURVES, curves, labels, strict=False):
        style.curve(ax, found.epochs, values, style.thinned(look, len(found.epochs)), label)
    style.target(ax, SETTLED, f"{SETTLED:g}")
    style.epoch_axis(ax, int(found.epochs[-1]))
    lowest = np.nanmin([*np.concatenate(curves), 0])
    ax.set_ylim(lowest if lowest < 0 else 0, 1)
    style.legend_above(ax, 3)


figure = style.alone(draw, 3.2)
