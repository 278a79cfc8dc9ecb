"""What a store holds: which program makes its trials, and which reads them."""

from tfmem.store.store import Store

# What stores hold whose trials are not on random subsets, by the kind of their config, which is
# also in the names of the programs that make and read them.
_HOLDS = {
    "removal": "runs with chosen examples removed",
    "turnover": "models with turn-over dropout",
    "dynamics": "runs that are followed epoch by epoch",
}


def require_random_subsets(store: Store) -> None:
    """Raises ValueError if the store's trials are no random subsets: nothing follows from those."""
    kind = store.config.kind
    if kind in _HOLDS:
        raise ValueError(
            f"{store.path} holds {_HOLDS[kind]}, not trials on random subsets: tfmem {kind} "
            "reads them"
        )


def require_kind(store: Store, kind: str) -> None:
    """Raises ValueError, naming the program that reads the store, if it is not of that kind."""
    found = store.config.kind
    if found != kind:
        raise ValueError(
            f"{store.path} holds no {_HOLDS[kind]}: tfmem train_{kind} makes them, and "
            f"tfmem {found if found in _HOLDS else 'estimate'} reads what is there"
        )
