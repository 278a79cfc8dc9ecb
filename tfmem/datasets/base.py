"""What a dataset is to tfmem: two splits of labels and stable ids, mostly with images.

A `Dataset` has labels and ids: what a store keeps, and all that estimates take. An `ArrayDataset`
has its images in memory too, a `StreamedDataset` reads them from files: an `ImageDataset` is one of
the two, and what models are trained on.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from tfmem.datasets import images
from tfmem.datasets.stream import ImageStream

# A store keeps predicted labels as uint16.
MAX_CLASSES = np.iinfo(np.uint16).max + 1
# What people call the two splits; the first that is there is the one.
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, in index order.

    Attributes:
      labels: int64 [n], each in [0, number of classes).
      ids: str [n], stable names of the examples, all different.
      true_labels: int64 [n], what the labels were before some were replaced, by random ones or by
        others of one's own; None where none were.
      corrupted: bool [n], whose labels were replaced, even where chance gave the true one back;
        None where none were.
      candidates: bool [n], who may be left out of a random subset; None where all may.
    """

    labels: np.ndarray
    ids: np.ndarray
    true_labels: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    corrupted: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    candidates: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        object.__setattr__(self, "ids", np.asarray(self.ids, np.str_))
        if len(self.ids) != len(self.labels):
            raise ValueError(f"{len(self.ids)} ids for {len(self.labels)} labels")
        if len(set(self.ids.tolist())) != len(self.ids):
            raise ValueError("example ids repeat; each example needs an id of its own")

    def __len__(self) -> int:
        return len(self.labels)

    def with_images(self, images: np.ndarray) -> "ArraySplit":
        """Returns these examples with images, or others in place of theirs; see `ArraySplit`."""
        return ArraySplit(self.labels, self.ids, images, **self._optional())

    def without_images(self) -> "Split":
        """Returns what a store keeps of these examples."""
        return Split(self.labels, self.ids, **self._optional())

    def _optional(self, index: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
        """Returns those arrays that not every split has, of some of the examples."""
        arrays = {name: getattr(self, name) for name in ("true_labels", "corrupted", "candidates")}
        return {name: array[index] for name, array in arrays.items() if array is not None}

    def content(self) -> Iterator[bytes | memoryview]:
        """Yields what tells the split from others, for `Dataset.fingerprint`."""
        yield self.labels.astype("<i8").tobytes()
        yield "\n".join(self.ids).encode()
        if self.true_labels is not None and self.corrupted is not None:
            yield self.true_labels.astype("<i8").tobytes()
            yield np.packbits(self.corrupted).tobytes()
        if self.candidates is not None:
            yield b"candidates" + np.packbits(self.candidates).tobytes()


@dataclasses.dataclass(frozen=True)
class ArraySplit(Split):
    """The examples of one split with their images in memory.

    Attributes:
      images: uint8 [n, height, width, channels], or features in place of pixels (those of a table,
        or a network's representations): float32 or float64 [n, ...].
    """

    images: np.ndarray

    def __post_init__(self):
        super().__post_init__()
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images for {len(self.labels)} labels")
        dtype, axes = self.images.dtype, self.images.ndim
        if dtype == np.uint8 and axes == 4:
            images.require_channels_last(self.images.shape, "an array of images")
        elif dtype not in (np.float32, np.float64) or axes < 2:
            raise ValueError(
                f"images are {dtype} of shape {self.images.shape}, expected uint8 [n, height, "
                "width, channels], or float32 or float64 [n, ...]"
            )

    def take(self, index: np.ndarray | slice) -> "ArraySplit":
        """Returns some of the examples: int [k] or bool [n], or a slice, which copies no images."""
        optional = self._optional(index)
        return ArraySplit(self.labels[index], self.ids[index], self.images[index], **optional)

    def content(self) -> Iterator[bytes | memoryview]:
        yield from super().content()
        if self.images.dtype != np.uint8:  # Which stores before representations had.
            yield str(self.images.dtype).encode()
        yield str(self.images.shape).encode()
        yield np.ascontiguousarray(self.images).data


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split of one classification problem: labels and ids.

    Attributes:
      name: its name in `tfmem.datasets`, or "" for one that is in no table.
      train: the n training examples.
      test: the n' test examples.
      class_names: one per class, in label order; at most 65,536.
      pixel_max: the largest value a pixel can take; images are divided by it. None: there are
        none, or features in their place, which are not scaled.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    pixel_max: int | None = None

    def __post_init__(self):
        if self.num_classes > MAX_CLASSES:
            raise ValueError(
                f"{self.num_classes:,} classes, expected at most {MAX_CLASSES:,}: predicted labels "
                "are stored as uint16"
            )
        for split_name, split in (("train", self.train), ("test", self.test)):
            if not len(split):
                raise ValueError(f"the {split_name} split is empty")
            bad = (split.labels < 0) | (split.labels >= len(self.class_names))
            if bad.any():
                index = int(np.argmax(bad))
                raise ValueError(
                    f"{split_name} example {index} has label {split.labels[index]}, "
                    f"expected 0 to {len(self.class_names) - 1}"
                )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def without_images(self) -> "Dataset":
        """Returns what a store keeps of the dataset: labels, ids and class names."""
        splits = self.train.without_images(), self.test.without_images()
        return Dataset(self.name, *splits, self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of labels, ids, class names and pixels, in index order.

        In place of a stream's pixels it takes what `ImageStream.identity` says.
        """
        digest = hashlib.sha256()
        for part in self._content():
            digest.update(part)
        return digest.hexdigest()

    def _content(self) -> Iterator[bytes | memoryview]:
        for part in ("|".join(self.class_names), self.pixel_max):
            yield f"{part}\n".encode()
        for split in (self.train, self.test):
            yield from split.content()


@dataclasses.dataclass(frozen=True)
class ArrayDataset(Dataset):
    """A dataset whose images, or the features in their place, are in memory."""

    train: ArraySplit
    test: ArraySplit

    def __post_init__(self):
        super().__post_init__()
        train, test = self.train.images, self.test.images
        if train.shape[1:] != test.shape[1:] or train.dtype.kind != test.dtype.kind:
            raise ValueError(
                f"training images are {train.dtype} {train.shape[1:]}, test images "
                f"{test.dtype} {test.shape[1:]}; expected the same"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image, or the shape of an example's features."""
        return self.train.images.shape[1:]

    @property
    def has_images(self) -> bool:
        """Whether the examples are images, and not features."""
        return self.train.images.dtype == np.uint8


@dataclasses.dataclass(frozen=True)
class StreamedDataset(Dataset):
    """A dataset whose images do not fit into memory.

    Attributes:
      stream: reads them from files.
    """

    stream: ImageStream = dataclasses.field(kw_only=True)

    has_images: ClassVar[bool] = True

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image."""
        return self.stream.image_shape

    def _content(self) -> Iterator[bytes | memoryview]:
        yield from super()._content()
        yield self.stream.identity.encode()


ImageDataset = ArrayDataset | StreamedDataset


def require_in_memory(dataset: ImageDataset, what: str) -> ArrayDataset:
    """Returns the dataset; ValueError, saying what needs that, if it does not fit into memory."""
    if not isinstance(dataset, ArrayDataset):
        raise ValueError(f"{dataset.name} does not fit into memory, which {what} needs")
    return dataset


def require_same_labels(
    expected: Dataset, train_labels: np.ndarray, test_labels: np.ndarray, what: str
) -> None:
    """Checks that arrays belong to a dataset.

    Raises:
      ValueError: the number of examples or a label differs; the message starts with `what`.
    """
    _require_same(expected, "labels", (train_labels, test_labels), what)


def require_same_ids(
    expected: Dataset, train_ids: np.ndarray | None, test_ids: np.ndarray | None, what: str
) -> None:
    """Checks that examples are a dataset's, one by one; ids that are None are unknown, and agree.

    Raises:
      ValueError: their number or an id differs; the message starts with `what`.
    """
    _require_same(expected, "ids", (train_ids, test_ids), what)


def _require_same(
    expected: Dataset, field: str, arrays: tuple[np.ndarray | None, ...], what: str
) -> None:
    has, verb = ("has", "labels") if field == "labels" else ("has ids of", "calls")
    known = expected.name or "this dataset"
    splits = (("training", expected.train), ("test", expected.test))
    for (name, split), array in zip(splits, arrays, strict=True):
        if array is None:
            continue
        if len(array) != len(split):
            raise ValueError(
                f"{what} {has} {len(array)} {name} examples, {known} has {len(split)}: "
                "another dataset?"
            )
        own = getattr(split, field)
        differ = np.flatnonzero(array != own)
        if differ.size:
            first = differ[0]
            raise ValueError(
                f"{what} {verb} {name} example {first} {array[first]}, {known} {verb} it "
                f"{own[first]} ({differ.size} {field} differ): another dataset or another order?"
            )


def numbered_ids(prefix: str, count: int) -> np.ndarray:
    """Returns str [count]: `prefix_00000`, `prefix_00001`, ..."""
    width = max(5, len(str(count - 1)))
    return np.array([f"{prefix}_{index:0{width}d}" for index in range(count)])
