"""What is made of a dataset: labels replaced by random ones, test examples to train on."""

import dataclasses
from typing import TypeVar

import numpy as np

from tfmem import seeds
from tfmem.datasets.base import ArrayDataset, ArraySplit, Dataset, ImageDataset, StreamedDataset

_Dataset = TypeVar("_Dataset", bound=Dataset)


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
