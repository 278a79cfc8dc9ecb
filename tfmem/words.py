"""Words for people: names looked up, durations, counts, numbers, tables as text."""

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
_MOST_LISTED = 30  # More are too many to read: the layers of a network.


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Returns `table[name]`.

    Raises:
      ValueError: there is no such name; the message names the nearest one and lists them.
    """
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    listed = ", ".join(list(table)[:_MOST_LISTED])
    more = f" and {len(table) - _MOST_LISTED} more" if len(table) > _MOST_LISTED else ""
    raise ValueError(f"unknown {what} {name!r}: {hint}the known ones are {listed}{more}")


def duration(seconds: float) -> str:
    """Returns seconds in words: `35 s`, `4.2 min`, `7.5 h`, `1,240.0 days`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s"


def runs(numbers: Sequence[int]) -> str:
    """Returns ascending numbers as ranges: `3, 5:9` for 3, 5, 6, 7, 8."""
    parts = []
    for _, group in itertools.groupby(enumerate(numbers), lambda item: item[1] - item[0]):
        values = [number for _, number in group]
        parts.append(f"{values[0]}:{values[-1] + 1}" if len(values) > 1 else str(values[0]))
    return ", ".join(parts)


def counted(count: int, one: str, many: str = "") -> str:
    """Returns a count with what it counts: `1 trial`, `2,000 trials`.

    Args:
      count: how many.
      one: what one of them is called.
      many: what several are called; `one` with an s by default.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def of_expected(count: int, expected: int | None) -> str:
    """Returns a count, and of how many it is if these are known and more: `11`, `11 of 20`."""
    return f"{count:,}" if expected is None or count >= expected else f"{count:,} of {expected:,}"


def number(value: float | None, spec: str = ".3f", unknown: str = "-") -> str:
    """Returns a number in a format, or `unknown` if it is nan or None."""
    return unknown if value is None or math.isnan(value) else format(value, spec)


def table(rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Returns rows as aligned text, two spaces between columns.

    Args:
      rows: of cells, all of one length; heads come first.
      left: how many columns, from the first on, are aligned to the left; the others are to the
        right.
    """
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
