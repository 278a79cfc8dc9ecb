"""Fig. 1: training examples of several classes with memorization around 0, 0.5 and 1."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.measures.examples import GalleryRow, gallery
from analysis.plots import folder, fonts, pictures, style
from analysis.plots.pictures import Picture
from tfmem import experiments
from tfmem.datasets import ImageDataset

_COLUMNS = 3  # Classes side by side, which fit a page.
_FEWEST = 2  # A class is at least so many pictures wide, so that its name fits.
_BETWEEN = 5 / 8  # Sides between classes.
_LABEL = 5 / 8  # Sides for the labels of the levels.


_LEVEL_HEIGHT = pictures.LINE + 1 + pictures.GAP
_BAND_HEIGHT = pictures.HEADING + len(experiments.GALLERY_LEVELS) * _LEVEL_HEIGHT


class _Grid(NamedTuple):
    """Bands of up to `_COLUMNS` classes; all but `columns` are in sides of a picture."""

    columns: int
    class_width: float
    width: float
    height: float


def _grid(classes: Sequence[GalleryRow[Picture]]) -> _Grid:
    bands = math.ceil(len(classes) / _COLUMNS)
    columns = math.ceil(len(classes) / bands) if bands else 1
    examples = max([_FEWEST, *(len(level) for shown in classes for level in shown.levels)])
    class_width = examples * (1 + pictures.GAP) - pictures.GAP
    width = _LABEL + columns * (class_width + _BETWEEN) - _BETWEEN + pictures.GAP
    return _Grid(columns, class_width, width, bands * _BAND_HEIGHT + pictures.GAP)


def draw(ax: Axes, classes: Sequence[GalleryRow[Picture]]) -> None:
    """Draws the classes beside and below each other, in each a row of examples per level.

    Args:
      ax: where; it becomes a grid of pictures.
      classes: in order. A level of a class without examples is a dash.
    """
    grid = _grid(classes)
    points = pictures.lay_out(ax, grid.width, grid.height)
    for index, shown in enumerate(classes):
        band, column = divmod(index, grid.columns)
        left, top = _LABEL + column * (grid.class_width + _BETWEEN), band * _BAND_HEIGHT
        name = pictures.shortened(shown.name, grid.class_width * points, style.TEXT)
        middle = left + grid.class_width / 2
        pictures.write(ax, middle, top + pictures.HEADING / 2, name)
        if left == _LABEL:
            y = top + pictures.HEADING / 2
            pictures.write(ax, _LABEL / 2, y, "mem", fontsize=style.SMALL_TEXT, color=style.QUIET)
        rows = zip(experiments.GALLERY_LEVELS, shown.levels, strict=True)
        for row, (level, examples) in enumerate(rows):
            y = top + pictures.HEADING + row * _LEVEL_HEIGHT
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
    shown = (picture for row in classes for level in row.levels for picture in level)
    fig, ax = pictures.canvas(grid.width, grid.height, pictures.side(shown))
    draw(ax, classes)
    return fig


def of_classes(dataset: ImageDataset, memorization: np.ndarray, labels: Sequence[int]) -> Figure:
    """Returns the figure of some classes.

    Args:
      dataset: with images, or features, whose ids are shown.
      memorization: float [n].
      labels: of these classes.
    """
    with fonts.showing(dataset.class_names) as names:
        rows = gallery(memorization, dataset.train.labels, labels, names)
        index = (found.example for row in rows for level in row.levels for found in level)
        with folder.examples(dataset, "train", index) as train:
            return figure(
                [row.shown(lambda each: Picture(train[each[0]], each[1])) for row in rows]
            )
