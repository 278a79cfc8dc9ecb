"""One line for a whole experiment: done, running, failed, time left, whoever trains it."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from analysis.cli import bars
from tfmem.store.store import Store
from tfmem.workers import status
from tfmem.workers.status import Status

_SECONDS = 1.0
_LAYOUT = "{desc} {percentage:3.0f}%|{bar}| {unit}, {remaining} left"  # It fits 80 columns.

_Show = Callable[[], tuple[Status, float]]


@contextlib.contextmanager
def _line(
    store: Store, trials: Sequence[int], fresh: Callable[[], Mapping[int, float]] = dict
) -> Iterator[_Show]:
    """Shows the line on stderr.

    Yields what draws it anew, and returns what it shows and after how many seconds it should be
    drawn again. `fresh` returns the progress of the trials that this process trains.
    """
    first = status.read(store, trials, fresh())
    how = dict(total=first.total, initial=first.work, unit=describe(first))
    # Trials end in bursts: show the mean pace since it began.
    how |= dict(desc="trials", bar_format=_LAYOUT, smoothing=0)

    def look() -> tuple[Status, float]:
        begin = time.monotonic()
        found = status.read(store, trials, fresh())
        bar.unit, bar.n = describe(found), found.work
        # A slow file system is not kept busy by this.
        least = _SECONDS if sys.stderr.isatty() else bars.LOG_SECONDS
        return found, max(least, 20 * (time.monotonic() - begin))

    def show() -> tuple[Status, float]:
        shown = look()
        with bar.get_lock():  # tqdm itself would keep it after an error.
            bar.refresh(nolock=True)
        return shown

    with bars.shown(**how) as bar:
        try:
            yield show
        finally:
            with contextlib.suppress(Exception):
                look()


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
            pause = _SECONDS
            # Whatever goes wrong with showing, the training goes on, and ends.
            with contextlib.suppress(Exception):
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
