"""Downloads by TFDS that end when they are told to, and leave nothing behind that is half done.

TFDS tries ten times, in threads that Python waits for when it exits: offline that takes minutes,
which no signal shortens, and leaves folders behind. So it runs in a process of its own, `main`,
which can be left at any moment.
"""

import contextlib
import logging as python_logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from tfmem.disk import atomic

_OFFLINE_SECONDS = 30.0
_LINE_SECONDS = 30.0  # Where TFDS's bars are not shown, there is a line so often.
_LOOK_SECONDS = 0.5
_TEMPORARY = re.compile(r"\.tmp\.[0-9a-f]{32}$")  # What TFDS calls a folder of a file on its way.
_INCOMPLETE = "incomplete"  # This is in the names of folders that TFDS renames when they are whole.
_ROOT = pathlib.Path(__file__).parents[2]


class DownloadError(Exception):
    """A dataset could not be downloaded; the message is one line that says why."""


def download_and_prepare(builder: Any) -> None:
    """Lets a TFDS builder download and write its dataset.

    Whatever ends it, an exception or a signal that raises one here, does so at once, and the
    folders that it made and did not complete are gone.

    Raises:
      DownloadError: no byte of a download arrived for 30 seconds, or what TFDS raised.
    """
    config = f"/{builder.builder_config.name}" if builder.builder_config else ""
    name = f"{builder.name}{config}:{builder.version}"
    words = name, os.fspath(builder.data_dir_root), str(_OFFLINE_SECONDS), str(os.getpid())
    program = "from tfmem.datasets import download; download.main()"
    command = [sys.executable, "-c", program, *words]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # A terminal's Ctrl-C comes here, and from here to it.
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise DownloadError((said.strip().splitlines() or ["no message"])[-1])


def prepare(builder: Any, offline_seconds: float, told_to_end: Callable[[], bool]) -> None:
    """Does it, in a process that ends when this returns or raises.

    Args:
      builder: of TFDS.
      offline_seconds: after which it is given up if nothing arrives.
      told_to_end: whether it is to end before it is done; KeyboardInterrupt is raised then.

    Raises:
      DownloadError: nothing arrived for so long.
      Exception: what TFDS raises.
    """
    work = _Work(builder.download_and_prepare)
    with _folders_made(os.fspath(builder.data_dir_root)) as made, _retries() as reasons:
        try:
            work.start()
            for seconds in _silence(builder.name, work, made):
                if told_to_end():
                    raise KeyboardInterrupt
                if seconds >= offline_seconds:
                    words = [f"nothing arrived for {seconds:.0f} s", *reasons]
                    raise DownloadError("; ".join(words))
        except BaseException:
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


def _silence(name: str, work: _Work, made: list[str]) -> Iterator[float]:
    """Yields for how many seconds nothing has arrived, every now and then, until it is done."""
    arrived, since = -1, time.monotonic()
    said = since
    while not work.is_done(_LOOK_SECONDS):
        on_their_way = [path for path in made if _TEMPORARY.search(path) and os.path.isdir(path)]
        now, before = time.monotonic(), arrived
        arrived = sum(map(_size, on_their_way))
        if arrived != before or not on_their_way:
            since = now
        if not sys.stderr.isatty() and now - said >= _LINE_SECONDS and since > said:
            said = now
            state = f"{arrived / 1e6:,.1f} MB arrived" if on_their_way else "being written"
            sys.stderr.write(f"{name}: {state}\n")
        yield now - since


def _size(folder: str) -> int:
    """Returns how many bytes the files in a folder have; it may just be going."""
    with contextlib.suppress(FileNotFoundError):
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    return 0


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


@contextlib.contextmanager
def _folders_made(root: str) -> Iterator[list[str]]:
    """Yields a list of the folders that this process makes below or on the way to `root`.

    What others have on their way there is theirs.
    """
    made: list[str] = []
    root, mkdir = os.path.abspath(root), os.mkdir

    def noting(path: Any, *args: Any, **kwargs: Any) -> None:
        mkdir(path, *args, **kwargs)
        made_now = os.path.abspath(os.fsdecode(path))
        if _is_in(made_now, root) or _is_in(root, made_now):
            made.append(made_now)  # Parents come first.

    os.mkdir = noting
    try:
        yield made
    finally:
        os.mkdir = mkdir


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _remove(made: list[str]) -> None:
    """Removes folders that are not complete, and those that are empty then."""
    for path in map(epath.Path, reversed(made)):
        is_half = _TEMPORARY.search(path.name) or _INCOMPLETE in path.name
        # TFDS notes the default config of a dataset here, before there is any other.
        is_lonely = path.name == ".config" and atomic.names(path.parent) == [path.name]
        if is_half or is_lonely:
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.rmdir()


def main() -> None:
    """Prepares what the words say: a name, the data's folder, seconds, and who waits for it."""
    name, data_dir, offline_seconds, waiting = sys.argv[1:]
    told: list[int] = []
    from tfmem import quiet
    from tfmem.datasets import damage

    code = 0
    try:
        quiet.in_program()
        quiet.import_tensorflow()
        import tensorflow_datasets as tfds

        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        builder = tfds.builder(name, data_dir=data_dir)
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
        # Who waits for it may be gone, and cannot tell any more.
        prepare(builder, float(offline_seconds), lambda: bool(told) or os.getppid() != int(waiting))
    except BaseException as error:  # TFDS raises whatever the network or the disk raised.
        code = 1
        kind = "" if isinstance(error, DownloadError) else f"{type(error).__name__}: "
        sys.stdout.write(f"{kind}{damage.first_line(error)}\n")
    sys.stdout.flush()
    os._exit(code)  # Nobody waits for TFDS's threads.
