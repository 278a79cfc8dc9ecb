"""What a store holds: which program makes its trials, and which reads them."""

from typing import NamedTuple

from tfmem.store.store import Store


class _Kind(NamedTuple):
    """Stores of one kind.

    Attributes:
      holds: what they hold, for messages.
      launcher: what makes them.
      reader: what reads them.
    """

    holds: str
    launcher: str
    reader: str


# By the kind of their config, stores whose trials are not on random subsets.
_KINDS = {
    "removal": _Kind(
        "runs with chosen examples removed", "launchers.train_removal", "analysis.removal"
    ),
    "turnover": _Kind(
        "models with turn-over dropout", "launchers.train_turnover", "analysis.turnover"
    ),
    "dynamics": _Kind(
        "runs that are followed epoch by epoch", "launchers.train_dynamics", "analysis.dynamics"
    ),
}


_RANDOM_SUBSETS = _Kind("trials on random subsets", "launchers.train_trials", "analysis.estimate")


def require_random_subsets(store: Store) -> None:
    """Raises ValueError if the store's trials are no random subsets: nothing follows from those."""
    found = _KINDS.get(store.config.kind)
    if found:
        raise ValueError(
            f"{store.path} holds {found.holds}, not {_RANDOM_SUBSETS.holds}: {found.reader} reads "
            "them"
        )


def require_kind(store: Store, kind: str) -> None:
    """Raises ValueError, naming the program that reads the store, if it is not of that kind."""
    if store.config.kind != kind:
        wanted, found = _KINDS[kind], _KINDS.get(store.config.kind, _RANDOM_SUBSETS)
        raise ValueError(
            f"{store.path} holds no {wanted.holds}: {wanted.launcher} makes them, and "
            f"{found.reader} reads what is there"
        )
