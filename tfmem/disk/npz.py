"""npz and npy files: whole or absent, no pickles, one clear line when one is not what it should be.

Arrays are read whole or in blocks of rows, so that one need not fit into memory.
"""

import contextlib
import itertools
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, BinaryIO

import numpy as np
from etils import epath

from tfmem.disk import atomic

_BLOCK_BYTES = 1 << 18  # So much is read at once.
_TURNED_BYTES = 1 << 26  # So much of an array in Fortran order is put into rows at once.
_NPY_MAGIC = b"\x93NUMPY"
# zipfile, zlib and NumPy raise these when bytes are not what was written.
_DAMAGE = (
    *(ValueError, OSError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


def write_npz(
    path: epath.PathLike,
    arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]],
    blocks: Mapping[str, tuple[tuple[int, ...], Iterable[np.ndarray]]] | None = None,
) -> None:
    """Writes an npz file, atomically.

    Args:
      path: where.
      arrays: by name, or as (name, array) pairs of which each is written before the next is taken.
      blocks: float32 arrays too large for memory, by name: their shape, and their rows in blocks.
    """
    pairs = arrays.items() if isinstance(arrays, Mapping) else arrays
    seeks = atomic.is_local(path)
    with (
        atomic.replacing(path) as file,
        zipfile.ZipFile(file if seeks else _Appended(file), "w") as archive,
    ):
        for name, array in pairs:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        for name, (shape, parts) in (blocks or {}).items():
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_2_0(member, header)
                for part in parts:
                    member.write(np.ascontiguousarray(part, "<f4").data)


class _Appended:
    """A file to zipfile that cannot be sought in, as one that is written on gs:// cannot."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.flush, self.close = file.flush, file.close

    def write(self, content: bytes) -> int:
        self._file.write(content)
        return len(content)


class Array:
    """An array in a file, of which nothing but the header has been read.

    Attributes:
      what: the file, and the array's name in an npz file: what errors start with.
      shape: its axes.
      dtype: of its entries; never Python objects.
    """

    def __init__(
        self, what: str, opened: Callable[[], contextlib.AbstractContextManager], size: int
    ):
        """Reads the header of the array whose `size` bytes `opened` opens.

        Raises:
          ValueError: it is no array, one of Python objects, or cut off.
        """
        self.what = what
        self._opened = opened
        with self._named(), opened() as file:
            self.shape, self._is_fortran, self.dtype = _read_header(file)
            if self.dtype.hasobject:
                raise ValueError("Python objects, which are never loaded: allow_pickle=False")
            missing = file.tell() + self.nbytes - size
            if missing:
                raise ValueError(f"{abs(missing)} bytes {'are missing' if missing > 0 else 'more'}")

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Returns the whole array.

        Raises:
          ValueError: it is damaged; so in `blocks`.
        """
        with self._named(), self._opened() as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    @property
    def rows_at_once(self) -> int:
        """How many rows `blocks` yields at once: about 256 KiB."""
        return max(1, _BLOCK_BYTES // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))

    def blocks(self, count: int | None = None) -> Iterator[np.ndarray]:
        """Yields the next rows, [some, ...], until all have been.

        An array in Fortran order is read once for every 64 MiB of rows.

        Args:
          count: how many rows at once; `rows_at_once` by default.
        """
        count = count or self.rows_at_once
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        if self._is_fortran:
            some = count * max(1, _TURNED_BYTES // max(1, count * row_bytes))
            for start in range(0, self.shape[0], some):
                part = self._turned(start, min(start + some, self.shape[0]))
                yield from (part[first : first + count] for first in range(0, len(part), count))
            return
        with self._named(), self._opened() as file:
            _read_header(file)
            for start in range(0, self.shape[0], count):
                rows = min(count, self.shape[0] - start)
                content = file.read(rows * row_bytes)
                yield np.frombuffer(content, self.dtype).reshape(rows, *self.shape[1:])

    def rows(self) -> Iterator[np.ndarray]:
        """Yields the rows one by one, [...]."""
        return itertools.chain.from_iterable(self.blocks())

    def _turned(self, start: int, stop: int) -> np.ndarray:
        """Returns some rows of an array in Fortran order, in which the first axis varies first."""
        columns, length = math.prod(self.shape[1:]), self.shape[0]
        found = np.empty((columns, stop - start), self.dtype)
        some = max(1, _BLOCK_BYTES // (length * self.dtype.itemsize))
        with self._named(), self._opened() as file:
            _read_header(file)
            for first in range(0, columns, some):
                last = min(first + some, columns)
                content = file.read((last - first) * length * self.dtype.itemsize)
                part = np.frombuffer(content, self.dtype).reshape(last - first, length)
                found[first:last] = part[:, start:stop]
        return found.reshape(*self.shape[:0:-1], stop - start).T

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise ValueError(f"{self.what} cannot be read ({error})") from error


def blocks_together(arrays: Sequence[Array]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the next rows of each of some arrays of equally many, few enough for the widest."""
    count = min(array.rows_at_once for array in arrays)
    return zip(*(array.blocks(count) for array in arrays), strict=True)


class Archive:
    """An open npz file; its members are looked up by name, and never unpacked to a path.

    Attributes:
      path: where it is.
      files: the names of its arrays.
    """

    def __init__(self, path: epath.Path, archive: zipfile.ZipFile):
        self.path = path
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        self.files = list(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        """Returns a whole array.

        Raises:
          KeyError: there is none of this name.
          ValueError: it is damaged, or holds Python objects.
        """
        return self.array(name).read()

    def array(self, name: str) -> Array:
        """Returns an array to be read while the file is open; raises as `[]` does."""
        size, _ = self.checksum(name)
        return Array(f"{self.path}: {name}", lambda: self.open(name), size)

    def open(self, name: str) -> IO[bytes]:
        """Opens an array's bytes, header and all."""
        return self._archive.open(self._members[name])

    def checksum(self, name: str) -> tuple[int, int]:
        """Returns the size and the CRC-32 of an array's bytes, as the file's directory has them."""
        return self._members[name].file_size, self._members[name].CRC


@contextlib.contextmanager
def open_npz(path: epath.PathLike, required: Iterable[str] = ()) -> Iterator[Archive]:
    """Opens an npz file without pickles.

    Args:
      path: where it is, on any file system that `etils.epath` knows.
      required: names of the arrays that it must have.

    Raises:
      ValueError: it is absent, not an npz file, damaged or lacks a required array.
    """
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            if file.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
                raise ValueError("it is a single array")
            archive = Archive(path, stack.enter_context(zipfile.ZipFile(file)))
        except _DAMAGE as error:
            raise ValueError(f"{path} is not an npz file ({error})") from error
        missing = [name for name in required if name not in archive.files]
        if missing:
            raise ValueError(
                f"{path} lacks {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}"
            )
        yield archive


def open_npy(path: epath.PathLike) -> Array:
    """Returns the array of an npy file, to be read later.

    Raises:
      ValueError: the file is absent or not what it should be.
    """
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ValueError(f"{path} is an npz file, expected a single array")
    return Array(str(path), lambda: path.open("rb"), atomic.size_and_time(path)[0])


def open_member(path: epath.PathLike, name: str) -> Array:
    """Returns an array of an npz file, to be read later: every reading opens the file anew.

    Raises:
      ValueError: the file or the array is absent or not what it should be.
    """

    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with open_npz(path, [name]) as archive, archive.open(name) as file:
            yield file

    with open_npz(path, [name]) as archive:
        return Array(f"{path}: {name}", opened, archive.checksum(name)[0])


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"npy format {version}, which is of records with named fields")
