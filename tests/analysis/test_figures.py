"""Figures draw the numbers that were counted by hand, and leave memory unchanged by the day."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from analysis.convergence import SplitHalf
from analysis.figures import (
    convergence,
    histogram,
    influence_histogram,
    memorization_histogram,
    style,
)

HALVES = (
    SplitHalf(16, 0.5, 0.25, 10.0, math.nan, math.nan, 0.0),
    SplitHalf(32, 0.75, 0.125, 9.0, 0.5, 0.2, 4.0),
    SplitHalf(64, 0.875, 0.0625, 8.0, 0.8, 0.1, 3.0),
)


def _bars(ax):
    return {round(bar.get_x(), 6): bar.get_height() for bar in ax.patches}


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def test_bins_start_at_the_threshold_and_have_their_left_edge():
    counts, edges = histogram.bins(np.array([0.15, 0.1999, 0.2, 0.3, 0.35, 0.999, 1.0]), 0.15)
    np.testing.assert_allclose(edges, np.linspace(0.15, 1, 18))
    assert counts.tolist() == [2, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize(
    ("lowest", "first"), [(0.17, 0.15), (0.3, 0.3), (-0.02, -0.05), (0.0, 0.0), (1.0, 0.95)]
)
def test_first_bin_holds_the_lowest_value(lowest, first):
    counts, edges = histogram.bins(np.array([lowest]), lowest)
    assert edges[0] == pytest.approx(first)
    assert counts[0] == 1


def test_influence_histogram_draws_hand_counted_bars():
    fig = influence_histogram.figure(np.array([0.15, 0.16, 0.21, 0.42, 0.43, 0.44, 1.0]), 0.15)
    (ax,) = fig.axes
    assert _bars(ax) == {0.15: 2, 0.2: 1, 0.4: 3, 0.95: 1}
    assert _texts(ax) == ["2", "1", "3", "1"]
    assert ax.get_xlabel() == "influence"
    assert ax.get_ylabel() == "pairs"


def test_memorization_histogram_makes_the_tail_visible():
    values = np.array([0.0] * 1200 + [-0.01, 0.26, 0.9, 0.25])
    (ax,) = memorization_histogram.figure(values, 0.25).axes
    assert _bars(ax) == {-0.05: 1, 0.0: 1200, 0.25: 2, 0.9: 1}
    assert _texts(ax) == ["1", "1,200", "2", "1", "3 at or above 0.25"]
    assert ax.get_yscale() == "log"
    lowest, highest = ax.get_ylim()
    assert lowest < 1
    assert highest > 1200
    (line,) = ax.lines
    assert line.get_xdata() == [0.25, 0.25]
    above = {round(bar.get_x(), 6) for bar in ax.patches if _colour(bar) == style.MEMORIZATION}
    assert above == {0.25, 0.9}


def _colour(bar):
    from matplotlib.colors import to_hex

    return to_hex(bar.get_facecolor())


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
