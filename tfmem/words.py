"""Looking a name up in one of the project's tables (experiments, datasets, models, schedules)."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
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
