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


def test_npz_as_medmnist_has_it(rng, tmp_path, caplog):
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
    assert caplog.messages == [f"{tmp_path}/med.npz: left out: val_images, val_labels"]
    assert dataset.class_names == ("benign", "malignant")
    assert dataset.train.ids.tolist() == ["a", "b", "c", "d", "e", "f\u00e9"]
    assert dataset.test.ids.tolist() == ["7", "5", "3"]
    np.testing.assert_array_equal(dataset.train.images, written["train_images"])
    np.testing.assert_array_equal(dataset.test.labels, [0, 1, 0])


LABELS = {
    "texts": (["cat", "bee", "ant", "bee", "cat"], ["ant", "cat"], ("ant", "bee", "cat"), [2, 1]),
    "bytes": ([b"b", b"a", b"a", b"b", b"b"], [b"b", b"a"], ("a", "b"), [1, 0]),
    "decimal texts": (["0", "10", "2", "2", "1"], ["1", "10"], tuple(map(str, range(11))), [0, 10]),
    "floats": ([0.0, 2.0, 1.0, 2.0, 0.0], [1.0, 0.0], ("0", "1", "2"), [0, 2]),
    "bool": ([False, True, True, False, False], [True, False], ("0", "1"), [0, 1]),
    "one-hot": (np.eye(5)[[0, 2, 1, 2, 0]], np.eye(5)[[1, 0]], tuple("01234"), [0, 2]),
}


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("case", LABELS)
def test_labels_as_people_write_them(arrays, tmp_path, caplog, case, column):
    train, test, class_names, first = LABELS[case]
    given = {"y_train": np.array(train), "y_test": np.array(test)}
    if column and case != "one-hot":
        given = {name: array[:, None] for name, array in given.items()}
    np.savez(tmp_path / "own.npz", **{**arrays, **given})
    dataset = datasets.load(f"npz:{tmp_path}/own.npz")
    assert dataset.class_names == class_names
    assert dataset.train.labels.dtype == np.int64
    assert dataset.train.labels[:2].tolist() == first
    by_name = {name: label for label, name in enumerate(class_names)}
    if case == "texts":
        assert dataset.train.labels.tolist() == [by_name[name] for name in train]
        assert dataset.test.labels.tolist() == [by_name[name] for name in test]
    said = {
        "texts": "y_train and y_test are texts: the classes are ant, bee, cat",
        "bytes": "y_train and y_test are texts: the classes are a, b",
        "decimal texts": "y_train and y_test are texts: taken as numbers",
        "floats": "y_train is float64: whole numbers, taken as labels",
        "bool": "y_train is bool: False is class 0, True class 1",
        "one-hot": "y_train has one-hot rows of 5 classes: taken as labels",
    }
    assert caplog.messages[0] == f"{tmp_path}/own.npz: {said[case]}"


def test_texts_count_the_class_names_that_are_there(arrays, tmp_path):
    names = {"class_names": ["dog", "cat", "ant"]}
    texts = {"y_train": ["cat", "dog", "dog", "cat", "cat"], "y_test": ["dog", "dog"]}
    np.savez(tmp_path / "own.npz", **{**arrays, **texts, **names})
    dataset = datasets.load(f"npz:{tmp_path}/own.npz")
    assert dataset.class_names == ("dog", "cat", "ant")
    assert dataset.train.labels.tolist() == [1, 0, 0, 1, 1]
    np.savez(tmp_path / "own.npz", **{**arrays, **texts, "class_names": ["dog"]})
    with pytest.raises(ValueError, match=r"own.npz has the label 'cat', which is not among its cl"):
        datasets.load(f"npz:{tmp_path}/own.npz")


def test_plain_labels_say_nothing(arrays, tmp_path, caplog):
    np.savez(tmp_path / "own.npz", **{**arrays, "y_test": arrays["y_test"][:, None]})
    datasets.load(f"npz:{tmp_path}/own.npz")
    assert not caplog.messages


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_names_of_the_second_split(arrays, tmp_path, name):
    renamed = {key.replace("test", name): array for key, array in arrays.items()}
    np.savez(tmp_path / "own.npz", **renamed, **{f"{name}_ids": ["p", "q"]})
    test = datasets.load(f"npz:{tmp_path}/own.npz").test
    np.testing.assert_array_equal(test.images[..., 0], arrays["x_test"])
    assert test.ids.tolist() == ["p", "q"]


def test_a_file_without_a_second_split(arrays, tmp_path, caplog):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(ValueError, match=r"has x_test: --test_share=0.4 is for files without"):
        datasets.load(f"npz:{tmp_path}/own.npz", test_share=0.4)
    of_train = {key: array for key, array in arrays.items() if "train" in key}
    np.savez(tmp_path / "own.npz", **of_train, note=np.zeros(3))
    with pytest.raises(ValueError, match=r"lacks x_test, y_test; .*or --test_share=0.2, which"):
        datasets.load(f"npz:{tmp_path}/own.npz")
    dataset = datasets.load(f"npz:{tmp_path}/own.npz", test_share=0.4)
    assert (np.bincount(dataset.train.labels).tolist(), len(dataset.test)) == ([1, 1, 1], 2)
    assert sorted(dataset.test.labels) == [0, 2]
    places = [int(name[-1]) for name in dataset.test.ids]
    np.testing.assert_array_equal(dataset.test.images[..., 0], arrays["x_train"][places])
    assert caplog.messages == [f"{tmp_path}/own.npz: left out: note"]


NPZ_ERRORS = {
    "missing": (
        {"y_test": None},
        "lacks y_test; it has x_train, y_train, x_test; expected x_train, .*or train_images, ",
    ),
    "float pixels": (
        {"x_train": np.zeros((5, 4, 6), np.float16)},
        "x_train is float16, expected uint8 pixels from 0 to 255, or float32 or float64",
    ),
    "flat": ({"x_test": np.zeros((2, 24), np.uint8)}, r"x_test has shape \(2, 24\), expected \[n"),
    "no whole numbers": (
        {"y_test": np.array([1, 0.5])},
        "y_test has label 0.5 at 1, expected whole numbers",
    ),
    "no number": (
        {"y_test": np.array([np.nan, 0])},
        "y_test has label nan at 0, expected whole numbers",
    ),
    "complex labels": ({"y_test": np.zeros(2, complex)}, "y_test is complex128, expected integer"),
    "texts and numbers": (
        {"y_test": np.array(["ant", "bee"])},
        "wrong.npz: y_test has texts, y_train has uint8; expected the same",
    ),
    "channels first": (
        {"x_train": np.zeros((5, 3, 32, 32), np.uint8)},
        r"x_train has shape \(5, 3, 32, 32\), in which channels come first.*\(0, 2, 3, 1\)",
    ),
    "one-hot rows of two widths": (
        {"y_train": np.eye(5, dtype=int), "y_test": np.eye(4, dtype=int)[:2]},
        r"one-hot rows are of \[4, 5\] classes",
    ),
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
