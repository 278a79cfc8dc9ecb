"""Small pictures for a page, as what `src` of an `img` element may be."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from analysis.plots import pictures

# (`train` or `test`, index): which example a picture is of.
Key = tuple[str, int]

LARGEST_SIDE = 112  # Larger pictures are reduced to this: a page holds hundreds of them.
_LOSSLESS_SIDE = 48  # Larger pictures are JPEGs, a quarter as long as PNGs.
_DISPLAY_SIDE = 60  # CSS pixels that a small picture is magnified to, by a whole factor.
_QUALITY = 85  # JPEG quality.


def is_reduced(height: int, width: int) -> bool:
    """Returns whether a picture of that size is shown with fewer pixels than it has."""
    return max(height, width) > LARGEST_SIDE


def data_uri(image: np.ndarray, pixel_max: int | None) -> str:
    """Returns an image as a `data:` URI: a PNG up to 48 pixels a side, else a JPEG of at most 112.

    Args:
      image: uint8 [height, width, channels]; see `pictures.CHANNELS`.
      pixel_max: the value that is shown as white; None is 255.

    Raises:
      ValueError: another number of channels.
    """
    pictures.require_drawable(image.shape[-1])
    picture = pictures.reduced(pictures.to_pixels(image, pixel_max), LARGEST_SIDE)
    content = io.BytesIO()
    kind = "png" if max(image.shape[:2]) <= _LOSSLESS_SIDE else "jpeg"
    options = {} if kind == "png" else {"quality": _QUALITY}
    picture.save(content, format=kind, optimize=True, **options)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def display_size(height: int, width: int) -> tuple[int, int]:
    """Returns the (height, width) in CSS pixels: small images magnified by a whole factor."""
    side = max(height, width)
    whole = max(1, round(_DISPLAY_SIDE / side))
    factor = LARGEST_SIDE / side if is_reduced(height, width) else whole
    return max(1, round(factor * height)), max(1, round(factor * width))


def encode(
    keys: Sequence[Key],
    images: Callable[[str, np.ndarray], Iterable[tuple[int, np.ndarray]]],
    pixel_max: int | None,
    budget: int,
    at_once: int = 512,
    times: Callable[[Key], int] = lambda key: 1,
) -> dict[Key, str]:
    """Encodes pictures in order until they fill the budget.

    Args:
      keys: different ones, the most important first.
      images: (split, int [k] indices) -> (index, uint8 [height, width, channels]) of each, in any
        order.
      pixel_max: the value that is shown as white; None is 255.
      budget: characters that the URIs may have in all.
      at_once: how many images are asked for at once.
      times: how often the page has a picture.

    Returns:
      The URIs of the first keys, all that fit.
    """
    found: dict[Key, str] = {}
    for start in range(0, len(keys), at_once):
        part = keys[start : start + at_once]
        uris: dict[Key, str] = {}
        for split in dict.fromkeys(split for split, _ in part):
            wanted = [index for name, index in part if name == split]
            for index, image in images(split, np.array(wanted)):
                uris[split, index] = data_uri(image, pixel_max)
        for key in part:
            budget -= times(key) * len(uris[key])
            if budget < 0:
                return found
            found[key] = uris[key]
    return found
