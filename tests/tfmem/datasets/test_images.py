"""Images in one form: files as upright pixels, arrays of one size."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.sources import random_image
from tfmem.datasets import images


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return io.BytesIO(file.getvalue())


# One row of two pixels: what the left and the right one become.
OPAQUE, CLEAR = [40, 90, 200], [255, 255, 255]
PIXELS = np.array([[OPAQUE, [1, 2, 3]]], np.uint8)
ALPHA = np.array([[255, 0]], np.uint8)
RGBA = Image.fromarray(np.dstack([PIXELS, ALPHA]))
KEYED = Image.fromarray(PIXELS).quantize(2)  # A palette of which one entry is clear.
TRANSPARENT = {
    "RGBA": encoded(RGBA),
    "palette with one clear colour": encoded(
        KEYED, transparency=int(np.asarray(KEYED)[0, 1]), optimize=False
    ),
    "palette with alpha": encoded(RGBA.quantize(3, Image.Quantize.FASTOCTREE)),
    "RGB with one clear colour": encoded(Image.fromarray(PIXELS), transparency=(1, 2, 3)),
    "GIF": encoded(KEYED, "GIF", transparency=int(np.asarray(KEYED)[0, 1])),
    "TIFF": encoded(RGBA, "TIFF"),
    "WebP": encoded(RGBA, "WEBP", lossless=True),
}


@pytest.mark.parametrize("case", TRANSPARENT)
def test_what_is_transparent_is_white(case):
    np.testing.assert_array_equal(images.decode(TRANSPARENT[case]), [[OPAQUE, CLEAR]])


def test_grey_stays_grey():
    grey = np.array([[40, 7]], np.uint8)
    clear = encoded(Image.fromarray(np.dstack([grey, ALPHA]), "LA"))
    np.testing.assert_array_equal(images.decode(clear), [[[40], [255]]])
    keyed = encoded(Image.fromarray(grey), transparency=7)
    np.testing.assert_array_equal(images.decode(keyed), [[[40], [255]]])
    bits = encoded(Image.fromarray(np.array([[True, False]])))
    np.testing.assert_array_equal(images.decode(bits), [[[255], [0]]])
    np.testing.assert_array_equal(images.decode(keyed, "RGB"), [[[40] * 3, [255] * 3]])


def test_cmyk_is_colour():
    # Cyan takes red away, black all: 255 * (1 - c) * (1 - k).
    inks = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    inks.paste((0, 0, 0, 255), (0, 4, 8, 8))
    for kind, tolerance in (("TIFF", 0), ("JPEG", 3)):
        found = images.decode(encoded(inks, kind)).astype(int)
        assert np.abs(found[0, 0] - [0, 255, 255]).max() <= tolerance
        assert np.abs(found[7, 7]).max() <= tolerance


# What the eye sees of np.arange(6).reshape(2, 3), stored so that each orientation leads there.
SEEN = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
STORED = {
    1: SEEN,
    2: np.fliplr(SEEN),
    3: np.rot90(SEEN, 2),
    4: np.flipud(SEEN),
    5: SEEN.T,
    6: np.rot90(SEEN),
    7: np.rot90(SEEN, 2).T,
    8: np.rot90(SEEN, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_images_are_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = STORED[orientation]
    file = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
    np.testing.assert_array_equal(images.decode(file)[..., 0], SEEN)
    if kind == "PNG":  # Pillow always turns TIFFs.
        file.seek(0)
        np.testing.assert_array_equal(images.decode(file, upright=False)[..., 0], stored)


@pytest.mark.parametrize("shape", [(5, 3, 32, 32), (5, 1, 28, 28), (5, 4, 20, 30)])
def test_channels_first_are_refused(shape):
    wrong = np.zeros(shape, np.uint8)
    message = r"x_train has shape .*channels come first; expected \[n, height, width, channels\]"
    with pytest.raises(ValueError, match=message + r": \.transpose\(0, 2, 3, 1\) brings them"):
        images.require_channels_last(wrong.shape, "x_train")
    images.require_channels_last(wrong.transpose(0, 2, 3, 1).shape, "x_train")


@pytest.mark.parametrize("shape", [(5, 3, 3, 200), (5, 1, 1, 200), (5, 3, 32, 3), (5, 8, 8, 12)])
def test_many_channels_that_come_last(shape):
    images.require_channels_last(shape, "x_train")


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
