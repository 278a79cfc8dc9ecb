"""What estimates are: memorization, influence, high-influence pairs."""

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Memorization:
    """Estimates for each of the n training examples.

    Attributes:
      value: float64 [n], mem(A, S, i) in [-1, 1] (Algorithm 1, line 5).
      standard_error: float64 [n].
      heldout_accuracy: float64 [n], P[correct | i not in I].
      num_in: int64 [n], trials that saw the example.
      num_out: int64 [n], trials that did not.
    """

    value: np.ndarray
    standard_error: np.ndarray
    heldout_accuracy: np.ndarray
    num_in: np.ndarray
    num_out: np.ndarray


@dataclasses.dataclass(frozen=True)
class ClassInfluence:
    """Influence of the training examples of one class on the test examples of that class.

    Attributes:
      train_index: int64 [a], the class's training examples.
      test_index: int64 [b], the class's test examples; there may be none.
      value: float64 [a, b], infl(A, S, i, j) in [-1, 1] (Algorithm 1, line 7).
      standard_error: float32 [a, b], or None where the source has none.
    """

    train_index: np.ndarray
    test_index: np.ndarray
    value: np.ndarray
    standard_error: np.ndarray | None


# What a trial achieves on an example: 0 or 1, as in the paper, or the probability of its label.
CORRECTNESS, PROBABILITY = ESTIMATORS = ("correctness", "probability")


class Influences(Sequence[ClassInfluence]):
    """The influences of an estimates file by class, read whenever they are asked for.

    One class is in memory at a time: those of ImageNet take 770 MB together. The file stays open;
    what takes its name later does not matter.
    """

    def __init__(
        self,
        num_classes: int,
        read: Callable[[Sequence[int]], Iterator[ClassInfluence]],
        close: Callable[[], None],
    ):
        """Takes what reads the influences of some classes, in turn, and what closes the file."""
        self._classes = range(num_classes)
        self._read = read
        weakref.finalize(self, close)

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[ClassInfluence]:
        yield from self._read(self._classes)  # Holds self, and so the file, while it goes on.

    def __getitem__(self, index):
        chosen = self._classes[index]
        if isinstance(chosen, range):
            return tuple(self._read(chosen))
        return next(self._read([chosen]))


@dataclasses.dataclass(frozen=True)
class Estimates:
    """What an estimates file holds.

    Attributes:
      memorization: float64 [n].
      train_labels: int64 [n].
      test_labels: int64 [n'].
      influences: one per class, in label order; empty when the file has no influence. Those of a
        file are read from it whenever they are asked for.
      details: standard errors and trial counts, or None in a file that has none (a published one).
      num_trials: t, or None.
      train_ids: text [n], the examples' stable ids, or None in a file that has none.
      test_ids: text [n'], or None.
      test_accuracy: the mean over the trials, or None.
      test_accuracy_deviation: the standard deviation over the trials, or None.
      estimator: `correctness`, the paper's, or `probability` (`analysis.estimates.probability`).
    """

    memorization: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray
    influences: Sequence[ClassInfluence]
    details: Memorization | None = None
    num_trials: int | None = None
    train_ids: np.ndarray | None = None
    test_ids: np.ndarray | None = None
    test_accuracy: float | None = None
    test_accuracy_deviation: float | None = None
    estimator: str = CORRECTNESS


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of a training and a test example, all of equal length.

    Attributes:
      train_index: int64 [p].
      test_index: int64 [p].
      influence: float64 [p], infl(A, S, i, j).
      memorization: float64 [p], mem(A, S, i) of the training example.
    """

    train_index: np.ndarray
    test_index: np.ndarray
    influence: np.ndarray
    memorization: np.ndarray

    def __len__(self) -> int:
        return len(self.train_index)

    def take(self, index: np.ndarray) -> "Pairs":
        """Returns the pairs at these positions."""
        return Pairs(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


def require_influences(estimates: Estimates, name: str) -> None:
    """Raises ValueError with the name if the estimates lack the influence of a class."""
    classes = 1 + int(estimates.train_labels.max())
    if len(estimates.influences) < classes:
        raise ValueError(
            f"{name} has the influence of {len(estimates.influences)} of {classes} classes: "
            "analysis.estimate --influence=class writes all"
        )
