"""What a store holds, as the programs ask that read stores of one kind."""

import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TypeVar

from etils import epath

from analysis.cli import program
from tfmem.config import DynamicsConfig, RemovalConfig, TurnoverConfig
from tfmem.store import parts
from tfmem.store.store import Store
from tfmem.store.trials import Trial, TrialSet
from tfmem.words import counted, runs

C = TypeVar("C", RemovalConfig, TurnoverConfig, DynamicsConfig)
# What stores hold whose trials are not on random subsets, by the kind of their config, which is
# also in the names of the programs that make and read them.
HOLDS = {
    "removal": "runs with chosen examples removed",
    "turnover": "models with turn-over dropout",
    "dynamics": "runs that are followed epoch by epoch",
}


def require_random_subsets(store: Store) -> None:
    """Raises ValueError if the store's trials are no random subsets: nothing follows from those."""
    kind = store.config.kind
    if kind in HOLDS:
        raise ValueError(
            f"{store.path} holds {HOLDS[kind]}, not trials on random subsets: tfmem {kind} "
            "reads them"
        )


def config_of(store: Store, wanted: type[C]) -> C:
    """Returns the config of a store of one kind.

    Raises:
      ValueError: it is of another kind; the message names the program that reads it.
    """
    config, kind = store.config, wanted.kind
    if isinstance(config, wanted):
        return config
    raise ValueError(
        f"{store.path} holds no {HOLDS[kind]}: tfmem train_{kind} makes them, and "
        f"tfmem {config.kind if config.kind in HOLDS else 'estimate'} reads what is there"
    )


def usable(store: Store, allow_missing: bool, wanted: range | None = None) -> list[int]:
    """Returns the trials that a program reads, of all or those wanted; says what it leaves out.

    Raises:
      DamagedFileError: as `Store.usable`, unless damaged ones are to be left out.
    """
    if not allow_missing:
        return store.usable(wanted)
    numbers = store.numbers(wanted)
    with program.progress_bar(len(numbers), "trials checked", delay=1) as progress:
        unusable = store.unusable(wanted, lambda number: progress(1))
    if unusable:
        first, *others = dict.fromkeys(problem.what for problem in unusable.values())
        more = f"; tfmem check_store lists {len(others):,} more" if others else ""
        left_out = f"{counted(len(unusable), 'damaged trial')}, {runs(sorted(unusable))}"
        print(f"left out: {left_out}: {first}{more}")
    return [number for number in numbers if number not in unusable]


@dataclasses.dataclass(frozen=True)
class Parts:
    """Stores that count as one, and their trials that a program reads.

    Attributes:
      stores: one, or parts of one experiment.
      numbers: of each store, its trials.
      expected: how many trials there should be.
    """

    stores: Sequence[Store]
    numbers: Sequence[Sequence[int]]
    expected: int

    @property
    def count(self) -> int:
        """How many trials are read."""
        return sum(map(len, self.numbers))

    def read(self, what: str, delay: float = 0.0) -> Generator[Trial, None, None]:
        """Yields the trials one by one, store after store, and shows a bar for each as `read`."""
        for store, numbers in zip(self.stores, self.numbers, strict=True):
            yield from read(store, numbers, what, delay)


def open_parts(
    paths: Sequence[epath.PathLike], allow_missing: bool, wanted: range | None = None
) -> Parts:
    """Opens stores of trials on random subsets, and says what it leaves out.

    Args:
      paths: where they are.
      allow_missing: whether damaged trials are left out.
      wanted: which trials count; all by default.

    Raises:
      ValueError: a store is of another kind; otherwise as `parts_of`.
      DamagedFileError: as `parts_of`.
    """
    opened = [Store.open(path) for path in paths]
    for store in opened:
        require_random_subsets(store)
    return parts_of(opened, allow_missing, wanted)


def parts_of(opened: Sequence[Store], allow_missing: bool, wanted: range | None = None) -> Parts:
    """Returns stores as one, as `open_parts` does.

    Raises:
      ValueError: they do not fit together, or none has a wanted trial.
      DamagedFileError: as `Store.usable`, unless damaged ones are to be left out.
    """
    parts.require_parts(opened, wanted)
    numbers = [usable(store, allow_missing, wanted) for store in opened]
    if not any(numbers):
        if not wanted:
            raise opened[0].without_trials()
        where = ", ".join(str(store.path) for store in opened)
        raise ValueError(f"--trials={wanted.start}:{wanted.stop}: {where} has none of these")
    return Parts(opened, numbers, parts.num_expected(opened, wanted))


def read(store: Store, numbers: Sequence[int], what: str, delay: float = 0.0) -> Iterator[Trial]:
    """Yields these trials of a store one by one, and shows a bar of how many were read."""
    with program.progress_bar(len(numbers), f"{what} read", delay) as progress:
        for number in numbers:
            yield store.read(number)
            progress(1)


def load(store: Store, numbers: Sequence[int], what: str, probabilities: bool = False) -> TrialSet:
    """Reads what the estimators need of these trials (`Store.load`), and shows a bar as `read`."""
    with program.progress_bar(len(numbers), f"{what} read") as progress:
        return store.load(numbers, lambda number: progress(1), probabilities)


def print_lacking(store: Store, runs: int, there: Mapping[str, int]) -> None:
    """Says which conditions have fewer runs than they should, and the command that trains these."""
    lacking = ", ".join(f"{name} {count:,}" for name, count in there.items() if count < runs)
    if lacking:
        print(f"incomplete: of {runs:,} runs of a condition, there are: {lacking}")
        print(f"to complete it, run: {store.command()}")
