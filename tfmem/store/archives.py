"""Archives: many trials of a store in one TFRecord file, for keeping and copying them.

    STORE/archives/trials-000000-003999.1f3a9c2e.tfrecord

Archives of the same content have the same name. The first record is an index, and the very bytes
that are the trials' own files follow (docs/formats.md). So a trial is read by itself from one range
of the file, and all are read in one pass.

An index is believed as far as the file goes. Where it is damaged, the records are read in order, up
to the first that is broken.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
from etils import epath

from tfmem.disk import atomic, tfrecord
from tfmem.words import counted, runs

_NAME = re.compile(r"trials-\d{6,}-\d{6,}\.[0-9a-f]{8}\.tfrecord")
_COLUMNS = ("trial", "offset", "size")
# An index has at most so many bytes: names and headers, and per trial three numbers of 63 bits.
_INDEX_BYTES = 200
_INDEX_BYTES_A_TRIAL = 3 * 9


@dataclasses.dataclass(frozen=True)
class Content:
    """What a trial's own file holds, without its bytes: how many, and their CRC-32C."""

    trial: int
    size: int
    checksum: int

    @classmethod
    def of(cls, trial: int, content: bytes) -> "Content":
        return cls(trial, len(content), tfrecord.checksum(content))


@dataclasses.dataclass(frozen=True)
class Part:
    """Where a trial is in its archive, in bytes from the start of the file."""

    position: int
    size: int


@dataclasses.dataclass(frozen=True)
class Archive:
    """An archive and where its trials are.

    Attributes:
      path: the file.
      size: of the file, in bytes.
      parts: the trials that were found, by number; that they are sound is not said.
      problem: what is wrong with the file as a whole, so that trials may be missing; or None.
      unreached: the trials that are lost with what is damaged; where the index is, all up to the
        last one that the file's name says.
    """

    path: epath.Path
    size: int
    parts: Mapping[int, Part]
    problem: str | None = None
    unreached: Sequence[int] = ()

    @classmethod
    def without_index(
        cls, path: epath.Path, size: int, parts: Mapping[int, Part], problem: str
    ) -> "Archive":
        """Returns a damaged archive of which nobody knows what it had, but for its name."""
        first, last = map(int, re.findall(r"\d{6,}", path.name)[:2])
        unreached = range(max(parts, default=first - 1) + 1, last + 1)
        return cls(path, size, parts, problem, unreached)

    def damage(self) -> str:
        """Says what is wrong with the file as a whole, and what was found and was not reached."""
        found = counted(len(self.parts), "trial is", "trials are")
        lost = f", {runs(self.unreached)} not reached" if self.unreached else ""
        return f"{self.path} is damaged ({self.problem}): {found} found in it{lost}"


def is_name(name: str) -> bool:
    """Returns whether a file of this name is an archive."""
    return _NAME.fullmatch(name) is not None


def name(contents: Sequence[Content], other: int = 0) -> str:
    """Returns the name of the archive of ascending trials; another `other` gives another name."""
    checksums = np.array([content.checksum for content in contents] + [other], "<u4")
    digest = tfrecord.checksum(encode_index(contents) + checksums.tobytes())
    first, last = contents[0].trial, contents[-1].trial
    return f"trials-{first:06d}-{last:06d}.{digest:08x}.tfrecord"


def groups(contents: Sequence[Content], max_bytes: float) -> Iterator[list[Content]]:
    """Yields ascending trials in groups whose archives have at most `max_bytes`, or one trial."""
    group: list[Content] = []
    size = _INDEX_BYTES
    for content in contents:
        added = content.size + _INDEX_BYTES_A_TRIAL
        if group and size + added > max_bytes:
            yield group
            group, size = [], _INDEX_BYTES
        group.append(content)
        size += added
    if group:
        yield group


def encode_index(contents: Sequence[Content]) -> bytes:
    """Returns the first record of an archive of ascending trials; their bytes follow."""
    trials = np.array([content.trial for content in contents])
    sizes = np.array([content.size for content in contents], np.int64)
    offsets = np.cumsum(sizes) - sizes
    columns = {"trial": trials, "offset": offsets, "size": sizes}
    return tfrecord.encode([tfrecord.encode_example({"record": b"index", **columns})])


def inspect(path: epath.Path) -> Archive:
    """Reads the index of an archive, or where it is damaged, the records in order.

    Raises:
      FileNotFoundError: there is no such file.
    """
    size, _ = atomic.size_and_time(path)
    with path.open("rb") as file:
        try:
            parts, end = _read_index(file, size)
        except ValueError as error:
            return Archive.without_index(path, size, _read_in_order(file, size), str(error))
    if end == size:
        return Archive(path, size, parts)
    found = {trial: part for trial, part in parts.items() if part.position + part.size <= size}
    problem = f"it has {size:,} bytes, expected {end:,}"
    return Archive(path, size, found, problem, sorted(parts.keys() - found))


class Reader:
    """Reads trials from archives, and keeps the last archive open: in their order they stream."""

    def __init__(self):
        self._opened = contextlib.ExitStack()
        self._file: tuple[epath.Path, BinaryIO] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error) -> None:
        self._close(None)

    def read(self, archive: Archive, trial: int) -> bytes:
        """Returns the bytes of a trial; they are not verified.

        Raises:
          FileNotFoundError: the archive is no longer there.
        """
        part = archive.parts[trial]
        if self._file is None or self._file[0] != archive.path:
            self._close(None)
            self._file = archive.path, self._opened.enter_context(archive.path.open("rb"))
        file = self._file[1]
        try:
            file.seek(part.position)
            return file.read(part.size)
        except Exception as error:
            # gs:// notices only when it reads that a file is not there, and says FileNotFoundError
            # only when the file is closed with that error.
            self._close(error)
            raise

    def _close(self, error: Exception | None) -> None:
        self._file = None
        self._opened.__exit__(type(error), error, None) if error else self._opened.close()


def _read_index(file: BinaryIO, size: int) -> tuple[dict[int, Part], int]:
    """Returns where the trials of an archive are, and where the last one ends.

    Raises:
      ValueError: there is no index, or it contradicts itself.
    """
    record = tfrecord.read(file, size)
    index = tfrecord.decode_example(record)
    if index.get("record") != [b"index"]:
        raise ValueError("its first record is not an index")
    columns = [column for column in map(index.get, _COLUMNS) if isinstance(column, np.ndarray)]
    if [column.dtype for column in columns] != [np.int64] * len(_COLUMNS):
        raise ValueError(f"its index lacks one of {', '.join(_COLUMNS)}")
    trials, offsets, sizes = (column.tolist() for column in columns)
    if not len(trials) == len(offsets) == len(sizes):
        raise ValueError("its index has columns of different lengths")
    start = file.tell()
    parts: dict[int, Part] = {}
    last, end = -1, 0
    for trial, offset, length in zip(trials, offsets, sizes, strict=True):
        if trial <= last or offset != end or length < 1:
            raise ValueError(f"its index is wrong at trial {trial}")
        parts[trial] = Part(start + offset, length)
        last, end = trial, offset + length
    return parts, start + end


def _read_in_order(file: BinaryIO, size: int) -> dict[int, Part]:
    """Finds trials by their records, up to the first that is broken: each begins with `trial`.

    The index is passed over by its length. The last trial may lack records, which its own say.
    """
    parts: dict[int, Part] = {}
    file.seek(0)
    with contextlib.suppress(ValueError):
        position = tfrecord.size(file.read(tfrecord.HEADER_BYTES))
        trial = None
        while position < size:
            file.seek(position)
            record = tfrecord.read(file, size - position)
            number = _trial_number(record)
            if number is not None:
                trial, start = number, position
            position = file.tell()
            if trial is not None:
                parts[trial] = Part(start, position - start)
    return parts


def _trial_number(record: bytes) -> int | None:
    """Returns the number of the trial that begins with a record, or None if none does."""
    try:
        features = tfrecord.decode_example(record)
        number = int(features["trial"][0]) if features["record"] == [b"trial"] else -1
    except (ValueError, KeyError, IndexError, OverflowError):
        return None
    return number if number >= 0 else None
