"""Bringing images to one size."""

from collections.abc import Iterable

import numpy as np
from PIL import Image


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the largest central square of an image, resized.

    Args:
      image: uint8 [height, width, channels].
      size: the side of the result.

    Returns:
      uint8 [size, size, channels], by Pillow's bicubic filter, which antialiases.
    """
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
