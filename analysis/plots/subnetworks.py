"""Fig. 9 of Liu et al. (2021): how muted and unmuted sub-networks fit the training examples."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.measures.turnover import Accuracies
from analysis.plots import style


def draw(ax: Axes, found: Accuracies) -> None:
    """Draws the accuracies of each epoch, a line each."""
    style.dress(ax, "epoch", "accuracy")
    epochs = found.epochs
    curves = ("unmuted", found.unmuted), ("muted", found.muted)
    for look, (name, values) in zip(style.CURVES, curves, strict=False):
        shown = style.thinned(look, len(epochs))
        style.curve(ax, epochs, values, shown, f"{name} sub-network, training")
    quiet = style.thinned((style.QUIET, ".", (0, (1, 1.5))), len(epochs))
    style.curve(ax, epochs, found.test, quiet, "whole network, test", width=1.4, size=3)
    style.epoch_axis(ax, int(epochs[-1]))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    style.in_percent(ax.yaxis)
    ax.set_ylim(top=1)
    style.legend_above(ax, 3)


figure = style.alone(draw, 3.2)
