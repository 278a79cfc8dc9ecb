"""Tables of examples as files: csv, jsonl or parquet, by their suffix."""

import csv
import importlib.util
import io
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from etils import epath

from analysis.measures.table import LABEL_ISSUE, Columns
from tfmem.disk import atomic

_ROWS = 8192  # That are turned into Python's values at once.


def require(path: epath.PathLike) -> None:
    """Raises ValueError if a table cannot be written there: a library is missing."""
    if _suffix(path) == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            f"{path}: a parquet file needs pyarrow: pip install -e '.[pandas]', or give a name "
            "that ends in .csv or .jsonl"
        )


def write(path: epath.PathLike, columns: Columns) -> None:
    """Writes a table whole; what is nan or None is empty in csv, and null in the others.

    Args:
      path: where, which ends in one of `SUFFIXES`.
      columns: of `analysis.measures.table.table`, of one length.
    """
    with atomic.replacing(path) as file:
        _WRITERS[_suffix(path)](file, columns)


def _suffix(path: epath.PathLike) -> str:
    return pathlib.PurePath(path).suffix.lower()


def _rows(columns: Columns) -> Iterator[tuple[Any, ...]]:
    """Yields the rows as Python's values, None where one is not known."""
    for start in range(0, len(next(iter(columns.values()))), _ROWS):
        block = (column[start : start + _ROWS].tolist() for column in columns.values())
        known = ([None if value != value else value for value in values] for values in block)
        yield from zip(*known, strict=True)


def _write_csv(file: BinaryIO, columns: Columns) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    words = {True: "true", False: "false"}
    for row in _rows(columns):
        rows.writerow(words[value] if isinstance(value, bool) else value for value in row)
    text.detach()


def _write_jsonl(file: BinaryIO, columns: Columns) -> None:
    for row in _rows(columns):
        line = json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
        file.write(f"{line}\n".encode())


def _write_parquet(file: BinaryIO, columns: Columns) -> None:
    import pyarrow
    from pyarrow import parquet

    def array(name: str, column: np.ndarray) -> pyarrow.Array:
        kind = None  # That of the numbers.
        if column.dtype == object:
            kind = pyarrow.bool_() if name == LABEL_ISSUE else pyarrow.string()
        return pyarrow.array(column, kind, from_pandas=True)  # So nan is null.

    table = pyarrow.table({name: array(name, column) for name, column in columns.items()})
    parquet.write_table(table, file)


_WRITERS: dict[str, Callable[[BinaryIO, Columns], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
SUFFIXES = tuple(_WRITERS)
