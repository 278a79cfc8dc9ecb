"""What estimates are: memorization, influence, high-influence pairs."""

import dataclasses
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Memorization:
    """Estimates for each of the n training examples.

    Attributes:
      value: float64 [n], mem(A, S, i) in [-1, 1] (Algorithm 1, line 5); nan for an example that was
        in all trials or in none.
      standard_error: float64 [n]; nan likewise.
      heldout_accuracy: float64 [n], P[correct | i not in I]; nan for one that was in all trials.
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
      value: float64 [a, b], infl(A, S, i, j) in [-1, 1] (Algorithm 1, line 7); nan in the row of an
        example that was in all trials or in none.
      standard_error: float32 [a, b], or None where the source has none.
    """

    train_index: np.ndarray
    test_index: np.ndarray
    value: np.ndarray
    standard_error: np.ndarray | None

    def of(self, chosen: np.ndarray | None, errors: bool = True) -> "ClassInfluence":
        """Returns the influence of the training examples that are chosen, bool [n]; None is all."""
        rows = slice(None) if chosen is None else np.flatnonzero(chosen[self.train_index])
        error = self.standard_error if errors else None
        return ClassInfluence(
            self.train_index[rows],
            self.test_index,
            self.value[rows],
            None if error is None else error[rows],
        )


# A trial achieves 0 or 1 on an example, as in the paper, or the probability of its label.
CORRECTNESS, PROBABILITY = ESTIMATORS = ("correctness", "probability")


class Influences(Sequence[ClassInfluence]):
    """Influences by class that are read or computed whenever they are asked for.

    One class is in memory at a time: those of ImageNet take 770 MB together. A file that they are
    read from stays open; what takes its name later does not matter. Who needs those of some
    training examples alone asks for them by `influences_of`: what is computed costs less then.
    """

    def __init__(
        self,
        num_classes: int,
        blocks: Callable[[Sequence[int], np.ndarray | None, bool], Iterator[ClassInfluence]],
        close: Callable[[], None] | None = None,
    ):
        """Takes what yields influences in turn, and what closes their file; None: computed.

        What yields them takes the classes, the training examples that are chosen (bool [n], or None
        for all), and whether standard errors are wanted.
        """
        self._classes = range(num_classes)
        self._blocks = blocks
        self.are_computed = close is None
        if close is not None:
            weakref.finalize(self, close)

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[ClassInfluence]:
        yield from self.of(None, self._classes, errors=True)

    def __getitem__(self, index):
        chosen = self._classes[index]
        if isinstance(chosen, range):
            return tuple(self.of(None, chosen, errors=True))
        return next(self.of(None, [chosen], errors=True))

    def of(
        self, chosen: np.ndarray | None, labels: Sequence[int] | None, errors: bool
    ) -> Iterator[ClassInfluence]:
        """See `influences_of`."""
        labels = self._classes if labels is None else labels
        yield from self._blocks(labels, chosen, errors)  # Holds self, and so the file, meanwhile.


def influences_of(
    influences: Iterable[ClassInfluence],
    chosen: np.ndarray | None,
    labels: Sequence[int] | None = None,
    errors: bool = False,
) -> Iterator[ClassInfluence]:
    """Yields the influences of some training examples, class by class.

    Args:
      influences: one per class, in label order.
      chosen: bool [n]; None is all.
      labels: of the classes; all by default.
      errors: whether with standard errors.
    """
    if isinstance(influences, Influences):
        yield from influences.of(chosen, labels, errors)
        return
    for label, block in enumerate(influences):
        if labels is None or label in labels:
            yield block.of(chosen, errors)


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Memorization and influence, estimated from trials or read from a file.

    Attributes:
      memorization: float64 [n]; nan where there is no estimate.
      train_labels: int64 [n].
      test_labels: int64 [n'].
      influences: one per class, in label order; empty where there is no influence. They may be
        read or computed whenever they are asked for (`Influences`).
      details: standard errors and trial counts, or None in a file that has none (a published one).
      num_trials: t, or None.
      num_trials_expected: how many there should have been, at least t, or None.
      train_ids: text [n], the examples' stable ids, or None in a file that has none.
      test_ids: text [n'], or None.
      test_accuracy: the mean over the trials, or None.
      test_accuracy_deviation: the standard deviation over the trials, or None.
      estimator: `correctness`, the paper's, or `probability` (`analysis.estimates.estimators`).
      full: the rows of the [n, n'] influence matrix in blocks, float32, to be taken once; None
        where they were not asked for, and in what was read.
    """

    memorization: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray
    influences: Sequence[ClassInfluence]
    details: Memorization | None = None
    num_trials: int | None = None
    num_trials_expected: int | None = None
    train_ids: np.ndarray | None = None
    test_ids: np.ndarray | None = None
    test_accuracy: float | None = None
    test_accuracy_deviation: float | None = None
    estimator: str = CORRECTNESS
    full: Iterable[np.ndarray] | None = None

    @property
    def known(self) -> np.ndarray:
        """bool [n], which training examples have an estimate of their memorization."""
        return ~np.isnan(self.memorization)

    def unknown_lines(self) -> list[str]:
        """Returns one line about the training examples that have no estimate; none if all have."""
        unknown = np.count_nonzero(~self.known)
        if not unknown:
            return []
        why = "have no estimate"  # A file of others does not say why.
        if self.details is not None:
            why = "were never left out (or never trained on): no estimate"
        return [f"{unknown:,} of {len(self.memorization):,} training examples {why}"]

    def require_influences(self, source: str, otherwise: str = "") -> None:
        """Raises ValueError if the influence of a class is missing.

        Args:
          source: what the message calls the estimates.
          otherwise: how to do without, as the end of the message.
        """
        classes = 1 + int(self.train_labels.max())
        if len(self.influences) < classes:
            raise ValueError(
                f"{source} has the influence of {len(self.influences)} of {classes} classes: "
                f"tfmem estimate --influence=class writes all{otherwise}"
            )

    def influence_errors(
        self, train_index: np.ndarray, test_index: np.ndarray
    ) -> np.ndarray | None:
        """Returns the standard errors of the influence in pairs, float64 [p], or None if unknown.

        Args:
          train_index: int [p].
          test_index: int [p], each of the class of the training example beside it.
        """
        errors = np.empty(len(train_index))
        labels, among = self.train_labels[train_index], np.zeros(len(self.train_labels), bool)
        among[train_index] = True
        present = np.unique(labels).tolist()
        blocks = influences_of(self.influences, among, present, errors=True)
        for label, block in zip(present, blocks, strict=True):
            chosen = labels == label
            if block.standard_error is None:
                return None
            row = _positions(block.train_index, train_index[chosen])
            column = _positions(block.test_index, test_index[chosen])
            errors[chosen] = block.standard_error[row, column]
        return errors


def _positions(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns where in `index` each of the values is."""
    order = np.argsort(index)
    return order[np.searchsorted(index, values, sorter=order)]


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
