"""Class names that matplotlib's own font lacks, with and without a font that has them."""

import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.text import Text

from analysis.estimates import pairs
from analysis.estimates.scores import Scores, SplitScores
from analysis.plots import fonts, gallery, panels, pictures, scores_gallery, style
from tests.pages import ESTIMATES, dataset_of

NAMES = ("猫", "犬 ω")


def make_font(path, family, characters):
    """Writes a font whose glyphs are squares that are as wide as their line is high."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (1000, 800), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000)
    glyphs = [".notdef", *(f"uni{ord(each):04X}" for each in characters)]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def installed(monkeypatch):
    """Lets the system have some font files and no others."""

    def install(*paths):
        fonts._fallback.cache_clear()
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(paths))
        listed = list(font_manager.fontManager.ttflist)
        monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)

    yield install
    fonts._fallback.cache_clear()


def written(fig, tmp_path):
    """Returns the texts of a figure, which is saved without a warning that a glyph is missing.

    That a name is a class's, as panels say, is left out.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in style.FORMATS:
            style.save(fig, tmp_path / f"figure.{kind}")
    return [text.get_text().removeprefix("class ") for text in fig.findobj(Text)]


def figures():
    dataset = dataset_of(names=NAMES)
    found = gallery.of_classes(dataset, ESTIMATES.memorization, [0, 1])
    selected = pairs.select(ESTIMATES.memorization, ESTIMATES.influences)
    return [found, *panels.of_pairs(dataset, ESTIMATES, selected, 0.15)]


def test_a_font_of_the_system_has_them(installed, tmp_path):
    """Of two fonts each of which lacks one, both are taken; a broken one does no harm."""
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    cat = make_font(tmp_path / "cat.ttf", "Cat", "猫")
    dog = make_font(tmp_path / "dog.ttf", "Dog", "犬")
    installed(str(broken), dog, cat)
    for fig in figures():
        assert set(NAMES) <= set(written(fig, tmp_path))
        (families,) = {tuple(t.get_fontfamily()) for t in fig.findobj(Text) if t.get_text()}
        assert families == (*matplotlib.rcParams["font.family"], "Cat", "Dog")
    # The glyph is a full square there, and widths are those of what is drawn.
    with fonts.showing(NAMES):
        assert pictures.text_width("猫", 10) == pytest.approx(10, abs=0.2)
    with fonts.showing(("cat", "dog", "Ω")) as names:
        assert names == ("cat", "dog", "Ω")
        assert matplotlib.rcParams["font.family"] == ["sans-serif"]


def test_without_one_the_numbers_of_the_classes_stand_beside(installed, tmp_path):
    installed()
    for fig in figures():
        assert {"0 □", "1 □ ω"} <= set(written(fig, tmp_path))
    # One that no font has needs its number, and the others do not.
    installed(make_font(tmp_path / "dog.ttf", "Dog", "犬"))
    with fonts.showing((*NAMES, "犬犬")) as names:
        assert names == ("0 □", "犬 ω", "犬犬")


def test_scores_have_names_too(installed, tmp_path):
    installed()
    dataset = dataset_of(names=NAMES)
    zeros = np.zeros(6, np.uint16)
    score = SplitScores(np.arange(6.0), zeros, zeros)
    ids = dataset.train.ids, dataset.test.ids
    found = Scores(score, None, dataset.train.labels, dataset.test.labels, *ids, 1, 1)
    epoch = {"unmuted_predicted": zeros, "muted_predicted": zeros}
    fig = scores_gallery.of_scores(dataset, found, epoch, True, 10)
    assert {"0 □", "1 □ ω"} <= set(written(fig, tmp_path))
