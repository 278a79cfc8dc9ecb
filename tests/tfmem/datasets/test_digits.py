"""The digits that scikit-learn ships."""

import numpy as np
import pytest

from tfmem import datasets


def test_the_split_stays_and_is_stratified(digits):
    # For ever the same split: stores hold this fingerprint.
    assert digits.fingerprint[:16] == "3f58756f8a2dd6b4"
    # Stratified: 30.05% of each class of 174 to 183 images, to the nearest image or two.
    share = np.bincount(digits.test.labels) / (
        np.bincount(digits.train.labels) + np.bincount(digits.test.labels)
    )
    assert np.abs(share - 540 / 1797).max() < 0.01


def test_digits_ids_are_positions_in_the_original(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    for split in (digits.train, digits.test):
        index = np.array([int(name.removeprefix("digits_")) for name in split.ids])
        assert (np.diff(index) > 0).all()
        np.testing.assert_array_equal(split.labels, original.target[index])
        np.testing.assert_array_equal(split.images[..., 0], original.images[index])


def test_image_size_of_embedded_digits(digits):
    large = datasets.load("digits", image_size=12)
    assert large.input_shape == (12, 12, 1)
    assert large.train.images.max() <= large.pixel_max == 16
    np.testing.assert_array_equal(large.train.ids, digits.train.ids)
    assert large.fingerprint != digits.fingerprint
    assert datasets.load("digits", image_size=8).fingerprint == digits.fingerprint
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"image_size is {size}, expected 1 pixel or more"):
            datasets.load("digits", image_size=size)
