"""A table in a csv file: one row an example, a column of labels, columns of numbers."""

import array
import contextlib
import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from etils import epath

from tfmem.datasets import base, variants
from tfmem.words import counted

_LABEL, _ID, _SPLIT = "label", "id", "split"
_SEPARATORS = ",;\t"
# What people write where there is no value.
_MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none")
_MOST_LISTED = 10  # Columns that an error names.
_SHARE = "--test_share=0.2, which holds out a fifth of each class"


class _Columns(NamedTuple):
    """Which column is what, by its place; None where there is no such column."""

    names: list[str]
    label: int
    id: int | None
    split: int | None
    features: list[int]


class _Rows(NamedTuple):
    """The columns' values of all rows, and the line of the file that each ends in."""

    lines: list[int]
    labels: list[str]
    ids: list[str]
    splits: list[str]
    features: np.ndarray  # float64 [n, d]


def load(which: str, test_share: float = 0.0, alone: bool = False) -> base.ArrayDataset:
    """Returns the rows of a csv file as examples whose features are float64 [n, d].

    The first line names the columns, and a comma, a semicolon or a tab is between them. Classes are
    the sorted values of the column of labels: numerically if all are whole numbers. Ids are the
    column `id`, or else the rows' numbers from 0, as in `row_00042`. The column `split` says train
    or test; without it, or where it says train alone, test_share holds out rows. All other columns
    are features, finite numbers.

    Args:
      which: PATH, whose labels are the column `label`, or PATH:COLUMN; on any file system that
        `etils.epath` knows.
      test_share: of each class's rows that are held out, in [0, 1); see `variants.hold_out`.
      alone: whether a split that is alone, or all rows without one, stands for both.

    Raises:
      ValueError: it is no such file; the message has the line and the column.
    """
    with _opened(which) as (file, columns, reader):
        rows = _rows(reader, columns, file)
    names, labels = _classes(rows, columns, file)
    ids = np.array(rows.ids) if rows.ids else base.numbered_ids("row", len(labels))
    try:
        every = base.ArraySplit(labels, ids, rows.features)
        train, test = _splits(every, rows, columns, file, test_share, alone)
        return base.ArrayDataset(f"csv:{which}", train, test, names)
    except ValueError as error:
        prefix = "" if str(file) in str(error) else f"{file}: "
        raise ValueError(f"{prefix}{error}") from error


@contextlib.contextmanager
def _opened(which: str) -> Iterator[tuple[epath.Path, _Columns, Any]]:
    """Opens a table; yields its file, what its first line says, and a reader of the others."""
    path, label = path_and_label(which)
    file = epath.Path(path).expanduser()
    text = _text(file)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        yield file, _columns(next(reader, []), file, label), reader
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: {error}") from error


def path_and_label(which: str) -> tuple[str, str]:
    """Returns the path in PATH or PATH:COLUMN, and the column of labels."""
    path, colon, label = which.rpartition(":")
    return (path, label) if colon and "/" not in label else (which, _LABEL)  # As in gs://.


def _text(file: epath.Path) -> str:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{file} does not exist") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {line} is not UTF-8: save it as UTF-8") from error


def _columns(cells: Sequence[str], file: epath.Path, label: str) -> _Columns:
    """Returns what the first line says."""
    names = [cell.strip() for cell in cells]
    if not any(names):
        raise ValueError(f"{file}, line 1: expected the names of the columns")
    for place, name in enumerate(names):
        if not name:
            raise ValueError(
                f"{file}, line 1: column {place + 1} has no name: call it id if it numbers the "
                "rows (pandas writes no such column with index=False)"
            )
        if name in names[:place]:
            raise ValueError(f"{file}, line 1: two columns are called {name}")

    def found(wanted: str) -> int | None:
        same = [place for place, name in enumerate(names) if name.lower() == wanted.lower()]
        return names.index(wanted) if wanted in names else same[0] if len(same) == 1 else None

    of_label = found(label)
    if of_label is None:
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        raise ValueError(
            f"{file}, line 1: no column is called {label}; there are "
            f"{', '.join(names[:_MOST_LISTED])}{more}: csv:{file}:COLUMN names the one of labels"
        )
    of_id, of_split = (place if place != of_label else None for place in map(found, (_ID, _SPLIT)))
    others = (of_label, of_id, of_split)
    features = [place for place in range(len(names)) if place not in others]
    if not features:
        raise ValueError(f"{file}, line 1: no column has features: there are {', '.join(names)}")
    return _Columns(names, of_label, of_id, of_split, features)


def _rows(reader, columns: _Columns, file: epath.Path) -> _Rows:
    """Reads all rows but the first."""
    lines: list[int] = []
    texts: dict[int, list[str]] = {
        place: [] for place in (columns.label, columns.id, columns.split) if place is not None
    }
    values = array.array("d")
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(columns.names):
            raise ValueError(
                f"{file}, line {reader.line_num} has {counted(len(cells), 'value')}, expected "
                f"{len(columns.names)}, as many as the first line names columns"
            )
        try:
            values.extend(float(cells[place]) for place in columns.features)
        except ValueError:
            raise _no_number(cells, columns, f"{file}, line {reader.line_num}") from None
        if not all(map(math.isfinite, values[-len(columns.features) :])):
            raise _no_number(cells, columns, f"{file}, line {reader.line_num}")
        for place, column in texts.items():
            text = cells[place].strip()
            if text.lower() in ("", "nan"):
                name = columns.names[place]
                raise ValueError(
                    f"{file}, line {reader.line_num}, column {name}: a value is missing"
                )
            column.append(text)
        lines.append(reader.line_num)
    if not lines:
        raise ValueError(f"{file} has no rows below the names of its columns")
    features = np.frombuffer(values).reshape(len(lines), len(columns.features))
    ids = [] if columns.id is None else texts[columns.id]
    splits = [] if columns.split is None else texts[columns.split]
    rows = _Rows(lines, texts[columns.label], ids, splits, features)
    _require_different(rows, columns, file)
    return rows


def _require_different(rows: _Rows, columns: _Columns, file: epath.Path) -> None:
    known: dict[str, int] = {}
    for name, line in zip(rows.ids, rows.lines, strict=False):  # There may be no ids.
        if name in known:
            raise ValueError(
                f"{file}, line {line}, column {columns.names[columns.id or 0]}: {name!r} is the "
                f"id of line {known[name]} too"
            )
        known[name] = line


def _no_number(cells: Sequence[str], columns: _Columns, where: str) -> ValueError:
    """Returns what is wrong with the first feature of a row that will not do."""
    texts = {columns.names[place]: cells[place].strip() for place in columns.features}
    name, text = next((name, text) for name, text in texts.items() if not _is_finite(text))
    if text.lower() in _MISSING:
        shown = f" ({text})" if text else ""
        what = f"a value is missing{shown}: fill it in, or leave out the row or the column"
    elif _number(text) is not None:
        what = f"{text} is not finite, expected a finite number"
    else:
        what = f"{text!r} is not a number: encode it as numbers, or leave out the column"
    return ValueError(f"{where}, column {name}: {what}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_finite(text: str) -> bool:
    number = _number(text)
    return number is not None and math.isfinite(number)


def _classes(
    rows: _Rows, columns: _Columns, file: epath.Path
) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes, and the rows' labels: int64 [n]."""
    numbers = {text: _number(text) for text in set(rows.labels)}
    named: dict[str, str] = {}
    for text, line in zip(rows.labels, rows.lines, strict=True):
        number = numbers[text]
        if None in numbers.values():
            named[text] = text
        elif number is not None and number.is_integer():
            named[text] = str(int(number))
        else:
            raise ValueError(
                f"{file}, line {line}, column {columns.names[columns.label]}: {text} is no class: "
                "expected whole numbers, or names"
            )
    names = sorted(set(named.values()), key=str if None in numbers.values() else int)
    places = {name: label for label, name in enumerate(names)}
    return tuple(names), np.array([places[named[text]] for text in rows.labels])


def _splits(
    every: base.ArraySplit,
    rows: _Rows,
    columns: _Columns,
    file: epath.Path,
    test_share: float,
    alone: bool,
) -> tuple[base.ArraySplit, base.ArraySplit]:
    """Returns the training and the test examples."""
    of_rows = [text.lower() for text in rows.splits] or ["train"] * len(every)
    for text, line in zip(of_rows, rows.lines, strict=True):
        if text not in (*base.TRAIN_NAMES, *base.TEST_NAMES):
            name = columns.names[columns.split or 0]
            raise ValueError(
                f"{file}, line {line}, column {name}: {text!r}, expected train or test"
            )
    there = set(of_rows)
    second = next((name for name in base.TEST_NAMES if name in there), None)
    if second and test_share:
        raise ValueError(
            f"{file} has rows whose {_SPLIT} is {second}: --test_share={test_share:g} is for "
            "tables without a second split"
        )
    if not (second or test_share or alone):
        lacking = "has no column split" if columns.split is None else "has no rows of split test"
        raise ValueError(f"{file} {lacking}; expected train and test in it, or {_SHARE}")
    names = np.array(of_rows)
    train = every.take(np.isin(names, base.TRAIN_NAMES))
    if test_share:
        return variants.hold_out(train, test_share)
    test = every.take(names == second) if second else train
    others = there - {*base.TRAIN_NAMES, second}
    if others:
        left_out = counted(int(np.isin(names, list(others)).sum()), "row")
        logging.warning("%s: left out: %s of %s", file, left_out, ", ".join(sorted(others)))
    return (test if alone and not len(train) else train), test


def require_same_columns(name: str, other: str) -> None:
    """Raises ValueError if two datasets are tables of other features, or in another order.

    Args:
      name: of the dataset that is known, such as csv:PATH.
      other: of the other one.
    """
    if not (name.startswith("csv:") and other.startswith("csv:")):
        return
    known, found = (_features_of(table.removeprefix("csv:")) for table in (name, other))
    if len(known) != len(found):
        raise ValueError(f"{other} has {len(found)} columns of features, and {name} {len(known)}")
    for mine, theirs in zip(known, found, strict=True):
        if mine != theirs:
            raise ValueError(
                f"{other} has the column {theirs} where {name} has {mine}: expected the same "
                "columns of features in the same order"
            )


def _features_of(which: str) -> list[str]:
    with _opened(which) as (_, columns, _):
        return [columns.names[place] for place in columns.features]
