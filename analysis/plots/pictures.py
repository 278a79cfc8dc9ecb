"""What figures of pictures share: a grid whose unit is the side of a picture, a value above each.

Small pictures are magnified by a whole factor and never blurred, large ones reduced.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from PIL import Image

from analysis.plots import style

_WHITE = 255
CHANNELS = (1, 3, 4)  # Grey, colour, and colour with alpha: what can be shown.
# Dots of a side: small pictures are magnified by the least whole factor that makes them as many,
# larger ones reduced.
_FEWEST_DOTS = 100
_MOST_DOTS = 160

# In sides of a picture. With sides of a multiple of 8 dots all of these are whole dots, and every
# pixel of a magnified picture is as wide as the next.
GAP = 1 / 8
LINE = 2 / 8  # One line of small text.
HEADING = 4 / 8


@dataclasses.dataclass(frozen=True)
class Picture:
    """An example's image and the estimate that stands above it.

    Attributes:
      image: uint8 [height, width, channels], from 0 to 255; see `CHANNELS`.
      value: of the estimate; nan is shown as a dash.
      quiet: whether the value is below the threshold that the figure is about: it is then grey.
    """

    image: np.ndarray
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
    largest = max((max(picture.image.shape[:2]) for picture in pictures), default=_FEWEST_DOTS)
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


def canvas(width: float, height: float, inches: float) -> tuple[Figure, Axes]:
    """Returns a figure of width x height sides of that many inches, and axes that fill it."""
    fig = Figure(figsize=(width * inches, height * inches))
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
    return 72 / ax.figure.dpi * min(ax.bbox.width / width, ax.bbox.height / height)


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
    pixels = np.asarray(reduced(picture.image, _MOST_DOTS))
    height, width = (length / max(pixels.shape[:2]) for length in pixels.shape[:2])
    x, y = left + (1 - width) / 2, top + LINE + (1 - height) / 2
    extent = (x, x + width, y + height, y)
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=_WHITE, interpolation="nearest", extent=extent)
