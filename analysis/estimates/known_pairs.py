"""Pairs of a test and a training example that people have judged to show the same."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

# By number, what people call a pair (Barz & Denzler, 2020).
JUDGMENTS = ("exact duplicate", "near-duplicate", "very similar")
_COLUMNS = ("TestID", "TrainID", "Judgment")
_MOST_LISTED = 20  # Lines that an error names.


class KnownPairs(NamedTuple):
    """p judged pairs, in the order of their file.

    Attributes:
      test_index: int64 [p].
      train_index: int64 [p], of the same class.
      judgment: int64 [p], of `JUDGMENTS`.
    """

    test_index: np.ndarray
    train_index: np.ndarray
    judgment: np.ndarray


def read(path: epath.PathLike, train_labels: np.ndarray, test_labels: np.ndarray) -> KnownPairs:
    """Reads judged pairs from a csv file as Barz & Denzler (2020) publish them for CIFAR.

    Its columns `TestID` and `TrainID` are indices from 0 in the original order; `Judgment` is 0, 1
    or 2; others, such as `Distance`, are not read.

    Args:
      path: where it is.
      train_labels: int [n], of the training examples in that order.
      test_labels: int [n'], of the test examples.

    Raises:
      ValueError: it is no such file, or of another dataset: an index is out of range, a pair is
        there twice, or its examples are of different classes. The message names the line.
    """
    path = epath.Path(path)
    rows = _rows(path)
    _, first = next(rows, (1, []))
    heads = [head.strip() for head in first]
    lacking = [name for name in _COLUMNS if name not in heads]
    if lacking:
        raise ValueError(
            f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(heads) or 'none'}; "
            "expected known pairs: a csv file of TestID, TrainID, Judgment"
        )
    places = [heads.index(name) for name in _COLUMNS]
    ends = len(test_labels), len(train_labels), len(JUDGMENTS)
    lines: dict[tuple[int, int], int] = {}
    judgments = []
    for number, cells in rows:
        if not any(cells):
            continue
        line = f"{path}, line {number}"
        row = [cells[place] if place < len(cells) else "" for place in places]
        test, train, judgment = _numbers(line, row, ends)
        if (test, train) in lines:
            raise ValueError(
                f"{line}: the pair of test example {test} and training example {train} is in line "
                f"{lines[test, train]} too"
            )
        lines[test, train] = number
        judgments.append(judgment)
    if not lines:
        raise ValueError(f"{path} has no pairs")
    test_index, train_index = np.array(list(lines), np.int64).T
    other = test_labels[test_index] != train_labels[train_index]
    if other.any():
        raise _of_two_classes(path, [n for n, o in zip(lines.values(), other, strict=True) if o])
    return KnownPairs(test_index, train_index, np.array(judgments, np.int64))


def _of_two_classes(path: epath.Path, lines: Sequence[int]) -> ValueError:
    more = f" and {len(lines) - _MOST_LISTED:,} more" if len(lines) > _MOST_LISTED else ""
    listed = ", ".join(map(str, lines[:_MOST_LISTED]))
    return ValueError(
        f"{path}, {'line' if len(lines) == 1 else 'lines'} {listed}{more}: test and training "
        "example are of different classes, expected one, within which influence is estimated: "
        "another dataset, or another order? If it is this one, remove the lines"
    )


def _rows(path: epath.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the number and the cells of each line; ValueError if it is no such file."""
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no csv file in UTF-8 ({error.reason})") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _numbers(line: str, row: Sequence[str], ends: Sequence[int]) -> list[int]:
    """Returns the numbers of a row, each in 0 ... end - 1; ValueError if one is not."""
    found = []
    for name, cell, end in zip(_COLUMNS, row, ends, strict=True):
        text = cell.strip()
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) >= end:
            expected = f"a whole number from 0 to {end - 1:,}"
            if name == "Judgment":
                expected = ", ".join(f"{number} ({name})" for number, name in enumerate(JUDGMENTS))
            raise ValueError(f"{line}: {name} is {text!r}, expected {expected}")
        found.append(int(text))
    return found
