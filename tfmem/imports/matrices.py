"""Trials as matrices, a row to a trial, in one file or many."""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from tfmem.disk import npz
from tfmem.imports.examples import Labels
from tfmem.imports.repeats import Repeats
from tfmem.imports.source import require_some
from tfmem.store.trials import Predictions, Trial

# What a row says: which examples were seen, which training and test examples were right, and as
# which class each was taken, which not every source knows.
SUBSET, TRAIN, TEST = "subset_mask", "train_correct", "test_correct"
TRAIN_PREDICTED, TEST_PREDICTED = "train_predicted", "test_predicted"
_SPLITS = (("training", TRAIN, TRAIN_PREDICTED), ("test", TEST, TEST_PREDICTED))
_MOST_CLASSES = 2**16  # A store keeps predicted labels as uint16.

# Turns rows of a file into bool or classes; BadRowError if they are not what they should be.
Reader = Callable[[np.ndarray], np.ndarray]
# Of some trials, by what a row says.
Rows = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Part:
    """Trials whose matrices lie together; ValueError if there are none, or what is no number.

    Attributes:
      path: what errors call them.
      arrays: by what a row says, [t, n] or [t, n'], in their files.
      single: whether there is but one trial, and the arrays are [n] or [n'].
      finished: bool [t], which rows are trials, the others being passed over; None is all.
    """

    path: str
    arrays: Mapping[str, npz.Array]
    single: bool = False
    finished: np.ndarray | None = None

    def __post_init__(self):
        if not self.num_trials:
            raise ValueError(f"{self.arrays[SUBSET].what} has no trials")
        for array in self.arrays.values():
            if array.dtype.kind not in "biuf":
                raise ValueError(f"{array.what} is {array.dtype}, expected numbers")

    @property
    def num_rows(self) -> int:
        shape = self.arrays[SUBSET].shape
        return 1 if self.single or not shape else shape[0]

    @property
    def num_trials(self) -> int:
        return self.num_rows if self.finished is None else int(np.count_nonzero(self.finished))

    def require_shapes(self, num_train: int, num_test: int, of_whom: str) -> None:
        """Raises ValueError if the arrays are not of these numbers of examples."""
        subset = _name(self.arrays[SUBSET])
        for role, array in self.arrays.items():
            count = num_test if role in (TEST, TEST_PREDICTED) else num_train
            expected = [count] if self.single else [self.num_rows, count]
            if list(array.shape) != expected:
                trials = f"the one trial of {subset}" if self.single else f"trials of {subset}"
                raise ValueError(
                    f"{array.what} has shape {list(array.shape)}, expected {expected} "
                    f"({trials}, examples of {of_whom})"
                )

    def blocks(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields the next rows of each array, all of them [some, ...]."""
        arrays = list(self.arrays.values())
        if self.single:
            return iter([tuple(array.read()[None] for array in arrays)])
        return npz.blocks_together(arrays)


class MatrixSource:
    """Trials that are the rows of matrices; see `tfmem.imports.source`.

    No more than some rows are in memory. They are read twice: checked and digested, so that
    nothing is stored of a source that will not do, and then stored. npy files have no checksums
    that would tell one from another.
    """

    def __init__(
        self, parts: Sequence[Part], readers: Mapping[str, Reader], labels: Labels | None = None
    ):
        """Takes trials in the order of the parts.

        Args:
          parts: of the same arrays each.
          readers: by what a row says.
          labels: of the examples, if the source has them.
        """
        self._parts, self._readers = parts, readers
        self.labels = labels
        self.num_trials = sum(part.num_trials for part in parts)

    def fixed_labels(self, on_progress: Callable[[float], None]) -> Labels | None:
        """See `Source`. Reads no further than until all labels are known."""
        first = self._parts[0]
        if not all(predicted in first.arrays for _, _, predicted in _SPLITS):
            return None
        found = {
            split: np.full(first.arrays[right].shape[-1], -1, np.int64)
            for split, right, _ in _SPLITS
        }
        for rows, values in itertools.chain.from_iterable(map(self._rows, self._parts)):
            for (split, right, predicted), row in itertools.product(_SPLITS, range(len(rows))):
                found[split] = np.where(values[right][row], values[predicted][row], found[split])
            on_progress(len(rows) / self.num_trials)
            if all(labels.min(initial=0) >= 0 for labels in found.values()):
                break
        for split, labels in found.items():
            unknown = np.flatnonzero(labels < 0)
            if len(unknown):
                raise ValueError(
                    f"{first.path}: predictions do not fix all labels, since no trial is right of "
                    f"{len(unknown):,} of {len(labels):,} {split} examples, such as {unknown[0]}: "
                    "give --dataset, such as cifar10, or --labels=FILE.npz with train_labels and "
                    "test_labels"
                )
        return Labels(first.path, found["training"], found["test"])

    def check(
        self,
        train_labels: np.ndarray,
        test_labels: np.ndarray,
        on_progress: Callable[[float], None],
    ) -> str:
        """See `Source`. The digest is of numbers and values: what of a source is used.

        The same trials in other files are the same source.
        """
        repeats = Repeats(len(train_labels))
        hashes = {role: hashlib.sha256() for role in self._parts[0].arrays}
        for part in self._parts:
            part.require_shapes(len(train_labels), len(test_labels), "the labels")
        for part in self._parts:
            for rows, values in self._rows(part):
                for row, size in zip(rows, values[SUBSET].sum(axis=1).tolist(), strict=True):
                    what = f"{part.arrays[SUBSET].what}: trial {row}"
                    require_some(size, len(train_labels), what)
                _require_of_labels(part, rows, values, (train_labels, test_labels))
                content = zip(values[SUBSET], values[TRAIN], values[TEST], strict=True)
                for row, outcome in zip(rows, content, strict=True):
                    repeats.add(f"{part.path}: trial {row}", *outcome)
                for role, digest in hashes.items():
                    digest.update(np.ascontiguousarray(values[role]).data)
                on_progress(len(rows) / self.num_trials)
        repeats.refuse()
        head = f"{self.num_trials} {len(train_labels)} {len(test_labels)}\n"
        all_of_it = [f"{role} {hashes[role].hexdigest()}\n" for role in sorted(hashes)]
        return hashlib.sha256("".join([head, *all_of_it]).encode()).hexdigest()

    def trials(self, numbers: Collection[int]) -> Iterator[Trial]:
        """See `Source`."""
        wanted = sorted(numbers, reverse=True)
        first = 0
        for part in self._parts:
            # Nothing is read of a part, or of its end, that has no trial which is wanted.
            number, after = first, first + part.num_trials
            blocks = self._rows(part)
            while wanted and wanted[-1] < after:
                rows, values = next(blocks)
                while wanted and wanted[-1] < number + len(rows):
                    at = wanted[-1] - number
                    row = {role: array[at] for role, array in values.items()}
                    yield Trial(wanted.pop(), None, row[SUBSET], *_predictions(row))
                number += len(rows)
            first = after

    def _rows(self, part: Part) -> Iterator[tuple[np.ndarray, Rows]]:
        """Yields which rows of a part are trials, int64 [some], and what they say, in blocks."""
        start = 0
        for blocks in part.blocks():
            length = len(blocks[0])
            rows = np.arange(start, start + length)
            if part.finished is not None:
                rows = rows[part.finished[rows]]
            values = {}
            for (role, array), block in zip(part.arrays.items(), blocks, strict=True):
                own = block if len(rows) == length else block[rows - start]
                try:
                    values[role] = self._readers[role](own)
                except BadRowError as error:
                    raise ValueError(f"{array.what}: trial {rows[error.row]} {error}") from error
            yield rows, values
            start += length


def _name(array: npz.Array) -> str:
    """Returns what an array is called in its npz file, or what its npy file is."""
    return re.split(": |/", array.what)[-1]


def _predictions(row: Rows) -> tuple[Predictions, Predictions]:
    of_train, of_test = (
        Predictions(row[right], row.get(predicted)) for _, right, predicted in _SPLITS
    )
    return of_train, of_test


def _require_of_labels(
    part: Part, rows: np.ndarray, values: Rows, labels: tuple[np.ndarray, np.ndarray]
) -> None:
    """Raises ValueError if a trial is right of an example that it does not predict, or vice versa.

    Args:
      part: where the trials are.
      rows: int64 [some], theirs in it.
      values: what they say.
      labels: [n] and [n'].
    """
    for (split, right, predicted), own in zip(_SPLITS, labels, strict=True):
        if predicted not in values:
            continue
        contradiction = (values[predicted] == own) != values[right]
        if contradiction.any():
            row, example = np.argwhere(contradiction)[0]
            says = "right" if values[right][row, example] else "wrong"
            raise ValueError(
                f"{part.arrays[predicted].what}: trial {rows[row]} predicts class "
                f"{values[predicted][row, example]} for {split} example {example}, whose label is "
                f"{own[example]}, and {_name(part.arrays[right])} says that "
                f"this is {says}: expected predictions, labels and correctness that agree, in one "
                "order; --labels=FILE.npz gives other labels"
            )


class BadRowError(ValueError):
    """Rows are not what they should be: which of them, and why.

    Attributes:
      row: the first of them.
    """

    def __init__(self, bad: np.ndarray, why: str):
        """Takes bool [some, ...], what is bad, and why it is."""
        super().__init__(why)
        self.row = int(np.argmax(bad.any(axis=1)))


def to_bool(block: np.ndarray) -> np.ndarray:
    """Returns rows of bool or 0 and 1 as bool; raises BadRowError if there is another value."""
    if block.dtype != bool:
        bad = (block != 0) & (block != 1)
        if bad.any():
            found = f"the first is {block[bad][0]}"
            raise BadRowError(
                bad, f"has values of {block.dtype}, expected bool or 0 and 1; {found}"
            )
    return block.astype(bool, copy=False)


def to_classes(block: np.ndarray) -> np.ndarray:
    """Returns rows of whole numbers as uint16; raises BadRowError if there is another value."""
    bad = ~((block >= 0) & (block < _MOST_CLASSES))
    if block.dtype.kind == "f":
        bad |= block != np.floor(block)
    if bad.any():
        raise BadRowError(
            bad, f"predicts {block[bad][0]}, expected classes from 0 to {_MOST_CLASSES - 1}"
        )
    return block.astype(np.uint16)


def is_positive(block: np.ndarray) -> np.ndarray:
    """Returns which margins are above 0, where a model is right; raises BadRowError at NaN."""
    bad = np.isnan(block)
    if bad.any():
        raise BadRowError(bad, "has NaN margins")
    return block > 0
