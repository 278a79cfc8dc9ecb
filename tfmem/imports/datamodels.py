"""Trials in npy files, as Ilyas et al. (2022) publish those of their datamodels."""

import re

import numpy as np
from absl import logging
from etils import epath

from tfmem.disk import npz
from tfmem.imports.matrices import SUBSET, TEST, TRAIN, MatrixSource, Part, is_positive, to_bool

_NAMES = {SUBSET: "train_masks", TRAIN: "train_margins", TEST: "test_margins"}
_READERS = {SUBSET: to_bool, TRAIN: is_positive, TEST: is_positive}
_COMPLETED = "_completed"
_MASKS_NAME = re.compile(rf"{_NAMES[SUBSET]}(|_.+)\.npy")


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
            f"{given} {'has' if given.is_dir() else 'is'} no {_NAMES[SUBSET]}.npy (or "
            f"{_NAMES[SUBSET]}_ENDING.npy); beside it lie {_NAMES[TRAIN]} and {_NAMES[TEST]} of "
            "the same ending"
        )
    if len(found) > 1:
        raise ValueError(
            f"{given} has masks of several models: {', '.join(match[0] for match in found)}; "
            f"estimates need one subset ratio: --source={given / found[0][0]} takes the first"
        )
    arrays = {
        role: npz.open_npy(folder / f"{name}{found[0][1]}.npy") for role, name in _NAMES.items()
    }
    for role in (TRAIN, TEST):
        if arrays[role].dtype.kind != "f":
            raise ValueError(
                f"{arrays[role].what} is {arrays[role].dtype}, expected margins such as float16"
            )
    completed = folder / f"{_COMPLETED}{found[0][1]}.npy"
    finished = _finished(completed, arrays[SUBSET].shape[:1]) if completed.exists() else None
    return MatrixSource([Part(str(folder), arrays, finished=finished)], _READERS)


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
