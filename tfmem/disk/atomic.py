"""Files that are whole or absent: written under a temporary name and renamed."""

import contextlib
import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from etils import epath

from tfmem.disk import processes
from tfmem.disk.processes import Process

_TEMPORARY = re.compile(rf"\..*\.(?P<process>{Process.PATTERN})\.[0-9a-f]{{32}}\.tmp")
# Another machine's temporary file is abandoned if it has not changed for so long.
_ABANDONED_SECONDS = 3600
_UNREADABLE = (errno.EISDIR, errno.EIO)
# File systems without hard links answer with one of these.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def is_local(path: epath.PathLike) -> bool:
    """Returns whether a path is one of the operating system's, not a URI such as gs://."""
    return "://" not in os.fspath(path)


def absolute(path: str) -> str:
    """Returns a path that means the same in every working directory; a URI as it is."""
    return os.path.abspath(os.path.expanduser(path)) if is_local(path) else path


@contextlib.contextmanager
def replacing(path: epath.PathLike, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of `path` when it is complete, and leaves nothing if not.

    Missing folders are made. A durable file is on the disk before it has its name.

    Raises:
      OSError: it cannot be written; the error names `path`.
    """
    path = epath.Path(path)
    with _temporary(path) as temporary:
        with temporary.open("wb") as file:
            yield file
            _sync(file, durable)
        temporary.replace(path)
        sync_folder(path.parent, durable)


def write_bytes(path: epath.PathLike, content: bytes, durable: bool = True) -> None:
    """Writes a whole file; see `replacing`."""
    with replacing(path, durable) as file:
        file.write(content)


def append_bytes(path: epath.PathLike, content: bytes) -> None:
    """Adds to the end of a file, which need not be there, behind what others add meanwhile.

    Where files cannot be added to (gs://) it is written anew, and of two who do so at the same
    moment one is lost. It is not durable.

    Raises:
      OSError: it cannot be written; the error names `path`.
    """
    path = epath.Path(path)
    if is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("ab") as file:
                file.write(content)
        except OSError as error:
            raise _of(error, path) from error
    else:
        write_bytes(path, (path.read_bytes() if path.exists() else b"") + content, durable=False)


def create_bytes(path: epath.PathLike, content: bytes, durable: bool = True) -> bool:
    """Writes a whole file unless there is one already; returns whether it did.

    Of several processes that do so at once, one succeeds: on a local disk and on NFS. Elsewhere
    (gs://, disks without hard links) two may, within the moment between looking and writing; the
    file is then the whole one of the last.

    Raises:
      OSError: it cannot be written; the error names `path`.
    """
    path = epath.Path(path)
    if path.exists():
        return False
    with _temporary(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
            _sync(file, durable)
        created = _link(temporary, path)
        sync_folder(path.parent, durable)
    return created


def names(folder: epath.PathLike) -> list[str]:
    """Returns the names in a folder; none if it is not there."""
    folder = epath.Path(folder)
    if is_local(folder):  # This is ten times faster than making paths.
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def size_and_time(path: epath.PathLike) -> tuple[int, float]:
    """Returns how many bytes a file has, and when it was written, in seconds since 1970.

    Raises:
      OSError: it is not there, or cannot be seen.
    """
    if is_local(path):  # epath asks for its owner's name too, who may have none in a container.
        found = os.stat(path)
        return found.st_size, found.st_mtime
    about = epath.Path(path).stat()
    return about.length, about.mtime


def remove_abandoned(folder: epath.PathLike) -> None:
    """Removes temporary files of processes that are no longer running.

    Those of another machine are taken for abandoned after an hour without a change. The folder need
    not be there.
    """
    for name in filter(None, map(_TEMPORARY.fullmatch, names(folder))):
        path = epath.Path(folder) / name[0]
        running = Process.parse(name["process"]).is_running()
        with contextlib.suppress(FileNotFoundError):  # Somebody else was faster.
            if running is None:
                running = time.time() - size_and_time(path)[1] < _ABANDONED_SECONDS
            if not running:
                path.unlink()


def unreadable(path: epath.PathLike, error: OSError) -> str | None:
    """Returns why what is at `path` can be read by nobody, or None if it is not there, or may be.

    So it is for a link that leads nowhere, a folder in the place of a file, and a bad disk.

    Args:
      path: where it is.
      error: of reading it.
    """
    if is_local(path) and os.path.islink(path):
        return f"it is a link to {os.readlink(path)}: {error.strerror}"
    return error.strerror if error.errno in _UNREADABLE else None


def sync_folder(folder: epath.Path, durable: bool = True) -> None:
    """Puts the names in a folder on the disk, where the folder is on one."""
    if durable and is_local(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: epath.Path) -> Iterator[epath.Path]:
    """Yields a name that is free again in the end, and names `path` in errors of writing there."""
    temporary = path.parent / f".{path.name}.{processes.current()}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        if error.errno is None or error.filename not in (None, os.fspath(temporary)):
            raise
        raise _of(error, path) from error
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):
            raise
        # TensorFlow, which writes on gs://, has errors of its own.
        raise OSError(errno.EIO, str(error), os.fspath(path)) from error
    finally:
        with contextlib.suppress(Exception):  # The error that matters is on its way.
            temporary.unlink(missing_ok=True)


def _of(error: OSError, path: epath.Path) -> OSError:
    """Returns an error, which has a number, as one of `path`."""
    return type(error)(error.errno, os.strerror(error.errno or 0), os.fspath(path))


def _sync(file: BinaryIO, durable: bool) -> None:
    """Puts an open file's content on the disk."""
    if durable and hasattr(file, "fileno"):  # Remote file systems have their own durability.
        file.flush()
        os.fsync(file.fileno())


def _link(temporary: epath.Path, path: epath.Path) -> bool:
    """Gives a temporary file its name; returns whether the name was free."""
    if is_local(path):
        try:
            os.link(temporary, path)
            return True
        except FileExistsError:
            # NFS asks again when an answer was lost, and then finds our own file.
            return os.stat(temporary).st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
    if path.exists():
        return False
    temporary.replace(path)
    return True
