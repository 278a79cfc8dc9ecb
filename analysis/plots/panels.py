"""Figs. 4 to 6: memorized training examples, and the test examples that each influences most."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.estimates.values import Estimates, Pairs
from analysis.measures.examples import Estimated, PanelRow, panels
from analysis.plots import folder, fonts, pictures, style
from analysis.plots.pictures import Picture
from tfmem import experiments
from tfmem.datasets import ImageDataset

_HEADING = 6 / 8  # Two lines.
_MARGIN = 2 / 8  # On the left, as the text above the training examples is wider than they are.
_RULE = 4 / 8  # Sides between the training example and the test examples.
_ROW_HEIGHT = pictures.LINE + 1 + pictures.LINE + pictures.GAP
_FIRST_TEST = _MARGIN + 1 + _RULE


def _size(rows: Sequence[PanelRow[Picture]]) -> tuple[float, float]:
    """Returns (width, height) in sides of a picture."""
    tests = max([experiments.PANEL_TEST_EXAMPLES, *(len(row.tests) for row in rows)])
    width = _FIRST_TEST + tests * (1 + pictures.GAP)
    return width, _HEADING + len(rows) * _ROW_HEIGHT


def draw(ax: Axes, rows: Sequence[PanelRow[Picture]]) -> None:
    """Draws one training example per row on the left, its test examples on the right.

    Args:
      ax: where; it becomes a grid of pictures.
      rows: from top to bottom; memorization and influence stand above the pictures.
    """
    width, height = _size(rows)
    points = pictures.lay_out(ax, width, height)
    right = width - pictures.GAP
    for x, split, estimate, colour in (
        (_MARGIN + 0.5, "train", style.MEMORIZATION_LABEL, style.MEMORIZATION),
        ((_FIRST_TEST + right) / 2, "test", style.INFLUENCE_LABEL, style.INFLUENCE),
    ):
        pictures.write(ax, x, 0.35 * _HEADING, split)
        pictures.write(ax, x, 0.8 * _HEADING, estimate, fontsize=style.SMALL_TEXT, color=colour)
    for index, row in enumerate(rows):
        top = _HEADING + index * _ROW_HEIGHT
        pictures.show(ax, row.train, _MARGIN, top, style.MEMORIZATION)
        rule = _MARGIN + 1 + _RULE / 2
        ax.plot([rule, rule], [top, top + pictures.LINE + 1], color=style.LINE, linewidth=1)
        for column, test in enumerate(row.tests):
            left = _FIRST_TEST + column * (1 + pictures.GAP)
            pictures.show(ax, test, left, top, style.INFLUENCE)
        name = pictures.shortened(f"class {row.name}", (right - _MARGIN) * points, style.SMALL_TEXT)
        quiet = dict(fontsize=style.SMALL_TEXT, color=style.QUIET, ha="left")
        pictures.write(ax, _MARGIN, top + 1 + 1.5 * pictures.LINE, name, **quiet)


def figure(rows: Sequence[PanelRow[Picture]]) -> Figure:
    """Returns the figure; see `draw`. It is as large as its pictures need."""
    shown = [picture for row in rows for picture in (row.train, *row.tests)]
    fig, ax = pictures.canvas(*_size(rows), pictures.side(shown))
    draw(ax, rows)
    return fig


def of_pairs(
    dataset: ImageDataset, estimates: Estimates, pairs: Pairs, infl_threshold: float
) -> list[Figure]:
    """Returns Figs. 4 to 6, one per set.

    Args:
      dataset: with images, or features, whose ids are shown.
      estimates: of it, with the influence of every class.
      pairs: the high-influence pairs.
      infl_threshold: theta_infl; influence below it is grey.
    """
    with fonts.showing(dataset.class_names) as names:
        return _figures(dataset, panels(estimates, pairs, names), infl_threshold)


def _figures(
    dataset: ImageDataset, sets: Sequence[Sequence[PanelRow[Estimated]]], infl_threshold: float
) -> list[Figure]:
    rows = [row for of_set in sets for row in of_set]
    in_tests = [found.example for row in rows for found in row.tests]
    with (
        folder.examples(dataset, "train", (row.train.example for row in rows)) as train,
        folder.examples(dataset, "test", in_tests) as test,
    ):

        def shown(row: PanelRow[Estimated]) -> PanelRow[Picture]:
            return PanelRow(
                row.name,
                Picture(train[row.train.example], row.train.value),
                tuple(Picture(test[i], value, value < infl_threshold) for i, value in row.tests),
            )

        return [figure([shown(row) for row in of_set]) for of_set in sets]
