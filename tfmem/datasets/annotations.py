"""Labels and candidates of one's own: read from a file, matched with the examples of a dataset.

A file is npz, npy, csv or txt; behind a colon stands the name of the array or the column that is
meant. What tells examples apart in it are ids or indices.
"""

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from tfmem.datasets import labelling
from tfmem.datasets.base import Dataset, Split
from tfmem.disk import npz
from tfmem.recipe import ExperimentConfig

_FILE = re.compile(r"(?P<path>.+\.(?P<kind>npz|npy|csv|txt))(?::(?P<name>[^/:]+))?", re.IGNORECASE)
# What arrays and columns are called where nothing says it.
_LABELS = ("label", "labels")
_IDS = ("id", "ids", "index", "indices")
_CANDIDATES = ("candidates", *_IDS)


class Annotations(NamedTuple):
    """What files of one's own say of the training examples.

    Attributes:
      labels: int64 [n], or None where no file says them.
      candidates: bool [n], who may be left out of a random subset, or None.
    """

    labels: np.ndarray | None
    candidates: np.ndarray | None

    @classmethod
    def of(cls, split: Split) -> "Annotations":
        """Returns what such files said of the training examples of a dataset."""
        return cls(split.labels, split.candidates)

    def digests(self) -> tuple[str, str]:
        """Returns the SHA-256, in hexadecimal, of the labels and of the candidates; "" of None."""
        labels, candidates = "", ""
        if self.labels is not None:
            labels = hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()
        if self.candidates is not None:
            candidates = hashlib.sha256(np.packbits(self.candidates).tobytes()).hexdigest()
        return labels, candidates


class _Columns(NamedTuple):
    """Some arrays of a file, which errors call `what`: values, and ids or indices beside them."""

    what: str
    values: np.ndarray
    ids: np.ndarray | None


def read(experiment: ExperimentConfig, dataset: Dataset) -> Annotations:
    """Returns what the files of an experiment say of the examples of its dataset.

    Raises:
      ValueError: as `read_labels` and `read_candidates`.
    """
    return Annotations(
        read_labels(experiment.labels, dataset) if experiment.labels else None,
        read_candidates(experiment.candidates, dataset) if experiment.candidates else None,
    )


def path_of(given: str) -> epath.Path:
    """Returns the path of FILE[:NAME]; ValueError if it is no kind of file that is read."""
    return epath.Path(_parts(given)["path"]).expanduser()


def read_labels(given: str, dataset: Dataset) -> np.ndarray:
    """Reads one label for each training example: names of classes, or numbers.

    They are in index order, or have ids or indices beside them: the array `ids` of an npz file, the
    column `id` of a csv file.

    Args:
      given: FILE[:NAME].
      dataset: whose training examples and classes they are of.

    Returns:
      int64 [n].

    Raises:
      ValueError: they are no such labels; the message starts with the file.
    """
    found = _columns(given, _LABELS, _IDS)
    there, count = len(found.values), len(dataset.train)
    if found.ids is not None and len(found.ids) != there:
        raise ValueError(f"{found.what} has {there:,} labels and {len(found.ids):,} ids")
    if there != count and (found.ids is None or there > count):
        raise ValueError(
            f"{found.what} has {there:,} labels, and {_name(dataset)} has {count:,} training "
            "examples: expected one for each, in index order or with ids"
        )
    labels = _classes(found, dataset)
    if found.ids is None:
        return labels
    places = _places(found.ids, found.what, dataset)
    missing = np.setdiff1d(np.arange(count), places)
    if len(missing):
        raise ValueError(
            f"{found.what} lacks {len(missing):,} of {count:,} training examples, such as "
            f"{dataset.train.ids[missing[0]]}: expected a label for each"
        )
    ordered = np.empty(count, np.int64)
    ordered[places] = labels
    return ordered


def read_candidates(given: str, dataset: Dataset) -> np.ndarray:
    """Reads who of the training examples may be left out: their ids or indices, or bool [n].

    Args:
      given: FILE[:NAME].
      dataset: whose training examples they are.

    Returns:
      bool [n].

    Raises:
      ValueError: they are no such examples; the message starts with the file.
    """
    found = _columns(given, _CANDIDATES)
    count = len(dataset.train)
    if found.values.dtype == bool and found.values.shape == (count,):
        chosen = np.array(found.values)
    else:
        chosen = np.zeros(count, bool)
        chosen[_places(found.values, found.what, dataset)] = True
    if not chosen.any():
        raise ValueError(f"{found.what} names no training example: nothing could be left out")
    return chosen


def _name(dataset: Dataset) -> str:
    return dataset.name or "this dataset"


def _parts(given: str) -> re.Match[str]:
    parts = _FILE.fullmatch(given)
    if parts is None:
        raise ValueError(f"{given}: expected FILE.npz, .npy, .csv or .txt, or FILE.npz:NAME")
    return parts


def _columns(given: str, names: Sequence[str], ids: Sequence[str] = ()) -> _Columns:
    """Reads what a file has under a name, its own or one of `names`, and ids if it has them."""
    parts, path = _parts(given), path_of(given)
    name, kind = parts["name"], parts["kind"].lower()
    if kind == "npz":
        with npz.open_npz(path) as archive:
            chosen = _choose(path, archive.files, name, names, ids)
            beside = next((_text(archive[own]) for own in ids if own in archive.files), None)
            return _Columns(f"{path}: {chosen}", _text(archive[chosen]), beside)
    if name and kind != "csv":
        raise ValueError(f"{given}: of a {kind} file there is but one array, without a name")
    if kind == "npy":
        return _Columns(str(path), _text(npz.open_npy(path).read()), None)
    rows = _rows(path, kind)
    known = {name or "", *names, *ids} - {""}
    if not known.intersection(rows[0]):
        if len(rows[0]) > 1 or name:
            raise ValueError(
                f"{path} begins with {','.join(rows[0])}: expected a first line that names the "
                f"columns, among them {name or names[0]}"
            )
        return _Columns(str(path), np.array([row[0] for row in rows]), None)
    head, rows = rows[0], rows[1:]
    chosen = _choose(path, head, name, names, ids)
    columns = {own: np.array([row[at] for row in rows], np.str_) for at, own in enumerate(head)}
    beside = next((columns[own] for own in ids if own in columns), None)
    return _Columns(f"{path}: {chosen}", columns[chosen], beside)


def _text(array: np.ndarray) -> np.ndarray:
    """Returns [n, ...], bytes as texts; what is no text is no name that anybody knows."""
    array = np.atleast_1d(array)
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _choose(
    path: epath.Path,
    there: Sequence[str],
    name: str | None,
    names: Sequence[str],
    ids: Sequence[str],
) -> str:
    """Returns the array or the column that is meant: the one that is named, or the only one."""
    found = [own for own in ([name] if name else names) if own in there]
    others = [own for own in there if own not in ids]
    if found or (len(others) == 1 and not name):
        return (found or others)[0]
    lacks = f"lacks {name}; it has" if name else "has"
    raise ValueError(
        f"{path} {lacks} {', '.join(there) or 'nothing'}: say which is meant by {path}:NAME"
    )


def _rows(path: epath.Path, kind: str) -> list[list[str]]:
    """Returns the lines of a text as cells, of equal number."""
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = io.StringIO(text, newline="")
        cells = csv.reader(lines, strict=True) if kind == "csv" else ([line] for line in lines)
        rows = [[cell.strip() for cell in row] for row in cells]
    except (ValueError, OSError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
    rows = [row for row in rows if any(row)]
    if not rows:
        raise ValueError(f"{path} has nothing in it")
    uneven = next((row for row in rows if len(row) != len(rows[0])), None)
    if uneven:
        raise ValueError(
            f"{path} has {','.join(uneven)}, expected {len(rows[0])} cells as in its first line"
        )
    return rows


def _classes(found: _Columns, dataset: Dataset) -> np.ndarray:
    """Returns labels as the dataset counts them: names of its classes, or else numbers."""
    names, labels = dataset.class_names, found.values
    unknown = f"which is no class of {_name(dataset)}: expected 0 to {len(names) - 1}, or names "
    unknown += f"such as {', '.join(names[:3])}"
    if labels.dtype.kind == "U" and labels.ndim == 1:
        places = {name: place for place, name in enumerate(names)}
        numbers = [places.get(text, -1) for text in labels.tolist()]
        if -1 not in numbers:
            return np.array(numbers, np.int64)
        if not np.char.isdecimal(labels).all():
            bad = [text for text in labels.tolist() if text not in places]
            # A file of numbers may have one text too many.
            shown = next((text for text in bad if not text.isdecimal()), bad[0])
            raise ValueError(f"{found.what} has the label {shown!r}, {unknown}")
        labels = np.array([min(int(text), len(names)) for text in labels.tolist()], np.int64)
    (labels,) = labelling.read({"labels": labels}, found.what).arrays.values()
    if (labels >= len(names)).any():
        index = int(np.argmax(labels >= len(names)))
        shown = found.values[index] if found.values.ndim == 1 else labels[index]
        raise ValueError(f"{found.what} has label {shown} at {index}, {unknown}")
    return labels


def _places(given: np.ndarray, what: str, dataset: Dataset) -> np.ndarray:
    """Returns the indices, int64 [k], of training examples that are given by ids or indices.

    Raises:
      ValueError: one is unknown, or is there twice.
    """
    if given.ndim != 1 or given.dtype.kind not in "iuU":
        raise ValueError(
            f"{what} is {given.dtype} of shape {given.shape}, expected ids or indices [k]"
        )
    texts, known = given.astype(np.str_), dataset.train.ids
    if not len(texts):
        return np.zeros(0, np.int64)
    order = np.argsort(known)
    places = order[np.minimum(np.searchsorted(known[order], texts), len(known) - 1)]
    bad, numbers = known[places] != texts, np.char.isdecimal(texts)
    if bad.any() and numbers.all():
        places = np.array([min(int(text), len(known)) for text in texts.tolist()])
        bad = places == len(known)
    elif numbers.all() and not bad.any():
        logging.warning("%s: these numbers are ids of %s, not indices", what, _name(dataset))
    if bad.any():
        raise ValueError(
            f"{what}: {_name(dataset)} has no training example {texts[np.argmax(bad)]}: expected "
            f"ids such as {known[0]}, or indices from 0 to {len(known) - 1}"
        )
    times = np.bincount(places, minlength=len(known))[places]
    if (times > 1).any():
        first = int(np.argmax(times > 1))
        raise ValueError(
            f"{what} names {texts[first]} {times[first]} times, expected each example once"
        )
    return places
