"""How much memory something takes, and how often Python looks for what nobody uses."""

import contextlib
import gc
import tracemalloc
from collections.abc import Callable, Iterator

_PACE_OF_PYTHON = gc.get_threshold()


def look_less_often() -> None:
    """Lets Python look for cycles less often: tracing makes so many objects that it costs 4%."""
    gc.set_threshold(20_000, 50, 50)


def keep_what_is_imported() -> None:
    """Lets Python not look at what is there now, which never is garbage."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _pace_of_python() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_PACE_OF_PYTHON)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def peak_memory(work: Callable[[], object]) -> int:
    """Returns how many bytes of Python's and NumPy's are in use at most while `work` is called."""
    with _pace_of_python():
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak
