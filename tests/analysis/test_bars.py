"""Bars on a terminal and in files, and the messages beside them."""

import contextlib
import io
import logging as python_logging
import re
import sys
import time
import warnings

import pytest
from absl import logging

from analysis.cli import bars, program
from launchers.cli import progress
from tests import racing
from tfmem.store.store import Store

DEADLINE = 60


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextlib.contextmanager
def messages_to(stream):
    """Lets messages go where they go in a program, and that be a stream."""
    root, own = python_logging.getLogger(), logging.get_absl_handler()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr(root, "handlers", [own])
        patch.setattr(own.python_handler, "stream", stream)
        yield
        assert root.handlers == [own]


def wait_for(found):
    until = time.monotonic() + DEADLINE
    while not found():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_without_a_terminal_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(bars, "LINE_SECONDS", 0.02)
    with program.progress_bar(4, "things") as advance:
        for _ in range(3):
            advance(1)  # No line of its own.
        wait_for(lambda: "75%" in sys.stderr.getvalue())
        advance(1)
    states = [line.split("|") for line in sys.stderr.getvalue().splitlines()]
    assert states[0][0] == "things   0%"
    assert states[0][2].startswith(" 0/4, ")
    assert states[-1][0] == "things 100%"
    assert states[-1][2].startswith(" 4/4, 00:0")
    assert "\r" not in sys.stderr.getvalue()
    assert "\x1b" not in sys.stderr.getvalue()


def test_a_short_run_is_two_lines_and_one_that_is_over_at_once_none(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with program.progress_bar(2, "things") as advance:
        advance(1)
        advance(1)
    assert re.findall(r"\d+%", sys.stderr.getvalue()) == ["0%", "100%"]
    with program.progress_bar(2, "quick", delay=5) as advance:
        advance(2)
    assert "quick" not in sys.stderr.getvalue()


def test_the_line_of_an_experiment_comes_now_and_then(tmp_path, tiny, tiny_config, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(bars, "LINE_SECONDS", 0.02)
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    with progress.shown(store, range(4)):
        store.write(racing.trial(0, tiny))
        wait_for(lambda: "1 of 4" in sys.stderr.getvalue())
    lines = sys.stderr.getvalue().splitlines()
    assert lines[-1].startswith("trials  25%|")
    assert "| 1 of 4 done, 0 running, 0 failed, " in lines[-1]
    assert len(lines) == len(set(lines))


def test_without_a_terminal_a_line_is_30_seconds_long():
    assert bars.LINE_SECONDS == 30


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_messages_and_warnings_are_not_written_into_a_bar(kind):
    with (
        messages_to(kind()),
        program.progress_bar(2, "things") as advance,
        program.progress_bar(2, "others"),
    ):
        advance(1)
        logging.warning("a message")
        warnings.showwarning("a warning", UserWarning, "file.py", 7)
        found = sys.stderr.getvalue()
    # On a terminal a carriage return begins a line anew, over blanks.
    lines = re.split(r"(?:[\r\n]|\x1b\[A)+", found)
    (message,) = [line for line in lines if "a message" in line]
    assert re.fullmatch(r"W.* test_bars\.py:\d+\] a message", message)
    (warning,) = [line for line in lines if "a warning" in line]
    assert warning == "file.py:7: UserWarning: a warning"


def test_what_is_only_for_logs_is_not_shown(monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "level", python_logging.INFO)
    monkeypatch.setattr(logging.get_absl_handler(), "level", python_logging.WARNING)
    with messages_to(io.StringIO()), program.progress_bar(2, "things"):
        logging.info("quiet")
        logging.warning("loud")
        found = sys.stderr.getvalue()
    assert "quiet" not in found
    assert "loud" in found
