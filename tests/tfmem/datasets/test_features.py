"""Features in place of images: npz files of floats, and what is standardized."""

import dataclasses

import numpy as np
import pytest

from tfmem import config, datasets, experiments


def write(path, x_train, x_test, **more):
    y_train, y_test = (np.arange(len(x)) % 2 for x in (x_train, x_test))
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, **more)
    return f"npz:{path}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (3, 32, 32), (2, 3, 4, 2)])
def test_floats_of_any_shape_are_taken_as_they_are(rng, tmp_path, dtype, shape):
    """Also [n, 3, 32, 32], whose channels would come first in an image."""
    arrays = [rng.normal(0, 300, (count, *shape)).astype(dtype) for count in (6, 3)]
    dataset = datasets.load(write(tmp_path / "own.npz", *arrays))
    assert (dataset.input_shape, dataset.pixel_max) == (shape or (1,), None)
    assert not dataset.has_images
    for split, array in zip((dataset.train, dataset.test), arrays, strict=True):
        assert split.images.dtype == np.float32
        np.testing.assert_array_equal(split.images.reshape(array.shape), array.astype(np.float32))
    assert dataset.train.ids[5] == "train_00005"


def test_splits_of_two_precisions(tmp_path):
    dataset = datasets.load(write(tmp_path / "own.npz", np.ones((4, 2), "f4"), np.ones((2, 2))))
    assert dataset.test.images.dtype == np.float32


def test_what_is_standardized(tmp_path):
    """By the training set: of 1, 2, 3, 6 the mean is 3, and the squares of what remains add to 14.

    The mean of three times 0.1 is not 0.1, in float64; a feature that is constant is 0 everywhere.
    Around 10^9 float32 knows no units.
    """
    train = np.array([[1, 0.1, 1e9], [2, 0.1, 1e9 + 1], [3, 0.1, 1e9 + 2], [6, 0.1, 1e9 + 3]])
    name = write(tmp_path / "own.npz", train, np.array([[3, 7.0, 1e9 + 1.5], [10, 0.1, 1e9]]))
    dataset = datasets.load(name, standardize=True)
    first, third = np.sqrt(14 / 4), np.sqrt(5 / 4)
    expected = np.array([[-2 / first, 0, -1.5 / third], [-1 / first, 0, -0.5 / third]])
    np.testing.assert_allclose(dataset.train.images[:2], expected, rtol=1e-6)
    expected = np.array([[0, 0, 0], [7 / first, 0, -1.5 / third]])
    np.testing.assert_allclose(dataset.test.images, expected, rtol=1e-6)
    assert dataset.train.images.dtype == np.float32
    assert dataset.fingerprint != datasets.load(name).fingerprint
    constant = np.full((3, 2), 0.1)
    assert constant.mean(axis=0)[0] != 0.1
    name = write(tmp_path / "own.npz", constant, constant)
    assert not datasets.load(name, standardize=True).train.images.any()


def test_held_out_rows_do_not_count_in_what_is_standardized(tmp_path):
    values = np.arange(20.0)[:, None] ** 2
    np.savez(tmp_path / "own.npz", x_train=values, y_train=np.arange(20) % 2)
    dataset = datasets.load(f"npz:{tmp_path}/own.npz", test_share=0.5, standardize=True)
    train = dataset.train.images.astype(np.float64)
    np.testing.assert_allclose([train.mean(), train.std()], [0, 1], atol=1e-6)
    assert abs(dataset.test.images.mean()) > 1e-2


FEATURE_ERRORS = {
    "nan": ({"x_train": [[1.0, 2], [3, np.nan]]}, r"own.npz: x_train\[1, 1\] is nan, expected fin"),
    "infinite": ({"x_test": [[1.0, -np.inf]]}, r"own.npz: x_test\[0, 1\] is -inf, expected finite"),
    "too large": (
        {"x_test": [[1e39, 1]]},
        r"own.npz: in float32, a feature\[0, 0\] is inf, expect",
    ),
    "whole numbers": ({"x_train": [[1, 2], [3, 4]]}, "x_train is int64, expected uint8 .* float32"),
    "no features": (
        {"x_train": np.ones((2, 0))},
        r"x_train has shape \(2, 0\), expected \[n, ...\]",
    ),
    "one number": ({"x_test": np.float32(1)}, r"x_test has shape \(\), expected \[n, ...\]"),
    "widths": (
        {"x_test": [[1.0]]},
        r"training images are float64 \(2,\), test images float64 \(1,",
    ),
    "images too": ({"x_test": np.ones((1, 2, 2), np.uint8)}, r"float64 \(2,\), test images uint8"),
}


@pytest.mark.parametrize("case", FEATURE_ERRORS)
def test_features_that_will_not_do(tmp_path, case):
    changes, message = FEATURE_ERRORS[case]
    given = {"x_train": [[1.0, 2], [3, 4]], "x_test": [[1.0, 2]], **changes}
    np.savez(tmp_path / "own.npz", **given, y_train=[0, 1], y_test=[0])
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(f"npz:{tmp_path}/own.npz")
    assert "\n" not in str(caught.value)


def test_features_too_large_to_be_standardized(tmp_path):
    name = write(tmp_path / "own.npz", np.array([[1e300], [-1e300]]), np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"the standard deviation of features\[0\] is inf, expect"):
        datasets.load(name, standardize=True)


@pytest.fixture
def of_features(tmp_path):
    name = write(tmp_path / "own.npz", np.ones((4, 2)), np.ones((2, 2)))
    return dataclasses.replace(experiments.get("digits_mlp"), dataset=name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(crop="padded", crop_padding=2), "--crop=padded is for images, and npz:.*--crop=none"),
        (dict(flip=True), "--flip=true is for images, and npz:.* has features: .*--flip=false"),
        (dict(image_size=8), "--image_size=8 is for images, and npz:.*own.npz has features"),
    ],
)
def test_what_is_for_images(of_features, given, message):
    changed = dataclasses.replace(of_features, **given)
    for of_kind in (changed, config.TurnoverConfig(changed)):
        with pytest.raises(ValueError, match=message):
            datasets.load_for(of_kind)


def test_the_network_of_the_last_layer_takes_features_as_they_are(of_features):
    network = dataclasses.replace(of_features, flip=True)
    with pytest.raises(ValueError, match="--flip=true is for images"):
        datasets.load_for(config.LastLayerConfig(of_features, network))
    both = [dataclasses.replace(of_features, standardize=True)] * 2
    assert not datasets.load_for(config.LastLayerConfig(*both)).train.images.any()


def test_images_are_not_standardized():
    message = "--standardize is for features, and digits has images, whose pixels are divided by 16"
    with pytest.raises(ValueError, match=message):
        datasets.load("digits", standardize=True)


def test_standardizing_makes_another_config(of_features):
    standardized = dataclasses.replace(of_features, standardize=True)
    assert config.digest(standardized, "") != config.digest(of_features, "")
    assert config.differences(of_features, standardized) == ["standardize: False and True"]
    assert config.from_dict(config.to_dict(standardized)) == standardized
