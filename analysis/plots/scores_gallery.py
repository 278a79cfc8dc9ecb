"""Figs. 7 and 8 of Liu et al. (2021): examples with the lowest or highest scores, by class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.estimates.scores import Scores
from analysis.measures.examples import extreme_examples, highest_classes
from analysis.plots import folder, fonts, pictures, style
from analysis.plots.pictures import Picture
from tfmem.datasets import ImageDataset
from tfmem.store.epochs import Epoch

ROWS = 5  # Examples that a class shows.
_WIDEST = 2  # Sides that a column may have for its text.
_STEP = 2 / 8  # Sides by which columns are wider than a picture, so that both margins are dots.
# What stands above the columns, and its colour.
_NOTES = {"(label, unmuted, muted prediction)": style.QUIET, "score in nats": style.MEMORIZATION}
_TOP = len(_NOTES) * pictures.LINE + pictures.GAP + pictures.HEADING
_ROW_HEIGHT = 2 * pictures.LINE + 1 + pictures.GAP


class Example(NamedTuple):
    """A training example and its score, its label, and what both of its sub-networks predict."""

    picture: Picture
    label: int
    unmuted: int
    muted: int

    @property
    def triple(self) -> str:
        return f"({self.label}, {self.unmuted}, {self.muted})"


class ClassColumn(NamedTuple):
    """Examples of the class of this name, from above to below."""

    name: str
    examples: tuple[Example, ...]


class _Grid(NamedTuple):
    """The sizes of columns and of the whole, in sides of a picture."""

    column_width: float
    width: float
    height: float


def _grid(columns: Sequence[ClassColumn], points: float) -> _Grid:
    """Returns the grid of pictures whose side is so many points."""
    texts = [(shown.name, style.TEXT) for shown in columns]
    texts += [(each.triple, style.SMALL_TEXT) for shown in columns for each in shown.examples]
    needed = max((pictures.text_width(*text) for text in texts), default=0) / points
    column_width = min(1 + _STEP * max(0, math.ceil((needed - 1) / _STEP)), _WIDEST)
    of_columns = len(columns) * (column_width + pictures.GAP) + pictures.GAP
    notes = max(pictures.text_width(note, style.SMALL_TEXT) for note in _NOTES) / points
    of_notes = math.ceil(8 * notes) / 8 + 2 * pictures.GAP
    rows = max([1, *(len(shown.examples) for shown in columns)])
    return _Grid(column_width, max(of_columns, of_notes), _TOP + rows * _ROW_HEIGHT)


def _side(columns: Sequence[ClassColumn]) -> float:
    return pictures.side(example.picture for shown in columns for example in shown.examples)


def draw(ax: Axes, columns: Sequence[ClassColumn]) -> None:
    """Draws a column per class, and above each example the triple and the score.

    Args:
      ax: where; it becomes a grid of pictures.
      columns: in order. One without examples is a dash.
    """
    grid = _grid(columns, 72 * _side(columns))
    points = pictures.lay_out(ax, grid.width, grid.height)
    small = dict(fontsize=style.SMALL_TEXT, color=style.QUIET)
    for line, (note, colour) in enumerate(_NOTES.items()):
        y = pictures.GAP + (line + 0.5) * pictures.LINE
        pictures.write(ax, pictures.GAP, y, note, **{**small, "color": colour, "ha": "left"})
    for column, shown in enumerate(columns):
        left = pictures.GAP + column * (grid.column_width + pictures.GAP)
        middle = left + grid.column_width / 2
        name = pictures.shortened(shown.name, grid.column_width * points, style.TEXT)
        pictures.write(ax, middle, _TOP - pictures.HEADING / 2, name)
        for row, example in enumerate(shown.examples):
            y = _TOP + row * _ROW_HEIGHT
            pictures.write(ax, middle, y + pictures.LINE / 2, example.triple, **small)
            pictures.show(ax, example.picture, middle - 0.5, y + pictures.LINE, style.MEMORIZATION)
        if not shown.examples:
            centre = _TOP + 2 * pictures.LINE + 0.5
            pictures.write(ax, middle, centre, "–", color=style.QUIET)


def figure(columns: Sequence[ClassColumn]) -> Figure:
    """Returns the figure; see `draw`. It is as large as its pictures need."""
    side = _side(columns)
    grid = _grid(columns, 72 * side)
    fig, ax = pictures.canvas(grid.width, grid.height, side)
    draw(ax, columns)
    return fig


def of_scores(
    dataset: ImageDataset, scores: Scores, epoch: Epoch, highest: bool, most: int
) -> Figure:
    """Returns the figure of the training examples of lowest or highest score.

    Args:
      dataset: with images, or features, whose ids are shown.
      scores: of it.
      epoch: what the first model predicts.
      highest: rather than lowest.
      most: classes, if there are more.
    """
    score, labels = scores.train.score, scores.train_labels
    shown = {
        label: extreme_examples(score, labels, label, ROWS, highest).tolist()
        for label in highest_classes(score, labels, dataset.num_classes, most).tolist()
    }
    every = [i for index in shown.values() for i in index]
    with (
        folder.examples(dataset, "train", every) as train,
        fonts.showing(dataset.class_names) as names,
    ):

        def example(i: int) -> Example:
            return Example(
                Picture(train[i], float(score[i])),
                int(labels[i]),
                int(epoch["unmuted_predicted"][i]),
                int(epoch["muted_predicted"][i]),
            )

        columns = [ClassColumn(names[i], tuple(map(example, index))) for i, index in shown.items()]
        return figure(columns)
