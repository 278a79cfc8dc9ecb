"""Consistency profiles (Jiang et al., 2021): accuracy on what was left out, by the subset ratio."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.estimates.consistency_scores import Profile
from analysis.measures import profiles
from analysis.measures.profiles import Group
from analysis.plots import pictures, style

_ACCURACY = "P[correct | left out]"
_WHO = "subset ratio"
_ALL = (style.INK, None, "-")
_PALE = (style.MEMORIZATION_PALE, None, "-")
_NAME = 80  # Points that the name of a class may take.


def draw_groups(ax: Axes, ratios: np.ndarray, overall: np.ndarray, groups: Sequence[Group]) -> None:
    """Draws the mean of all examples and that of groups by score.

    Args:
      ax: where.
      ratios: float [r], ascending.
      overall: float [r], the mean of all.
      groups: the lowest scores first.
    """
    style.dress(ax, _WHO, _ACCURACY)
    shown = list(zip(groups, style.CURVES, strict=False))
    for group, look in reversed(shown):
        label = f"{100 * group.start:g}% to {100 * group.stop:g}%"
        style.curve(ax, ratios, group.value, look, label)
    style.curve(ax, ratios, overall, _ALL, "all", width=2.4)
    ax.set_ylim(0, 1)
    _finish(ax, 3, "examples from the lowest score to the highest")


def draw_classes(ax: Axes, ratios: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> None:
    """Draws the mean of each class, and names the lowest and the highest.

    Args:
      ax: where.
      ratios: float [r], ascending.
      classes: float [K, r]; what is nan is left out.
      names: K of them.
    """
    style.dress(ax, _WHO, _ACCURACY)
    known = np.flatnonzero(~np.isnan(classes).any(axis=1))
    order = known[np.argsort(classes[known].mean(axis=1), kind="stable")]
    highlighted = [order[-1], order[0]] if len(order) > 1 else list(order)
    for index in order:
        if index not in highlighted:
            style.curve(ax, ratios, classes[index], _PALE, width=1.2)
    for index, look in zip(highlighted, style.CURVES, strict=False):
        name = pictures.shortened(f"class {names[index]}", _NAME, style.SMALL_TEXT)
        style.curve(ax, ratios, classes[index], look, name)
    if len(order) > len(highlighted):
        ax.plot([], [], color=_PALE[0], linewidth=1.2, label="other classes")
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    _finish(ax, 2, "classes, the easiest and the hardest by name")


def _finish(ax: Axes, columns: int, title: str) -> None:
    style.in_percent(ax.yaxis)
    ax.set_xlim(0, 1)
    small = dict(fontsize=style.SMALL_TEXT, title_fontsize=style.SMALL_TEXT)
    style.legend_above(ax, columns, title=title, **small)


def figure(profile: Profile, names: Sequence[str]) -> Figure:
    """Returns the figure.

    Args:
      profile: of the training examples.
      names: of the classes, as they are to be written.
    """
    fig = style.figure(style.WIDE, 3.6, wspace=0.08)
    groups_ax, classes_ax = fig.subplots(1, 2)
    overall = np.array([profiles.mean(row) for row in profile.value])
    draw_groups(groups_ax, profile.ratios, overall, profiles.by_score(profile))
    draw_classes(classes_ax, profile.ratios, profiles.by_class(profile, len(names)), names)
    return fig
