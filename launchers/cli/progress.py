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


class _AboveTheLine:
    """Where messages are written while a line is shown."""

    def write(self, text: str) -> None:
        import tqdm

        tqdm.tqdm.write(text, file=sys.stderr, end="")

    def flush(self) -> None:
        sys.stderr.flush()


@contextlib.contextmanager
def _messages_above_the_line() -> Iterator[None]:
    """Lets messages not be written into the line."""
    root, own = python_logging.getLogger(), logging.get_absl_handler()
    if own not in root.handlers:
        yield
        return
    handler = python_logging.StreamHandler(_AboveTheLine())
    handler.setFormatter(own.formatter or logging.PythonFormatter())
    handler.setLevel(max(own.level, logging.get_absl_logger().level))
    root.removeHandler(own)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.addHandler(own)


class Line:
    """The line, on stderr; a context.

    Attributes:
      pause: seconds until it should be drawn anew.

    Args:
      store: where the trials are.
      trials: their numbers.
      fresh: returns the progress of those that this process trains.
    """

    def __init__(
        self,
        store: Store,
        trials: Sequence[int],
        fresh: Callable[[], Mapping[int, float]] = dict,
    ):
        self._store, self._trials, self._fresh = store, trials, fresh
        self.pause = 0.0

    def __enter__(self) -> "Line":
        import tqdm

        first = status.read(self._store, self._trials, self._fresh())
        self._bar = tqdm.tqdm(
            total=first.total,
            initial=first.work,
            desc="trials",
            bar_format=_LAYOUT,
            unit=describe(first),
            smoothing=0,  # Trials end in bursts: show the mean pace since it began.
        )
        self._messages = _messages_above_the_line()
        self._messages.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._messages.__exit__(*error)
        with contextlib.suppress(OSError):
            self._look()
        self._bar.close()

    def show(self) -> Status:
        """Draws the line anew; returns what it shows."""
        found = self._look()
        self._bar.refresh()
        return found

    def _look(self) -> Status:
        begin = time.monotonic()
        found = status.read(self._store, self._trials, self._fresh())
        # A slow file system is not kept busy by this.
        least = _SECONDS if sys.stderr.isatty() else _LOG_SECONDS
        self.pause = max(least, 20 * (time.monotonic() - begin))
        self._bar.unit, self._bar.n = describe(found), found.work
        return found


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
    """Keeps the line up to date while the context is open; see `Line`."""
    ended = threading.Event()

    def show_often(line: Line) -> None:
        while not ended.wait(line.pause):
            with contextlib.suppress(OSError):
                line.show()

    with Line(store, trials, fresh) as line:
        showing = threading.Thread(target=show_often, args=(line,), daemon=True)
        showing.start()
        try:
            yield
        finally:
            ended.set()
            showing.join()


def watch(store: Store, trials: Sequence[int]) -> Status:
    """Shows the line until all trials are stored or given up; returns the last status."""
    with Line(store, trials) as line:
        while True:
            found = line.show()
            if found.done + found.failed == found.total:
                return found
            time.sleep(line.pause)
