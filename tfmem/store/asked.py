"""Which trials launches have asked for, as a store's experiment.json keeps it: [[0, 400], ...]."""

from collections.abc import Iterable
from typing import Any


def union(parts: Iterable[range]) -> list[range]:
    """Returns the same trials as ranges that are ascending and apart, none of them empty."""
    found: list[range] = []
    for part in sorted((part for part in parts if part), key=lambda part: part.start):
        if found and part.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, part.stop))
        else:
            found.append(range(part.start, part.stop))
    return found


def count(asked: Iterable[range], there: Iterable[int], wanted: range | None = None) -> int:
    """Returns how many trials were asked for or are there, of all or of those wanted."""
    parts = union([*asked, *(range(trial, trial + 1) for trial in there)])
    return sum(len(part if wanted is None else _common(part, wanted)) for part in parts)


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))


def encode(parts: Iterable[range]) -> list[list[int]]:
    """Returns what JSON keeps of the union of ranges."""
    return [[part.start, part.stop] for part in union(parts)]


def decode(content: Any) -> list[range]:
    """The inverse of `encode`; ValueError of anything else."""
    try:
        found = [range(start, stop) for start, stop in content]
    except (TypeError, ValueError) as error:
        raise ValueError(f"asked is {content!r}, expected [[START, STOP], ...]") from error
    if encode(found) != content or any(part.start < 0 for part in found):
        raise ValueError(f"asked is {content!r}, expected ascending [[START, STOP], ...]")
    return found


def needed(trials: Iterable[int], asked: Iterable[range]) -> list[range]:
    """Returns ranges to train that hold the trials, and nothing else that was not asked for.

    Args:
      trials: that have to be trained.
      asked: what was asked for.
    """
    trials = sorted(trials)
    parts = union([*asked, *(range(trial, trial + 1) for trial in trials)])
    found = []
    for part in parts:
        inside = [trial for trial in trials if trial in part]
        if inside:
            found.append(range(inside[0], inside[-1] + 1))
    return found
