"""Looking after a store's files: merging trials into archives, moving what is damaged aside.

Nothing is removed before an archive that has it is complete, was read back, and was found equal to
what it was made of, byte for byte. So whenever this is interrupted every trial is still there, and
doing it again completes it. Several may do it at once: each removes only what it found when it
began, and relies on what came after that.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from etils import epath

from tfmem.disk import atomic
from tfmem.store import archives
from tfmem.store.archives import Archive, Content, Reader
from tfmem.store.places import Places
from tfmem.store.store import DamagedFileError, Store, StoreError

_FOLDER = "quarantine"  # In a store.
_STAGES = 3  # A trial is verified, written, and read back.


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `compact` is to merge.

    Attributes:
      places: where the store's trials are.
      loose: trials with a file of their own.
      sources: archives; their trials, too, are merged.
      max_bytes: the largest size of an archive.
    """

    places: Places
    loose: set[int]
    sources: list[Archive]
    max_bytes: float

    @property
    def trials(self) -> list[int]:
        """All that are merged, ascending."""
        return sorted(self.loose.union(*(archive.parts for archive in self.sources)))


@dataclasses.dataclass(frozen=True)
class Compacted:
    """What `compact` did.

    Attributes:
      trials: how many were merged.
      archives: what they were merged into.
      files: how many files were removed.
      damaged: trials that were left where they are, each with what is wrong.
    """

    trials: int
    archives: list[Archive]
    files: int
    damaged: dict[int, str]


def plan(store: Store, max_bytes: float) -> Plan:
    """Returns what there is to merge, by the names of files and the indexes of archives.

    These are the trials with files of their own, and those of archives that are smaller than half
    of `max_bytes` or have a trial that is elsewhere too. Archives that are damaged as files, and
    whatever else has their trials, are left alone.
    """
    places = store.places()
    times = places.times_archived()
    sources = [
        archive
        for archive in places.archives
        if not archive.problem
        and (
            archive.size < max_bytes / 2
            or any(times[trial] > 1 or trial in places.loose for trial in archive.parts)
        )
    ]
    broken = (archive.parts for archive in places.archives if archive.problem)
    return _without(Plan(places, places.loose, sources, max_bytes), set().union(*broken))


def compact(store: Store, plan: Plan, progress: Callable[[float], None]) -> Compacted:
    """Merges trials into archives, and removes the files that they were in.

    Damaged trials, and whatever else is in their archives, are left alone.

    Args:
      store: where they are.
      plan: what is to be merged.
      progress: called with the number of trials' worth of work just done.

    Raises:
      StoreError: a file changed or went meanwhile, or what was written is not what is read back;
        nothing that has no sound copy was removed.
      OSError: an archive cannot be written.
    """
    places, trials = plan.places, plan.trials
    origins = {trial: None if trial in plan.loose else places.archived[trial] for trial in trials}
    times = places.times_archived()
    # Of archives that have the same trials somebody else may keep the other one.
    unfit = {
        archive.path.name
        for archive in places.archives
        if any(times[trial] > 1 for trial in archive.parts)
    }
    with Reader() as reader:
        merger = _Merger(store, reader, origins, unfit, progress)
        contents, damaged = merger.verify()
        plan = _without(plan, set(damaged))
        merged = set(plan.trials)
        contents = [content for content in contents if content.trial in merged]
        progress((1 - 1 / _STAGES) * (len(trials) - len(contents)))
        written: list[Archive] = []
        loose, sources, removed = set(plan.loose), plan.sources, 0
        done: set[int] = set()
        for group in archives.groups(contents, plan.max_bytes):
            written.append(merger.write(group))
            done.update(content.trial for content in group)
            names = {archive.path.name for archive in written}
            sources = [archive for archive in sources if archive.path.name not in names]
            replaced = [archive for archive in sources if archive.parts.keys() <= done]
            sources = [archive for archive in sources if archive not in replaced]
            # An archive may have an older version of a trial: the trial's own file outlives it.
            waiting = set().union(*(archive.parts for archive in sources))
            files = sorted((loose & done) - waiting)
            loose.difference_update(files)
            paths = [archive.path for archive in replaced] + [*map(store.trial_path, files)]
            removed += sum(map(_remove, paths))
    return Compacted(len(contents), written, removed, damaged)


def quarantine(store: Store, damaged: Iterable[int]) -> list[tuple[epath.Path, epath.Path]]:
    """Moves damaged files to STORE/quarantine; the trials that they had are then missing.

    Before an archive is moved, the sound trials that are read from it go into a new one.

    Args:
      store: where they are.
      damaged: trials that were found to be damaged. Archives that are damaged as files are moved in
        any case.

    Returns:
      From where and to where each file was moved.

    Raises:
      StoreError: as `compact`.
      OSError: a file cannot be written or moved.
    """
    damaged = sorted(damaged)
    loose, moved = store.places().loose, []
    for trial in damaged:
        if trial in loose and store.damaged([trial]):  # It may have been made again meanwhile.
            moved += _move_aside(store, store.trial_path(trial))
    # An archive may have what a file had that is gone now.
    places = store.places()
    left = store.damaged(trial for trial in damaged if trial in places.archived)
    for archive in places.archives:
        read_here = [
            trial
            for trial in archive.parts
            if trial not in places.loose and places.archived[trial] is archive
        ]
        if not archive.problem and left.keys().isdisjoint(read_here):
            continue
        names = {archive.path.name for archive in places.archives}
        with Reader() as reader:
            merger = _Merger(store, reader, dict.fromkeys(read_here, archive), names)
            contents, _ = merger.verify()
            for group in archives.groups(contents, math.inf):
                merger.write(group)
        moved += _move_aside(store, archive.path)
    return moved


class _Merger:
    """Verifies trials, and writes archives of them that are read back.

    Args:
      store: where they are.
      reader: of archives.
      origins: by trial, ascending, the archive that it is read from, or None for its own file.
      unfit: names that no archive gets.
      progress: called with the number of trials' worth of work just done.
    """

    def __init__(
        self,
        store: Store,
        reader: Reader,
        origins: Mapping[int, Archive | None],
        unfit: set[str],
        progress: Callable[[float], None] = lambda trials: None,
    ):
        self._store = store
        self._reader = reader
        self._origins = origins
        self._unfit = unfit
        self._progress = progress

    def verify(self) -> tuple[list[Content], dict[int, str]]:
        """Returns what the sound trials hold, and what is wrong with the others."""
        contents, damaged = [], {}
        for trial, archive in self._origins.items():
            content = self._read(trial)
            path = archive.path if archive else self._store.trial_path(trial)
            try:
                self._store.verify(trial, content, path)
                contents.append(Content.of(trial, content))
            except DamagedFileError as error:
                damaged[trial] = str(error)
            self._progress(1 / _STAGES)
        return contents, damaged

    def write(self, contents: Sequence[Content]) -> Archive:
        """Writes an archive, unless it is there, and reads it back."""
        for other in itertools.count():
            path = self._store.archive_folder / archives.name(contents, other)
            if path.name in self._unfit:
                continue
            new = not path.exists()
            if new:
                self._write(path, contents)
            archive = self._read_back(path, contents)
            if archive:
                if not new:
                    self._progress(len(contents) / _STAGES)
                return archive
            if new:
                raise StoreError(
                    f"{path} was read back differently from how it was written, and nothing was "
                    "removed: check the disk and the memory of this machine, and remove that file"
                )

    def _write(self, path: epath.Path, contents: Sequence[Content]) -> None:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.sync_folder(path.parent.parent)
        with atomic.replacing(path) as file:
            file.write(archives.encode_index(contents))
            for expected in contents:
                content = self._read(expected.trial)
                if Content.of(expected.trial, content) != expected:
                    raise StoreError(
                        f"trial {expected.trial} of {self._store.path} changed while it was "
                        "merged: run the same command again"
                    )
                file.write(content)
                self._progress(1 / _STAGES)

    def _read_back(self, path: epath.Path, contents: Sequence[Content]) -> Archive | None:
        """Returns the archive there if it has these trials, sound and equal to their origins."""
        try:
            archive = archives.inspect(path)
            if archive.problem or list(archive.parts) != [content.trial for content in contents]:
                return None
            with Reader() as reader:
                for trial in archive.parts:
                    content = reader.read(archive, trial)
                    if content != self._read(trial):
                        return None
                    self._store.verify(trial, content, path)
                    self._progress(1 / _STAGES)
        except FileNotFoundError as error:
            raise StoreError(
                f"{path} was merged into another archive before it was read back: somebody else "
                f"compacts {self._store.path} at the same time; run the same command again"
            ) from error
        return archive

    def _read(self, trial: int) -> bytes:
        archive = self._origins[trial]
        try:
            if archive is None:
                return self._store.trial_path(trial).read_bytes()
            return self._reader.read(archive, trial)
        except FileNotFoundError:  # Somebody else was faster, and merged it.
            return self._store.content(trial)


def _without(plan: Plan, trials: set[int]) -> Plan:
    """Returns a plan that leaves trials alone, and archives that have one of them, with all else.

    Nothing is left to do where a single archive would be merged with nothing.
    """
    sources = list(plan.sources)
    while blocked := [archive for archive in sources if not trials.isdisjoint(archive.parts)]:
        trials = trials.union(*(archive.parts for archive in blocked))
        sources = [archive for archive in sources if archive not in blocked]
    loose = plan.loose - trials
    return dataclasses.replace(
        plan, loose=loose, sources=sources if loose or len(sources) > 1 else []
    )


def _remove(path: epath.Path) -> bool:
    """Removes a file; returns whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:  # Somebody else merged it too.
        return False
    return True


def _move_aside(store: Store, path: epath.Path) -> list[tuple[epath.Path, epath.Path]]:
    """Moves a file to where nothing is yet; returns from where to where, if it was there."""
    folder = store.path / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for count in itertools.count():
        target = folder / (f"{path.name}.{count}" if count else path.name)
        try:
            path.rename(target)
        except FileExistsError:
            continue
        except FileNotFoundError:  # Somebody else moved it.
            return []
        return [(path, target)]
