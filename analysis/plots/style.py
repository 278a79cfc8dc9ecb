"""Colours, sizes, order and labels of all figures, and the ways a figure leaves memory."""

import io
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import matplotlib
from etils import epath
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.cli.arguments import PICTURES
from tfmem import words
from tfmem.disk import atomic

# Blue and vermilion stay apart for every common colour blindness, and both have a contrast of at
# least 5:1 on white; their pale ones have 3:1. A page may recolour them: see `to_svg`.
INK = "#1d2329"
QUIET = "#5b6570"
LINE = "#dcd9d2"
MEMORIZATION = "#0a63a5"
MEMORIZATION_PALE = "#5895c2"
INFLUENCE = "#b04a06"
INFLUENCE_PALE = "#c77e4e"
_CSS_NAMES = {
    INK: "ink",
    QUIET: "quiet",
    LINE: "line",
    MEMORIZATION: "mem",
    MEMORIZATION_PALE: "mem-pale",
    INFLUENCE: "infl",
    INFLUENCE_PALE: "infl-pale",
}

# Colours of subsets of examples.
EASY = "#1b8a6b"
DIFFICULT = "#7a3f98"

# Widths in inches: the report shows the wide drawing on a desk, the narrow one on a telephone.
WIDE = 7.4
NARROW = 3.5

# Font sizes in points.
TEXT = 9.5
SMALL_TEXT = 7.5

MEMORIZATION_LABEL = "memorization"
INFLUENCE_LABEL = "influence"
# One entry per quantity, in the order of legends: label, colour, marker, line.
SERIES = {
    "mem": (MEMORIZATION_LABEL, MEMORIZATION, "o", "-"),
    "infl": (INFLUENCE_LABEL, INFLUENCE, "s", "--"),
}

# What is said of how far two estimates agree: fields of measures, and titles of axes.
AGREEMENT = (("jaccard", "Jaccard similarity"), ("difference", "mean difference of estimates"))

# Label, colour and line of all, easy and difficult examples.
GROUPS = (
    ("full", INK, "-"),
    ("easy", EASY, (0, (5, 1.6))),
    ("difficult", DIFFICULT, (0, (1.2, 1.2))),
)

# What is compared with one thing, in the order of legends: colour, marker, line. The colours differ
# in lightness too, and the markers do where a colour is used again.
CURVES = (
    (MEMORIZATION, "o", "-"),
    (INFLUENCE, "s", "--"),
    (EASY, "^", "-."),
    (DIFFICULT, "D", (0, (1, 1.2))),
    (INK, "v", (0, (6, 1.5, 1, 1.5, 1, 1.5))),
    ("#c2a000", "P", (0, (3, 1.5))),
)

SCORE_LABEL = "memorization score"
MOST_MARKERS = 30  # A curve with more points than this has no markers.

FORMATS = tuple(suffix[1:] for suffix in PICTURES)
DPI = 200  # Dots an inch of png files, and of pictures inside of pdf and svg files.


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number for reading: thousands separated, a true minus sign, no negative zero."""
    text = words.number(value, f",.{digits}f", "–")
    is_zero = not text.strip("-0.,")
    return text.removeprefix("-") if is_zero else text.replace("-", "−")


class NotebookFigure(Figure):
    """A figure that a notebook shows as a picture, although pyplot does not know of it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Returns the picture and its size in the notebook, of half as many pixels as it has."""
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=DPI, facecolor="white")
        width, height = (round(inches * DPI / 2) for inches in self.get_size_inches().tolist())
        return content.getvalue(), {"width": width, "height": height}


def figure(
    width: float, height: float, wspace: float | None = None, hspace: float | None = None
) -> Figure:
    """Returns an empty figure outside of pyplot.

    Args:
      width: inches.
      height: inches.
      wspace: between axes side by side, as a share of their width; None is matplotlib's.
      hspace: between axes one above the other, as a share of their height.
    """
    layout = ConstrainedLayoutEngine(wspace=wspace, hspace=hspace)
    return NotebookFigure((width, height), layout=layout)


def alone(draw: Callable[..., None], height: float) -> Callable[..., Figure]:
    """Returns the function that draws a figure of so many inches, which has one pair of axes.

    It takes what `draw` takes after the axes, and as `width` the width in inches.
    """

    def make(*values: Any, width: float = WIDE) -> Figure:
        fig = figure(width, height)
        draw(fig.subplots(), *values)
        return fig

    return make


def dress(ax: Axes, x: str, y: str, grid: Literal["y", "both"] = "y") -> None:
    """Names the axes and leaves only the lines that help to read a value."""
    ax.set_xlabel(x, fontsize=TEXT, color=INK)
    ax.set_ylabel(y, fontsize=TEXT, color=INK)
    ax.tick_params(which="both", labelsize=TEXT, labelcolor=INK, color=QUIET)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(QUIET)
    ax.grid(axis=grid, color=LINE, linewidth=0.8)
    ax.set_axisbelow(True)


def count_axis(ax: Axes, highest: int, room: float) -> None:
    """Makes the y axis one of counts, logarithmic, up to `room` times the highest of them."""
    ax.set_yscale("log")
    ax.set_ylim(0.6, room * highest)  # A count of one has room below.
    ticks = [10**exponent for exponent in range(len(str(highest)))]
    ax.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()


def in_percent(axis: Axis) -> None:
    """Labels an axis of shares from 0 to 1 in percent."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.6g}%")


def epoch_axis(ax: Axes, last: int) -> None:
    """Lets the axis below go from 0 to the last epoch, with whole epochs as ticks."""
    ax.set_xlim(0, max(1, last))
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))


def curve(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    look: Sequence,
    label: str | None = None,
    width: float = 1.8,
    size: float = 4,
) -> None:
    """Draws a curve, which the axes do not cut off.

    Args:
      ax: where.
      x: float [k].
      y: float [k]; what is nan is left out.
      look: colour, marker or None, and line.
      label: in the legend; None is in none.
      width: points, of the line.
      size: points, of a marker.
    """
    colour, marker, line = look
    ax.plot(
        x,
        y,
        linestyle=line,
        color=colour,
        marker=marker,
        markersize=size,
        linewidth=width,
        label=label,
        clip_on=False,
        zorder=3,
    )


def target(ax: Axes, value: float, label: str) -> None:
    """Marks a value to compare with by a dotted line."""
    ax.axhline(value, color=QUIET, linewidth=1, linestyle=(0, (1, 2)), label=label)


def thinned(look: Sequence, points: int) -> Sequence:
    """Returns how a curve of so many points looks: a long one has no markers."""
    colour, marker, line = look
    return colour, marker if points <= MOST_MARKERS else None, line


def legend(where: Axes | Figure, *entries: Sequence, **options: Any) -> Legend:
    """Draws a legend without a frame.

    Args:
      where: axes or a figure.
      *entries: handles and labels, or nothing for those of the axes.
      **options: of matplotlib's `legend`.
    """
    defaults = {"frameon": False, "fontsize": TEXT, "title_fontsize": TEXT, "labelcolor": INK}
    return where.legend(*entries, **{**defaults, **options})


def legend_above(ax: Axes, columns: int, **options: Any) -> Legend:
    """Puts the legend above the axes, where no curve can be; the options are matplotlib's."""
    above = dict(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns)
    return legend(ax, **above, **{"handlelength": 2.4, "columnspacing": 1.4, **options})


def legend_over(fig: Figure, ax: Axes, columns: int, title: str | None = None) -> None:
    """Puts the legend of one of a figure's axes above all of them."""
    handles = ax.get_legend_handles_labels()
    room = dict(handlelength=3, columnspacing=1.8)
    found = legend(fig, *handles, loc="outside upper center", ncols=columns, title=title, **room)
    found.get_title().set_color(QUIET)


def to_svg(fig: Figure, name: str) -> str:
    """Returns the figure as an SVG element to put into HTML; equal figures give equal text.

    Args:
      fig: the figure.
      name: what its ids start with, so that figures of one page do not share ids.

    Returns:
      `<svg ...>`, with text as text. Each colour of this module is `var(--NAME, COLOUR)`.
    """
    content = io.StringIO()
    # Without any of the four, matplotlib writes no metadata at all.
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        fig.savefig(content, format="svg", metadata=nothing, transparent=True)
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    referenced = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(
        r' id="([^"]+)"',
        lambda match: f' id="{name}-{match[1]}"' if match[1] in referenced else "",
        svg,
    )
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, css_name in _CSS_NAMES.items():
        svg = svg.replace(colour, f"var(--{css_name}, {colour})")
    return svg


def save(fig: Figure, path: epath.PathLike) -> None:
    """Writes the figure as a .png, .pdf or .svg file.

    Raises:
      ValueError: the name ends otherwise.
    """
    kind = pathlib.PurePath(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        expected = ", ".join(f".{known}" for known in FORMATS)
        raise ValueError(f"{path} names no kind of picture, expected {expected}")
    content = io.BytesIO()
    date = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    # Publishers refuse matplotlib's default fonts of Type 3. Pictures are not merged into one, or a
    # pdf would have dots between them.
    with matplotlib.rc_context(
        {"svg.hashsalt": "tfmem", "pdf.fonttype": 42, "image.composite_image": False}
    ):
        fig.savefig(content, format=kind, dpi=DPI, facecolor="white", metadata=date)
    atomic.write_bytes(path, content.getvalue())


def publish(fig: Figure, *paths: epath.PathLike) -> None:
    """Writes the figure to each of the paths and prints where it is."""
    for path in paths:
        save(fig, path)
        print(f"figure: {path}")
