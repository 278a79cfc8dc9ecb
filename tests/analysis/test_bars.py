"""Bars in a file and on a terminal, and what is said while they are shown."""

import contextlib
import io
import logging as python_logging
import sys
import warnings

import pytest
from absl import logging

from analysis.cli import bars, program


class Screen(io.StringIO):
    def isatty(self):
        return True


@contextlib.contextmanager
def stderr(stream):
    """Lets stderr, and what absl shows as in a program, be a stream."""
    handler, root = logging.get_absl_handler(), python_logging.getLogger()
    kept, handlers = handler.python_handler.stream, list(root.handlers)
    handler.python_handler.setStream(stream)
    logging.use_absl_handler()
    try:
        with contextlib.redirect_stderr(stream):
            yield stream
    finally:
        handler.python_handler.setStream(kept)
        root.handlers[:] = handlers


def test_in_a_file_it_is_a_line_every_30_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with stderr(io.StringIO()) as said, program.progress_bar(100, "trials read") as advance:
        for _ in range(100):
            now[0] += 1
            advance(1)
    lines = said.getvalue().splitlines()
    assert "\r" not in said.getvalue()
    assert [line.partition("|")[0] for line in lines] == [
        f"trials read {share:3}%" for share in (0, 30, 60, 90, 100)
    ]
    assert "30/100, 00:30 so far, 01:10 left" in lines[1]


def test_what_is_over_at_once_says_so_once():
    with stderr(io.StringIO()) as said, program.progress_bar(3, "trials read") as advance:
        advance(3)
    shares = [line.partition("|")[0] for line in said.getvalue().splitlines()]
    assert shares == ["trials read   0%", "trials read 100%"]


def test_what_is_over_before_its_delay_shows_none_and_imports_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # Importing it fails.
    with stderr(io.StringIO()) as said, program.progress_bar(3, "read", delay=600) as advance:
        advance(3)
    assert said.getvalue() == ""


def test_after_its_delay_it_counts_from_the_beginning(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with stderr(io.StringIO()) as said, program.progress_bar(100, "read", delay=5) as advance:
        for _ in range(100):
            now[0] += 1
            advance(1)
    lines = said.getvalue().splitlines()
    shares = [line.partition("|")[0] for line in lines]
    assert shares == [f"read {share:3}%" for share in (0, 30, 60, 90, 100)]
    assert "30/100, 00:30 so far, 01:10 left" in lines[1]


def test_in_a_file_it_has_no_place_below_another():
    """On a terminal it would, and move the cursor there and back."""
    with stderr(io.StringIO()) as said, program.progress_bar(9, "outer"):
        with program.progress_bar(3, "inner") as advance:
            advance(3)
        lines = [line.partition("|")[0] for line in said.getvalue().splitlines()]
    assert lines == ["outer   0%", "inner   0%", "inner 100%"]


def test_on_a_terminal_it_is_one_line():
    with stderr(Screen()) as said, program.progress_bar(3, "trials read") as advance:
        advance(3)
    assert said.getvalue().count("\n") == 1
    assert said.getvalue().count("\r") >= 2


@pytest.mark.parametrize("stream", [io.StringIO, Screen])
def test_messages_and_warnings_stand_above_the_bar(stream):
    messages = "a file is odd", "a library is odd"
    with stderr(stream()) as said, warnings.catch_warnings():
        warnings.simplefilter("always")
        with program.progress_bar(2, "trials read") as advance:
            logging.warning(messages[0])
            warnings.warn(messages[1], stacklevel=1)
            advance(2)
    # What a terminal shows of a line is what stands behind the last return to its beginning.
    shown = [line.rpartition("\r")[2] for line in said.getvalue().split("\n")]
    for message in messages:
        (line,) = [line for line in shown if message in line]
        assert "trials read" not in line


def test_afterwards_messages_go_where_they_went():
    root = python_logging.getLogger()
    with stderr(Screen()):
        before = set(root.handlers)
        with bars.shown(total=1), bars.shown(total=1):
            assert logging.get_absl_handler() not in root.handlers
        assert set(root.handlers) == before
