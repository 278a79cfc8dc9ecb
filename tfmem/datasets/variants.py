"""What is made of a dataset: labels replaced, test examples to train on."""

import dataclasses
from typing import TypeVar

import numpy as np
from absl import logging

from tfmem import seeds
from tfmem.datasets.base import (
    ArrayDataset,
    ArraySplit,
    Dataset,
    ImageDataset,
    StreamedDataset,
    require_in_memory,
)

_Dataset = TypeVar("_Dataset", bound=Dataset)
# What is held out belongs to the dataset: it is the same whatever the seed of the trials.
_HELD_OUT_SEED = 0
_MOST_SHOWN = 5  # Names of classes in an error.


def hold_out(examples: ArraySplit, share: float) -> tuple[ArraySplit, ArraySplit]:
    """Splits examples into training and test ones: stratified, and random by one fixed seed.

    Of all examples `share` are held out, rounded, and of each class as near to that as can be.
    Every class keeps an example to train on. Both splits keep the order of the examples.

    Args:
      examples: n of them.
      share: in (0, 1).

    Raises:
      ValueError: so small a share of so few examples is none.
    """
    counts = np.bincount(examples.labels)
    rng = np.random.Generator(np.random.Philox(_HELD_OUT_SEED))
    taken = np.minimum(np.floor(share * counts).astype(np.int64), np.maximum(counts - 1, 0))
    # What rounding left goes to the classes that it took most from, and to chance among equals.
    lost = np.where(taken < counts - 1, share * counts - taken, -1)
    order = np.lexsort((rng.random(len(counts)), -lost))[: np.count_nonzero(lost >= 0)]
    taken[order[: max(0, round(share * len(examples)) - int(taken.sum()))]] += 1
    if not taken.any():
        raise ValueError(
            f"--test_share={share:g} of {len(examples):,} examples is none that could be held out"
        )
    is_test = np.zeros(len(examples), bool)
    for label in np.flatnonzero(counts):
        of_class = np.flatnonzero(examples.labels == label)
        is_test[rng.permutation(of_class)[: taken[label]]] = True
    return examples.take(~is_test), examples.take(is_test)


def corrupt_labels(dataset: _Dataset, count: int, base_seed: int) -> _Dataset:
    """Replaces the labels of random training examples by random ones (Liu et al., 2021, Sec. 3.1).

    The examples are a uniform random subset and the new labels uniform over all classes, so one in
    `num_classes` of them is the true one. The split keeps what the labels were.

    Args:
      dataset: any; 0 corrupted labels leave it as it is.
      count: how many labels are replaced.
      base_seed: of the choice, which is the same for all trials.

    Raises:
      ValueError: count is negative or more than there are training examples.
    """
    train = dataset.train
    if not 0 <= count <= len(train):
        raise ValueError(
            f"corrupted_labels is {count:,}, expected 0 to {len(train):,}, the training examples "
            f"of {dataset.name or 'this dataset'}"
        )
    if not count:
        return dataset
    rng = seeds.generator(base_seed, 0, "label_corruption")
    chosen = rng.permutation(len(train))[:count]
    labels, corrupted = train.labels.copy(), np.zeros(len(train), bool)
    labels[chosen] = rng.integers(dataset.num_classes, size=count)
    corrupted[chosen] = True
    split = dataclasses.replace(train, labels=labels, true_labels=train.labels, corrupted=corrupted)
    return dataclasses.replace(dataset, train=split)


def replace_labels(dataset: _Dataset, labels: np.ndarray) -> _Dataset:
    """Gives training examples labels of one's own; the split keeps what the labels were.

    Args:
      dataset: any.
      labels: int64 [n]; where they are others, they count as replaced.

    Raises:
      ValueError: they are of another number of examples, or no class of the dataset.
    """
    train = dataset.train
    if len(labels) != len(train):
        raise ValueError(
            f"{len(labels):,} labels for {len(train):,} training examples of "
            f"{dataset.name or 'this dataset'}"
        )
    corrupted = labels != train.labels
    split = dataclasses.replace(train, labels=labels, true_labels=train.labels, corrupted=corrupted)
    return dataclasses.replace(dataset, train=split)


def limit_candidates(dataset: _Dataset, candidates: np.ndarray) -> _Dataset:
    """Lets only some training examples be left out of random subsets: bool [n].

    Raises:
      ValueError: they are of another number of examples.
    """
    if len(candidates) != len(dataset.train):
        raise ValueError(
            f"candidates of {len(candidates):,} training examples, "
            f"{dataset.name or 'this dataset'} has {len(dataset.train):,}"
        )
    split = dataclasses.replace(dataset.train, candidates=candidates)
    return dataclasses.replace(dataset, train=split)


def with_test_split_of(other: ImageDataset, dataset: ImageDataset) -> ArrayDataset:
    """Returns a dataset with the test examples of another one in place of its own.

    Classes go by their names: if the other has them in another order, its labels are turned.

    Args:
      other: of the same classes, with images or features of the same shape and scale. It may have a
        test split alone, which then is both of its splits.
      dataset: features of both are as they were read, not standardized.

    Raises:
      ValueError: they do not fit, or one does not fit into memory; the message says how they
        differ.
    """
    dataset, other = (require_in_memory(one, "another test set") for one in (dataset, other))
    _require_same_classes(other, dataset)
    train, test = dataset.train, other.test
    if other.input_shape != dataset.input_shape or other.has_images != dataset.has_images:
        given, known = (
            f"{'images' if one.has_images else 'features'} of shape {one.input_shape}"
            for one in (other, dataset)
        )
        raise ValueError(f"{other.name} has {given}, and {dataset.name} has {known}")
    _require_same_scale(other, dataset)
    places = {name: label for label, name in enumerate(dataset.class_names)}
    turned = np.array([places[name] for name in other.class_names])
    split = dataclasses.replace(test, labels=turned[test.labels])
    return dataclasses.replace(dataset, train=train, test=split)


def _require_same_classes(other: Dataset, dataset: Dataset) -> None:
    """Raises ValueError, with the classes that one alone has, unless all have the same names.

    A test split that is alone shows only the classes that it has, and may lack some: a warning says
    so.
    """
    names, known = sorted(other.class_names), sorted(dataset.class_names)
    if names == known:
        return
    if other.train is other.test and set(names) <= set(known):
        has = f"{len(names):,} of the {len(known):,} classes of {dataset.name}"
        logging.warning("%s has examples of %s", other.name, has)
        return
    said = []
    for one, beside in ((other, dataset), (dataset, other)):
        alone = [name for name in one.class_names if name not in beside.class_names]
        shown = ", ".join([*map(repr, alone[:_MOST_SHOWN]), *["..."][: len(alone) > _MOST_SHOWN]])
        said.append(
            f"{one.name} has {one.num_classes:,} classes" + (f", {shown} alone" * bool(alone))
        )
    raise ValueError(f"{', and '.join(said)}: expected the same names of classes")


def _require_same_scale(other: ArrayDataset, dataset: ArrayDataset) -> None:
    """Raises ValueError if the same number is another brightness in each of two datasets.

    Files of images may say less than a dataset knows: what is darker than it can be passes.
    """
    if other.pixel_max == dataset.pixel_max or other.pixel_max is None or dataset.pixel_max is None:
        return
    largest = int(other.test.images.max())
    if other.pixel_max < dataset.pixel_max or largest > dataset.pixel_max:
        raise ValueError(
            f"the pixels of {other.name} go to {max(largest, other.pixel_max)}, and those of "
            f"{dataset.name} to {dataset.pixel_max}: expected one scale"
        )


def train_on_test_too(dataset: ImageDataset) -> ArrayDataset:
    """Returns the dataset with its test examples behind its training examples, in both splits.

    Raises:
      ValueError: the dataset streams its images, or an id is in both splits.
    """
    if isinstance(dataset, StreamedDataset):
        raise ValueError(f"{dataset.name} does not fit into memory: its splits cannot be joined")
    train, test = dataset.train, dataset.test
    parts = {
        field: (getattr(train, field), getattr(test, field))
        for field in ("labels", "ids", "images")
    }
    if train.corrupted is not None:
        parts["true_labels"] = train.true_labels, test.labels
        parts["corrupted"] = train.corrupted, np.zeros(len(test), bool)
    joined = ArraySplit(**{field: np.concatenate(part) for field, part in parts.items()})
    return dataclasses.replace(dataset, train=joined)
