"""Files that are whole or absent: written under a temporary name and renamed."""

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from etils import epath

_TEMPORARY = re.compile(r"\..*\.(?P<host>[^/]+)\.(?P<pid>\d+)\.[0-9a-f]{32}\.tmp")


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of `path` when it is complete, and leaves nothing if not.

    It is on the disk before it has its name. Missing folders are made.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / (
        f".{path.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    )
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if hasattr(file, "fileno"):  # Remote file systems have their own durability.
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: epath.PathLike, content: bytes) -> None:
    """Writes a whole file; see `replacing`."""
    with replacing(path) as file:
        file.write(content)


def remove_abandoned(folder: epath.Path) -> None:
    """Removes temporary files of processes of this machine that are no longer running."""
    for path in folder.iterdir():
        name = _TEMPORARY.fullmatch(path.name)
        if name and name["host"] == socket.gethostname() and not _runs(int(name["pid"])):
            path.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
