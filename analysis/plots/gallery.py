"""Fig. 1: training examples of several classes with memorization around 0, 0.5 and 1."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.measures.examples import GalleryRow, gallery
from analysis.plots import folder, pictures, style
from analysis.plots.pictures import Picture
from tfmem import experiments
from tfmem.datasets import ImageDataset

_COLUMNS = 3  # Classes side by side, which fit a page.
_FEWEST = 2  # A class is at least so many pictures wide, so that its name fits.
_BETWEEN = 5 / 8  # Sides between classes.
_LABEL = 5 / 8  # Sides for the labels of the levels.


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Where classes are, in sides of a picture: bands of up to `_COLUMNS` classes."""

    classes: int
    examples: int  # Beside each other.

    @property
    def columns(self) -> int:
        bands = math.ceil(self.classes / _COLUMNS)
        return math.ceil(self.classes / bands) if bands else 1

    @property
    def class_width(self) -> float:
        return self.examples * (1 + pictures.GAP) - pictures.GAP

    @property
    def level_height(self) -> float:
        return pictures.LINE + 1 + pictures.GAP

    @property
    def band_height(self) -> float:
        return pictures.HEADING + len(experiments.GALLERY_LEVELS) * self.level_height

    @property
    def width(self) -> float:
        return _LABEL + self.columns * (self.class_width + _BETWEEN) - _BETWEEN + pictures.GAP

    @property
    def height(self) -> float:
        return math.ceil(self.classes / self.columns) * self.band_height + pictures.GAP

    def corner(self, index: int) -> tuple[float, float]:
        """Returns (left, top) of a class."""
        band, column = divmod(index, self.columns)
        return _LABEL + column * (self.class_width + _BETWEEN), band * self.band_height


def _grid(classes: Sequence[GalleryRow[Picture]]) -> _Grid:
    numbers = [len(examples) for shown in classes for examples in shown.levels]
    return _Grid(len(classes), max([_FEWEST, *numbers]))


def draw(ax: Axes, classes: Sequence[GalleryRow[Picture]]) -> None:
    """Draws the classes beside and below each other, in each a row of examples per level.

    Args:
      ax: where; it becomes a grid of pictures.
      classes: in order. A level of a class without examples is a dash.
    """
    grid = _grid(classes)
    points = pictures.lay_out(ax, grid.width, grid.height)
    for index, shown in enumerate(classes):
        left, top = grid.corner(index)
        name = pictures.shortened(shown.name, grid.class_width * points, style.TEXT)
        middle = left + grid.class_width / 2
        pictures.write(ax, middle, top + pictures.HEADING / 2, name)
        if left == _LABEL:
            y = top + pictures.HEADING / 2
            pictures.write(ax, _LABEL / 2, y, "mem", fontsize=style.SMALL_TEXT, color=style.QUIET)
        for row, (level, examples) in enumerate(
            zip(experiments.GALLERY_LEVELS, shown.levels, strict=True)
        ):
            y = top + pictures.HEADING + row * grid.level_height
            centre = y + pictures.LINE + 0.5
            if left == _LABEL:
                pictures.write(ax, _LABEL / 2, centre, f"{level:.1f}")
            for column, picture in enumerate(examples):
                x = left + column * (1 + pictures.GAP)
                pictures.show(ax, picture, x, y, style.MEMORIZATION)
            if not examples:
                pictures.write(ax, left + 0.5, centre, "–", color=style.QUIET)


def figure(classes: Sequence[GalleryRow[Picture]]) -> Figure:
    """Returns the figure; see `draw`. It is as large as its pictures need."""
    grid = _grid(classes)
    shown = itertools.chain.from_iterable(
        examples for of_class in classes for examples in of_class.levels
    )
    fig, ax = pictures.canvas(grid.width, grid.height, pictures.side(shown))
    draw(ax, classes)
    return fig


def of_classes(dataset: ImageDataset, memorization: np.ndarray, labels: Sequence[int]) -> Figure:
    """Returns the figure of some classes.

    Args:
      dataset: with images.
      memorization: float [n].
      labels: of these classes.
    """
    rows = gallery(memorization, dataset.train.labels, labels, dataset.class_names)
    index = (found.example for row in rows for level in row.levels for found in level)
    images = folder.images(dataset, "train", index)
    return figure(
        [row.shown(lambda found: Picture(images[found.example], found.value)) for row in rows]
    )
