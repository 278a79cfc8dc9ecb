"""What figures of pictures share: a grid whose unit is the side of a picture, a value above each.

Small pictures are magnified by a whole factor and never blurred, large ones reduced. Examples that
have no pictures are shown by their ids.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image

from analysis.plots import style

_WHITE = 255
CHANNELS = (1, 3, 4)  # Grey, colour, and colour with alpha: what can be shown.
# Dots of a side: small pictures are magnified by the least whole factor that makes them as many,
# larger ones reduced.
_FEWEST_DOTS = 100
_MOST_DOTS = 160
_MOST_LINES = 5  # Of an id in the place of a picture.
_ID_WIDTH = 0.92  # Sides that a line of it may have.

# In sides of a picture. With sides of a multiple of 8 dots all of these are whole dots, and every
# pixel of a magnified picture is as wide as the next.
GAP = 1 / 8
LINE = 2 / 8  # One line of small text.
HEADING = 4 / 8


@dataclasses.dataclass(frozen=True)
class Picture:
    """An example's image, or its id, and the estimate that stands above it.

    Attributes:
      image: uint8 [height, width, channels], from 0 to 255; see `CHANNELS`. The id of an example
        that has none.
      value: of the estimate; nan is shown as a dash.
      quiet: whether the value is below the threshold that the figure is about: it is then grey.
    """

    image: np.ndarray | str
    value: float
    quiet: bool = False


def to_pixels(images: np.ndarray, pixel_max: int | None) -> np.ndarray:
    """Returns uint8 images whose white is 255, where `pixel_max` was (None is 255); any shape."""
    return np.round(images * (_WHITE / (pixel_max or _WHITE))).astype(np.uint8)


def require_drawable(channels: int) -> None:
    """Raises ValueError if images of so many channels are no pictures."""
    if channels not in CHANNELS:
        raise ValueError(
            f"images have {channels} channels, expected 1 (grey), 3 (colour) or 4 (colour and "
            "alpha)"
        )


def reduced(image: np.ndarray, longest: int) -> Image.Image:
    """Returns a uint8 image whose sides are at most so long, in grey or in colour on white."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return picture


def side(pictures: Iterable[Picture]) -> float:
    """Returns how many inches a side of the grid is: the largest picture's longer side."""
    sides = (
        _MOST_DOTS if isinstance(picture.image, str) else max(picture.image.shape[:2])
        for picture in pictures
    )
    largest = max(sides, default=_FEWEST_DOTS)
    return min(largest, _MOST_DOTS) * math.ceil(_FEWEST_DOTS / largest) / style.DPI


def text_width(text: str, size: float) -> float:
    """Returns how many points wide a text is, at that font size."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]


def shortened(text: str, width: float, size: float) -> str:
    """Returns a text of at most `width` points, at that font size; what is cut off is `…`."""
    if text_width(text, size) <= width:
        return text
    kept = len(text)
    while kept and text_width(text[:kept].rstrip() + "…", size) > width:
        kept -= 1
    return text[:kept].rstrip() + "…"


@functools.cache
def _character_width(character: str, size: float) -> float:
    return text_width(character, size)


def wrapped(text: str, width: float, size: float) -> str:
    """Returns a text in at most five lines of that many points, at that font size.

    What is too long loses its beginning, `…`: ids differ in their ends.
    """
    kept = text
    while True:
        lines, used = [""], 0.0
        for character in kept:
            used += _character_width(character, size)
            if used > width and lines[-1]:
                lines.append("")
                used = _character_width(character, size)
            lines[-1] += character
        if len(lines) <= _MOST_LINES:
            return "\n".join(lines)
        kept = f"…{kept.removeprefix('…')[1:]}"


def canvas(width: float, height: float, inches: float) -> tuple[Figure, Axes]:
    """Returns a figure of width x height sides of that many inches, and axes that fill it."""
    fig = style.NotebookFigure(figsize=(width * inches, height * inches))
    return fig, fig.add_axes((0, 0, 1, 1))


def lay_out(ax: Axes, width: float, height: float) -> float:
    """Makes the axes a grid: sides of a picture from the upper left corner, and no frame.

    Returns:
      How many points a side is.
    """
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_aspect("equal")
    return _points(ax)


def _points(ax: Axes) -> float:
    """Returns how many points a side is in axes that are laid out."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    return 72 / ax.figure.dpi * min(ax.bbox.width / (right - left), ax.bbox.height / (bottom - top))


def write(ax: Axes, x: float, y: float, text: str, **style_of_text) -> None:
    """Writes text as it is: a name is no formula."""
    defaults = {"fontsize": style.TEXT, "color": style.INK, "ha": "center", "va": "center"}
    ax.text(x, y, text, parse_math=False, **{**defaults, **style_of_text})


def show(ax: Axes, picture: Picture, left: float, top: float, colour: str) -> None:
    """Draws a picture and its value: a line of text, and below it a square that holds the picture.

    Args:
      ax: laid out.
      picture: what.
      left: of the square.
      top: of the line.
      colour: of the value, unless it is quiet.
    """
    small = dict(fontsize=style.SMALL_TEXT, color=style.QUIET if picture.quiet else colour)
    write(ax, left + 0.5, top + LINE / 2, style.number(picture.value), **small)
    if isinstance(picture.image, str):
        _show_id(ax, picture.image, left, top + LINE)
        return
    pixels = np.asarray(reduced(picture.image, _MOST_DOTS))
    height, width = (length / max(pixels.shape[:2]) for length in pixels.shape[:2])
    x, y = left + (1 - width) / 2, top + LINE + (1 - height) / 2
    extent = (x, x + width, y + height, y)
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest", extent=extent)


def _show_id(ax: Axes, name: str, left: float, top: float) -> None:
    """Draws an id in a square that is a side wide."""
    ax.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=style.LINE, linewidth=0.8))
    shown = wrapped(name, _ID_WIDTH * _points(ax), style.SMALL_TEXT)
    write(ax, left + 0.5, top + 0.5, shown, fontsize=style.SMALL_TEXT, linespacing=1.1)
