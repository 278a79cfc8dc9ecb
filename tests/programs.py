"""Runs programs: in the test's own process, or in one of their own where that is the point.

`tests.forked` is for processes of their own that import TensorFlow.
"""

import contextlib
import io
import json
import logging as python_logging
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from absl import app, flags, logging
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).parent.parent
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Finished(NamedTuple):
    """A program that has ended, as `subprocess` describes it."""

    returncode: int
    stdout: str
    stderr: str


def run_program(*words: object, check: bool = True) -> Finished:
    """Runs `python -m` with the words in this process, which is afterwards as it was before.

    Only what TensorFlow's C++ writes is not in `stderr`.

    Args:
      *words: the module and its flags.
      check: whether it has to succeed.
    """
    module, *others = map(str, words)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.ExitStack() as stack:
        # The last that is entered is put back first.
        stack.enter_context(_process_put_back())
        stack.enter_context(_logging_put_back(err))
        stack.enter_context(_flags_put_back())
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(_warnings_like_a_process())
        sys.argv = [module, *others]
        code = _run(module)
    stdout, stderr = (stream.buffer.getvalue().decode() for stream in (out, err))
    return checked(Finished(code, stdout, stderr), check)


def run_process(*words: object, check: bool = True, **options) -> Finished:
    """Runs `python -m` with the words in a process of its own.

    Args:
      *words: the module and its flags.
      check: whether it has to succeed.
      **options: of `subprocess.run`.
    """
    command = [sys.executable, "-m", *map(str, words)]
    # As Python knows it: libraries of C, such as pytest's readline, may have changed it behind it.
    options = {"env": dict(os.environ), **options}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)
    return checked(Finished(done.returncode, done.stdout, done.stderr), check)


def run_together(commands: Sequence[Sequence[object]], **options) -> list[Finished]:
    """Runs programs one after the other, all in one other process.

    Args:
      commands: a module and its flags each.
      **options: of `subprocess.run`.
    """
    asked = json.dumps([list(map(str, words)) for words in commands])
    done = run_process("tests.programs", input=asked, **options)
    return [Finished(*found) for found in json.loads(done.stdout)]


def checked(done: Finished, check: bool) -> Finished:
    """Returns what a program did, after it has asserted that it succeeded if it had to."""
    if check:
        assert done.returncode == 0, done.stderr
    return done


def _run(module: str) -> int:
    """Runs a module as the main one; returns the exit code that its process would have."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _process_put_back() -> Iterator[None]:
    """Puts arguments, working directory, environment and signal handlers back."""
    argv, folder, environment = sys.argv, os.getcwd(), dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    os.chdir(ROOT)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.chdir(folder)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        sys.argv = argv


@contextlib.contextmanager
def _flags_put_back() -> Iterator[None]:
    """Lets a program define and parse flags as if nobody had; these are gone afterwards."""
    app.define_help_flags()
    before = flagsaver.save_flag_values()
    try:
        yield
    finally:
        found = flags.FLAGS
        for name in set(found) - before.keys():
            # Libraries that are imported by a program define theirs only once; these stay.
            if found.find_module_defining_flag(name) not in sys.modules:
                delattr(found, name)
        flagsaver.restore_flag_values({**flagsaver.save_flag_values(), **before})
        found.unparse_flags()


def _loggers() -> list[python_logging.Logger]:
    root = python_logging.getLogger()
    others = root.manager.loggerDict.values()
    return [root, *(one for one in others if isinstance(one, python_logging.Logger))]


def _consoles() -> list[python_logging.StreamHandler]:
    """Returns what writes messages to stderr; not pytest's own handlers, which are subclasses."""
    found = [handler for logger in _loggers() for handler in logger.handlers]
    consoles = [handler for handler in found if type(handler) is python_logging.StreamHandler]
    return [logging.get_absl_handler().python_handler, *consoles]


@contextlib.contextmanager
def _logging_put_back(stderr: io.TextIOWrapper) -> Iterator[None]:
    """Sends messages to `stderr`; puts loggers and their handlers back."""
    own = logging.get_absl_handler()
    before = {
        logger: (logger.level, list(logger.handlers), list(logger.filters), logger.propagate)
        for logger in _loggers()
    }
    streams = {handler: handler.stream for handler in _consoles()}
    level, console = own.level, sys.stderr
    for handler in streams:
        handler.setStream(stderr)
    logging.use_absl_handler()
    try:
        yield
    finally:
        for handler in _consoles():
            if handler.stream is stderr:
                handler.setStream(streams.get(handler, console))
        own.setLevel(level)
        for logger in _loggers():
            if logger in before:
                known, logger.handlers[:], logger.filters[:], logger.propagate = before[logger]
                logger.setLevel(known)
            else:  # Of a library that the program was the first to import.
                logger.filters.clear()


@contextlib.contextmanager
def _warnings_like_a_process() -> Iterator[None]:
    """Lets warnings go to stderr that Python shows by default."""

    def show(message, category, filename, lineno, file=None, line=None):
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
            warnings.simplefilter("ignore", category)
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
        # That a program's module has been imported before is no surprise here.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
        warnings.showwarning = show
        yield


def main() -> None:
    found = [run_program(*words, check=False) for words in json.load(sys.stdin)]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
