"""Figures draw the numbers that were counted by hand, and leave memory unchanged by the day."""

import dataclasses
import io
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from analysis.estimates import files
from analysis.estimates.consistency_scores import Profile
from analysis.estimates.values import ClassInfluence, Estimates, Memorization
from analysis.measures.agreement import Curve
from analysis.measures.comparison import Comparison, PairValues
from analysis.measures.duplicates import Found, Shares
from analysis.measures.dynamics import Curves
from analysis.measures.examples import GalleryRow, PanelRow
from analysis.measures.methods import Values
from analysis.measures.removal import Mean, ThresholdEffect
from analysis.measures.settling import SplitHalf
from analysis.measures.turnover import Accuracies, EarlyStopping
from analysis.plots import (
    comparison,
    consistency,
    consistency_profile,
    convergence,
    duplicates,
    dynamics,
    early_stopping,
    gallery,
    gradients,
    histogram,
    influence_histogram,
    memorization_histogram,
    panels,
    pictures,
    ranking,
    removal,
    scores_gallery,
    scores_histogram,
    style,
    subnetworks,
)
from analysis.plots.pictures import Picture
from analysis.plots.scores_gallery import ClassColumn, Example
from tests import recording, slow
from tests.conftest import ROOT, run_program
from tests.sources import write_imagenet_archives
from tfmem import datasets
from tfmem.config import FOLLOWED

HALVES = (
    SplitHalf(16, 0.5, 0.25, 10.0, math.nan, math.nan, 0.0),
    SplitHalf(32, 0.75, 0.125, 9.0, 0.5, 0.2, 4.0),
    SplitHalf(64, 0.875, 0.0625, 8.0, 0.8, 0.1, 3.0),
)
EFFECTS = (
    ThresholdEffect(0.1, 0.5, Mean(0.7, 0.02, 5), Mean(0.8, 0.01, 5), Mean(0.1, 0.02, 5)),
    ThresholdEffect(0.6, 0.9, Mean(0.8, 0.01, 5), Mean(0.82, 0.03, 5), Mean(0.02, 0.02, 5)),
)
# Thresholds, Jaccard similarity, difference; sizes of one set, of the other, of both.
CURVES = [
    Curve(np.array([0.15, 0.25]), *map(np.array, ([0.5, jaccard], [0.1, 0.05], *[[30, 20]] * 3)))
    for jaccard in (0.7, 0.8)
]
COMPARISONS = [Comparison("again", 0.76, *CURVES, mem_threshold=0.25, infl_threshold=0.15)]
PAIRS = PairValues(
    np.array([0.2, 0.3, 0.1]),
    np.array([0.4, 0.1, 0.6]),
    np.array([True, True, False]),
    np.array([True, False, True]),
)
# Ratios, trials, times left out, accuracy when left out; four examples of three classes.
PROFILE = Profile(
    np.array([0.25, 0.75]),
    np.array([9, 9]),
    np.array([[7, 7, 7, 7], [1, 2, 0, 1]]),
    np.array([[0.5, 1.0, 0.25, 0.0], [1.0, 0.5, math.nan, 0.5]]),
    np.array([0, 0, 1, 2]),
    np.array(list("abcd")),
)
# Two judged pairs and none else; in two bins 3 of 4 and 1 of 1 known.
DUPLICATES = Found(
    np.array([0, 1]),
    np.array([0.75, 0.5]),
    np.zeros(2, int),
    np.zeros((2, 2)),
    np.zeros(20_001, int),
    math.nan,
    Shares(np.array([0.15, 0.2]), np.array([4, 1]), np.array([3, 1])),
)
NO_RUNS = Mean(math.nan, math.nan, 0)


def picture(grey, value, quiet=False, shape=(8, 8, 1)):
    return Picture(np.full(shape, grey, np.uint8), value, quiet)


# Around 0 two, around 0.5 none, around 1 one; and a class with three around 0.
CLASSES = (
    GalleryRow("bee", ((picture(1, 0.0), picture(2, -0.004)), (), (picture(3, 0.987),))),
    GalleryRow("2", (tuple(picture(4 + k, 0.01 * k) for k in range(3)), (), ())),
)
PANEL = (
    PanelRow("bee", picture(1, 0.5), (picture(2, 0.3), picture(3, 0.1, quiet=True))),
    PanelRow("a$b$", picture(4, 1.0), (picture(5, math.nan),)),
)
# Of class bee two examples, of which one was memorized, and of another class none.
COLUMNS = (
    ClassColumn("bee", (Example(picture(1, 3.21), 4, 4, 9), Example(picture(2, -0.004), 4, 4, 4))),
    ClassColumn("2", ()),
)
RANKED = (
    ranking.Example(picture(1, 0.98), 42, "bee", "a wasp"),
    ranking.Example(picture(2, 0.25), 7, "a$b$"),
)
EPOCHS = np.array([1, 2, 5])
# Two conditions and three epochs: accuracy of all, easy and difficult examples, and gradients.
ACCURACY = np.array([[0.1, 0.5, 0.7], [0.2, 0.9, 1.0], [0.0, 0.1, 0.4]])
MEASURED = np.array([[0.25, 0.2, 0.1], [0.5, math.nan, 0.4], [math.nan, 0.01, -0.02]])
DYNAMICS = [
    Curves(condition, 2, 21, np.arange(3), *[values] * 2, *[np.ones(3) / 6] * 2, *[MEASURED] * 2)
    for condition, values in (("everything", ACCURACY), ("difficult", ACCURACY / 2))
]
LONG = "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"


def _bars(ax):
    return {round(bar.get_x(), 6): bar.get_height() for bar in ax.patches}


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def _lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in ax.lines}


def _steps(ax):
    """The counts of histograms that are filled, and their edges, by label."""
    return {
        patch.get_label(): tuple(array.tolist() for array in patch.get_data()[:2])
        for patch in ax.patches
        if patch.get_fill()
    }


def _points(ax):
    return [points.get_offsets().tolist() for points in ax.collections]


def _greys(ax):
    """The pictures by grey, and the value above each: the text centred over it, nearest to it."""
    found = {}
    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        above = [
            text
            for text in ax.texts
            if text.get_position()[0] == pytest.approx((left + right) / 2)
            and text.get_position()[1] < top
        ]
        value = min(above, key=lambda text: top - text.get_position()[1])
        (grey,) = np.unique(image.get_array())
        assert (right - left, bottom - top) == (1, 1)
        assert top - value.get_position()[1] == pytest.approx(1 / 8)
        found[int(grey)] = value.get_text()
    return found


# By module: a figure, what is read back from its artists, and what that must be.
ROWS = {
    "comparison": (
        lambda: comparison.figure((np.zeros(12), np.zeros(12)), ("one", "two"), PAIRS),
        lambda fig: [max(fig.axes[0].collections[0].get_array()), *_points(fig.axes[1])],
        [12, [[0.2, 0.4]], [[0.3, 0.1]], [[0.1, 0.6]]],
    ),
    "consistency": (
        lambda: consistency.figure(COMPARISONS, "ResNet50"),
        lambda fig: [line.get_ydata().tolist() for ax in fig.axes for line in ax.lines],
        [[0.5, 0.7], [0.1, 0.05], [0.5, 0.8], [0.1, 0.05]],
    ),
    "consistency_profile": (
        lambda: consistency_profile.figure(PROFILE, ("bee", "2", "x")),
        lambda fig: [_lines(ax) for ax in fig.axes],
        [
            {"25% to 100%": [0.75, 0.75], "10% to 25%": [0.0, 0.5], "all": [0.4375, 2 / 3]},
            {"class bee": [0.75, 0.75], "class x": [0.0, 0.5]},
        ],
    ),
    "convergence": (
        lambda: convergence.figure(HALVES),
        lambda fig: [_lines(ax)["memorization"] for ax in fig.axes],
        [[0.5, 0.75, 0.875], [0.25, 0.125, 0.0625]],
    ),
    "duplicates": (
        lambda: duplicates.figure(DUPLICATES),
        lambda fig: [
            [line.get_xydata().tolist() for line in fig.axes[0].lines],
            [bar.get_height() for bar in fig.axes[1].patches],
        ],
        [[[[-1, 1], [0.75, 1], [0.75, 0]], [[-1, 1], [0.5, 1], [0.5, 0]]], [0.75, 1]],
    ),
    "dynamics": (
        lambda: dynamics.figure(DYNAMICS),
        lambda fig: [list(_lines(ax).values()) for ax in fig.axes],
        [ACCURACY.tolist(), ACCURACY.tolist(), (ACCURACY[1:] / 2).tolist(), []],
    ),
    "early_stopping": (
        lambda: early_stopping.figure(
            EarlyStopping(
                EPOCHS, np.array([-0.1, 0.9, 1.0]), np.array([[1, 1, 1], [0.0, 0.5, 1.0]])
            )
        ),
        lambda fig: _lines(fig.axes[0]),
        {
            "Spearman's rank correlation": [-0.1, 0.9, 1.0],
            "share of the top 10% found": [0.0, 0.5, 1.0],
            "0.95": [0.95, 0.95],
        },
    ),
    "gallery": (
        lambda: gallery.figure(CLASSES),
        lambda fig: _greys(fig.axes[0]),
        {1: "0.00", 2: "0.00", 3: "0.99", 4: "0.00", 5: "0.01", 6: "0.02"},
    ),
    "gradients": (
        lambda: gradients.figure(DYNAMICS[0]),
        lambda fig: [_lines(ax)["full"] for ax in fig.axes],
        [[0.25, 0.2, 0.1]] * 2,
    ),
    "influence_histogram": (
        lambda: influence_histogram.figure(
            np.array([0.15, 0.16, 0.21, 0.42, 0.43, 0.44, 1.0]), 0.15
        ),
        lambda fig: _bars(fig.axes[0]),
        {0.15: 2, 0.2: 1, 0.4: 3, 0.95: 1},
    ),
    "memorization_histogram": (
        lambda: memorization_histogram.figure(
            np.array([0.0] * 1200 + [-0.01, 0.26, 0.9, 0.25]), 0.25
        ),
        lambda fig: _bars(fig.axes[0]),
        {-0.05: 1, 0.0: 1200, 0.25: 2, 0.9: 1},
    ),
    "panels": (
        lambda: panels.figure(PANEL),
        lambda fig: _greys(fig.axes[0]),
        {1: "0.50", 2: "0.30", 3: "0.10", 4: "1.00", 5: "–"},
    ),
    "ranking": (
        lambda: ranking.figure(RANKED),
        lambda fig: [_greys(fig.axes[0]), _texts(fig.axes[0])[:2], _texts(fig.axes[0])[3:9]],
        [
            {1: "0.98", 2: "0.25"},
            ["memorization", "index, class, → what trials without it call it"],
            ["42", "bee", "→ a wasp", "0.25", "7", "a$b$"],
        ],
    ),
    "removal": (
        lambda: removal.figure(EFFECTS, 0.83),
        lambda fig: [*_lines(fig.axes[0]).values(), *_lines(fig.axes[1]).values()],
        [[0.8, 0.82], [0.7, 0.8], [0.83, 0.83], [0.5, 0.9]],
    ),
    "scores_gallery": (
        lambda: scores_gallery.figure(COLUMNS),
        lambda fig: _greys(fig.axes[0]),
        {1: "3.21", 2: "0.00"},
    ),
    "scores_histogram": (
        lambda: scores_histogram.figure(
            np.array([-3.0, 0.5, 0.5, 70.5, 40.0, 0.25]),
            np.array([False, False, False, True, True, True]),
        ),
        lambda fig: {
            label: {edge: count for edge, count in zip(edges, counts, strict=False) if count}
            for label, (counts, edges) in _steps(fig.axes[0]).items()
        },
        {
            "real labels (3 examples)": {-3: 1, 0: 2},
            "replaced labels (3 examples)": {0: 1, 40: 1, 70: 1},
        },
    ),
    "subnetworks": (
        lambda: subnetworks.figure(
            Accuracies(EPOCHS, *np.array([[0.5, 0.7, 1.0], [0.4, 0.6, 0.7], [0.3, 0.8, 0.9]]))
        ),
        lambda fig: _lines(fig.axes[0]),
        {
            "unmuted sub-network, training": [0.5, 0.7, 1.0],
            "muted sub-network, training": [0.4, 0.6, 0.7],
            "whole network, test": [0.3, 0.8, 0.9],
        },
    ),
}
SHARED = {"__init__", "__main__", "folder", "fonts", "histogram", "pictures", "style"}
# Few, none, long and unknown: what must be drawn too.
AWKWARD = {
    "comparison, methods": lambda: comparison.methods_figure(
        Values(*[np.array([0.0, 12.5, 1.0])] * 2, *[np.array([False, True, True])] * 2),
        ("mnist", "scores"),
        {"memorization": "1,000 trials", "turn-over score": "10 models"},
    ),
    "comparison, nothing known": lambda: comparison.methods_figure(
        Values(np.zeros(0), np.zeros(0), None, None), ("a", "b"), {}
    ),
    "profile, one ratio": lambda: consistency_profile.figure(
        Profile(
            *[part[:1] for part in dataclasses.astuple(PROFILE)[:4]], PROFILE.labels, PROFILE.ids
        ),
        (LONG, LONG, "x"),
    ),
    "convergence, narrow": lambda: convergence.figure(HALVES, style.NARROW),
    "convergence, one half": lambda: convergence.figure(HALVES[:1]),
    "duplicates, no estimate and no pair": lambda: duplicates.figure(
        dataclasses.replace(
            DUPLICATES,
            influence=np.full(2, math.nan),
            shares=Shares(np.array([-1, -0.9]), *np.zeros((2, 2), int)),
        )
    ),
    "duplicates, millions": lambda: duplicates.figure(
        dataclasses.replace(
            DUPLICATES,
            others=np.full(20_001, 999_999),
            shares=Shares(np.array([0.15, 0.2]), *np.full((2, 2), 1_234_567)),
        )
    ),
    "dynamics, control and subsets": lambda: dynamics.figure(
        [dataclasses.replace(DYNAMICS[0], condition=name) for name in FOLLOWED]
    ),
    "dynamics, many stores": lambda: dynamics.corruption_figure(
        [(f"{count:,} corrupted labels", DYNAMICS[0]) for count in range(0, 60_000, 10_000)], 3
    ),
    "early stopping, one epoch": lambda: early_stopping.figure(
        EarlyStopping(EPOCHS[:1], np.array([math.nan]), np.ones((2, 1)))
    ),
    "gallery, no class": lambda: gallery.figure(()),
    "gallery, nothing near a level": lambda: gallery.figure([GalleryRow("a", ((),) * 3)]),
    "gallery, long names": lambda: gallery.figure(
        [GalleryRow(LONG, ((picture(k, 0.0),), (), ())) for k in range(4)]
    ),
    "influence, no pair": lambda: influence_histogram.figure(np.array([]), 0.15),
    "influence, one pair": lambda: influence_histogram.figure(np.array([0.2]), 0.15),
    "influence, thousands": lambda: influence_histogram.figure(
        np.repeat([0.2, 0.3, 0.31], [12_345, 1_234_567, 3]), 0.15, width=style.NARROW
    ),
    "influence, all of it": lambda: influence_histogram.figure(np.array([-0.3, 0.1]), -1),
    "memorization, one example": lambda: memorization_histogram.figure(np.array([1.0]), 0.25),
    "memorization, unknown": lambda: memorization_histogram.figure(np.array([math.nan]), 0.25),
    "memorization, any threshold": lambda: memorization_histogram.figure(np.array([0.1]), -1),
    "memorization, no such value": lambda: memorization_histogram.figure(np.array([0.1]), 1),
    "panels, no row": lambda: panels.figure(()),
    "panels, the smallest side": lambda: panels.figure(
        [PanelRow("", picture(0, 1.0, shape=(100, 100, 1)), ())]
    ),
    "panels, one row": lambda: panels.figure(PANEL[:1]),
    "panels, long name": lambda: panels.figure([dataclasses.replace(PANEL[0], name=LONG)]),
    "ranking, no example": lambda: ranking.figure(()),
    "ranking, one of few words": lambda: ranking.figure(RANKED[1:]),
    "ranking, long names and ids": lambda: ranking.figure(
        [ranking.Example(Picture(LONG, 1.0), 1_281_166, LONG, LONG)] * 11
    ),
    "removal, one threshold": lambda: removal.figure(EFFECTS[:1], 0.83),
    "removal, no runs": lambda: removal.figure(
        [ThresholdEffect(0.1, math.nan, NO_RUNS, NO_RUNS, NO_RUNS)], math.nan
    ),
    "scores, no class": lambda: scores_gallery.figure(()),
    "scores, long names and labels": lambda: scores_gallery.figure(
        [ClassColumn(LONG, (Example(picture(1, 31.4), 999, 999, 999),) * 5)] * 10
    ),
    "scores, one column": lambda: scores_gallery.figure(COLUMNS[:1]),
    "scores, none is real": lambda: scores_histogram.figure(np.array([0.1]), np.array([True])),
    "scores, unknown": lambda: scores_histogram.figure(np.array([math.nan])),
    "sub-networks, 200 epochs": lambda: subnetworks.figure(
        Accuracies(np.arange(1, 201), *[np.linspace(0.1, 1, 200)] * 3)
    ),
}


def test_every_figure_has_a_row():
    modules = {path.stem for path in (ROOT / "analysis" / "plots").glob("*.py")}
    assert modules - SHARED == ROWS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_figures_draw_the_values(name):
    make, read, expected = ROWS[name]
    assert read(make()) == expected


@pytest.mark.parametrize("name", [*ROWS, *AWKWARD])
def test_nothing_is_cut_off(name):
    fig = ROWS[name][0]() if name in ROWS else AWKWARD[name]()
    fig.draw_without_rendering()  # Which lays it out.
    drawn = fig.get_tightbbox()
    width, height = fig.get_size_inches()
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= width + 0.01
    assert drawn.y1 <= height + 0.01


@pytest.mark.parametrize(
    "name", slow.some(ROWS, lambda name: name not in ("convergence", "panels"))
)
def test_figures_are_written_in_every_format(name, tmp_path):
    fig = ROWS[name][0]()
    width, height = fig.get_size_inches()
    for kind in style.FORMATS:
        style.save(fig, tmp_path / f"a.{kind}")
    assert Image.open(tmp_path / "a.png").size == pytest.approx((200 * width, 200 * height), abs=1)


def test_bins_start_at_the_threshold_and_have_their_left_edge():
    values = np.array([0.15, 0.1999, 0.2, 0.3, 0.35, 0.999, 1.0, math.nan])
    counts, edges = histogram.bins(values, 0.15)
    np.testing.assert_allclose(edges, np.linspace(0.15, 1, 18))
    assert counts.tolist() == [2, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize(
    ("lowest", "first"), [(0.17, 0.15), (0.3, 0.3), (-0.02, -0.05), (0.0, 0.0), (1.0, 0.95)]
)
def test_first_bin_holds_the_lowest_value(lowest, first):
    counts, edges = histogram.bins(np.array([lowest]), lowest)
    assert edges[0] == pytest.approx(first)
    assert counts[0] == 1


def test_influence_histogram_has_the_papers_form():
    """Fig. 3: from 0 to 1, counts over the bars."""
    (ax,) = ROWS["influence_histogram"][0]().axes
    assert _texts(ax) == ["2", "1", "3", "1"]
    assert ax.get_xlabel() == "influence"
    assert ax.get_ylabel() == "pairs"
    assert ax.get_xlim() == pytest.approx((-0.01, 1.01))
    assert ax.get_yticks().tolist() == [0, 1, 2, 3]
    (many,) = influence_histogram.figure(np.repeat([0.2, 0.3], [278, 48]), 0.15).axes
    assert many.get_yticks().tolist() == [0, 100, 200]
    assert influence_histogram.figure(np.array([-0.3]), -0.4).axes[0].get_xlim()[0] < -0.4


def test_influence_histogram_of_the_published_pairs(published_dir):
    """ImageNet's: the counts that Fig. 3a of the paper has over its bars."""
    path = published_dir / "imagenet_high_infl_pairs_infl0.15_mem0.25.npz"
    (ax,) = influence_histogram.figure(np.load(path)["infl"], 0.15).axes
    counts = [825, 381, 168, 93, 58, 43, 23, 19, 13, 6, 5, 5, 1, 1]
    assert [bar.get_height() for bar in ax.patches] == counts
    assert _texts(ax) == list(map(str, counts))


def test_memorization_histogram_makes_the_tail_visible():
    (ax,) = ROWS["memorization_histogram"][0]().axes
    assert _texts(ax) == ["1", "1,200", "2", "1", "3 at or above 0.25"]
    assert ax.get_yscale() == "log"
    lowest, highest = ax.get_ylim()
    assert lowest < 1
    assert highest > 1200
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "10", "100", "1,000"]
    (line,) = ax.lines
    assert line.get_xdata() == [0.25, 0.25]
    dark = {
        round(bar.get_x(), 6)
        for bar in ax.patches
        if to_hex(bar.get_facecolor()) == style.MEMORIZATION
    }
    assert dark == {0.25, 0.9}
    assert ax.get_xlabel() == "memorization"


def test_memorization_histogram_counts_the_unknown():
    values = np.array([0.3, math.nan, 0.31, math.nan])
    (ax,) = memorization_histogram.figure(values, 0.25).axes
    assert _bars(ax) == {0.3: 2}
    assert _texts(ax) == ["2", "2 at or above 0.25"]
    assert ax.get_xlabel() == "memorization (of 2 unknown)"


@pytest.mark.parametrize(
    ("lowest", "highest", "width", "first", "count"),
    [
        (-0.2, 32.7, 0.5, -0.5, 67),  # 0.2 would need 165.
        (0.0, 8.0, 0.1, 0.0, 80),
        (0.0, 8.01, 0.2, 0.0, 41),  # 81 bins of 0.1 are one too many.
        (-0.05, 4.0, 0.1, -0.1, 41),  # 82 bins of 0.05 are.
        (3.0, 300.0, 5.0, 0.0, 60),
        (2.5, 2.5, 1.0, 2.0, 1),
    ],
)
def test_bins_of_scores_are_multiples_of_a_round_width(lowest, highest, width, first, count):
    edges = scores_histogram.bins(np.array([highest, lowest]))
    np.testing.assert_allclose(edges, first + width * np.arange(count + 1), atol=1e-12)
    assert edges[0] <= lowest <= highest <= edges[-1]


def test_scores_histogram_makes_the_tail_visible():
    """Fig. 2: one example is a bar; what is not finite is said; one colour needs no legend."""
    score = np.array([0.0] * 1200 + [0.05, 7.9, math.nan, math.inf])
    (ax,) = scores_histogram.figure(score).axes
    ((counts, edges),) = _steps(ax).values()
    assert {round(edges[i], 6): counts[i] for i in np.flatnonzero(counts)} == {0: 1201, 7.8: 1}
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] < 1
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "10", "100", "1,000"]
    assert ax.get_xlabel() == "memorization score (nats; of 2 unknown)"
    assert ax.get_legend() is None
    (both,) = ROWS["scores_histogram"][0]().axes
    assert both.get_xlabel() == "memorization score (nats)"
    assert [text.get_text() for text in both.get_legend().get_texts()] == [
        "real labels (3 examples)",
        "replaced labels (3 examples)",
    ]


def test_scores_gallery_has_the_papers_form():
    """Fig. 7: a column per class under its name, the triple and the score above each picture."""
    (ax,) = scores_gallery.figure(COLUMNS).axes
    places = {text.get_text(): text.get_position() for text in ax.texts}
    (left, top), (below_left, bottom) = _place(ax, 1), _place(ax, 2)
    assert left == below_left
    assert top < bottom
    assert {places[name][0] for name in ("bee", "3.21", "(4, 4, 9)", "(4, 4, 4)")} == {left + 0.5}
    assert places["bee"][1] < places["(4, 4, 9)"][1] < places["3.21"][1] < top
    assert top + 1 < places["(4, 4, 4)"][1] < places["0.00"][1] < bottom
    assert places["–"][0] == places["2"][0] > left + 1
    assert {"(label, unmuted, muted prediction)", "score in nats"} <= places.keys()


def test_columns_of_scores_are_as_wide_as_their_text():
    """So that neighbours do not overlap, whose labels have three digits."""
    example = Example(picture(1, 31.4), 999, 999, 999)
    (ax,) = scores_gallery.figure([ClassColumn(name, (example,)) for name in "ab"]).axes
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text() == example.triple]
    assert boxes[0].x1 < boxes[1].x0


@pytest.mark.parametrize("name", ["early_stopping", "subnetworks"])
def test_an_axis_of_epochs_starts_at_none_and_has_whole_ones(name):
    (ax,) = ROWS[name][0]().axes
    assert [line.get_xdata().tolist() for line in ax.lines[:2]] == [[1, 2, 5]] * 2
    assert ax.get_xlim() == (0, 5)
    assert ax.get_xticks().tolist() == [0, 1, 2, 3, 4, 5]
    assert ax.get_xlabel() == "epoch"


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
def test_convergence_draws_every_half(width):
    jaccard, difference = convergence.figure(HALVES, width).axes
    for ax, expected in (
        (jaccard, {"memorization": [0.5, 0.75, 0.875], "influence": [math.nan, 0.5, 0.8]}),
        (difference, {"memorization": [0.25, 0.125, 0.0625], "influence": [math.nan, 0.2, 0.1]}),
    ):
        lines = {line.get_label(): line for line in ax.lines if line.get_label() in expected}
        assert lines.keys() == expected.keys()
        for label, values in expected.items():
            assert list(lines[label].get_xdata()) == [16, 32, 64]
            np.testing.assert_array_equal(lines[label].get_ydata(), values)
        assert [label.get_text() for label in ax.get_xticklabels()] == ["16", "32", "64"]
        assert ax.get_xscale() == "log"


def _place(ax, grey):
    """(left, top) of the picture of that grey."""
    (image,) = (image for image in ax.images if image.get_array().flat[0] == grey)
    return image.get_extent()[0], image.get_extent()[3]


def test_gallery_has_the_papers_form():
    """Fig. 1: classes beside each other under their names, a row per level, a dash for none."""
    (ax,) = gallery.figure(CLASSES).axes
    places = {text.get_text(): text.get_position() for text in ax.texts}
    (first, top), (last, bottom) = _place(ax, 1), _place(ax, 3)
    assert last == first
    rows = [places[level][1] - 0.5 for level in ("0.0", "0.5", "1.0")]
    np.testing.assert_allclose([rows[0], rows[2]], [top, bottom])
    assert rows == sorted(rows)
    assert places["0.0"][0] < first
    # The names are over the middle of three pictures, as many as the fullest row has.
    assert places["bee"][0] == pytest.approx((first + _place(ax, 2)[0] + 1 + 1 / 8 + 1) / 2)
    assert places["2"][0] == pytest.approx(_place(ax, 5)[0] + 0.5)
    assert max(places[name][1] for name in ("bee", "2")) < top
    assert _texts(ax).count("–") == 3


@pytest.mark.parametrize(
    ("classes", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3), (10, 3)]
)
def test_gallery_keeps_to_the_form_of_a_page(classes, columns):
    shown = [GalleryRow(str(k), ((picture(k, 0.0),), (), ())) for k in range(classes)]
    (ax,) = gallery.figure(shown).axes
    places = [_place(ax, grey) for grey in range(classes)]
    assert len({left for left, _ in places}) == columns
    assert places == sorted(places, key=lambda place: place[::-1])


def test_panels_have_the_papers_form():
    """Figs. 4 to 6: a training example per row, its test examples to the right of it."""
    (ax,) = panels.figure(PANEL).axes
    places = {grey: _place(ax, grey) for grey in (1, 2, 3, 4, 5)}
    assert places[1][0] == places[4][0] < places[2][0] == places[5][0] < places[3][0]
    assert places[1][1] == places[2][1] == places[3][1] < places[4][1] == places[5][1]
    texts = {text.get_text(): text for text in ax.texts}
    assert texts["train"].get_position()[0] == pytest.approx(places[1][0] + 0.5)
    assert {"memorization", "test", "influence", "class bee"} <= texts.keys()
    assert not texts["class a$b$"].get_parse_math()
    colours = [to_hex(texts[value].get_color()) for value in ("0.50", "0.30", "0.10")]
    assert colours == [style.MEMORIZATION, style.INFLUENCE, style.QUIET]


@pytest.mark.parametrize(
    ("value", "text"), [(0.125, "0.12"), (0.996, "1.00"), (-0.31, "−0.31"), (-0.001, "0.00")]
)
def test_estimates_have_two_digits(value, text):
    assert style.number(value) == text


def test_long_names_are_cut_to_the_width_that_there_is():
    fig = gallery.figure([GalleryRow(LONG, ((picture(1, 0.0),) * 4, (), ()))] * 2)
    (ax,) = fig.axes
    names = [text for text in ax.texts if text.get_text().startswith("great")]
    assert all(LONG.startswith(name.get_text()[:-1]) for name in names)
    assert all(name.get_text()[-1] == "…" for name in names)
    first, second = (name.get_window_extent() for name in names)
    assert first.x1 < second.x0
    side = ax.transData.transform((1, 0))[0] - ax.transData.transform((0, 0))[0]
    assert 3.5 * side < first.width < 4.5 * side
    assert pictures.shortened("bee", 200, 9) == "bee"
    assert pictures.shortened("bee", 0, 9) == "…"


@pytest.mark.parametrize("size", [8, 28, 32, 64, 96])
def test_small_pictures_are_magnified_by_a_whole_factor_without_blur(tmp_path, rng, size):
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    rows = [PanelRow("", Picture(pixels, 1.0), (picture(0, 0.0, shape=(size, size, 3)),) * 4)]
    fig = panels.figure(rows)
    (ax,) = fig.axes
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), pixels)
    assert image.get_interpolation() == "nearest"
    style.save(fig, tmp_path / "a.png")
    saved = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    dots = saved.shape[1] / ax.get_xlim()[1]
    left, _, _, top = (round(dots * place) for place in image.get_extent())
    factor = round(dots) // size
    assert dots == factor * size
    assert 100 <= dots < 200
    magnified = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    found = saved[top : top + round(dots), left : left + round(dots)]
    np.testing.assert_array_equal(found, magnified)


def test_large_pictures_are_reduced_in_their_proportions():
    fig = panels.figure([PanelRow("", picture(7, 1.0, shape=(300, 600, 3)), ())])
    (image,) = fig.axes[0].images
    assert image.get_array().shape == (80, 160, 3)
    left, right, bottom, top = image.get_extent()
    assert (right - left, bottom - top) == (1, 0.5)
    grey = panels.figure([PanelRow("", picture(7, 1.0, shape=(161, 161, 1)), ())])
    assert grey.axes[0].images[0].get_array().shape == (160, 160)


def test_the_largest_pixel_is_white():
    levels = np.array([[0, 8, 16]], np.uint8)
    assert pictures.to_pixels(levels, 16).tolist() == [[0, 128, 255]]
    assert pictures.to_pixels(levels, 255).tolist() == levels.tolist()


def test_figures_draw_on_axes_that_are_given():
    """As one of several, where a side of the grid is what there is room for."""
    fig = Figure(figsize=(8, 3))
    left, right = fig.subplots(1, 2)
    gallery.draw(left, CLASSES)
    panels.draw(right, PANEL)
    assert _greys(left) == ROWS["gallery"][2]
    assert _greys(right) == ROWS["panels"][2]
    fig.draw_without_rendering()
    for ax in (left, right):
        across, down = np.abs(ax.transData.transform((1, 1)) - ax.transData.transform((0, 0)))
        assert across == pytest.approx(down)


def _svg(name="one"):
    return style.to_svg(influence_histogram.figure(np.array([0.2, 0.3, 0.31]), 0.15), name)


def test_svg_is_stable_and_self_contained():
    svg = _svg()
    assert svg == _svg()
    ET.fromstring(svg)
    assert re.findall(r'(?:href|src)="(?!#)|url\((?!#)', svg) == []
    assert ">influence<" in svg  # Text stays text.
    assert f"var(--infl, {style.INFLUENCE})" in svg


def test_svgs_of_one_page_share_no_id():
    ids = [set(re.findall(r'id="([^"]+)"', _svg(name))) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]
    referenced = set(re.findall(r'(?:href="|url\()#([^")]+)', _svg("one")))
    assert referenced == ids[0]


def test_save_writes_what_the_name_says(tmp_path):
    for name, start in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")):
        contents = []
        for _ in range(2):
            style.save(convergence.figure(HALVES), tmp_path / name)
            contents.append((tmp_path / name).read_bytes())
        assert contents[0].startswith(start)
        assert contents[0] == contents[1]
    assert Image.open(tmp_path / "a.png").size == (round(200 * style.WIDE), 600)
    with pytest.raises(ValueError, match=r"a\.jpeg names no kind of picture, expected \.png"):
        style.save(convergence.figure(HALVES), tmp_path / "a.jpeg")


def write_estimates(path, dataset, memorization, planted=(), ids=True, influence=True):
    """Writes estimates of a dataset, whose influence is 0 but for (training, test, influence)."""
    train, test = dataset.train, dataset.test
    zeros = np.zeros(len(train))
    details = Memorization(np.asarray(memorization), zeros, zeros, zeros, zeros)
    blocks = []
    for label in range(dataset.num_classes):
        rows, columns = (np.flatnonzero(split.labels == label) for split in (train, test))
        value = np.zeros((len(rows), len(columns)))
        for i, j, planted_influence in planted:
            value[np.ix_(rows == i, columns == j)] = planted_influence
        blocks.append(ClassInfluence(rows, columns, value, np.zeros_like(value)))
    found = Estimates(
        details.value, train.labels, test.labels, blocks if influence else (), details
    )
    named = dict(train_ids=train.ids, test_ids=test.ids) if ids else {}
    files.write(path, dataclasses.replace(found, **named))


# The figures of the program, in the order of names, and what each cannot be drawn without.
FIGURES = {
    "fig1-memorization": {"pictures"},
    "fig3-influence": {"pairs"},
    "fig4-6-panels": {"pictures", "pairs"},
    "memorization-histogram": set(),
}
NUMBERED = {"fig4-6-panels": "fig4-6-panels-1"}  # A figure for each set of examples.


def recorded(out, *words):
    """Returns what the figures of analysis.figures hold, by name, and what the program said."""
    return recording.recorded("analysis.figures", "--out", out, *words)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny):
    """(estimates file, dataset's name): 21 training examples in 3 classes, 2 of them in pairs."""
    folder = tmp_path_factory.mktemp("figures")
    np.savez(
        folder / "tiny.npz",
        x_train=tiny.train.images,
        y_train=tiny.train.labels,
        x_test=tiny.test.images,
        y_test=tiny.test.labels,
        class_names=np.array(["a", "bee", "c"]),
    )
    memorization = np.zeros(21)
    memorization[[4, 5, 7]] = 0.98, 0.3, 0.45
    planted = [(4, 7, 0.6), (4, 1, 0.1), (5, 2, 0.2), (7, 4, 0.1)]
    write_estimates(folder / "estimates.npz", tiny, memorization, planted)
    return folder / "estimates.npz", f"npz:{folder / 'tiny.npz'}"


def test_the_program_draws_what_the_estimates_say(made, tmp_path, tiny):
    estimates, dataset = made
    found, said = recorded(
        tmp_path / "out", f"--estimates={estimates}", f"--dataset={dataset}", "--classes=bee,0"
    )
    assert sorted(found) == [NUMBERED.get(name, name) for name in FIGURES]
    assert [line.partition(":")[0] for line in said] == sorted(found)
    train, test = tiny.train.images[..., 0].tolist(), tiny.test.images[..., 0].tolist()
    images, texts, *_ = found["fig1-memorization"]
    # Of class bee (1, 4, 7, ...) those of 0, then 7 around 0.5 and 4 around 1; of a those of 0.
    assert images == [train[i] for i in (1, 10, 13, 16, 7, 4, 0, 3, 6, 9)]
    assert [text for text in texts if text in ("bee", "a", "c")] == ["bee", "a"]
    assert [text for text in texts if re.fullmatch(r"0\.\d\d", text)] == [
        *["0.00"] * 4,
        "0.45",
        "0.98",
        *["0.00"] * 4,
    ]
    images, texts, *_ = found["fig4-6-panels-1"]
    assert images == [
        train[4],
        *(test[j] for j in (7, 1, 4)),
        train[5],
        *map(test.__getitem__, (2, 5, 8)),
    ]
    values = [
        "0.98",
        "0.60",
        "0.10",
        "0.00",
        "class bee",
        "0.30",
        "0.20",
        "0.00",
        "0.00",
        "class c",
    ]
    assert [text for text in texts if text in values] == values
    assert found["fig3-influence"][1:3] == (["1", "1"], [1, 1])
    assert found["memorization-histogram"][1:3] == (
        ["18", "1", "1", "1", "3 at or above 0.25"],
        [18, 1, 1, 1],
    )


def test_the_program_writes_files_and_says_what_it_leaves_out(made, tmp_path):
    estimates, dataset = made
    out = tmp_path / "new" / "out"
    done = run_program("analysis.figures", f"--estimates={estimates}", f"--out={out}")
    names = [name for name, needs in FIGURES.items() if "pictures" not in needs]
    written = [f"{name}.{kind}" for name in names for kind in ("pdf", "png")]
    assert sorted(path.name for path in out.iterdir()) == written
    assert done.stdout.splitlines() == [
        f"{name}: {out}/{name}.png, {out}/{name}.pdf"
        if name in names
        else f"{name} is left out: its pictures need --dataset, the dataset of the estimates"
        for name in FIGURES
    ]
    done = run_program(
        *("analysis.figures", f"--estimates={estimates}", f"--out={out}", f"--dataset={dataset}"),
        *("--infl_threshold=0.7", "--formats=svg"),
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if "left out" in line] == [
        f"{name} is left out: no pair has mem >= 0.25 and infl >= 0.7"
        for name, needs in FIGURES.items()
        if "pairs" in needs
    ]
    svgs = sorted(path.name for path in out.glob("*.svg"))
    assert svgs == [f"{name}.svg" for name, needs in FIGURES.items() if "pairs" not in needs]


def test_estimates_without_influence_and_images_that_are_no_pictures(tmp_path, tiny):
    channels = np.zeros((21, 4, 4, 2), np.uint8), np.zeros((9, 4, 4, 2), np.uint8)
    path = tmp_path / "two.npz"
    np.savez(
        path,
        x_train=channels[0],
        y_train=tiny.train.labels,
        x_test=channels[1],
        y_test=tiny.test.labels,
    )
    estimates = tmp_path / "e.npz"
    write_estimates(estimates, tiny, np.zeros(21), ids=False, influence=False)
    words = ("--estimates", estimates, "--out", tmp_path / "out", f"--dataset=npz:{path}")
    lines = run_program("analysis.figures", *words, "--formats=png").stdout.splitlines()
    assert lines[0] == (
        "fig1-memorization is left out: images have 2 channels, expected 1 (grey), 3 (colour) or "
        "4 (colour and alpha)"
    )
    assert lines[1] == (
        f"fig3-influence is left out: {estimates} has the influence of 0 of 3 classes: "
        "tfmem estimate --influence=class writes all"
    )
    assert lines[2].startswith("fig4-6-panels is left out: images have 2 channels")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"{name}.png" for name, needs in FIGURES.items() if not needs]


def test_alpha_is_laid_on_white(tmp_path, tiny):
    # Black images that differ in alpha alone: example 7 is clear but for its first column.
    pixels = [np.zeros((count, 4, 4, 4), np.uint8) for count in (21, 9)]
    pixels[0][7, :, 0, 3] = 255
    path = tmp_path / "icons.npz"
    labels = {"y_train": tiny.train.labels, "y_test": tiny.test.labels}
    np.savez(path, x_train=pixels[0], x_test=pixels[1], **labels)
    estimates = tmp_path / "e.npz"
    write_estimates(estimates, tiny, np.eye(21)[7], ids=False, influence=False)
    words = (f"--estimates={estimates}", f"--dataset=npz:{path}", "--classes=1")
    found, _ = recorded(tmp_path / "out", *words)
    *_, shown = found["fig1-memorization"].images
    np.testing.assert_array_equal(shown, np.repeat([[[0] * 3, *[[255] * 3] * 3]], 4, axis=0))


def test_a_file_without_labels_goes_by_those_of_the_dataset(tmp_path, made):
    """What the release's MNIST script writes: `memorization` [n] and `influence` [n', n]."""
    estimates, dataset = made
    influence = np.zeros((9, 21))
    influence[7, 4] = 0.6
    memorization = files.read(estimates).memorization
    path = tmp_path / "infl_mem.npz"
    np.savez(path, memorization=memorization, influence=influence)
    words = (f"--estimates={path}", f"--dataset={dataset}")
    found, _ = recorded(tmp_path / "out", *words)
    values = ["0.98", "0.60", "0.00", "0.00", "class bee"]
    assert found["fig4-6-panels-1"].texts[-5:] == values
    done = run_program("analysis.figures", words[0], f"--out={tmp_path}", check=False)
    assert done.returncode == 2
    assert "--dataset says whose they are" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--formats=png,gif"], "--formats=png,gif: expected one or more of png, pdf, svg"),
        (["--classes=bee"], "--classes is about pictures, which need --dataset"),
        (["--dataset={}", "--classes=beee"], "unknown class 'beee': did you mean 'bee'?"),
        (["--dataset=digits"], "has 21 training examples, digits has 1257: another dataset?"),
        (["--out=setup.py"], "--out=setup.py is a file, expected a folder"),
    ],
)
def test_bad_input_gets_one_line_and_no_file(made, tmp_path, flags, message):
    estimates, dataset = made
    words = [f"--estimates={estimates}", f"--out={tmp_path}"]
    words += [flag.format(dataset) for flag in flags]
    done = run_program("analysis.figures", *words, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_other_examples_are_refused(made, tmp_path, tiny):
    """The labels agree; the first id that does not is named."""
    ids = tiny.train.ids.copy()
    ids[[2, 5]] = ids[[5, 2]]
    other = dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, ids=ids))
    write_estimates(tmp_path / "e.npz", other, np.zeros(21))
    words = (f"--estimates={tmp_path}/e.npz", f"--out={tmp_path}/out", f"--dataset={made[1]}")
    done = run_program("analysis.figures", *words, check=False)
    assert done.returncode == 2
    assert "calls training example 2 train_00005, npz:" in done.stderr
    assert "calls it train_00002 (2 ids differ): another dataset or another order?" in done.stderr
    assert not (tmp_path / "out").exists()


def prepare_imagenet(data_dir):
    """Prepares it and writes estimates: in the order of their ids 0, 1/196, 4/196, 9/196, ..."""
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(num_shards=2)
    builder = tfds.builder("imagenet2012", data_dir=data_dir)
    builder.download_and_prepare(download_config=config)
    dataset = datasets.load("imagenet2012", data_dir)
    memorization = (np.argsort(np.argsort(dataset.train.ids)) / 14) ** 2
    write_estimates(f"{data_dir}/e.npz", dataset, memorization)


def test_pictures_of_imagenet_are_read_by_index(tmp_path):
    """Prepared from real archives, though tiny."""
    train, _ = write_imagenet_archives(tmp_path / "downloads" / "manual", per_class=5)
    prepare_imagenet(tmp_path)
    found, said = recorded(
        tmp_path / "out",
        f"--estimates={tmp_path}/e.npz",
        "--dataset=imagenet2012",
        f"--data_dir={tmp_path}",
        "--classes=n01443537,0",
    )
    ids = np.sort(files.read(tmp_path / "e.npz").train_ids)
    assert "fig3-influence is left out: no pair has mem >= 0.25 and infl >= 0.15" in said
    # 5 to 9 have 0.128, 0.184, 0.25, 0.327, 0.413; 0 to 4 have 0, 0.005, 0.02, 0.046, 0.082.
    images, texts, *_ = found["fig1-memorization"]
    assert [text for text in texts if text.startswith("n0")] == ["n01443537", "n01440764"]
    shown = [5, 9, 0, 1, 2, 3]
    assert len(images) == len(shown)
    for pixels, number in zip(images, shown, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(train[ids[number]][0])))
        whole = Image.fromarray(datasets.images.square(picture, 224))
        whole.thumbnail((160, 160), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(pixels, np.asarray(whole))


def _of_ids(ids):
    """Returns the texts of a panel of examples that have no pictures."""
    first, *others = (Picture(name, 0.5) for name in ids)
    fig = panels.figure([PanelRow("bee", first, tuple(others))])
    fig.canvas.draw()
    return fig, fig.axes[0]


def test_examples_without_pictures_are_shown_by_their_ids():
    ids = ["row_00042", "a$b$", "train/cats/of/the/neighbour/IMG_000123.tiff", "x" * 400 + "end"]
    fig, ax = _of_ids(ids)
    assert not ax.images
    # A side is 160 dots of the 200 in an inch: 57.6 points.
    assert fig.get_size_inches()[0] == pytest.approx(0.8 * ax.get_xlim()[1])
    shown = [text for text in ax.texts if text.get_text().replace("\n", "") in ids[:3]]
    assert [text.get_text().replace("\n", "") for text in shown] == ids[:3]
    (last,) = (text for text in ax.texts if text.get_text().endswith("end"))
    assert last.get_text().startswith("…")
    assert last.get_text().count("\n") == 4
    frames = [frame.get_window_extent() for frame in ax.patches]
    for text, frame in zip([*shown, last], frames, strict=True):
        inside = text.get_window_extent()
        assert frame.x0 < inside.x0
        assert inside.x1 < frame.x1
        assert frame.y0 < inside.y0
        assert inside.y1 < frame.y1


def test_ids_of_features_in_any_script_are_shown_without_warnings(recwarn):
    """Those that no font has begin with their number."""
    splits = [
        datasets.ArraySplit(np.arange(2), ids, np.ones((2, 3), np.float32))
        for ids in (["\u732b", "\U0001ffff"], ["a", "b"])
    ]
    dataset = datasets.ArrayDataset("", *splits, ("p", "q"))
    fig = gallery.of_classes(dataset, np.array([0.0, 1.0]), [0, 1])
    fig.canvas.draw()
    texts = _texts(fig.axes[0])
    assert "1 □" in texts
    assert "\u732b" in texts or "0 □" in texts  # As the fonts of the machine have it.
    assert not [each for each in recwarn if "Glyph" in str(each.message)]
