"""Downloads by TFDS that end when they are told to, and leave nothing behind that is half done.

TFDS tries ten times, in threads that Python waits for when it exits: offline that takes minutes,
which no signal shortens, and leaves folders behind.
"""

import concurrent.futures.thread as pool
import contextlib
import functools
import logging as python_logging
import os
import re
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging
from etils import epath

from tfmem.disk import atomic

_OFFLINE_SECONDS = 30.0
_LINE_SECONDS = 30.0  # Where TFDS's bars are not shown, there is a line so often.
_LOOK_SECONDS = 0.5
_TEMPORARY = re.compile(r"\.tmp\.[0-9a-f]{32}$")  # What TFDS calls a folder of a file on its way.
_INCOMPLETE = "incomplete"  # This is in the names of folders that TFDS renames when they are whole.


class OfflineError(Exception):
    """Nothing has arrived for long."""


def download_and_prepare(builder: Any) -> None:
    """Lets a TFDS builder download and write its dataset.

    Whatever ends it, an exception or a signal that raises one here, does so at once, and the
    folders that it made and did not complete are gone.

    Raises:
      OfflineError: no byte of a download arrived for 30 seconds.
      Exception: what TFDS raises.
    """
    with _folders_made(os.fspath(builder.data_dir_root)) as made, _retries() as reasons:
        work = _Work(builder.download_and_prepare)
        try:
            with _bars_of_terminals():
                work.start()
                _wait(builder, work, made, reasons)
        except BaseException:
            _abandon(work)
            _remove(made)
            raise


class _Work(threading.Thread):
    """Calls what it is given, in a thread that nobody has to wait for, as are those it starts."""

    def __init__(self, call: Callable[[], None]):
        super().__init__(daemon=True)
        self._call = call
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # It is raised where it is waited for.
            self._error = error

    def is_done(self, seconds: float) -> bool:
        """Waits so long; returns whether it is done, and raises what it raised."""
        self.join(seconds)
        if self.is_alive():
            return False
        if self._error:
            raise self._error
        return True


def _wait(builder: Any, work: _Work, made: list[str], reasons: list[str]) -> None:
    arrived, since = -1, time.monotonic()
    said = since
    while not work.is_done(_LOOK_SECONDS):
        on_their_way = [path for path in made if _TEMPORARY.search(path) and os.path.isdir(path)]
        now, before = time.monotonic(), arrived
        arrived = sum(map(_size, on_their_way))
        if arrived != before or not on_their_way:
            since = now
        if now - since >= _OFFLINE_SECONDS:
            raise OfflineError("; ".join([f"nothing arrived for {now - since:.0f} s", *reasons]))
        if not sys.stderr.isatty() and now - said >= _LINE_SECONDS and since > said:
            said = now
            state = f"{arrived / 1e6:,.1f} MB arrived" if on_their_way else "being written"
            logging.warning("%s: %s", builder.name, state)


def _size(folder: str) -> int:
    """Returns how many bytes the files in a folder have; it may just be going."""
    with contextlib.suppress(FileNotFoundError):
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    return 0


@contextlib.contextmanager
def _bars_of_terminals() -> Iterator[None]:
    """Lets TFDS show bars on a terminal only, and takes those away that it leaves unfinished."""
    import tensorflow_datasets as tfds
    import tqdm

    is_terminal = sys.stderr.isatty()
    if not is_terminal:
        tfds.disable_progress_bar()
    try:
        yield
    except BaseException:
        for bar in list(getattr(tqdm.tqdm, "_instances", ())):
            bar.leave = False
            bar.close()
        raise
    finally:
        if not is_terminal:
            tfds.enable_progress_bar()


@contextlib.contextmanager
def _retries() -> Iterator[list[str]]:
    """Yields a list that holds why the last attempt failed, instead of a line for each."""
    reasons: list[str] = []

    def note(record: python_logging.LogRecord) -> bool:
        if not str(record.msg).startswith("Retrying"):
            return True
        errors = [str(part) for part in record.args or () if isinstance(part, Exception)]
        reasons[:] = errors[:1]
        return False

    logger = python_logging.getLogger("urllib3.connectionpool")
    logger.addFilter(note)
    try:
        yield reasons
    finally:
        logger.removeFilter(note)


# The lists that note folders, each with the one at, below or on the way to which they are.
_noting: list[tuple[str, list[str]]] = []
# What was given up, and the folders that it had not completed: their names are never used again.
_abandoned: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_removed: list[str] = []


@contextlib.contextmanager
def _folders_made(root: str) -> Iterator[list[str]]:
    """Yields a list of the folders that this process makes below or on the way to `root`."""
    made: list[str] = []
    _listen()
    if atomic.is_local(root):
        _noting.append((os.path.abspath(root), made))
    try:
        yield made
    finally:
        _noting[:] = [entry for entry in _noting if entry[1] is not made]


@functools.cache
def _listen() -> None:
    """Notes folders; lets what was given up make none."""

    def hook(event: str, args: tuple) -> None:
        if event != "os.mkdir":
            return
        path = os.path.abspath(os.fsdecode(args[0]))
        is_abandoned = _abandoned and threading.current_thread() in _abandoned
        if is_abandoned or any(_is_in(path, folder) for folder in _removed):
            raise RuntimeError("this download was given up")
        for root, made in _noting:
            if (_is_in(path, root) or _is_in(root, path)) and not os.path.exists(path):
                made[:] = [*(other for other in made if other != path), path]  # Parents come first.

    sys.addaudithook(hook)  # It stays as long as the process does, so there is one.


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


class _Awaited(weakref.WeakKeyDictionary):
    """The threads of executors that Python waits for when it exits, without daemons.

    An executor's thread is one only if the thread was that asked for it, as `_Work` is.
    """

    def __setitem__(self, thread: threading.Thread, queue: Any) -> None:
        if not thread.daemon:
            super().__setitem__(thread, queue)


def _abandon(work: _Work) -> None:
    """Lets what is still in work make no folders, and Python exit without waiting for it."""
    _abandoned.add(work)
    awaited = _Awaited()
    for thread, queue in list(vars(pool)["_threads_queues"].items()):
        awaited[thread] = queue
    vars(pool)["_threads_queues"] = awaited


def _remove(made: list[str]) -> None:
    """Removes folders that are not complete, and those that are empty then."""
    for path in map(epath.Path, reversed(made)):
        is_half = _TEMPORARY.search(path.name) or _INCOMPLETE in path.name
        # TFDS notes the default config of a dataset here, before there is any other.
        is_lonely = path.name == ".config" and atomic.names(path.parent) == [path.name]
        if is_half or is_lonely:
            _removed.append(os.fspath(path))
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.rmdir()
