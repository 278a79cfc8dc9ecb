"""What all datasets share: labels, ids, fingerprints."""

import dataclasses

import numpy as np
import pytest

from tfmem import datasets
from tfmem.datasets import ArrayDataset, Dataset, Split


def test_the_same_ids(tiny):
    train, test = tiny.train.ids, tiny.test.ids
    datasets.require_same_ids(tiny, train, test, "e.npz")
    datasets.require_same_ids(tiny, None, test, "e.npz")
    other = test.copy()
    other[[4, 7]] = "x"
    message = r"^e.npz calls test example 4 x, tiny calls it test_00004 \(2 ids differ\): another"
    with pytest.raises(ValueError, match=message):
        datasets.require_same_ids(tiny, train, other, "e.npz")
    with pytest.raises(ValueError, match=r"^e.npz has ids of 20 training examples, tiny has 21"):
        datasets.require_same_ids(tiny, train[:20], test, "e.npz")


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
        good.with_images(np.zeros((3, 1, 1, 1), np.uint8))
    with pytest.raises(ValueError, match=r"shape \(2, 3, 8, 8\), in which channels come first"):
        good.with_images(np.zeros((2, 3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="train example 1 has label 2, expected 0 to 1"):
        Dataset("", Split([0, 2], ["a", "b"]), good, ("x", "y"))
    with pytest.raises(ValueError, match="the test split is empty"):
        Dataset("", good, Split([], []), ("x", "y"))


def test_representations(tiny):
    def vectors(dtype, width=5):
        return [
            split.with_images(np.ones((len(split), width), dtype))
            for split in (tiny.train, tiny.test)
        ]

    train, test = vectors(np.float32)
    dataset = ArrayDataset("", train, test, tiny.class_names)
    assert dataset.input_shape == (5,)
    assert dataset.pixel_max is None
    # The same bytes in the same shape, as pixels.
    pixels = [
        split.with_images(split.images.view(np.uint8).reshape(-1, 5, 4, 1))
        for split in (train, test)
    ]
    assert dataset.fingerprint != ArrayDataset("", *pixels, tiny.class_names).fingerprint
    assert ArrayDataset("", *vectors(np.float64), tiny.class_names).input_shape == (5,)
    with pytest.raises(ValueError, match=r"images are float16 of shape \(21, 5\), expected uint8"):
        vectors(np.float16)
    with pytest.raises(ValueError, match=r"training images are float32 \(5,\), test images uint8"):
        ArrayDataset("", train, tiny.test, tiny.class_names)


def test_labels_fit_into_what_a_store_keeps(tiny):
    names = tuple(map(str, range(65_536)))
    assert dataclasses.replace(tiny, class_names=names).num_classes == 65_536
    with pytest.raises(ValueError, match="65,537 classes, expected at most 65,536"):
        dataclasses.replace(tiny, class_names=(*names, "one more"))


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


def test_a_dataset_without_images_is_another(tiny):
    """What a store keeps: labels and ids, which have no input shape."""
    splits = [Split(split.labels, split.ids) for split in (tiny.train, tiny.test)]
    kept = Dataset("tiny", *splits, tiny.class_names, tiny.pixel_max)
    assert kept.fingerprint != tiny.fingerprint
    assert not isinstance(kept, datasets.ImageDataset)
    assert not hasattr(kept, "input_shape")
    with_images = [kept.train.with_images(tiny.train.images), tiny.test]
    again = ArrayDataset("tiny", *with_images, tiny.class_names, tiny.pixel_max)
    assert again.fingerprint == tiny.fingerprint
