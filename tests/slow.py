"""Which of a test's parameters are for `make test-slow`."""

from collections.abc import Callable, Iterable

import pytest


def some(values: Iterable, is_slow: Callable[..., bool]) -> list:
    """Returns the values as parameters; those that are slow are marked so."""
    return [pytest.param(one, marks=pytest.mark.slow if is_slow(one) else ()) for one in values]
