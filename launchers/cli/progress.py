"""One line for a whole experiment: done, running, failed, time left, whoever trains it."""

import contextlib
import logging as python_logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import logging

from tfmem.store.store import Store
from tfmem.workers import status
from tfmem.workers.status import Status

_SECONDS = 1.0
_LOG_SECONDS = 60.0  # A file that gets the line, such as a Slurm job's, gets it less often.
_LAYOUT = "{desc} {percentage:3.0f}%|{bar}| {unit}, {remaining} left"  # It fits 80 columns.


class _AboveTheLine(python_logging.Handler):
    """Writes messages while a line is shown."""

    def emit(self, record: python_logging.LogRecord) -> None:
        import tqdm

        tqdm.tqdm.write(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def _messages_above_the_line() -> Iterator[None]:
    """Lets messages not be written into the line."""
    root, own = python_logging.getLogger(), logging.get_absl_handler()
    if own not in root.handlers:
        yield
        return
    handler = _AboveTheLine(max(own.level, logging.get_absl_logger().level))
    handler.setFormatter(own.formatter or logging.PythonFormatter())
    root.removeHandler(own)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.addHandler(own)


_Show = Callable[[], tuple[Status, float]]


@contextlib.contextmanager
def _line(
    store: Store, trials: Sequence[int], fresh: Callable[[], Mapping[int, float]] = dict
) -> Iterator[_Show]:
    """Shows the line on stderr.

    Yields what draws it anew, and returns what it shows and after how many seconds it should be
    drawn again. `fresh` returns the progress of the trials that this process trains.
    """
    import tqdm

    first = status.read(store, trials, fresh())
    bar = tqdm.tqdm(
        total=first.total,
        initial=first.work,
        desc="trials",
        bar_format=_LAYOUT,
        unit=describe(first),
        smoothing=0,  # Trials end in bursts: show the mean pace since it began.
    )

    def look() -> tuple[Status, float]:
        begin = time.monotonic()
        found = status.read(store, trials, fresh())
        bar.unit, bar.n = describe(found), found.work
        # A slow file system is not kept busy by this.
        least = _SECONDS if sys.stderr.isatty() else _LOG_SECONDS
        return found, max(least, 20 * (time.monotonic() - begin))

    def show() -> tuple[Status, float]:
        shown = look()
        bar.refresh()
        return shown

    try:
        with _messages_above_the_line():
            yield show
    finally:
        with contextlib.suppress(OSError):
            look()
        bar.close()


def describe(found: Status) -> str:
    """Returns a status in words."""
    return (
        f"{found.done:,} of {found.total:,} done, {found.running:,} running, "
        f"{found.failed:,} failed"
    )


@contextlib.contextmanager
def shown(
    store: Store, trials: Sequence[int], fresh: Callable[[], Mapping[int, float]] = dict
) -> Iterator[None]:
    """Keeps the line up to date while the context is open; see `_line`."""
    ended = threading.Event()

    def show_often(show: _Show) -> None:
        pause = 0.0
        while not ended.wait(pause):
            with contextlib.suppress(OSError):
                _, pause = show()

    with _line(store, trials, fresh) as show:
        showing = threading.Thread(target=show_often, args=(show,), daemon=True)
        showing.start()
        try:
            yield
        finally:
            ended.set()
            showing.join()


def watch(store: Store, trials: Sequence[int]) -> Status:
    """Shows the line until all trials are stored or given up; returns the last status."""
    with _line(store, trials) as show:
        while True:
            found, pause = show()
            if found.done + found.failed == found.total:
                return found
            time.sleep(pause)
