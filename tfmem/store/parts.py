"""Several stores as one: trials of one experiment that were made apart."""

from collections.abc import Callable, Iterator, Sequence

from tfmem.disk import bits
from tfmem.store import asked, head
from tfmem.store.errors import StoreError
from tfmem.store.store import Store
from tfmem.store.trials import TrialSet
from tfmem.words import runs

BLOCK_BYTES = 2**27  # Of the trials that are in memory at once where their counts add.
_MOST_NAMED = 20  # Ranges of trials that two stores both have.


def require_parts(stores: Sequence[Store], wanted: range | None = None) -> None:
    """Raises StoreError if stores are of different configs or datasets, or share a trial.

    Args:
      stores: one, or parts.
      wanted: which trials count; all by default.
    """
    first, *others = stores
    there = [set(first.numbers(wanted))]
    for store in others:
        different = head.different(first.head, store.head)
        if different:
            raise StoreError(
                f"{first.path} and {store.path} hold trials of different configurations: "
                f"{'; '.join(different)}",
                _mend(first),
            )
        numbers = set(store.numbers(wanted))
        for earlier, its in zip(stores, there, strict=False):
            if common := sorted(its & numbers):
                raise StoreError(
                    f"{earlier.path} and {store.path} both have the trials {_named(common)}",
                    "each trial counts once: give other stores, or --trials that only one has",
                )
        there.append(numbers)


def _named(numbers: Sequence[int]) -> str:
    """Returns ascending numbers as `runs`, the first of many ranges alone."""
    ranges = runs(numbers).split(", ")
    others = f" and others, {len(numbers):,} in all" if len(ranges) > _MOST_NAMED else ""
    return ", ".join(ranges[:_MOST_NAMED]) + others


def _mend(store: Store) -> str:
    if store.config.kind == "import":
        return "the trials of two imports have the same numbers: import all of them from one source"
    return "parts differ in --trials alone"


def num_expected(stores: Sequence[Store], wanted: range | None = None) -> int:
    """Returns how many trials there should be: those asked for, and others that are there.

    Args:
      stores: one, or parts.
      wanted: which ones count; all by default.
    """
    ranges = (part for store in stores for part in store.head.asked)
    return asked.count(ranges, (number for store in stores for number in store.numbers()), wanted)


def blocks(
    stores: Sequence[Store],
    numbers: Sequence[Sequence[int]],
    on_trial: Callable[[int], None] = lambda number: None,
    max_bytes: int = BLOCK_BYTES,
) -> Iterator[TrialSet]:
    """Yields the trials of stores in ascending order, as `load`, of which one block is in memory.

    Args:
      stores: one, or parts.
      numbers: of each store, which trials.
      on_trial: called after each trial is read, for a progress bar.
      max_bytes: of a block's packed bits; a block has a trial at least.

    Raises:
      StoreError: as `Store.load`.
    """
    data = stores[0].dataset
    lengths = [bits.packed_length(len(split)) for split in (data.train, data.train, data.test)]
    size = max(1, max_bytes // sum(lengths))
    found = _ascending(stores, numbers)
    for start in range(0, len(found), size):
        yield _read(stores, found[start : start + size], on_trial, probabilities=False)


def load(
    stores: Sequence[Store],
    numbers: Sequence[Sequence[int]],
    on_trial: Callable[[int], None] = lambda number: None,
    probabilities: bool = False,
) -> TrialSet:
    """Reads trials of stores as `Store.load` does: the same, bit for bit, as from one store."""
    return _read(stores, _ascending(stores, numbers), on_trial, probabilities)


def _ascending(
    stores: Sequence[Store], numbers: Sequence[Sequence[int]]
) -> list[tuple[int, Store]]:
    """Returns trials by their numbers, and where each is; StoreError if there is none."""
    found = [(n, store) for store, some in zip(stores, numbers, strict=True) for n in some]
    if not found:
        raise stores[0].without_trials()
    return sorted(found, key=lambda pair: pair[0])


def _read(
    stores: Sequence[Store],
    found: Sequence[tuple[int, Store]],
    on_trial: Callable[[int], None],
    probabilities: bool,
) -> TrialSet:
    trials = TrialSet.empty([n for n, _ in found], stores[0].dataset, probabilities)
    for store in stores:
        store.fill(trials, [row for row, (_, its) in enumerate(found) if its is store], on_trial)
    return trials
