"""Bars that show how far something is: on stderr, below whatever else is written there."""

import contextlib
import logging as python_logging
import sys
from collections.abc import Iterator
from typing import Any

from absl import logging

# Without a terminal, such as in the file of a Slurm job, a bar is a line every so many seconds.
LOG_SECONDS = 30.0


class _Lines:
    """What tqdm writes over what it has written before, as lines of a file."""

    def __init__(self):
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and line != self._last:
            sys.stderr.write(f"{line}\n")
            self._last = line

    def flush(self) -> None:
        sys.stderr.flush()


class _Above(python_logging.Handler):
    """Writes messages above the bars."""

    def emit(self, record: python_logging.LogRecord) -> None:
        import tqdm

        tqdm.tqdm.write(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def _messages_above() -> Iterator[None]:
    """Lets messages, and what Python warns of, not be written into a bar."""
    root, own = python_logging.getLogger(), logging.get_absl_handler()
    if own not in root.handlers:  # A bar around this one has seen to it, or nobody shows messages.
        yield
        return
    handler = _Above(max(own.level, logging.get_absl_logger().level))
    handler.setFormatter(own.formatter or logging.PythonFormatter())
    root.removeHandler(own)
    root.addHandler(handler)
    python_logging.captureWarnings(True)
    try:
        yield
    finally:
        python_logging.captureWarnings(False)
        root.removeHandler(handler)
        root.addHandler(own)


@contextlib.contextmanager
def shown(**options: Any) -> Iterator[Any]:
    """Shows a bar while the context is open, and yields it.

    Args:
      **options: of `tqdm.tqdm`; `mininterval` is of a terminal.
    """
    import tqdm

    if not sys.stderr.isatty():
        # Lines have no place above or below another bar's.
        every = dict(mininterval=LOG_SECONDS, maxinterval=LOG_SECONDS)
        options |= dict(file=_Lines(), position=0, **every)
    bar = tqdm.tqdm(**options)
    try:
        with _messages_above():
            yield bar
    finally:
        bar.close()
