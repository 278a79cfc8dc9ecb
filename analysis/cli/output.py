"""What is printed ends no program."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator


class _Output(io.TextIOWrapper):
    """A stream that goes on when whoever reads it, such as head, has gone.

    So files are written and trials are stored whatever becomes of a program's words.
    """

    def write(self, text: str) -> int:
        with self._nowhere_if_closed():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._nowhere_if_closed():
            super().flush()

    def close(self) -> None:
        self.flush()  # The stream below belongs to Python.

    @contextlib.contextmanager
    def _nowhere_if_closed(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())


def steady() -> None:
    """Lets what is printed end no program: a closed pipe, or a letter that cannot be shown."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            errors = "replace" if name == "stdout" else stream.errors
            how = stream.encoding, errors, None, stream.line_buffering, stream.write_through
            setattr(sys, name, _Output(stream.buffer, *how))
