"""Figs. 7 and 8 of Liu et al. (2021): examples with the lowest or highest scores, by class."""

import dataclasses
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.estimates.scores import Scores
from analysis.measures.examples import extreme_examples, highest_classes
from analysis.plots import folder, pictures, style
from analysis.plots.pictures import Picture
from tfmem.datasets import ImageDataset
from tfmem.store.epochs import Epoch

ROWS = 5  # Examples that a class shows.
_WIDEST = 2  # Sides that a column may have for its text.
_STEP = 2 / 8  # Sides by which columns are wider than a picture, so that both margins are dots.
_NOTES = ("(label, unmuted, muted prediction)", "score in nats")


@dataclasses.dataclass(frozen=True)
class Example:
    """A training example.

    Attributes:
      picture: its image, and its score.
      label: that it was trained on.
      unmuted: what the unmuted sub-network predicts.
      muted: what the muted one does.
    """

    picture: Picture
    label: int
    unmuted: int
    muted: int

    @property
    def triple(self) -> str:
        return f"({self.label}, {self.unmuted}, {self.muted})"


@dataclasses.dataclass(frozen=True)
class ClassColumn:
    """Examples of one class.

    Attributes:
      name: of the class.
      examples: from above to below.
    """

    name: str
    examples: tuple[Example, ...]


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Where columns are, in sides of a picture."""

    columns: int
    rows: int
    column_width: float
    least_width: float  # What the notes need.

    @property
    def row_height(self) -> float:
        return 2 * pictures.LINE + 1 + pictures.GAP

    @property
    def top(self) -> float:
        """Below the notes and the names."""
        return len(_NOTES) * pictures.LINE + pictures.GAP + pictures.HEADING

    @property
    def width(self) -> float:
        of_columns = self.columns * (self.column_width + pictures.GAP) + pictures.GAP
        return max(of_columns, self.least_width)

    @property
    def height(self) -> float:
        return self.top + max(1, self.rows) * self.row_height

    def left(self, column: int) -> float:
        return pictures.GAP + column * (self.column_width + pictures.GAP)


def _grid(columns: Sequence[ClassColumn], points: float) -> _Grid:
    """Returns the grid of pictures whose side is so many points."""
    widths = [pictures.text_width(shown.name, style.TEXT) for shown in columns]
    widths += [
        pictures.text_width(example.triple, style.SMALL_TEXT)
        for shown in columns
        for example in shown.examples
    ]
    needed = max(widths, default=0) / points
    notes = max(pictures.text_width(note, style.SMALL_TEXT) for note in _NOTES) / points
    return _Grid(
        columns=len(columns),
        rows=max((len(shown.examples) for shown in columns), default=0),
        column_width=min(1 + _STEP * max(0, math.ceil((needed - 1) / _STEP)), _WIDEST),
        least_width=math.ceil(8 * notes) / 8 + 2 * pictures.GAP,
    )


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
    for line, (note, colour) in enumerate(
        zip(_NOTES, (style.QUIET, style.MEMORIZATION), strict=True)
    ):
        y = pictures.GAP + (line + 0.5) * pictures.LINE
        pictures.write(ax, pictures.GAP, y, note, **{**small, "color": colour, "ha": "left"})
    for column, shown in enumerate(columns):
        left = grid.left(column)
        middle = left + grid.column_width / 2
        name = pictures.shortened(shown.name, grid.column_width * points, style.TEXT)
        pictures.write(ax, middle, grid.top - pictures.HEADING / 2, name)
        for row, example in enumerate(shown.examples):
            y = grid.top + row * grid.row_height
            pictures.write(ax, middle, y + pictures.LINE / 2, example.triple, **small)
            pictures.show(ax, example.picture, middle - 0.5, y + pictures.LINE, style.MEMORIZATION)
        if not shown.examples:
            centre = grid.top + 2 * pictures.LINE + 0.5
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
      dataset: with images.
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
    images = folder.images(dataset, "train", (i for index in shown.values() for i in index))

    def example(i: int) -> Example:
        return Example(
            Picture(images[i], float(score[i])),
            int(labels[i]),
            int(epoch["unmuted_predicted"][i]),
            int(epoch["muted_predicted"][i]),
        )

    return figure(
        [
            ClassColumn(dataset.class_names[label], tuple(map(example, index)))
            for label, index in shown.items()
        ]
    )
