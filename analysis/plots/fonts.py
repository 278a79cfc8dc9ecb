"""Names in any script: matplotlib's font has no Chinese, and shows a box for what it lacks."""

import contextlib
import functools
from collections.abc import Iterator, Sequence

import matplotlib
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

_BOX = "□"


@contextlib.contextmanager
def showing(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Figures that are made inside show these names, if a font of the system has the characters.

    Yields:
      The names as figures can show them. One of which no font has every character begins with its
      number, from 0, so that classes stay apart: `3 □□`.
    """
    families, boxes = _fallback(frozenset().union(*names) - _known())
    shown = tuple(
        f"{number} {''.join(_BOX if each in boxes else each for each in name)}"
        if boxes.intersection(name)
        else name
        for number, name in enumerate(names)
    )
    family = [*matplotlib.rcParams["font.family"], *families]
    with matplotlib.rc_context({"font.family": family}):
        yield shown


def _known() -> frozenset[str]:
    """Returns the characters of the font that all figures have, and what needs no glyph."""
    default = font_manager.findfont(FontProperties())
    return _characters(default).union(map(chr, range(32)), {"\u200d", "\ufe0f"})


@functools.cache
def _characters(path: str) -> frozenset[str]:
    """Returns what a font has glyphs for; nothing if it cannot be scaled, or is damaged."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


@functools.cache
def _fallback(lacking: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Returns families of the system that have these characters, and those that none has."""
    families: list[str] = []
    # Upright sans-serif fonts come first, as the others are.
    files = sorted(
        font_manager.findSystemFonts() if lacking else [],
        key=lambda path: ("Sans" not in path, "Regular" not in path, path),
    )
    while lacking:
        best = max(files, key=lambda path: len(lacking & _characters(path)), default="")
        if not best or not lacking & _characters(best):
            break
        font_manager.fontManager.addfont(best)  # It may be newer than matplotlib's list.
        families.append(FT2Font(best).family_name)
        lacking -= _characters(best)
    return tuple(families), lacking
