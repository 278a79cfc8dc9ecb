"""Trials in npz files of one's own, or as adaptations of the authors' script write them."""

import glob
import re
from collections.abc import Mapping

import numpy as np
from etils import epath

from tfmem.disk import npz
from tfmem.imports import matrices
from tfmem.imports.examples import Labels, labels_in
from tfmem.imports.matrices import SUBSET, TEST, TRAIN, MatrixSource, Part

_PREDICTED = (matrices.TRAIN_PREDICTED, matrices.TEST_PREDICTED)
_READERS = {
    **dict.fromkeys((SUBSET, TRAIN, TEST), matrices.to_bool),
    **dict.fromkeys(_PREDICTED, matrices.to_classes),
}
_LABELS = ("train_labels", "test_labels")
# How files name what a row says: ours, and those of the authors' script.
_OURS = {role: role for role in _READERS}
_THEIRS = {
    SUBSET: "trainset_mask",
    TRAIN: "trainset_correctness",
    TEST: "testset_correctness",
    matrices.TRAIN_PREDICTED: "trainset_predictions",
    matrices.TEST_PREDICTED: "testset_predictions",
}


def open_arrays(path: str) -> MatrixSource:
    """Opens npz files of the same arrays, each of one trial or more.

    A file has `subset_mask` [t, n], `train_correct` [t, n] and `test_correct` [t, n'], bool or 0
    and 1; it may have `train_predicted` [t, n] and `test_predicted` [t, n'], classes from 0 to
    65,535. Or these are `trainset_mask`, `trainset_correctness`, `testset_correctness`,
    `trainset_predictions` and `testset_predictions`. In a file of one trial all may be [n] or [n'].
    It may have `train_labels` [n] and `test_labels` [n'], as `tfmem.datasets.labelling` reads them.

    Args:
      path: a file, a folder of files, or a glob; trials are in the order of `find_files`.

    Raises:
      ValueError: there is no such file, an array is missing, labels are none, or files differ in
        the names of their arrays, in labels or in numbers of examples.
    """
    parts: list[Part] = []
    labels: Labels | None = None
    first: Mapping[str, str] = {}
    for file in find_files(path):
        names = _names(file)
        with npz.open_npz(file, names.values()) as archive:
            own = labels_in(archive, _LABELS, str(file)) if names.keys() & _LABELS else None
        arrays = {
            role: npz.open_member(file, name) for role, name in names.items() if role in _READERS
        }
        part = Part(str(file), arrays, single=len(arrays[SUBSET].shape) == 1)
        if not parts:
            labels, first = own, names
        elif names != first:
            raise ValueError(
                f"{file} has {', '.join(names.values())}, and {parts[0].path} has "
                f"{', '.join(first.values())}: expected the same in all files"
            )
        elif not _same(own, labels):
            raise ValueError(f"{file} has other labels than {parts[0].path}: expected the same")
        parts.append(part)
        num_train, num_test = (sum(parts[0].arrays[role].shape[-1:]) for role in (SUBSET, TEST))
        part.require_shapes(num_train, num_test, parts[0].path)
    return MatrixSource(parts, _READERS, labels)


def find_files(path: epath.PathLike) -> list[epath.Path]:
    """Returns the npz files that a path means: itself, those in a folder, or those of a glob.

    They are in ascending order of their paths, in which numbers count as such: `run-9.npz` is
    before `run-10.npz`. Names that begin with a dot are passed over.

    Raises:
      ValueError: there are none in the folder, or the glob matches none or has `**`.
    """
    given = epath.Path(path)
    if given.is_dir():
        found = [child for child in given.iterdir() if child.suffix == ".npz"]
        why = f"has no npz files; those in its folders are {given}/*/*.npz, in quotes"
    elif glob.has_magic(str(path)) and not given.exists():
        if "**" in given.parts:
            raise ValueError(f"{path} has **, expected a * for each folder on the way")
        fixed = next(place for place, part in enumerate(given.parts) if glob.has_magic(part))
        folder = epath.Path(*given.parts[:fixed])
        found = [child for child in folder.glob("/".join(given.parts[fixed:])) if child.is_file()]
        why = "matches no file"
    else:
        return [given]
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        raise ValueError(f"{path} {why}")
    return sorted(found, key=_by_number)


def _by_number(path: epath.Path) -> list[tuple[int, str]]:
    pieces = re.findall(r"(\d+)|(\D+)", str(path))
    return [(int(digits) if digits else -1, text) for digits, text in pieces]


def _names(path: epath.Path) -> Mapping[str, str]:
    """Returns what the arrays of a file that are read are called, by what they say."""
    with npz.open_npz(path) as archive:
        there = archive.files
    kinds = [names for names in (_OURS, _THEIRS) if names[SUBSET] in there]
    if len(kinds) != 1:
        verb, join = ("has both", "and") if kinds else ("lacks", "or")
        raise ValueError(
            f"{path} {verb} {_OURS[SUBSET]} {join} {_THEIRS[SUBSET]}, expected one of them; it has "
            f"{', '.join(there) or 'nothing'}"
        )
    names = {role: name for role, name in kinds[0].items() if role not in _PREDICTED}
    names |= {role: kinds[0][role] for role in _PREDICTED if kinds[0][role] in there}
    return names | {name: name for name in _LABELS if not set(_LABELS).isdisjoint(there)}


def _same(own: Labels | None, labels: Labels | None) -> bool:
    """Returns whether the labels of two files agree: both have them or neither."""
    if own is None or labels is None:
        return True
    return own.class_names == labels.class_names and all(
        np.array_equal(a, b) for a, b in ((own.train, labels.train), (own.test, labels.test))
    )
