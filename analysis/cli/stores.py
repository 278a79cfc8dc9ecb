"""Stores of one kind of runs, as the program that reads them opens them."""

from collections.abc import Mapping
from typing import TypeVar

from tfmem.config import DynamicsConfig, RemovalConfig, TurnoverConfig
from tfmem.store import kinds
from tfmem.store.store import Store

C = TypeVar("C", RemovalConfig, TurnoverConfig, DynamicsConfig)


def config_of(store: Store, kind: type[C]) -> C:
    """Returns the config of a store of one kind.

    Raises:
      ValueError: it is of another kind; the message names the program that reads it.
    """
    kinds.require_kind(store, kind.kind)
    return next(config for config in [store.config] if isinstance(config, kind))


def print_lacking(store: Store, runs: int, there: Mapping[str, int]) -> None:
    """Says which conditions have fewer runs than they should, and the command that trains these."""
    lacking = ", ".join(f"{name} {count:,}" for name, count in there.items() if count < runs)
    if lacking:
        print(f"incomplete: of {runs:,} runs of a condition, there are: {lacking}")
        print(f"to complete it, run: {store.command()}")
