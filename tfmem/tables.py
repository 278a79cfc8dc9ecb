"""Looking a name up in one of the project's tables (experiments, datasets, models, schedules)."""

import difflib
from collections.abc import Mapping
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
