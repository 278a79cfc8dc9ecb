"""What every program shares: how it starts and ends, its one-line errors, its progress bars."""

import contextlib
import functools
import itertools
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from logging import LogRecord
from typing import NoReturn

from absl import app, flags, logging

from analysis.cli import bars, output, usage
from tfmem import quiet

FLAGS = flags.FLAGS
_HELP = {"h", "?", "help", "helpshort", "helpfull"}
# Slurm, preemptible machines and closing terminals announce the end by these.
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_REMOTE = re.compile("(?:^|=)(?:gs|s3|az|hf)://")


@contextlib.contextmanager
def group(title: str) -> Iterator[None]:
    """Puts the flags that are defined in the context under a heading of --help."""
    before = set(FLAGS)
    yield
    for name in FLAGS:
        if name not in before:
            FLAGS.register_key_flag_for_module(title, FLAGS[name])


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; a wrong one ends the program with one line instead of a page of help."""
    asked = {word.lstrip("-") for word in argv if word.startswith("-")} & _HELP
    if asked:
        print(usage.text(full="helpfull" in asked))
        sys.exit(0)
    for word in argv:
        if word.endswith("\r"):
            _fail(
                f"{word!r} ends with a carriage return, as if its script had Windows line ends: "
                "sed -i 's/\\r$//' SCRIPT removes them"
            )
    try:
        return FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        near = usage.nearest(error.flagname, usage.own_flags())
        hint = f": did you mean --{near}?" if near else ""
        _fail(f"Unknown command line flag {error.flagname!r}{hint} (--help lists the flags)")
    except flags.Error as error:
        missing = usage.MISSING.search(str(error))
        _fail(f"--{missing[1]} is required" if missing else f"{error} (--help lists the flags)")


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _told(error: OSError) -> str:
    """Returns what went wrong with a file, and with which, as far as the error knows."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if error.filename is not None else what


def _unreadable(error: UnicodeError) -> str:
    """Returns the line that cannot be coded, of a text or of bytes that may be long."""
    if not isinstance(error, UnicodeEncodeError | UnicodeDecodeError):
        return str(error)
    lines = error.object.splitlines(keepends=True)
    ends = itertools.accumulate(map(len, lines))
    return repr(next(line for line, end in zip(lines, ends, strict=True) if end > error.start))


def _is_for_users(record: LogRecord) -> bool:
    """Whether a message says something to who runs a program, or else wants to see all."""
    # TFDS warns of folders that are not there yet, and of its own use of what it deprecates.
    of_tfds = "tensorflow_datasets" in record.pathname
    return not of_tfds or logging.get_verbosity() > logging.WARNING


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags and runs a program's main function.

    A ValueError, which is how the library and flags report bad input, becomes one line on stderr
    and exit code 2, and so does a file that cannot be read or written; other exceptions keep their
    traceback. Signals that ask for the end, such as SIGTERM, end the program cleanly with exit code
    128 + their number, 143; an interruption with 130.
    """
    output.steady()
    logging.get_absl_handler().python_handler.setStream(sys.stderr)
    # What a notebook that starts us has chosen is for its own figures.
    os.environ["MPLBACKEND"] = "agg"
    # TensorFlow's notices about CPU instructions and absent GPUs say nothing about a trial.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    quiet.in_program()
    logging.set_verbosity(logging.WARNING)
    logging.set_stderrthreshold(logging.WARNING)
    logging.get_absl_logger().addFilter(_is_for_users)

    def guarded(argv: list[str]) -> int | None:
        try:
            if len(argv) > 1:
                raise ValueError(f"unexpected argument {argv[1]!r}: flags look like --name=value")
            if any(_REMOTE.search(word) for word in sys.argv):
                quiet.import_tensorflow(find_devices=False)  # It reads such paths.
            return main()
        except UnicodeError as error:
            logging.debug("", exc_info=True)
            _fail(f"{_unreadable(error)} is not UTF-8: rename it, or save it as UTF-8")
        except ValueError as error:
            logging.debug("", exc_info=True)
            _fail(str(error))
        except OSError as error:
            logging.debug("", exc_info=True)
            _fail(f"{_told(error)}; mend that, and the same command continues")
        except KeyboardInterrupt:
            print("interrupted; the same command continues", file=sys.stderr)
            return 130
        except _Terminated as end:
            with contextlib.suppress(OSError):  # The terminal may be gone.
                print("terminated; the same command continues", file=sys.stderr)
            return 128 + end.signum

    for number in _ends():
        signal.signal(number, _end)
    app.run(guarded, flags_parser=_parse_flags)


class _Terminated(BaseException):
    """A signal that asks for the end: like an interruption, it passes all that handles errors."""

    def __init__(self, signum: int):
        super().__init__(signum)
        self.signum = signum


def _ends() -> list[signal.Signals]:
    """Returns the signals that end a program; what is ignored, as under nohup, stays ignored."""
    return [number for number in _ENDS if signal.getsignal(number) != signal.SIG_IGN]


def _end(signum: int, frame: object) -> None:
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    # A shell and a terminal that close both send one: it is told once, and cleans up undisturbed.
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    raise _Terminated(signum)


@contextlib.contextmanager
def signals_noted() -> Iterator[Callable[[], None]]:
    """Notes signals that ask for the end instead of ending the program where it is.

    For what does not bear an exception at any moment: it calls, every now and then, what the
    context yields, which ends the program if it was told to end.
    """
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in (*_ends(), signal.SIGINT)
    }

    def check() -> None:
        if noted:
            _end(noted[0], None)

    try:
        yield check
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) != signal.SIG_IGN:  # See `_end`.
                signal.signal(number, handler)


@contextlib.contextmanager
def progress_bar(total: float, what: str, delay: float = 0.0) -> Iterator[Callable[[float], None]]:
    """Shows a bar with the time left on stderr; yields the function that advances it.

    What is over before `delay` seconds shows none, and does not wait for tqdm to be imported.
    """
    layout = "{desc} {percentage:3.0f}%|{bar:30}| {n:.0f}/{total:.0f}"
    layout += ", {elapsed} so far, {remaining} left"
    show = functools.partial(bars.shown, total=total, desc=what, bar_format=layout, mininterval=0.5)
    begin, done, lock = time.monotonic(), 0.0, threading.Lock()
    with contextlib.ExitStack() as shown:
        bar = None if delay else shown.enter_context(show())

        def advance(amount: float) -> None:
            nonlocal bar, done
            with lock:
                done = min(done + amount, total)
                late = time.monotonic() - begin
                if bar is None and late >= delay:
                    bar = shown.enter_context(show())
                    bar.start_t = bar.last_print_t = bar.start_t - late
                if bar is not None:
                    bar.update(done - bar.n)

        yield advance
