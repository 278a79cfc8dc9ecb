"""Bringing images to one size."""

import numpy as np

from tests.sources import random_image
from tfmem.datasets import images


def test_resizing():
    # A constant stays, and so does an image that has the size already.
    constant = np.full((7, 11, 3), 93, np.uint8)
    assert (images.square(constant, 5) == 93).all()
    assert images.square(constant, 5).shape == (5, 5, 3)
    rng = np.random.default_rng(1)
    image = random_image(rng, 8, 8)
    np.testing.assert_array_equal(images.square(image, 8), image)
    # The centre of what is not square.
    np.testing.assert_array_equal(images.square(np.pad(image, [(0, 0), (3, 3), (0, 0)]), 8), image)
    np.testing.assert_array_equal(images.square(np.pad(image, [(2, 3), (0, 0), (0, 0)]), 8), image)
    # Against the bicubic kernel (a = -0.5), written out. Antialiased: stretched over two pixels.
    expected = np.einsum("ih,jw,hwc->ijc", *[bicubic_weights(8, 4)] * 2, image.astype(float))
    found = images.square(image, 4).astype(float)
    assert np.abs(found - expected.clip(0, 255)).max() <= 1.5


def bicubic_weights(size, smaller):
    """[smaller, size]: what each pixel of a smaller row takes of each of the row."""
    scale = size / smaller
    centres = (np.arange(smaller) + 0.5) * scale - 0.5
    x = np.abs(np.arange(size) - centres[:, None]) / scale
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)
