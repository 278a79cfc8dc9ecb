"""Datasets in one npz file."""

import numpy as np
import pytest

from tfmem import datasets


@pytest.fixture
def arrays(rng):
    return {
        "x_train": rng.integers(0, 256, (5, 4, 6), dtype=np.uint8),
        "y_train": np.array([0, 2, 1, 2, 0], np.uint8),
        "x_test": rng.integers(0, 256, (2, 4, 6), dtype=np.uint8),
        "y_test": np.array([1, 0], np.uint8),
    }


def test_npz_as_keras_has_it(arrays, tmp_path):
    np.savez(tmp_path / "keras.npz", **arrays)
    dataset = datasets.load(f"npz:{tmp_path}/keras.npz")
    assert dataset.name == f"npz:{tmp_path}/keras.npz"
    assert not datasets.needs_download(dataset.name)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.pixel_max == 255
    np.testing.assert_array_equal(dataset.train.images, arrays["x_train"][..., None])
    np.testing.assert_array_equal(dataset.train.labels, arrays["y_train"])
    np.testing.assert_array_equal(dataset.test.images, arrays["x_test"][..., None])
    np.testing.assert_array_equal(dataset.test.labels, [1, 0])
    assert dataset.train.ids[4] == "train_00004"
    assert dataset.test.ids[1] == "test_00001"
    (tmp_path / "keras.npz").rename(tmp_path / "moved.npz")
    moved = datasets.load(f"npz:{tmp_path}/moved.npz")
    assert moved.fingerprint == dataset.fingerprint
    small = datasets.load(f"npz:{tmp_path}/moved.npz", image_size=4)
    np.testing.assert_array_equal(small.test.images, arrays["x_test"][:, :, 1:5, None])


def test_npz_as_medmnist_has_it(rng, tmp_path):
    written = {
        f"{split}_{kind}": array
        for split, count in (("train", 6), ("val", 2), ("test", 3))
        for kind, array in (
            ("images", rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)),
            ("labels", np.arange(count, dtype=np.int32)[:, None] % 2),
        )
    }
    more = {
        "class_names": ["benign", "malignant"],
        "train_ids": np.array([b"a", b"b", b"c", b"d", b"e", "f\u00e9".encode()]),
        "test_ids": np.array([7, 5, 3]),
    }
    np.savez_compressed(tmp_path / "med.npz", **written, **more)
    dataset = datasets.load(f"npz:{tmp_path}/med.npz")
    assert dataset.class_names == ("benign", "malignant")
    assert dataset.train.ids.tolist() == ["a", "b", "c", "d", "e", "f\u00e9"]
    assert dataset.test.ids.tolist() == ["7", "5", "3"]
    np.testing.assert_array_equal(dataset.train.images, written["train_images"])
    np.testing.assert_array_equal(dataset.test.labels, [0, 1, 0])


NPZ_ERRORS = {
    "missing": (
        {"y_test": None},
        "lacks y_test; it has x_train, y_train, x_test; expected x_train, .*or train_images, ",
    ),
    "float pixels": (
        {"x_train": np.zeros((5, 4, 6))},
        "x_train is float64, expected uint8 pixels from 0 to 255",
    ),
    "flat": ({"x_test": np.zeros((2, 24), np.uint8)}, r"x_test has shape \(2, 24\), expected \[n"),
    "float labels": ({"y_test": np.zeros(2)}, "y_test is float64, expected integer labels"),
    "many labels": (
        {"y_test": np.zeros((2, 3), int)},
        r"y_test has shape \(2, 3\), expected \[n\] or \[n, 1\]",
    ),
    "negative": ({"y_test": np.array([0, -1])}, "y_test has label -1 at 1, expected 0 or more"),
    "huge": ({"y_test": np.array([0, 65_536])}, "has label 65536, expected at most 65535"),
    "lengths": ({"y_test": np.zeros(3, int)}, "lengths differ: x_test has 2, y_test has 3"),
    "ids": (
        {"train_ids": np.arange(4)},
        "lengths differ: x_train has 5, y_train has 5, train_ids has 4",
    ),
    "same ids": ({"test_ids": np.array(["a", "a"])}, "wrong.npz: example ids repeat"),
    "names": ({"class_names": np.array(["a", "b"])}, "example 1 has label 2, expected 0 to 1"),
    "no names": ({"class_names": np.zeros(3)}, r"class_names is float64 of shape \(3,\), expected"),
    "objects": ({"y_test": np.array([1, {}])}, "y_test cannot be read .*allow_pickle"),
    "shapes": (
        {"x_test": np.zeros((2, 4, 5), np.uint8)},
        r"training images are uint8 \(4, 6, 1\), test images uint8 \(4, 5, 1\); expected the same",
    ),
    "empty": (
        {"x_test": np.zeros((0, 4, 6), np.uint8), "y_test": np.zeros(0, int)},
        "the test split is empty",
    ),
}


@pytest.mark.parametrize("case", NPZ_ERRORS)
def test_npz_that_will_not_do(arrays, tmp_path, case):
    changes, message = NPZ_ERRORS[case]
    changed = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    np.savez(tmp_path / "wrong.npz", **changed)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(f"npz:{tmp_path}/wrong.npz")
    assert "wrong.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_npz_that_is_no_npz(tmp_path):
    with pytest.raises(ValueError, match=r"absent.npz does not exist"):
        datasets.load(f"npz:{tmp_path}/absent.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(ValueError, match=r"text.npz is not an npz file"):
        datasets.load(f"npz:{tmp_path}/text.npz")
