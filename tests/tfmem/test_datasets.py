import dataclasses

import numpy as np
import pytest

from tfmem import datasets
from tfmem.datasets import Dataset, Split

# Every dataset's (n, n', classes, input shape). A new row of LOADERS needs one here.
SHAPES = {
    "digits": (1257, 540, 10, (8, 8, 1)),
    "mnist": (60_000, 10_000, 10, (28, 28, 1)),
    "fashion_mnist": (60_000, 10_000, 10, (28, 28, 1)),
}


def check_shape(dataset, name):
    n, n_test, classes, shape = SHAPES[name]
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (n, n_test, classes)
    assert dataset.input_shape == shape
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.images.max() <= dataset.pixel_max
    assert len(np.unique(np.concatenate([dataset.train.ids, dataset.test.ids]))) == n + n_test


def test_every_dataset_has_a_row():
    assert set(SHAPES) == set(datasets.LOADERS)


def test_digits(digits):
    check_shape(digits, "digits")
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


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_tfds(name, tfds_dir):
    dataset = datasets.load(name, tfds_dir)
    check_shape(dataset, name)
    assert np.bincount(dataset.test.labels).tolist()[0] in (980, 1000)
    assert dataset.train.ids[42] == "train_00042"


def test_missing_data_says_what_to_do(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def offline(self, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    assert datasets.needs_download("mnist", str(tmp_path))
    assert not datasets.needs_download("digits")
    with pytest.raises(ValueError, match=r"mnist is not in .*no route to host.*--data_dir"):
        datasets.load("mnist", str(tmp_path))


def test_unknown_dataset():
    with pytest.raises(ValueError, match=r"did you mean 'fashion_mnist'.*digits, mnist"):
        datasets.load("fashon_mnist")


def test_fingerprint_sees_everything(tiny):
    changed_image = tiny.train.images.copy()
    changed_image[3, 1, 1] ^= 1
    labels = tiny.test.labels.copy()
    labels[0] = 1
    ids = tiny.test.ids.copy()
    ids[0] = "other"
    variants = [
        tiny,
        dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, images=changed_image)),
        dataclasses.replace(tiny, test=dataclasses.replace(tiny.test, labels=labels)),
        dataclasses.replace(tiny, test=dataclasses.replace(tiny.test, ids=ids)),
        dataclasses.replace(tiny, class_names=("a", "b", "d")),
        dataclasses.replace(tiny, pixel_max=254),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_bad_splits_are_refused():
    good = Split([0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="ids repeat"):
        Split([0, 1], ["a", "a"])
    with pytest.raises(ValueError, match="1 ids for 2 labels"):
        Split([0, 1], ["a"])
    with pytest.raises(ValueError, match="3 images for 2 labels"):
        Split([0, 1], ["a", "b"], np.zeros((3, 1, 1, 1), np.uint8))
    with pytest.raises(ValueError, match="train example 1 has label 2, expected 0 to 1"):
        Dataset("", Split([0, 2], ["a", "b"]), good, ("x", "y"))
    with pytest.raises(ValueError, match="the test split is empty"):
        Dataset("", good, Split([], []), ("x", "y"))


def test_same_labels_are_required(tiny):
    train, test = tiny.train.labels, tiny.test.labels
    datasets.require_same_labels(tiny, train, test, "the file")
    with pytest.raises(ValueError, match="the file has 20 training examples, tiny has 21"):
        datasets.require_same_labels(tiny, train[:20], test, "the file")
    other = test.copy()
    other[[2, 5]] = 0
    with pytest.raises(ValueError, match=r"labels test example 2 0, tiny labels it 2 \(2 labels"):
        datasets.require_same_labels(tiny, train, other, "the file")


def test_numbered_ids_keep_order_as_text():
    ids = datasets.numbered_ids("x", 100_001)
    assert ids[7] == "x_000007"
    assert sorted(ids) == list(ids)
