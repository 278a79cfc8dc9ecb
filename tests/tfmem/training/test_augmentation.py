import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfmem import experiments
from tfmem.training import augmentation


@pytest.fixture(scope="module")
def config():
    return experiments.get("cifar100_resnet50")


def test_draws_depend_on_seed_trial_epoch_and_example_alone(config):
    draws = augmentation.draw(config, 500, trial=3, epoch=7)
    np.testing.assert_array_equal(draws, augmentation.draw(config, 500, trial=3, epoch=7))
    others = [
        augmentation.draw(config, 500, trial=4, epoch=7),
        augmentation.draw(config, 500, trial=3, epoch=8),
        augmentation.draw(dataclasses.replace(config, seed=1), 500, trial=3, epoch=7),
    ]
    for other in others:
        assert (other == draws).all(axis=1).mean() < 0.05


def test_draws_are_uniform(config):
    """Padding 4: 9 places a side (Sec. B), each 1/9; half are flipped. Five standard errors."""
    draws = augmentation.draw(config, 90_000, trial=0, epoch=0)
    assert draws.dtype == np.int64
    for column in (0, 1):
        counts = np.bincount(draws[:, column])
        assert len(counts) == 9
        assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000)
    assert np.abs(draws[:, 2].mean() - 0.5) < 5 * 0.5 / 300
    pairs = np.bincount(draws[:, 0] * 9 + draws[:, 1])
    assert len(pairs) == 81
    assert np.abs(pairs - 90_000 / 81).max() < 6 * np.sqrt(90_000 / 81)


def test_without_crop_or_flip_nothing_moves(config):
    still = dataclasses.replace(config, crop="none", crop_padding=0, flip=False)
    assert augmentation.is_none(still)
    assert not augmentation.draw(still, 10, 0, 0).any()
    flipped = dataclasses.replace(still, flip=True)
    assert not augmentation.is_none(flipped)
    draws = augmentation.draw(flipped, 1000, 0, 0)
    assert not draws[:, :2].any()
    assert set(draws[:, 2]) == {0, 1}


def test_crop_by_hand():
    """A 2x3 image, padding 1: its padded form is 4x5."""
    image = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[None, :, :, None]
    cases = {
        (1, 1, 0): [[1, 2, 3], [4, 5, 6]],
        (1, 1, 1): [[3, 2, 1], [6, 5, 4]],
        (0, 0, 0): [[0, 0, 0], [0, 1, 2]],
        (0, 0, 1): [[0, 0, 0], [2, 1, 0]],
        (2, 2, 0): [[5, 6, 0], [0, 0, 0]],
        (2, 1, 1): [[6, 5, 4], [0, 0, 0]],
    }
    images = np.repeat(image, len(cases), axis=0)
    found = augmentation.crop_and_flip(images, tf.constant(list(cases), tf.int64), padding=1)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found[..., 0], list(cases.values()))


def test_crop_equals_padding_and_slicing(rng):
    images = rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    draws = np.stack([rng.integers(0, 5, 40), rng.integers(0, 5, 40), rng.integers(0, 2, 40)], 1)
    found = augmentation.crop_and_flip(images, tf.constant(draws), padding=2).numpy()
    for image, (row, column, flip), ours in zip(images, draws, found, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        crop = padded[row : row + 6, column : column + 5]
        np.testing.assert_array_equal(ours, crop[:, ::-1] if flip else crop)


def encoded(image, how=tf.io.encode_png):
    return how(tf.constant(image))


def test_the_center_view_is_the_central_square():
    """Size 8 of an image whose shorter side is 40: the central 8 of 40 pixels, unscaled."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    view = augmentation.center_view(encoded(image), 8)
    np.testing.assert_array_equal(view, image[16:24, 26:34])


@pytest.mark.parametrize("axis", [0, 1])
def test_jpeg_and_png_give_the_same_view(axis):
    """224 of 256 is where ImageNet is looked at; grey and smooth, so that JPEG keeps it."""
    grey = np.mgrid[0:256, 0:300][axis] * 255 // (255, 299)[axis]
    image = np.stack([grey] * 3, axis=-1).astype(np.uint8)
    png, jpeg = (
        augmentation.center_view(encoded(image, how), 224).numpy().astype(int)
        for how in (tf.io.encode_png, lambda i: tf.io.encode_jpeg(i, quality=100))
    )
    np.testing.assert_array_equal(png, image[16:240, 38:262])
    assert np.abs(png - jpeg).max() <= 2


def test_area_and_aspect_stay_in_their_ranges():
    """The window is found from what is seen: a picture of its own coordinates."""
    height, width = 200, 240
    y, x = np.mgrid[0:height, 0:width]
    image = encoded(np.stack([y, x, np.zeros_like(x)], axis=-1).astype(np.uint8))
    areas, aspects = [], []
    for example in range(200):
        view = augmentation.area_aspect_view(image, 32, tf.constant([5, example], tf.int64))
        view = view.numpy().astype(float)
        # The mean gradient over the middle, times 32, is the extent; the edges are interpolated.
        tall = (view[-2, :, 0] - view[1, :, 0]).mean() / 29 * 32
        wide = (view[:, -2, 1] - view[:, 1, 1]).mean() / 29 * 32
        areas.append(tall * wide / (height * width))
        aspects.append(wide / tall)
    assert 0.07 < min(areas) < 0.2
    assert 0.85 < max(areas) < 1.03
    assert 0.72 < min(aspects) < 0.85
    assert 1.2 < max(aspects) < 1.37
    again = augmentation.area_aspect_view(image, 32, tf.constant([5, 17], tf.int64))
    once = augmentation.area_aspect_view(image, 32, tf.constant([5, 17], tf.int64))
    other = augmentation.area_aspect_view(image, 32, tf.constant([6, 17], tf.int64))
    np.testing.assert_array_equal(again, once)
    assert np.abs(other.numpy().astype(int) - once).max() > 3
