"""One line for a whole experiment: done, running, failed, time left, whoever trains it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from analysis.cli import bars
from tfmem.store.store import Store
from tfmem.workers import status
from tfmem.workers.status import Status

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
    with bars.drawn(
        total=first.total,
        initial=first.work,
        desc="trials",
        bar_format=_LAYOUT,
        unit=describe(first),
        smoothing=0,  # Trials end in bursts: show the mean pace since it began.
    ) as bar:

        def look() -> tuple[Status, float]:
            begin = time.monotonic()
            found = status.read(store, trials, fresh())
            bar.unit, bar.n = describe(found), found.work
            # A slow file system is not kept busy by this.
            return found, max(bars.seconds(), 20 * (time.monotonic() - begin))

        def show() -> tuple[Status, float]:
            shown = look()
            bar.refresh()
            return shown

        try:
            yield show
        finally:
            with contextlib.suppress(OSError):
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
    with _line(store, trials, fresh) as show, bars.repeating(lambda: show()[1]):
        yield


def watch(store: Store, trials: Sequence[int]) -> Status:
    """Shows the line until all trials are stored or given up; returns the last status."""
    with _line(store, trials) as show:
        while True:
            found, pause = show()
            if found.done + found.failed == found.total:
                return found
            time.sleep(pause)
