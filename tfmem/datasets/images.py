"""Images in one form: files as upright pixels of grey or colour, arrays of one size."""

import functools
import pathlib
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # It takes 30 ms, and who only names a dataset decodes nothing.
    from PIL import Image

_GREY = ("1", "L", "LA", "La")
_WIDE = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# What Pillow knows by name but has no pixels of: data, films and drawings.
_NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
_MOST_CHANNELS = 4  # Of an image, as a rule.


class _Formats(NamedTuple):
    """Pillow's formats of images, those that a file's first bytes tell, and all suffixes."""

    all: list[str]
    marked: list[str]
    suffixes: frozenset[str]


@functools.cache
def _formats() -> _Formats:
    from PIL import Image

    suffixes = Image.registered_extensions()  # Which loads all formats first.
    known = [name for name in Image.ID if name not in _NO_PIXELS]
    marked = [name for name in known if Image.OPEN[name][1] is not None]
    return _Formats(known, marked, frozenset(end for end in suffixes if suffixes[end] in known))


def has_suffix(name: str) -> bool:
    """Returns whether a file's name ends as those of images do that Pillow reads."""
    return pathlib.PurePath(name).suffix.lower() in _formats().suffixes


def is_image(file: IO[bytes]) -> bool:
    """Returns whether a file starts as an image that Pillow reads."""
    from PIL import Image

    try:
        with Image.open(file, formats=_formats().marked):
            return True
    except Exception:  # Pillow's formats raise OSError, SyntaxError and others.
        return False


def decode(file: IO[bytes], mode: str | None = None, upright: bool = True) -> np.ndarray:
    """Returns the pixels of an image file, of the first frame if it has several.

    What is transparent is laid on white, whether by alpha, by a palette or by one colour.

    Args:
      file: in any format that Pillow reads.
      mode: Pillow's name of the result's: L, which is grey, or RGB. None is L if the file is grey.
      upright: whether the image is turned as its EXIF orientation says.

    Returns:
      uint8 [height, width, 1] or [height, width, 3].

    Raises:
      ValueError: it is no image, is damaged, or has more than 8 bits a channel; the message is to
        follow the file's name.
    """
    from PIL import Image

    try:
        with Image.open(file, formats=_formats().all) as image:
            own = image.mode
            if own not in _WIDE:
                return _pixels(image, mode or ("L" if own in _GREY else "RGB"), upright)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError and others.
        text = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise ValueError(f"cannot be read as an image ({text})") from error
    raise ValueError(
        f"has more than 8 bits a channel (Pillow mode {own}): convert it to an 8-bit image"
    )


def _pixels(image: "Image.Image", mode: str, upright: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    if upright:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.atleast_3d(np.asarray(image.convert(mode)))


def require_channels_last(shape: tuple[int, ...], what: str) -> None:
    """Raises ValueError, starting with `what`, if images [n, ...] have their channels first."""
    if len(shape) == 4 and shape[1] <= _MOST_CHANNELS < min(shape[2:]):
        raise ValueError(
            f"{what} has shape {shape}, in which channels come first; expected [n, height, width, "
            "channels]: .transpose(0, 2, 3, 1) brings them there"
        )


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the largest central square of an image, resized.

    Args:
      image: uint8 [height, width, channels].
      size: the side of the result.

    Returns:
      uint8 [size, size, channels], by Pillow's bicubic filter, which antialiases.
    """
    from PIL import Image

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = image[top : top + side, left : left + side]
    if side == size:
        return crop
    # Channel by channel: Pillow has no mode for every number of channels, and weighs colours by
    # alpha in those that have it.
    channels = map(Image.fromarray, np.ascontiguousarray(np.moveaxis(crop, -1, 0)))
    resized = [channel.resize((size, size), Image.Resampling.BICUBIC) for channel in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)


def resize(images: np.ndarray, size: int | None, pixel_max: int = 255) -> np.ndarray:
    """Returns images of another size; see `square`.

    Args:
      images: uint8 [n, height, width, channels].
      size: the side of the result; None returns the images as they are.
      pixel_max: the largest value a pixel can take, which a bicubic filter may overshoot.
    """
    if size is None:
        return images
    result = np.empty((len(images), size, size, images.shape[-1]), np.uint8)
    for index, image in enumerate(images):
        result[index] = square(image, size)
    return np.minimum(result, np.uint8(pixel_max))


def stack(images: Iterable[tuple[str, np.ndarray]], size: int | None, what: str) -> np.ndarray:
    """Returns images as one array.

    Args:
      images: name and uint8 [height, width, channels] of each.
      size: the side to which they are resized; None where all have one size.
      what: the dataset's name, for the error.

    Raises:
      ValueError: there is no size and two images differ in theirs; the message names them.
    """
    result, first = [], None
    for name, image in images:
        image = image if size is None else square(image, size)
        first = first or (name, image.shape)
        if image.shape != first[1]:
            raise ValueError(
                f"{what}: images differ in size: {first[0]} is {extent(first[1])} (height x width "
                f"x channels), {name} is {extent(image.shape)}: give --image_size to resize all"
            )
        result.append(image)
    return np.stack(result) if result else np.zeros((0, 1, 1, 1), np.uint8)


def extent(shape: tuple[int, ...]) -> str:
    """Returns a shape as text: `4 x 6 x 3`."""
    return " x ".join(map(str, shape))
