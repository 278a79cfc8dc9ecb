"""What every program shares: one-line errors, flags, kinds of stores, pictures, progress bars."""

import contextlib
import os
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from logging import LogRecord
from typing import NamedTuple

import numpy as np
from absl import app, flags, logging

from tfmem import datasets, experiments
from tfmem.datasets import Dataset
from tfmem.store import Store

FLAGS = flags.FLAGS
# So that --help of a program lists the flags that it defines through this module.
flags.disclaim_key_flags()
_MISSING = re.compile(r"Flag --(\w+) must have a value other than None")
# Notices that TensorFlow's C++ prints while it is imported, before it can be told not to.
_NOTICES = re.compile(
    "All log messages before absl|oneDNN custom operations|Could not find cuda drivers|cuInit"
    "|This TensorFlow binary is optimized|rebuild TensorFlow with"
)
_REMOTE = re.compile("(?:^|=)(?:gs|s3|az|hf)://")
_RANGE = re.compile(r"(\d+):(\d+)")


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; a wrong one ends the program with one line instead of a page of help."""
    try:
        return app.parse_flags_with_usage(argv) if _asks_for_help(argv) else FLAGS(argv)
    except flags.Error as error:
        missing = _MISSING.search(str(error))
        _fail(f"--{missing[1]} is required" if missing else f"{error} (--help lists the flags)")


def _asks_for_help(argv: list[str]) -> bool:
    return any(word.lstrip("-") in ("help", "helpshort", "helpfull", "helpxml") for word in argv)


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _is_for_users(record: LogRecord) -> bool:
    """Whether a message says something to who runs a program, or else wants to see all."""
    # TFDS warns of folders that are not there yet, and of its own use of what it deprecates.
    of_tfds = "tensorflow_datasets" in record.pathname
    return not of_tfds or logging.get_verbosity() > logging.WARNING


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags and runs a program's main function.

    A ValueError, which is how the library and flags report bad input, becomes one line on stderr
    and exit code 2, and so does a file that cannot be read or written; other exceptions keep their
    traceback. SIGTERM, by which Slurm and preemptible machines announce the end, ends the program
    cleanly with exit code 143, and an interruption with 130.
    """
    # TensorFlow's notices about CPU instructions and absent GPUs say nothing about a trial.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    logging.set_verbosity(logging.WARNING)
    logging.set_stderrthreshold(logging.WARNING)
    logging.get_absl_logger().addFilter(_is_for_users)

    def guarded(argv: list[str]) -> int | None:
        try:
            if len(argv) > 1:
                raise ValueError(f"unexpected argument {argv[1]!r}: flags look like --name=value")
            if any(_REMOTE.search(word) for word in sys.argv):
                import_tensorflow(find_devices=False)  # It reads such paths.
            return main()
        except ValueError as error:
            logging.debug("", exc_info=True)
            _fail(str(error))
        except OSError as error:
            if error.filename is None:
                raise
            logging.debug("", exc_info=True)
            _fail(f"{error.filename}: {error.strerror}; mend that, and the same command continues")
        except KeyboardInterrupt:
            print("interrupted; the same command continues", file=sys.stderr)
            return 130
        except _Terminated:
            print("terminated; the same command continues", file=sys.stderr)
            return 128 + signal.SIGTERM

    signal.signal(signal.SIGTERM, _end)
    app.run(guarded, flags_parser=_parse_flags)


class _Terminated(BaseException):
    """SIGTERM: like an interruption, it passes all that handles errors."""


def _end(signum: int, frame: object) -> None:
    if signum == signal.SIGTERM:
        raise _Terminated
    raise KeyboardInterrupt


@contextlib.contextmanager
def signals_noted() -> Iterator[Callable[[], None]]:
    """Notes SIGTERM and SIGINT instead of ending the program where it is.

    For what does not bear an exception at any moment: it calls, every now and then, what the
    context yields, which ends the program if it was told to end.
    """
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }

    def check() -> None:
        if noted:
            _end(noted[0], None)

    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def import_tensorflow(find_devices: bool = True) -> None:
    """Imports TensorFlow and finds its devices, which are then taken, without its notices."""
    import tempfile

    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow as tf

            if find_devices:
                tf.config.list_logical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines():
                if not _NOTICES.search(line):
                    print(line, file=sys.stderr)


def define_thresholds() -> None:
    """Defines --mem_threshold and --infl_threshold."""
    for name, default, what in (
        ("mem_threshold", experiments.MEM_THRESHOLD, "memorization of the training example"),
        ("infl_threshold", experiments.INFL_THRESHOLD, "influence on the test example"),
    ):
        flags.DEFINE_float(
            name, default, f"Lowest {what} in a pair, inclusive.", lower_bound=-1, upper_bound=1
        )


def define_formats() -> None:
    """Defines --formats, of figures in a folder."""
    flags.DEFINE_list("formats", ["png", "pdf"], "Kinds of files to write: png, pdf, svg.")


def parse_range(text: str) -> range:
    """Turns `START:STOP` into a range of trials.

    Raises:
      ValueError: it is no such range, or an empty one.
    """
    match = _RANGE.fullmatch(text)
    if not match:
        raise ValueError(f"--trials={text}: expected START:STOP, such as 0:1000")
    start, stop = int(match[1]), int(match[2])
    if start >= stop:
        raise ValueError(f"--trials={text} is empty: START must be below STOP")
    return range(start, stop)


def named_paths(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Turns each `NAME=PATH` into (name, path).

    A path without a name is called by its file's name without the suffix, or by all of it where
    that would name two.

    Raises:
      ValueError: two have the same name.
    """
    pairs = []
    for text in texts:
        name, equals, path = text.partition("=")
        # What has a slash is a folder, such as in STORE/date=today/estimates.npz.
        pairs.append((name, path) if equals and name and "/" not in name else ("", text))
    stems = [name or pathlib.PurePath(path).stem for name, path in pairs]
    names = [
        name or (stem if stems.count(stem) == 1 else path)
        for (name, path), stem in zip(pairs, stems, strict=True)
    ]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"two files are called {name}: give them names, as in NAME=PATH")
    return [(name, path) for name, (_, path) in zip(names, pairs, strict=True)]


class _Kind(NamedTuple):
    """Stores of one kind.

    Attributes:
      holds: what they hold, for messages.
      launcher: what makes them.
      reader: what reads them.
    """

    holds: str
    launcher: str
    reader: str


# Stores that are not of trials on random subsets, by the kind of their config.
_KINDS = {
    "removal": _Kind(
        "runs with chosen examples removed", "launchers.train_removal", "analysis.removal"
    ),
    "turnover": _Kind(
        "models with turn-over dropout", "launchers.train_turnover", "analysis.turnover"
    ),
    "dynamics": _Kind(
        "runs that are followed epoch by epoch", "launchers.train_dynamics", "analysis.dynamics"
    ),
}
_RANDOM_SUBSETS = _Kind("trials on random subsets", "launchers.train_trials", "analysis.estimate")


def require_random_subsets(store: Store) -> None:
    """Raises ValueError if the store's trials are no random subsets: nothing follows from those."""
    found = _KINDS.get(store.config.kind)
    if found:
        raise ValueError(
            f"{store.path} holds {found.holds}, not {_RANDOM_SUBSETS.holds}: {found.reader} reads "
            "them"
        )


def require_kind(store: Store, kind: str) -> None:
    """Raises ValueError, naming the program that reads the store, if it is not of that kind."""
    if store.config.kind != kind:
        wanted, found = _KINDS[kind], _KINDS.get(store.config.kind, _RANDOM_SUBSETS)
        raise ValueError(
            f"{store.path} holds no {wanted.holds}: {wanted.launcher} makes them, and "
            f"{found.reader} reads what is there"
        )


def load_pictures(store: Store, data_dir: str | None) -> Dataset:
    """Returns the dataset of a store, with its images.

    Args:
      store: of trials.
      data_dir: where TFDS keeps its data, for the datasets that come from there.

    Raises:
      ValueError: it cannot be had, or what is found is another one; the message is why there are no
        pictures.
    """
    name = store.config.dataset
    if not name:
        raise ValueError("the store does not know which dataset its examples belong to")
    dataset = datasets.load_for(store.config, data_dir)
    if not _same_examples(dataset, store):
        raise ValueError(f"the {name} found here is not the one that the trials were made on")
    return dataset


def _same_examples(dataset: Dataset, store: Store) -> bool:
    """Returns whether the dataset is the one that the store's trials were made on."""
    if store.config.kind != "last_layer":
        return dataset.fingerprint == store.fingerprint
    # Its fingerprint is that of the features; the examples are known by their ids and labels.
    return all(
        np.array_equal(getattr(getattr(dataset, split), field), getattr(known, field))
        for split, known in (("train", store.dataset.train), ("test", store.dataset.test))
        for field in ("ids", "labels")
    )


@contextlib.contextmanager
def progress_bar(total: float, what: str, delay: float = 0.0) -> Iterator[Callable[[float], None]]:
    """Shows a bar with the time left on stderr; yields the function that advances it.

    What is over before `delay` seconds shows none.
    """
    import tqdm

    layout = "{desc} {percentage:3.0f}%|{bar:30}| {n:.0f}/{total:.0f}"
    layout += ", {elapsed} so far, {remaining} left"
    with tqdm.tqdm(total=total, desc=what, bar_format=layout, mininterval=0.5, delay=delay) as bar:

        def advance(amount: float) -> None:
            with bar.get_lock():
                bar.update(min(amount, bar.total - bar.n))

        yield advance
