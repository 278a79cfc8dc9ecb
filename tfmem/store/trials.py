"""What a trial leaves behind, and what the estimators need of many."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfmem.datasets import Dataset
from tfmem.disk.bits import BitMatrix, packed_length
from tfmem.store.epochs import Epoch


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What one trial's model says of one split, in index order.

    Attributes:
      correct: bool [n], whether the predicted label is the true one.
      predicted: uint16 [n], the predicted label, or None when the source does not know it.
      label_probability: float16 [n], the probability given to the true label, or None.
    """

    correct: np.ndarray
    predicted: np.ndarray | None = None
    label_probability: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """What a trial's network has learned, and how its predictions were computed from it.

    Attributes:
      weights: all of them, those that are not trained too, in the order of the model.
      stacked: whether the network was one of a stack (`training.stacked`).
      jit_compile: whether XLA compiled the evaluation of a network that was not.
    """

    weights: Sequence[np.ndarray]
    stacked: bool
    jit_compile: bool


@dataclasses.dataclass(frozen=True)
class Trial:
    """One finished trial.

    Attributes:
      number: the trial's number, 0 or more.
      base_seed: the experiment's seed, or None when the source does not know it.
      subset: bool [n], the training examples that the model was trained on.
      train: predictions on all n training examples.
      test: predictions on all n' test examples.
      seconds: what the trial cost, or None when the source does not know it.
      epochs: by its number, what is kept of each epoch of a run that is followed
        (`tfmem.store.epochs`).
      network: to be kept beside it, of a trial that was just trained; None otherwise.
    """

    number: int
    base_seed: int | None
    subset: np.ndarray
    train: Predictions
    test: Predictions
    seconds: float | None = None
    epochs: Mapping[int, Epoch] = dataclasses.field(default_factory=dict)
    network: Network | None = None

    @property
    def subset_accuracy(self) -> float:
        """Accuracy on the training examples that it saw."""
        return float(self.train.correct[self.subset].mean())

    @property
    def heldout_accuracy(self) -> float:
        """Accuracy on the training examples that it did not see; nan if it saw all of them."""
        return math.nan if self.subset.all() else float(self.train.correct[~self.subset].mean())

    @property
    def test_accuracy(self) -> float:
        return float(self.test.correct.mean())


@dataclasses.dataclass(frozen=True)
class TrialSet:
    """What the estimators need of t trials, rows in the order of `numbers`.

    Attributes:
      numbers: int64 [t], the trials.
      subset: [t, n], M of Algorithm 1: who saw what.
      train_correct: [t, n].
      test_correct: [t, n'].
      train_labels: int64 [n].
      test_labels: int64 [n'].
      train_probability: float16 [t, n], given to the true label; None unless asked for.
      test_probability: float16 [t, n'], or None.
    """

    numbers: np.ndarray
    subset: BitMatrix
    train_correct: BitMatrix
    test_correct: BitMatrix
    train_labels: np.ndarray
    test_labels: np.ndarray
    train_probability: np.ndarray | None = None
    test_probability: np.ndarray | None = None

    @classmethod
    def empty(
        cls, numbers: Sequence[int], dataset: Dataset, probabilities: bool = False
    ) -> "TrialSet":
        """Returns the set of trials of a dataset whose content is yet to be filled in."""
        t, sizes = len(numbers), (len(dataset.train), len(dataset.test))
        train, test = (np.empty((t, packed_length(size)), np.uint8) for size in sizes)
        train_probability, test_probability = (
            np.empty((t, size), np.float16) if probabilities else None for size in sizes
        )
        return cls(
            numbers=np.array(numbers, np.int64),
            subset=BitMatrix(train, sizes[0]),
            train_correct=BitMatrix(np.empty_like(train), sizes[0]),
            test_correct=BitMatrix(test, sizes[1]),
            train_labels=dataset.train.labels,
            test_labels=dataset.test.labels,
            train_probability=train_probability,
            test_probability=test_probability,
        )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def num_classes(self) -> int:
        """One more than the highest label."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @functools.cached_property
    def train_of_class(self) -> list[np.ndarray]:
        """By label, the training examples of a class, int64, ascending."""
        return _of_class(self.train_labels, self.num_classes)

    @functools.cached_property
    def test_of_class(self) -> list[np.ndarray]:
        """By label, the test examples of a class, int64, ascending; there may be none."""
        return _of_class(self.test_labels, self.num_classes)

    def take(self, index: np.ndarray) -> "TrialSet":
        """Returns the trials at these positions."""
        return dataclasses.replace(
            self,
            numbers=self.numbers[index],
            subset=self.subset.rows(index),
            train_correct=self.train_correct.rows(index),
            test_correct=self.test_correct.rows(index),
            train_probability=_rows(self.train_probability, index),
            test_probability=_rows(self.test_probability, index),
        )


def _of_class(labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Returns the examples of each class: sorted once, for a comparison a class takes longer."""
    order = np.argsort(labels.astype(np.min_scalar_type(num_classes)), kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, num_classes)))


def _rows(array: np.ndarray | None, index: np.ndarray) -> np.ndarray | None:
    return None if array is None else array[index]
