"""Several stores as one: trials of one experiment that were made apart."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfmem.disk.bits import BitMatrix
from tfmem.store import asked, head
from tfmem.store.errors import StoreError
from tfmem.store.store import Store
from tfmem.store.trials import TrialSet
from tfmem.words import runs


def require_parts(stores: Sequence[Store], wanted: range | None = None) -> None:
    """Raises StoreError if stores are of different configs or datasets, or share a trial.

    Args:
      stores: one, or parts.
      wanted: which trials count; all by default.
    """
    first, *others = stores
    for number, store in enumerate(others, start=1):
        different = head.different(first.head, store.head)
        if different:
            raise StoreError(
                f"{first.path} and {store.path} hold trials of different configurations: "
                f"{'; '.join(different)}"
            )
        for earlier in stores[:number]:
            common = sorted(set(earlier.numbers()) & set(store.numbers()))
            if common := [number for number in common if wanted is None or number in wanted]:
                raise StoreError(
                    f"{earlier.path} and {store.path} both have the trials {runs(common)}",
                    "each trial counts once: give other stores, or --trials that only one has",
                )


def num_expected(stores: Sequence[Store], wanted: range | None = None) -> int:
    """Returns how many trials there should be: those asked for, and others that are there.

    Args:
      stores: one, or parts.
      wanted: which ones count; all by default.
    """
    ranges = (part for store in stores for part in store.head.asked)
    return asked.count(ranges, (number for store in stores for number in store.numbers()), wanted)


def join(parts: Sequence[TrialSet]) -> TrialSet:
    """Returns all trials, by their numbers: the same, bit for bit, as from one store."""
    first = parts[0]
    if len(parts) == 1:
        return first
    numbers = np.concatenate([part.numbers for part in parts])
    # Where each trial comes from; of parts that follow each other they are copied as they are.
    places = np.argsort(np.argsort(numbers))

    def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
        found = np.empty((len(numbers), *arrays[0].shape[1:]), arrays[0].dtype)
        start = 0
        for array in arrays:
            found[places[start : start + len(array)]] = array
            start += len(array)
        return found

    def matrix(name: str) -> BitMatrix:
        matrices = [getattr(part, name) for part in parts]
        return BitMatrix(joined([one.packed for one in matrices]), matrices[0].count)

    def probability(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else joined(arrays)

    return dataclasses.replace(
        first,
        numbers=np.sort(numbers),
        subset=matrix("subset"),
        train_correct=matrix("train_correct"),
        test_correct=matrix("test_correct"),
        train_probability=probability("train_probability"),
        test_probability=probability("test_probability"),
    )
