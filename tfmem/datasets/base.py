"""What a dataset is to tfmem: two splits of images, labels and stable ids."""

import dataclasses
import functools
import hashlib

import numpy as np

from tfmem.datasets.stream import ImageStream

# A store keeps predicted labels as uint16.
MAX_CLASSES = np.iinfo(np.uint16).max + 1


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, in index order.

    Attributes:
      labels: int64 [n], each in [0, number of classes).
      ids: str [n], stable names of the examples, all different.
      images: uint8 [n, height, width, channels], or float32 [n, d] for representations that take
        the place of pixels (such as penultimate features), or None where only labels are known or
        the dataset streams its images.
      true_labels: int64 [n], what the labels were before some were replaced by random ones, or
        None where none were.
      corrupted: bool [n], whose labels were replaced, even where chance gave the true one back;
        None where none were.
    """

    labels: np.ndarray
    ids: np.ndarray
    images: np.ndarray | None = None
    true_labels: np.ndarray | None = None
    corrupted: np.ndarray | None = None

    def __post_init__(self):
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        object.__setattr__(self, "ids", np.asarray(self.ids, np.str_))
        if self.images is not None:
            if len(self.images) != len(self.labels):
                raise ValueError(f"{len(self.images)} images for {len(self.labels)} labels")
            if (self.images.dtype, self.images.ndim) not in ((np.uint8, 4), (np.float32, 2)):
                raise ValueError(
                    f"images are {self.images.dtype} of shape {self.images.shape}, expected uint8 "
                    "[n, height, width, channels] or float32 [n, d]"
                )
        if len(self.ids) != len(self.labels):
            raise ValueError(f"{len(self.ids)} ids for {len(self.labels)} labels")
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError("example ids repeat; each example needs an id of its own")

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split of one classification problem.

    Attributes:
      name: its name in `tfmem.datasets`, or "" for one that is in no table.
      train: the n training examples.
      test: the n' test examples.
      class_names: one per class, in label order; at most 65,536.
      pixel_max: the largest value a pixel can take; images are divided by it. None: images are
        not scaled (representations), or there are none.
      stream: reads the images from files when they do not fit into memory; the splits then have
        none.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    pixel_max: int | None = None
    stream: ImageStream | None = None

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
        train, test = self.train.images, self.test.images
        if self.stream is not None and (train is not None or test is not None):
            raise ValueError("images are given both as arrays and as a stream")
        if train is not None and test is not None:
            shapes = train.shape[1:], test.shape[1:]
            if shapes[0] != shapes[1] or train.dtype != test.dtype:
                raise ValueError(
                    f"training images are {train.dtype} {shapes[0]}, test images "
                    f"{test.dtype} {shapes[1]}; expected the same"
                )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image, or (d,) of a representation.

        Raises:
          ValueError: the dataset has neither images nor a stream.
        """
        if self.stream is not None:
            return self.stream.image_shape
        if self.train.images is None:
            raise ValueError(f"{self.name or 'this dataset'} has labels and ids, but no images")
        return self.train.images.shape[1:]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of labels, ids, class names and pixels, in index order.

        In place of a stream's pixels it takes what `ImageStream.identity` says.
        """
        digest = hashlib.sha256()
        for part in ("|".join(self.class_names), self.pixel_max):
            digest.update(f"{part}\n".encode())
        for split in (self.train, self.test):
            digest.update(split.labels.astype("<i8").tobytes())
            digest.update("\n".join(split.ids).encode())
            if split.true_labels is not None:
                digest.update(split.true_labels.astype("<i8").tobytes())
                digest.update(np.packbits(split.corrupted).tobytes())
            if split.images is not None:
                if split.images.dtype != np.uint8:  # Which stores before representations had.
                    digest.update(str(split.images.dtype).encode())
                digest.update(str(split.images.shape).encode())

                digest.update(np.ascontiguousarray(split.images).data)
        if self.stream is not None:
            digest.update(self.stream.identity.encode())
        return digest.hexdigest()


def require_same_labels(
    expected: Dataset, train_labels: np.ndarray, test_labels: np.ndarray, what: str
) -> None:
    """Checks that arrays belong to a dataset.

    Raises:
      ValueError: the number of examples or a label differs; the message starts with `what`.
    """
    for name, split, labels in (
        ("training", expected.train, train_labels),
        ("test", expected.test, test_labels),
    ):
        if len(labels) != len(split):
            raise ValueError(
                f"{what} has {len(labels)} {name} examples, "
                f"{expected.name or 'this dataset'} has {len(split)}: another dataset?"
            )
        differ = np.flatnonzero(labels != split.labels)
        if differ.size:
            first = differ[0]
            raise ValueError(
                f"{what} labels {name} example {first} {labels[first]}, "
                f"{expected.name or 'this dataset'} labels it {split.labels[first]} "
                f"({differ.size} labels differ): another dataset or another order?"
            )


def require_same_ids(
    expected: Dataset, train_ids: np.ndarray | None, test_ids: np.ndarray | None, what: str
) -> None:
    """Checks that examples are a dataset's, one by one; ids that are None are unknown, and agree.

    Raises:
      ValueError: their number or an id differs; the message starts with `what`.
    """
    for name, split, ids in (
        ("training", expected.train, train_ids),
        ("test", expected.test, test_ids),
    ):
        if ids is None:
            continue
        known = expected.name or "this dataset"
        if len(ids) != len(split):
            raise ValueError(
                f"{what} has ids of {len(ids)} {name} examples, {known} has {len(split)}: "
                "another dataset?"
            )
        differ = np.flatnonzero(ids != split.ids)
        if differ.size:
            first = differ[0]
            raise ValueError(
                f"{what} calls {name} example {first} {ids[first]}, {known} calls it "
                f"{split.ids[first]} ({differ.size} ids differ): another dataset or another order?"
            )


def numbered_ids(prefix: str, count: int) -> np.ndarray:
    """Returns str [count]: `prefix_00000`, `prefix_00001`, ..."""
    width = max(5, len(str(count - 1)))
    return np.array([f"{prefix}_{index:0{width}d}" for index in range(count)])
