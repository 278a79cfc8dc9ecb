"""Two estimates against each other: memorization of all examples, influence of selected pairs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

from analysis.measures import methods
from analysis.measures.comparison import PairValues
from analysis.measures.methods import Values
from analysis.plots import style

_CELLS = 32  # So many hexagons lie side by side.
_MANY = 2000  # With more pairs than this, their points are small.
# They start with a colour that is still seen on white, for cells of one example.
_COLOURS = LinearSegmentedColormap.from_list(
    "examples", [style.MEMORIZATION_PALE, style.MEMORIZATION, style.INK]
)


def draw_density(ax: Axes, x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> None:
    """Draws where examples lie, in hexagons whose colour is the logarithm of their number.

    Args:
      ax: where; both axes are alike.
      x: float [n].
      y: float [n].
      names: of the two axes.
    """
    lowest = _square(ax, x, y, names)
    _draw_hexagons(ax, x, y, (lowest, 1, lowest, 1))


def draw_score_density(ax: Axes, x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> None:
    """Draws `draw_density` of values of up to 1 and of scores that have no bounds.

    Args:
      ax: where.
      x: float [n].
      y: float [n], such as in nats.
      names: of the two axes.
    """
    style.dress(ax, *names, grid="both")
    lowest = _start(x)
    bottom, top = (min(0.0, y.min()), y.max()) if len(y) else (0, 1)
    extent = (lowest, 1, bottom, top if top > bottom else bottom + 1)
    for start, stop, limit in ((*extent[:2], ax.set_xlim), (*extent[2:], ax.set_ylim)):
        room = 0.02 * (stop - start)
        limit(start - room, stop + room)
    ax.set_box_aspect(1)
    ax.xaxis.set_major_locator(_locator(lowest))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    _draw_hexagons(ax, x, y, extent)


def _draw_hexagons(
    ax: Axes, x: np.ndarray, y: np.ndarray, extent: tuple[float, float, float, float]
) -> None:
    cells = ax.hexbin(
        x, y, gridsize=_CELLS, extent=extent, mincnt=1, cmap=_COLOURS, linewidths=0.2, zorder=3
    )
    most = max(10, int(np.asarray(cells.get_array()).max(initial=0)))
    cells.set_norm(LogNorm(1, most))
    place = ax.inset_axes((0.3, 1.05, 0.7, 0.035))
    bar = ax.figure.colorbar(cells, cax=place, orientation="horizontal", ticklocation="top")
    bar.ax.xaxis.set_major_locator(LogLocator(10))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bar.ax.tick_params(labelsize=style.SMALL_TEXT, labelcolor=style.INK, color=style.QUIET, pad=1)
    bar.ax.set_ylabel(
        "examples", fontsize=style.SMALL_TEXT, color=style.INK, rotation=0, ha="right", va="center"
    )
    bar.outline.set_visible(False)


def draw_roc(ax: Axes, curves: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Draws how well corrupted labels are found, with the diagonal of chance.

    Args:
      ax: where.
      curves: a label, the share found of the other labels and that of the corrupted ones, each.
    """
    style.dress(ax, "other labels found", "corrupted labels found", grid="both")
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.8, zorder=2)
    colours = (style.MEMORIZATION, "-"), (style.INK, "--")
    for (label, others, found), (colour, line) in zip(curves, colours, strict=True):
        style.curve(ax, others, found, (colour, None, line), label)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_box_aspect(1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MultipleLocator(0.2))
        style.in_percent(axis)
    style.legend(ax, loc="lower right", fontsize=style.SMALL_TEXT, handlelength=2.4)


def draw_pairs(ax: Axes, pairs: PairValues, names: tuple[str, str]) -> None:
    """Draws the influence of pairs, by which of two estimates selects them.

    Args:
      ax: where.
      pairs: that at least one of the two selects.
      names: of the two axes.
    """
    _square(ax, pairs.a, pairs.b, names)
    memorization, influence, other, *_ = style.CURVES
    common: dict[str, Any] = dict(alpha=0.6, linewidth=0, rasterized=True, zorder=3)
    common["s"] = 4 if len(pairs.a) > _MANY else 16
    for label, part, (colour, marker, _) in (
        ("selected by both", pairs.in_a & pairs.in_b, influence),
        ("x only", pairs.in_a & ~pairs.in_b, memorization),
        ("y only", ~pairs.in_a & pairs.in_b, other),
    ):
        label = f"{label}: {np.count_nonzero(part):,}"
        x, y = pairs.a[part], pairs.b[part]
        ax.scatter(x, y, marker=marker, facecolor=colour, label=label, **common)
    # The legend is above the axes, as points may be anywhere inside.
    above = dict(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
    style.legend(ax, fontsize=style.SMALL_TEXT, handletextpad=0.1, columnspacing=1, **above)


def _square(ax: Axes, x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> float:
    """Makes both axes alike, with the diagonal where both values are equal; returns their start."""
    style.dress(ax, *names, grid="both")
    lowest = min(_start(x), _start(y))
    room = 0.02 * (1 - lowest)
    ax.set_xlim(lowest - room, 1 + room)
    ax.set_ylim(lowest - room, 1 + room)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(_locator(lowest))
    ax.plot([lowest, 1], [lowest, 1], color=style.QUIET, linewidth=0.8, zorder=2)
    return lowest


def _start(values: np.ndarray) -> float:
    """Returns where an axis of values of up to 1 starts: at 0, or at a tenth below all of them."""
    return math.floor(10 * float(np.min(values, initial=0)) + 1e-9) / 10


def _locator(lowest: float) -> MultipleLocator:
    """Returns where an axis of values of up to 1 has its marks."""
    return MultipleLocator(0.2 if lowest > -0.25 else 0.5)


def figure(
    memorization: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str],
    pairs: PairValues | None = None,
) -> Figure:
    """Returns the figure.

    Args:
      memorization: float [n] by both estimates.
      names: of the two.
      pairs: that at least one of the two selects, on axes of their own; None for none.
    """
    alone = pairs is None
    fig = style.figure(style.WIDE / 2 if alone else style.WIDE, 3.4, wspace=0.06)
    axes = fig.subplots(1, 1 if alone else 2, squeeze=False)
    quantities = style.MEMORIZATION_LABEL, style.INFLUENCE_LABEL
    labels = [(f"{what}, {names[0]}", f"{what}, {names[1]}") for what in quantities]
    draw_density(axes[0, 0], *memorization, labels[0])
    if pairs is not None:
        draw_pairs(axes[0, 1], pairs, labels[1])
    return fig


def score_figure(
    heldout_accuracy: np.ndarray, scores: np.ndarray, names: tuple[str, str]
) -> Figure:
    """Returns the figure of P[correct | left out] against scores, both float [k]."""
    labels = f"P[correct | left out], {names[0]}", names[1]
    make = style.alone(draw_density, 3.4)
    return make(heldout_accuracy, scores, labels, width=style.WIDE / 2)


def methods_figure(values: Values, names: tuple[str, str], costs: Mapping[str, str]) -> Figure:
    """Returns the figure of memorization against the scores of turn-over dropout.

    Where labels were corrupted, a second panel has how well each finds those that were changed.

    Args:
      values: of both methods.
      names: of the estimates and of the scores.
      costs: by method, how many trainings it took.
    """
    changed = values.changed
    if changed is not None and (changed.all() or not changed.any()):
        changed = None  # There is nothing to tell apart.
    fig = style.figure(style.WIDE / 2 if changed is None else style.WIDE, 3.4, wspace=0.06)
    axes = fig.subplots(1, 1 if changed is None else 2, squeeze=False)[0]
    labels = f"{style.MEMORIZATION_LABEL}, {names[0]}", f"turn-over score in nats, {names[1]}"
    draw_score_density(axes[0], values.memorization, values.score, labels)
    if changed is not None:
        areas, of_both = methods.detection(values, changed), (values.memorization, values.score)
        curves = [
            (f"{name}: AUC {area:.3f}\n{costs[name]}", *methods.roc(value, changed))
            for (name, area), value in zip(areas.items(), of_both, strict=True)
        ]
        draw_roc(axes[1], curves)
    return fig
