"""What the trials that left an example out call it: a second opinion on its label.

Each trial that did not see a training example has one vote, the label that it predicts. Of test
examples, which no trial sees, all trials vote.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable

import numpy as np

from tfmem.store.trials import Predictions, Trial

COLUMNS = ("suggested_label", "votes", "label_issue")
_MOST_COUNTS = 2**28  # In memory at once, 1 GiB: ImageNet's training set needs five times as many.


class NoPredictionsError(ValueError):
    """Trials whose source did not keep the labels that they predict, but only who was right."""


@dataclasses.dataclass(frozen=True)
class Votes:
    """What the trials that left an example out call it (test examples: all trials).

    Attributes:
      label: int64 [m], the most frequent prediction, -1 where nobody voted; of equals, the
        example's own label first, then the lowest.
      share: float64 [m], its share of the votes, nan where nobody voted.
      of_label: float64 [m], the share of the example's own label, nan likewise.
    """

    label: np.ndarray
    share: np.ndarray
    of_label: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, labels: np.ndarray) -> "Votes":
        """Returns what counts of votes say.

        Args:
          counts: int [m, K], of `held_out_counts` or `test_counts`.
          labels: int [m], what the m examples are labelled.
        """
        total, rows = counts.sum(axis=1, dtype=np.int64), np.arange(len(counts))
        own, most = counts[rows, labels], counts.max(axis=1)
        label = np.where(own == most, labels, counts.argmax(axis=1))
        votes = np.where(total > 0, total, np.nan)
        return cls(np.where(total > 0, label, -1), most / votes, own / votes)

    @classmethod
    def unknown(cls, count: int) -> "Votes":
        """Returns those of m examples for whom nobody voted."""
        return cls(np.full(count, -1), np.full(count, np.nan), np.full(count, np.nan))

    def issues(self, labels: np.ndarray) -> np.ndarray:
        """Returns bool [m], who is called something else than its label, int [m]."""
        return (self.label >= 0) & (self.label != labels)


def held_out_votes(
    trials: Iterable[Trial],
    labels: np.ndarray,
    num_classes: int,
    chosen: np.ndarray | None = None,
) -> Votes:
    """Returns what training examples are called by the trials that left them out.

    Args:
      trials: read once; one is in memory at a time.
      labels: int [n], of all training examples.
      num_classes: K.
      chosen: int [m], those that are asked for; None is all.

    Raises:
      NoPredictionsError: as `held_out_counts`.
    """
    counts = held_out_counts(trials, num_classes, chosen)
    return Votes.of(counts, labels if chosen is None else labels[chosen])


def test_votes(
    trials: Iterable[Trial],
    labels: np.ndarray,
    num_classes: int,
    chosen: np.ndarray | None = None,  # noqa: PT028
) -> Votes:
    """Returns what test examples, int [n'] labels, are called by all; else as `held_out_votes`."""
    counts = test_counts(trials, num_classes, chosen)
    return Votes.of(counts, labels if chosen is None else labels[chosen])


def in_blocks(
    votes_of: Callable[..., Votes],
    read: Callable[[], Generator[Trial, None, None]],
    labels: np.ndarray,
    num_classes: int,
    chosen: np.ndarray,
    most_counts: int = _MOST_COUNTS,
) -> Votes:
    """Returns the votes for chosen examples in bounded memory: it reads the trials several times.

    Args:
      votes_of: `held_out_votes` or `test_votes`.
      read: yields the trials, from the first on.
      labels: int [m], of all examples.
      num_classes: K.
      chosen: int [k], those that are asked for; for the others nobody votes.
      most_counts: how many counts are in memory at once; each example has K.
    """
    found, size = Votes.unknown(len(labels)), max(1, most_counts // num_classes)
    for start in range(0, len(chosen), size):
        block = chosen[start : start + size]
        with contextlib.closing(read()) as trials:  # What is not read on ends its bar here.
            votes = votes_of(trials, labels, num_classes, block)
        for field in dataclasses.fields(Votes):
            getattr(found, field.name)[block] = getattr(votes, field.name)
    return found


def held_out_counts(
    trials: Iterable[Trial], num_classes: int, chosen: np.ndarray | None = None
) -> np.ndarray:
    """Returns uint32 [m, K], how many of the trials that left an example out predict a class.

    They take 4 m K bytes, and one trial's arrays; arguments are those of `held_out_votes`.

    Raises:
      NoPredictionsError: a trial has none.
      ValueError: a trial predicts a label that is no class.
    """
    return _counts(((trial, trial.train, ~trial.subset) for trial in trials), num_classes, chosen)


def test_counts(
    trials: Iterable[Trial],
    num_classes: int,
    chosen: np.ndarray | None = None,  # noqa: PT028
) -> np.ndarray:
    """Returns uint32 [m, K], how many trials predict a class; else as `held_out_counts`."""
    return _counts(((trial, trial.test, None) for trial in trials), num_classes, chosen)


def _counts(
    voting: Iterable[tuple[Trial, Predictions, np.ndarray | None]],
    num_classes: int,
    chosen: np.ndarray | None,
) -> np.ndarray:
    """Adds up the votes of trials: of each its predictions, and whose vote counts (None: all)."""
    counts = np.zeros((0, num_classes), np.uint32)
    for trial, predictions, votes in voting:
        predicted = predictions.predicted
        if predicted is None:
            raise NoPredictionsError(
                f"trial {trial.number} has no predicted labels, since its source kept none: "
                f"{', '.join(COLUMNS)} cannot be had"
            )
        chosen = np.arange(len(predicted)) if chosen is None else chosen
        if not len(counts):
            counts = np.zeros((len(chosen), num_classes), np.uint32)
        rows = np.arange(len(chosen)) if votes is None else np.flatnonzero(votes[chosen])
        classes = predicted[chosen[rows]]
        if classes.size and classes.max() >= num_classes:
            raise ValueError(
                f"trial {trial.number} predicts label {classes.max()}, expected 0 to "
                f"{num_classes - 1}"
            )
        counts[rows, classes] += 1
    return counts
