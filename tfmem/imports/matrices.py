"""Trials as matrices, a row to a trial: `arrays` in one npz file, `datamodels` in npy files."""

import hashlib
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from tfmem.disk import npz
from tfmem.imports.examples import Labels, labels_in
from tfmem.imports.source import require_some
from tfmem.store.trials import Predictions, Trial

# A row says which examples were seen, and which training and test examples were right.
_ARRAYS = ("subset_mask", "train_correct", "test_correct")
_ARRAY_LABELS = ("train_labels", "test_labels")
_DATAMODELS = ("train_masks", "train_margins", "test_margins")
_COMPLETED = "_completed"
_MASKS_NAME = re.compile(rf"{_DATAMODELS[0]}(|_.+)\.npy")


class Matrix(NamedTuple):
    """A matrix of a source.

    Attributes:
      array: [t, n] or [t, n'], in its file.
      to_bool: turns some of its rows to bool; ValueError if they are not what they should be.
    """

    array: npz.Array
    to_bool: Callable[[np.ndarray], np.ndarray]


class MatrixSource:
    """Trials that are the rows of three matrices; see `tfmem.imports.source`.

    No more than some rows are in memory. They are read twice: checked and digested, so that
    nothing is stored of a source that will not do, and then stored. npy files have no checksums
    that would tell one from another.
    """

    def __init__(
        self,
        matrices: Mapping[str, Matrix],
        labels: Labels | None,
        finished: np.ndarray | None = None,
    ):
        """Takes the subset's matrix, that of the training and that of the test examples, by name.

        Args:
          matrices: these.
          labels: of the examples, if they are known.
          finished: bool [t], which rows are trials; the others are passed over. None is all.

        Raises:
          ValueError: there are no trials.
        """
        self._matrices = matrices
        subset = next(iter(matrices.values())).array
        self.labels = labels
        rows = subset.shape[0] if subset.shape else 0
        self._finished = np.ones(rows, bool) if finished is None else finished
        self.num_trials = int(np.count_nonzero(self._finished))
        if not self.num_trials:
            raise ValueError(f"{subset.what} has no trials")

    def check(self, num_train: int, num_test: int, on_progress: Callable[[float], None]) -> str:
        """See `Source`. The digest is of shapes and boolean values: what of a source is used."""
        counts, rows = (num_train, num_train, num_test), len(self._finished)
        for (array, _), count in zip(self._matrices.values(), counts, strict=True):
            if array.shape != (rows, count):
                raise ValueError(
                    f"{array.what} has shape {list(array.shape)}, expected [{rows}, "
                    f"{count}] (trials of {next(iter(self._matrices))}, examples of the labels)"
                )
        both = (self.labels.train, self.labels.test) if self.labels else ()
        labels = dict(zip(_ARRAY_LABELS, both, strict=False))
        blocks: Iterable[np.ndarray]
        digest = hashlib.sha256()
        for name in sorted([*self._matrices, *labels]):
            if name in labels:
                shape, blocks = labels[name].shape, [labels[name]]
            else:
                shape = (self.num_trials, *self._matrices[name].array.shape[1:])
                blocks = self._checked_blocks(name, on_progress)
            digest.update(f"{name} {shape}\n".encode())
            for block in blocks:
                digest.update(np.ascontiguousarray(block).data)
        return digest.hexdigest()

    def _checked_blocks(
        self, name: str, on_progress: Callable[[float], None]
    ) -> Iterator[np.ndarray]:
        """Yields the rows of a matrix that are trials as bool, in blocks."""
        array, to_bool = self._matrices[name]
        is_subset = name == next(iter(self._matrices))
        total = sum(array.nbytes for array, _ in self._matrices.values())
        start = 0
        for block in array.blocks():
            rows = np.flatnonzero(self._finished[start : start + len(block)])
            try:
                values = to_bool(block if len(rows) == len(block) else block[rows])
            except _BadRow as error:
                row = start + rows[error.row]
                raise ValueError(f"{array.what}: trial {row} {error}") from error
            if is_subset:
                for row, size in zip(rows, values.sum(axis=1).tolist(), strict=True):
                    require_some(size, values.shape[1], f"{array.what}: trial {start + row}")
            start += len(block)
            yield values
            on_progress(block.nbytes / total)

    def trials(self, numbers: Collection[int]) -> Iterator[Trial]:
        """See `Source`."""
        wanted = set(numbers)
        if not wanted:
            return
        rows = zip(*(array.rows() for array, _ in self._matrices.values()), strict=True)
        trials = itertools.compress(rows, self._finished)
        for number, row in zip(range(max(wanted) + 1), trials, strict=False):
            if number in wanted:
                subset, train, test = (
                    to_bool(values[None])[0]
                    for values, (_, to_bool) in zip(row, self._matrices.values(), strict=True)
                )
                yield Trial(number, None, subset, Predictions(train), Predictions(test))


class _BadRow(ValueError):
    """Rows are not what they should be: which of them, and why."""

    def __init__(self, bad: np.ndarray, why: str):
        super().__init__(why)
        self.row = int(np.argmax(bad.any(axis=1)))


def open_arrays(path: str) -> MatrixSource:
    """Opens one npz file.

    It has `subset_mask` [t, n], `train_correct` [t, n] and `test_correct` [t, n'], bool or 0 and 1,
    and `train_labels` [n] and `test_labels` [n'], as `tfmem.datasets.labelling` reads them.

    Raises:
      ValueError: an array is missing, or labels are none.
    """
    with npz.open_npz(path, (*_ARRAYS, *_ARRAY_LABELS)) as archive:
        labels = labels_in(archive, _ARRAY_LABELS, path)
    matrices = {name: Matrix(npz.open_member(path, name), _binary) for name in _ARRAYS}
    return MatrixSource(matrices, labels)


def open_datamodels(path: str) -> MatrixSource:
    """Opens three npy files of a folder, as Ilyas et al. (2022) publish them.

    `train_masks.npy`, bool [t, n], says which example a model was trained on; `train_margins.npy`
    and `test_margins.npy`, float16 [t, n] and [t, n'], are the margins of the right class: above 0
    the model is right. Names may end alike, as in `train_masks_50pct.npy`.

    `_completed.npy`, bool [t], is there while models are trained: those that it does not name are
    no trials yet, and trial k is the k-th that it does.

    Args:
      path: the folder, or in it the masks, of which there may be several.

    Raises:
      ValueError: there are no such files, no model is finished, or the margins are no floating
        point numbers.
    """
    given = epath.Path(path)
    folder = given if given.is_dir() else given.parent
    names = sorted(child.name for child in given.iterdir()) if given.is_dir() else [given.name]
    found = [match for match in map(_MASKS_NAME.fullmatch, names) if match]
    if not found:
        raise ValueError(
            f"{given} {'has' if given.is_dir() else 'is'} no {_DATAMODELS[0]}.npy (or "
            f"{_DATAMODELS[0]}_ENDING.npy); beside it lie {' and '.join(_DATAMODELS[1:])} of the "
            "same ending"
        )
    if len(found) > 1:
        raise ValueError(
            f"{given} has masks of several models: {', '.join(match[0] for match in found)}; "
            f"estimates need one subset ratio: --source={given / found[0][0]} takes the first"
        )
    matrices = {
        name: Matrix(npz.open_npy(folder / f"{name}{found[0][1]}.npy"), to_bool)
        for name, to_bool in zip(_DATAMODELS, (_binary, _above_zero, _above_zero), strict=True)
    }
    for array, to_bool in matrices.values():
        if to_bool is _above_zero and array.dtype.kind != "f":
            raise ValueError(f"{array.what} is {array.dtype}, expected margins such as float16")
    completed = folder / f"{_COMPLETED}{found[0][1]}.npy"
    rows = matrices[_DATAMODELS[0]].array.shape[:1]
    finished = _finished(completed, rows) if completed.exists() else None
    return MatrixSource(matrices, None, finished)


def _finished(path: epath.Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads which models are finished, bool [t]; says how many are not."""
    array = npz.open_npy(path)
    if array.shape != shape:
        raise ValueError(
            f"{path} has shape {list(array.shape)}, expected {list(shape)}: which of the models "
            "are finished"
        )
    values = array.read()
    if np.any((values != 0) & (values != 1)):
        raise ValueError(f"{path} has values of {array.dtype}, expected bool or 0 and 1")
    finished = values.astype(bool)
    if not finished.any():
        raise ValueError(f"{path}: none of {len(finished):,} models is finished")
    if not finished.all():
        left_out = int(np.count_nonzero(~finished))
        unfinished = f"{left_out:,} of {len(finished):,} models are not finished"
        logging.warning("%s: %s, and left out", path, unfinished)
    return finished


def _binary(block: np.ndarray) -> np.ndarray:
    if block.dtype != bool:
        bad = (block != 0) & (block != 1)
        if bad.any():
            raise _BadRow(bad, f"has values of {block.dtype}, expected bool or 0 and 1")
    return block.astype(bool, copy=False)


def _above_zero(block: np.ndarray) -> np.ndarray:
    bad = np.isnan(block)
    if bad.any():
        raise _BadRow(bad, "has NaN margins")
    return block > 0
