"""Bars on stderr, and the messages that appear while there is one.

On a terminal a bar is drawn again and again in one place, and messages appear above it. Elsewhere,
as in the file of a Slurm job, it is a line every 30 seconds.
"""

import contextlib
import logging as python_logging
import math
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

LINE_SECONDS = 30.0
_SECONDS = 1.0
_CONTROL = re.compile(r"\x1b\[[A-Z]|[\r\n]")  # By these tqdm moves on a terminal.


def seconds() -> float:
    """Returns after how many seconds a bar should be drawn again."""
    return _SECONDS if sys.stderr.isatty() else LINE_SECONDS


@contextlib.contextmanager
def drawn(delay: float = 0.0, **options: Any) -> Iterator[Any]:
    """Yields a tqdm bar that is drawn on stderr; without a terminal, when it is refreshed.

    Args:
      delay: what is over before so many seconds shows none.
      **options: of tqdm.
    """
    import tqdm

    if sys.stderr.isatty():
        options["delay"] = delay
    else:
        options |= {"file": _Lines(delay), "mininterval": math.inf}
    with messages_above(), tqdm.tqdm(**options) as bar:
        yield bar


@contextlib.contextmanager
def repeating(show: Callable[[], float], first: float = 0.0) -> Iterator[None]:
    """Calls `show` again and again, each time after the seconds that it returned the last time.

    Args:
      show: draws something; that it cannot be written or looked up now does not matter.
      first: seconds before the first call.
    """
    ended = threading.Event()

    def repeat() -> None:
        pause = first
        while not ended.wait(pause):
            with contextlib.suppress(OSError):
                pause = show()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def messages_above() -> Iterator[None]:
    """Lets messages and warnings not be written into a bar."""
    root, own = python_logging.getLogger(), logging.get_absl_handler()
    handler = _AboveBars(max(own.level, logging.get_absl_logger().level))
    handler.setFormatter(own.formatter or logging.PythonFormatter())
    is_outer = own in root.handlers  # A bar in another one finds the other's handler.
    show = warnings.showwarning
    if is_outer:
        root.removeHandler(own)
        root.addHandler(handler)
        warnings.showwarning = _show_warning
    try:
        yield
    finally:
        if is_outer:
            root.removeHandler(handler)
            root.addHandler(own)
            warnings.showwarning = show


class _AboveBars(python_logging.Handler):
    """Writes messages while there is a bar."""

    def emit(self, record: python_logging.LogRecord) -> None:
        _write(self.format(record) + "\n")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    _write(warnings.formatwarning(message, category, filename, lineno, line))


def _write(text: str) -> None:
    import tqdm

    tqdm.tqdm.write(text, file=sys.stderr, end="")


class _Lines:
    """A file that makes a line of each state of a bar that differs from the last one."""

    def __init__(self, delay: float):
        self._begin = time.monotonic() + delay
        self._last = ""
        self.encoding = getattr(sys.stderr, "encoding", None)

    def write(self, text: str) -> None:
        line = _CONTROL.sub("", text).rstrip()
        if line and line != self._last and time.monotonic() >= self._begin:
            self._last = line
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()
