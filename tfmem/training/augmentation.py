"""Random crops and flips of training images (Sec. B), and the view that evaluation has of them.

What is drawn for an example depends on the seed, the trial, the epoch and the example alone.
"""

import functools

import numpy as np
import tensorflow as tf

from tfmem import seeds
from tfmem.recipe import ExperimentConfig

# The authors' release, ImageNet. Evaluation sees the central square of size / (size + 32) of the
# shorter side; `area_aspect` draws a part of this area and aspect that covers at least so much of
# the image, and is the central square where so many attempts find none.
_CENTER_PADDING = 32
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_COVERED = 0.1
_ATTEMPTS = 10


def is_none(config: ExperimentConfig) -> bool:
    """Returns whether training sees the images as they are."""
    return config.crop == "none" and not config.flip


def draw(config: ExperimentConfig, n: int, trial: int, epoch: int) -> np.ndarray:
    """Draws one epoch's crops and flips of all n training examples.

    Returns:
      int64 [n, 3]: the row and the column in the padded image at which the crop starts, 0 to
      2 crop_padding, and 1 where the crop is flipped left to right.
    """
    generator = seeds.generator(config.seed, trial, "augmentation", epoch)
    last = 2 * config.crop_padding if config.crop == "padded" else 0
    places = generator.integers(0, last, (n, 2), endpoint=True)
    flips = generator.integers(0, 1, (n, 1), endpoint=True) * config.flip
    return np.concatenate([places, flips], axis=1)


def crop_and_flip(images: tf.Tensor, draws: tf.Tensor, padding: int) -> tf.Tensor:
    """Crops and flips a batch of images where `draws` says; padding is black.

    Args:
      images: uint8 or float32 [batch, height, width, channels].
      draws: int64 [batch, 3], as `draw` gives them. 64 bits, because TensorFlow computes with 32
        bit integers on the host, where they would have to come back from.
      padding: pixels on every side.

    Returns:
      float32 [batch, height, width, channels].
    """
    height, width, channels = images.shape[1:]
    rows = draws[:, :1] - padding + tf.range(height, dtype=tf.int64)
    steps = tf.range(width, dtype=tf.int64)
    steps = tf.where(draws[:, 2:] == 1, width - 1 - steps, steps)
    columns = draws[:, 1:2] - padding + steps
    inside = ((rows >= 0) & (rows < height))[:, :, None]
    inside &= ((columns >= 0) & (columns < width))[:, None, :]
    index = tf.clip_by_value(rows, 0, height - 1)[:, :, None] * width
    index += tf.clip_by_value(columns, 0, width - 1)[:, None, :]
    # As float32: no GPU gathers uint8.
    pixels = tf.reshape(tf.cast(images, tf.float32), [-1, height * width, channels])
    taken = tf.gather(pixels, tf.reshape(index, [-1, height * width]), batch_dims=1)
    taken = tf.reshape(taken, [-1, height, width, channels])
    return taken * tf.cast(inside, tf.float32)[..., None]


def center_view(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes an image to the central square that evaluation sees: uint8 [size, size, 3]."""
    return _decode_window(encoded, functools.partial(_center_window, size=size), size)


def area_aspect_view(encoded: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Decodes a random part of random area and aspect to uint8 [size, size, 3].

    Args:
      encoded: JPEG or another format that TensorFlow decodes, a string scalar.
      size: side of the result in pixels.
      seed: int64 [2], of this example in this epoch.
    """

    def window(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.stack([height, width, 3]),
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=seed,
            min_object_covered=_COVERED,
            aspect_ratio_range=_ASPECT,
            area_range=_AREA,
            max_attempts=_ATTEMPTS,
        )
        found = tf.reduce_any(extent[:2] < tf.stack([height, width]))
        drawn = tf.concat([begin[:2], extent[:2]], axis=0)
        return tf.where(found, drawn, _center_window(height, width, size))

    return _decode_window(encoded, window, size)


def _center_window(height: tf.Tensor, width: tf.Tensor, size: int) -> tf.Tensor:
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.cast(size / (size + _CENTER_PADDING) * shorter, tf.int32)
    return tf.stack([(height - side + 1) // 2, (width - side + 1) // 2, side, side])


def _decode_window(encoded: tf.Tensor, window, size: int) -> tf.Tensor:
    """Decodes the window (row, column, height, width) of an image and resizes it."""

    def jpeg() -> tf.Tensor:
        # Only the window is decoded: half of the time.
        height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(encoded))
        return tf.image.decode_and_crop_jpeg(encoded, window(height, width), channels=3)

    def other() -> tf.Tensor:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        row, column, height, width = tf.unstack(window(tf.shape(image)[0], tf.shape(image)[1]))
        return image[row : row + height, column : column + width]

    image = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    resized = tf.image.resize(image, [size, size])
    resized = tf.ensure_shape(resized, [size, size, 3])
    return tf.cast(tf.round(resized), tf.uint8)
