"""Small pictures: what they are encoded as, and how many of them fit."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from analysis.page import thumbnails


def _decoded(uri):
    kind, content = uri.split(",")
    return kind, Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_keep_their_pixels(channels):
    image = np.random.default_rng(0).integers(0, 17, (48, 40, channels), np.uint8)
    kind, shown = _decoded(thumbnails.data_uri(image, 16))
    assert kind == "data:image/png;base64"
    expected = np.round(image / 16 * 255)
    np.testing.assert_array_equal(np.asarray(shown).reshape(image.shape), expected)


def test_larger_pictures_are_jpegs_of_at_most_112_pixels():
    kind, shown = _decoded(thumbnails.data_uri(np.full((64, 49, 3), 200, np.uint8), None))
    assert kind == "data:image/jpeg;base64"
    assert shown.size == (49, 64)
    np.testing.assert_allclose(np.asarray(shown), 200, atol=2)
    _, reduced = _decoded(thumbnails.data_uri(np.zeros((224, 168, 1), np.uint8), 255))
    assert reduced.size == (84, 112)


def test_alpha_is_laid_on_white():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0], image[1, 1] = (10, 20, 30, 255), (0, 0, 0, 51)
    kind, shown = _decoded(thumbnails.data_uri(image, 255))
    assert (kind, shown.mode) == ("data:image/png;base64", "RGB")
    expected = np.full((2, 2, 3), 255)
    expected[0, 0], expected[1, 1] = (10, 20, 30), 204
    np.testing.assert_array_equal(np.asarray(shown), expected)
    kind, shown = _decoded(thumbnails.data_uri(np.zeros((60, 60, 4), np.uint8), 255))
    assert kind == "data:image/jpeg;base64"
    assert (np.asarray(shown) == 255).all()


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"2 channels, expected 1 \(grey\), 3 \(colour\) or 4"):
        thumbnails.data_uri(np.zeros((8, 8, 2), np.uint8), 255)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((8, 8), (64, 64)), ((28, 28), (56, 56)), ((32, 32), (64, 64)), ((224, 112), (112, 56))],
)
def test_display_size_magnifies_by_whole_factors(shape, size):
    assert thumbnails.display_size(*shape) == size


def _encode(keys, budget, at_once):
    asked = []

    def images(split, indices):
        asked.append((split, list(indices)))
        for index in reversed(indices):
            yield index, np.full((1, 1, 1), index + 100 * (split == "test"), np.uint8)

    return thumbnails.encode(keys, images, 255, budget, at_once), asked


def test_pictures_are_encoded_in_order_until_the_budget_is_spent():
    keys = [("train", 3), ("test", 3), ("train", 1), ("test", 0), ("train", 2)]
    found, asked = _encode(keys, 10**6, 3)
    assert list(found) == keys
    assert asked == [("train", [3, 1]), ("test", [3]), ("test", [0]), ("train", [2])]
    values = [int(np.asarray(_decoded(uri)[1])[0, 0]) for uri in found.values()]
    assert values == [3, 103, 1, 100, 2]
    lengths = [len(uri) for uri in found.values()]
    assert list(_encode(keys, sum(lengths[:4]), 2)[0]) == keys[:4]
    assert list(_encode(keys, sum(lengths[:4]) - 1, 2)[0]) == keys[:3]
