"""Training examples in the order that they are given, each with its memorization and its class."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import pictures, style
from analysis.plots.pictures import Picture

_COLUMNS = 10  # Examples side by side, which fit a page.
_WIDEST = 2  # Sides that a column may have for its text.
_STEP = 2 / 8  # Sides by which columns are wider than a picture, so that both margins are dots.
# What stands above and below an example, and its colour.
_NOTES = {"memorization": style.MEMORIZATION, "index, class": style.QUIET}
_CALLED = "index, class, → what trials without it call it"
_TOP = len(_NOTES) * pictures.LINE + 2 * pictures.GAP


@dataclasses.dataclass(frozen=True)
class Example:
    """An example by its index, the name of its class, and what it is called instead, or None."""

    picture: Picture
    index: int
    name: str
    called: str | None = None

    @property
    def lines(self) -> list[str]:
        """What stands below the example."""
        return [str(self.index), self.name] + ([] if self.called is None else [f"→ {self.called}"])


class _Grid(NamedTuple):
    """How many columns there are; all else is in sides of a picture."""

    columns: int
    column_width: float
    row_height: float
    width: float
    height: float


def _notes(examples: Sequence[Example]) -> dict[str, str]:
    """Returns what is said above the examples, and the colour of each line."""
    (value, colour), (below, quiet) = _NOTES.items()
    is_called = any(each.called is not None for each in examples)
    return {value: colour, _CALLED if is_called else below: quiet}


def _grid(examples: Sequence[Example], points: float) -> _Grid:
    """Returns the grid of pictures whose side is so many points."""
    texts = {text for each in examples for text in each.lines}
    needed = max((pictures.text_width(text, style.SMALL_TEXT) for text in texts), default=0)
    steps = max(0, math.ceil((needed / points - 1) / _STEP))
    column_width = min(1 + _STEP * steps, _WIDEST)
    lines = 1 + max((len(each.lines) for each in examples), default=0)
    row_height = 1 + lines * pictures.LINE + pictures.GAP
    rows = max(1, math.ceil(len(examples) / _COLUMNS))
    columns = max(1, math.ceil(len(examples) / rows))
    of_columns = columns * (column_width + pictures.GAP) + pictures.GAP
    notes = max(pictures.text_width(note, style.SMALL_TEXT) for note in _notes(examples)) / points
    of_notes = math.ceil(8 * notes) / 8 + 2 * pictures.GAP
    height = _TOP + rows * row_height
    return _Grid(columns, column_width, row_height, max(of_columns, of_notes), height)


def _side(examples: Sequence[Example]) -> float:
    return pictures.side(each.picture for each in examples)


def draw(ax: Axes, examples: Sequence[Example]) -> None:
    """Draws the examples row by row: memorization above each, index and class below.

    Args:
      ax: where; it becomes a grid of pictures.
      examples: in order; none are a dash.
    """
    grid = _grid(examples, 72 * _side(examples))
    points = pictures.lay_out(ax, grid.width, grid.height)
    small = dict(fontsize=style.SMALL_TEXT, color=style.QUIET)
    for line, (note, colour) in enumerate(_notes(examples).items()):
        y = pictures.GAP + (line + 0.5) * pictures.LINE
        pictures.write(ax, pictures.GAP, y, note, **{**small, "color": colour, "ha": "left"})
    for place, example in enumerate(examples):
        row, column = divmod(place, grid.columns)
        middle = pictures.GAP + column * (grid.column_width + pictures.GAP) + grid.column_width / 2
        y = _TOP + row * grid.row_height
        pictures.show(ax, example.picture, middle - 0.5, y, style.MEMORIZATION)
        for line, text in enumerate(example.lines):
            shown = pictures.shortened(text, grid.column_width * points, style.SMALL_TEXT)
            below = y + (line + 1.5) * pictures.LINE + 1
            pictures.write(ax, middle, below, shown, **small)
    if not examples:
        y = _TOP + pictures.LINE + 0.5
        pictures.write(ax, pictures.GAP + 0.5, y, "–", color=style.QUIET)


def figure(examples: Sequence[Example]) -> Figure:
    """Returns the figure; see `draw`. It is as large as its pictures need."""
    side = _side(examples)
    grid = _grid(examples, 72 * side)
    fig, ax = pictures.canvas(grid.width, grid.height, side)
    draw(ax, examples)
    return fig
