"""Figs. 3, 5, 6 and 10 of Liu, Lin & Jaggi: accuracy against epoch, by subset and by corruption."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.measures.dynamics import ALL, Curves
from analysis.plots import style
from tfmem.config import DIFFICULT, EASY, EVERYTHING, WITHOUT_DIFFICULT

_WIDTH = 1.6  # Points that a curve is wide.
_SPLITS = ("train", "test"), ("training", "test")  # Names in code and in words.
# Label and marker of conditions in the order of legends; what a line and a colour are is the group.
_CONDITIONS: Mapping[str, tuple[str, str | None]] = {
    EVERYTHING: ("trained on everything", None),
    WITHOUT_DIFFICULT: ("without the difficult subset", "o"),
}
_MARKERS = 8  # Of a curve, about.
_HOLLOW: dict[str, Any] = dict(markerfacecolor="white", markersize=4.5, markeredgewidth=1.1)


def draw_groups(
    ax: Axes,
    epochs: np.ndarray,
    values: np.ndarray,
    labels: Sequence[str],
    marker: str | None = None,
) -> None:
    """Draws one curve per group, in the group's colour and line.

    Args:
      ax: where.
      epochs: int [e].
      values: float [3, e], of all, easy and difficult examples; a group that is nan is left out.
      labels: of the three in the legend, where "" is in none.
      marker: of all, hollow, at some epochs; None is none.
    """
    every = max(1, round(len(epochs) / _MARKERS))
    for curve, label, (_, colour, line) in zip(values, labels, style.GROUPS, strict=True):
        if not np.isnan(curve).all():
            style.curve(ax, epochs, curve, (colour, marker, line), label or "_nolegend_", _WIDTH)
            ax.lines[-1].set(markevery=every, **_HOLLOW)


def dress(ax: Axes, epochs: np.ndarray, what: str, window: int) -> None:
    """Names the axes of values against epochs, and says over how many they are means."""
    smoothed = f" (sliding mean over {window})" if window > 1 else ""
    style.dress(ax, f"epoch{smoothed}", what)
    style.epoch_axis(ax, epochs[-1])


def legend(ax: Axes, title: str = "") -> None:
    """Puts the legend above axes of half a page's width: curves are everywhere inside of them."""
    small = dict(fontsize=style.SMALL_TEXT, handlelength=2.6, borderaxespad=0.2)
    found = style.legend_above(ax, len(style.GROUPS), title=title or None, **small)
    found.get_title().set_color(style.INK)


def figure(found: Sequence[Curves], window: int = 1) -> Figure:
    """Returns Figs. 3 and 5, of training on everything and without difficult examples, and Fig. 6.

    Fig. 6, of training on easy and on difficult examples alone, is below. What is not there is left
    out.

    Args:
      found: of the conditions of one store.
      window: epochs of a sliding mean; 1 is none.
    """
    curves = {part.condition: part.smoothed(window) for part in found}
    whole = [curves[name] for name in _CONDITIONS if name in curves]
    alone = [curves[name] for name in (EASY, DIFFICULT) if name in curves]
    rows = bool(whole) + bool(alone)
    fig = style.figure(style.WIDE, 3.1 * rows, wspace=0.06, hspace=0.08)
    axes = fig.subplots(rows, 2, squeeze=False)
    if whole:
        _draw_whole(axes[0], whole, window)
    if alone:
        _draw_alone(axes[-1], alone, window)
    return fig


def _draw_whole(axes: Sequence[Axes], whole: Sequence[Curves], window: int) -> None:
    conditions = [part.condition for part in whole]
    for ax, split, what in zip(axes, *_SPLITS, strict=True):
        for index, part in enumerate(whole):
            labels = _labels(getattr(part, f"{split}_shares")) if not index else [""] * 3
            values = getattr(part, split)
            draw_groups(ax, part.epochs, values, labels, _CONDITIONS[part.condition][1])
        _dress_accuracy(ax, whole[0].epochs, f"{what} accuracy", window)
        if split == "test" and WITHOUT_DIFFICULT in conditions:
            # The lower right corner of the test accuracy is where the fewest curves are.
            _explain_markers(ax, conditions)
        legend(ax)


def _draw_alone(axes: Sequence[Axes], alone: Sequence[Curves], window: int) -> None:
    for ax, part in zip(axes, alone, strict=False):
        subsets = part.train.copy()
        subsets[ALL] = np.nan
        draw_groups(ax, part.epochs, subsets, _labels(part.train_shares))
        _dress_accuracy(ax, part.epochs, "accuracy", window)
        legend(ax, f"trained on the {part.condition} subset alone")
    for ax in axes[len(alone) :]:
        ax.set_axis_off()


def _labels(shares: np.ndarray) -> list[str]:
    """Returns the names of the groups, of subsets with their share of the data, as in the paper."""
    full, *subsets = (name for name, *_ in style.GROUPS)
    of_subsets = zip(subsets, shares[1:], strict=True)
    return [full, *(f"{name} ({share:.1%})" for name, share in of_subsets)]


def _dress_accuracy(ax: Axes, epochs: np.ndarray, what: str, window: int) -> None:
    dress(ax, epochs, what, window)
    ax.set_ylim(0, 1)
    style.in_percent(ax.yaxis)


def _explain_markers(ax: Axes, conditions: Sequence[str]) -> None:
    """Adds a legend of what the markers mean, which stays when the axes get another."""
    labels, markers = zip(*(_CONDITIONS[name] for name in conditions), strict=True)
    handles = [
        Line2D([], [], color=style.QUIET, marker=marker, linewidth=_WIDTH, **_HOLLOW)
        for marker in markers
    ]
    small = dict(fontsize=style.SMALL_TEXT, handlelength=2)
    ax.add_artist(style.legend(ax, handles, labels, loc="lower right", **small))


def corruption_figure(stores: Sequence[tuple[str, Curves]], window: int = 1) -> Figure:
    """Returns Fig. 10: training and test accuracy of training on everything, by store.

    Args:
      stores: the label and the curves of each.
      window: epochs of a sliding mean; 1 is none.
    """
    columns = min(3, len(stores))
    fig = style.figure(style.WIDE, 2.8 + 0.22 * -(-len(stores) // columns), wspace=0.06)
    axes = fig.subplots(1, 2)
    smoothed = [(label, curves.smoothed(window)) for label, curves in stores]
    longest = max((curves.epochs for _, curves in smoothed), key=lambda epochs: epochs[-1])
    for ax, split, what in zip(axes, *_SPLITS, strict=True):
        for index, (label, part) in enumerate(smoothed):
            colour, _, line = style.CURVES[index % len(style.CURVES)]
            values = getattr(part, split)[ALL]
            style.curve(ax, part.epochs, values, (colour, None, line), label, _WIDTH)
        _dress_accuracy(ax, longest, f"{what} accuracy", window)
    style.legend_over(fig, axes[0], columns)
    return fig
