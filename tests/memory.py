"""How much memory something takes."""

import contextlib
import gc
import tracemalloc
from collections.abc import Callable, Iterator

_PACE = 700, 10, 10  # Python's own, at which it looks for cycles; tests do so less often.


@contextlib.contextmanager
def _pace_of_python() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_PACE)
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
