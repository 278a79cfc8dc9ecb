"""Where the trials of a store are: in files of their own, or in archives.

A trial that has a file of its own is read from there, whatever archives have. Of several archives
the first one is read, by name, in which the trial is sound.
"""

import contextlib
import itertools
import re
from collections.abc import Iterator

from etils import epath

from tfmem.disk import atomic
from tfmem.store import archives
from tfmem.store.archives import Archive, Reader
from tfmem.store.errors import UnreadableError

_TRIAL_NAME = re.compile(r"trial-(\d{6,})\.tfrecord")
_ATTEMPTS = 10  # Others may move files meanwhile.


class Places:
    """Finds the trials of the store in a folder, and knows where they were when it looked last.

    Attributes:
      loose: trials with a file of their own.
      archives: by name, without those that are gone.
    """

    def __init__(self, store: epath.Path):
        self.trial_folder, self.archive_folder = store / "trials", store / "archives"
        self.quarantine = store / "quarantine"
        self.loose: set[int] = set()
        self.archives: dict[str, Archive] = {}
        self._archived: dict[int, Archive] = {}  # The first archive that has a trial.
        self._has_looked = False

    def trial_path(self, number: int) -> epath.Path:
        """Returns where a trial's own file is, if it has one."""
        return self.trial_folder / f"trial-{number:06d}.tfrecord"

    def look(self) -> list[int]:
        """Lists all files; returns the trials that are there, ascending."""
        self.look_for_archives()
        while True:
            names = map(_TRIAL_NAME.fullmatch, atomic.names(self.trial_folder))
            self.loose = {int(name[1]) for name in names if name}
            # A trial may have gone into a new archive before its file was listed.
            if not self.look_for_archives():
                self._has_looked = True
                return sorted(self.loose | self._archived.keys())

    def look_for_archives(self) -> bool:
        """Lists the archives, and reads the index of those that are new; returns if any changed."""
        for left in reversed(range(_ATTEMPTS)):
            names = sorted(filter(archives.is_name, atomic.names(self.archive_folder)))
            if names == list(self.archives):
                return False
            try:
                found = {name: self.archives.get(name) or self._inspect(name) for name in names}
                break
            except FileNotFoundError:  # It was moved aside meanwhile.
                if not left:
                    raise
        self.archives = found
        self._archived = {
            number: archive for archive in reversed(found.values()) for number in archive.parts
        }
        return True

    def versions(
        self, number: int, reader: Reader
    ) -> Iterator[tuple[epath.Path, bytes | UnreadableError]]:
        """Yields the files that have a trial, and its bytes there, in the order they count.

        If files vanish meanwhile, their trials have moved: they are listed again.
        """
        archive = self._archived.get(number)
        if archive and self._has_looked and number not in self.loose:
            with contextlib.suppress(FileNotFoundError):
                yield archive.path, _part(archive, number, reader)
        path = self.trial_path(number)
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                yield path, self._content(path)
                return
            for archive in self.archives.values():
                if number in archive.parts:
                    with contextlib.suppress(FileNotFoundError):
                        yield archive.path, _part(archive, number, reader)
            if not self.look_for_archives():
                return

    def own(self, number: int) -> bytes | UnreadableError:
        """Returns what a trial's own file holds, or why it cannot be read.

        Raises:
          FileNotFoundError: there is none.
        """
        return self._content(self.trial_path(number))

    def _content(self, path: epath.Path) -> bytes | UnreadableError:
        try:
            return path.read_bytes()
        except OSError as error:
            return _unreadable(path, error)

    def move_aside(self, path: epath.Path) -> epath.Path:
        """Moves a file of the store to quarantine, where nothing is yet; returns where it is then.

        So whatever it may have cost is kept. Nothing happens if somebody else has just moved it.
        """
        self.quarantine.mkdir(parents=True, exist_ok=True)
        names = (f"{path.name}.{count}" if count else path.name for count in itertools.count())
        taken = set(atomic.names(self.quarantine))
        target = self.quarantine / next(name for name in names if name not in taken)
        with contextlib.suppress(FileNotFoundError):
            path.rename(target)
        return target

    def _inspect(self, name: str) -> Archive:
        path = self.archive_folder / name
        try:
            return archives.inspect(path)
        except OSError as error:
            return Archive.without_index(path, 0, {}, str(_unreadable(path, error)))


def _part(archive: Archive, number: int, reader: Reader) -> bytes | UnreadableError:
    """Returns the bytes of a trial in an archive, or why they cannot be read."""
    try:
        return reader.read(archive, number)
    except OSError as error:
        return _unreadable(archive.path, error)


def _unreadable(path: epath.Path, error: OSError) -> UnreadableError:
    """Returns why nobody can read a file; raises the error if somebody may, or it is not there."""
    if (reason := atomic.unreadable(path, error)) is None:
        raise error
    return UnreadableError(reason)
