"""Known duplicates: their influence by judgment, and how many high-influence pairs are known."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from analysis.measures.duplicates import Found, Shares, interval, judged
from analysis.plots import style
from tfmem import experiments
from tfmem.words import counted

_OTHERS = (style.QUIET, None, (0, (1, 1)))


def draw_influence(ax: Axes, found: Found) -> None:
    """Draws the share of pairs that have at least each influence, by judgment and of all others.

    Args:
      ax: where.
      found: of known pairs.
    """
    style.dress(ax, style.INFLUENCE_LABEL, "share of pairs with at least this influence")
    for (name, chosen), look in zip(judged(found), style.CURVES, strict=False):
        values = np.sort(found.influence[chosen])
        label = f"{name} ({counted(len(values), 'pair')})"
        _steps(ax, values, np.arange(len(values), 0, -1) / len(values), look, label)
    total = found.others.sum()
    if total:
        there = np.flatnonzero(found.others)
        above = found.others[::-1].cumsum()[::-1]
        values = there / (len(found.others) // 2) - 1
        _steps(ax, values, above[there] / total, _OTHERS, f"others of a class ({total:,})")
    ax.set_xlim(min(-0.2, float(np.nanmin(found.influence, initial=0))), 1)
    ax.xaxis.set_major_locator(MultipleLocator(0.2))
    ax.set_ylim(0, 1)
    style.in_percent(ax.yaxis)
    if ax.lines:
        style.legend_above(ax, 1, fontsize=style.SMALL_TEXT)


def _steps(ax: Axes, values: np.ndarray, shares: np.ndarray, look: tuple, label: str) -> None:
    """Draws a share that falls after each of ascending values, from 1 on the left to 0."""
    colour, _, line = look
    x = np.concatenate([[-1], values, values[-1:]])
    y = np.concatenate([[1], shares, [0]])
    ax.plot(x, y, color=colour, linestyle=line, linewidth=1.8, label=label, drawstyle="steps-pre")


def draw_shares(ax: Axes, shares: Shares) -> None:
    """Draws which share of the high-influence pairs is known, with its interval, bin by bin.

    Args:
      ax: where; above each bin is how many of how many pairs are known.
      shares: in bins.
    """
    style.dress(ax, style.INFLUENCE_LABEL, "known share of high-influence pairs")
    ends = [*shares.edges[1:].tolist(), max(1.0, float(shares.edges[-1]) + 0.1)]
    for start, end, known, pairs in zip(
        shares.edges.tolist(), ends, shares.known.tolist(), shares.pairs.tolist(), strict=True
    ):
        if not pairs:
            continue
        share, middle, (low, high) = known / pairs, (start + end) / 2, interval(known, pairs)
        room = 0.08 * (end - start)
        ax.bar(
            start + room, share, end - start - 2 * room, align="edge", color=style.INFLUENCE_PALE
        )
        ax.plot(
            [middle, middle], [low, high], color=style.INFLUENCE, lw=1.4, clip_on=False, zorder=3
        )
        ax.plot([middle], [share], "o", color=style.INFLUENCE, ms=4, clip_on=False, zorder=4)
        ax.annotate(
            f"{known:,}/{pairs:,}",
            (middle, 1),
            xytext=(0, 3),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=style.SMALL_TEXT,
            color=style.INK,
        )
    duplicates = experiments.NEAR_DUPLICATES
    if shares.edges[0] <= duplicates:
        ax.axvline(duplicates, color=style.INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    ax.set_xlim(math.floor(10 * shares.edges[0]) / 10, ends[-1])
    ax.xaxis.set_major_locator(MultipleLocator(0.1 if shares.edges[0] > -0.2 else 0.2))
    ax.set_ylim(0, 1)
    style.in_percent(ax.yaxis)


def figure(found: Found) -> Figure:
    """Returns the figure: both side by side."""
    fig = style.figure(style.WIDE, 3.9, wspace=0.08)
    influence_ax, shares_ax = fig.subplots(1, 2)
    draw_influence(influence_ax, found)
    draw_shares(shares_ax, found.shares)
    return fig
