"""Looking after a store's files: merging trials into archives, moving what is damaged aside.

One process at a time does this, by a claim. Nothing is removed before an archive that has it is
complete, was read back, and was found equal byte for byte. So whenever this is interrupted every
trial is still there, and doing it again completes it. Archives are never changed, and only those
that are damaged are moved.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from etils import epath

from tfmem.disk import atomic
from tfmem.store import archives
from tfmem.store.archives import Archive, Content, Reader
from tfmem.store.errors import (
    DamagedFileError,
    OtherTrialError,
    StoreError,
    UnreadableError,
)
from tfmem.store.store import Store
from tfmem.workers import claims
from tfmem.workers.claims import Claims

_STAGES = 3  # A trial is verified, written, and read back.
Progress = Callable[[float], None]


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
    damaged: dict[int, DamagedFileError]


def compact(store: Store, max_bytes: float, progress: Progress = lambda trials: None) -> Compacted:
    """Merges the trials that have files of their own into new archives, and removes these files.

    A damaged trial stays in its file. So does one of which an archive has another sound version:
    without the file that one would be read.

    Args:
      store: where they are.
      max_bytes: the largest size of an archive.
      progress: called with the number of trials' worth of work just done.

    Raises:
      StoreError: somebody else does this; or a file changed or went meanwhile, or what was written
        is not what is read back, and nothing that has no sound copy was removed.
      OSError: an archive cannot be written.
    """
    contents: list[Content] = []
    merged: list[int] = []
    written: list[Archive] = []
    damaged: dict[int, DamagedFileError] = {}
    with _alone(store), Reader() as reader:
        store.places.look()
        old = list(store.places.archives.values())
        for trial in sorted(store.places.loose):
            others = _versions(trial, old, reader)
            path = store.trial_path(trial)
            try:
                content = store.verified(trial, _own(store, trial), path)
            except DamagedFileError as error:
                damaged[trial] = error
            else:
                if content in others:  # An earlier compaction was interrupted.
                    merged.append(trial)
                elif not any(_is_whole(store, trial, other) for other in others):
                    contents.append(Content.of(trial, content))
            progress(1 / _STAGES)
        _remove(store, merged)
        progress((1 - 1 / _STAGES) * (len(store.places.loose) - len(contents)))
        for group in archives.groups(contents, max_bytes):
            written.append(_write(store, group, functools.partial(_own, store), progress))
            _remove(store, [content.trial for content in group])
    return Compacted(len(contents), written, len(merged) + len(contents), damaged)


def quarantine(store: Store, damaged: Iterable[int]) -> list[tuple[epath.Path, epath.Path]]:
    """Moves damaged files to STORE/quarantine; the trials that they had are then missing.

    Before an archive is moved, all that is whole in it goes into a new one, but for `damaged`.

    Args:
      store: where they are.
      damaged: trials that were found to be damaged, or of another configuration. Archives that are
        damaged as files are moved in any case.

    Returns:
      From where and to where each file was moved.

    Raises:
      StoreError: as `compact`.
      OSError: a file cannot be written or moved.
    """
    damaged = set(damaged)
    with _alone(store), Reader() as reader:
        store.places.look()
        # A trial may have been made again meanwhile, and an archive may have it too.
        own = store.damaged(store.places.loose.intersection(damaged))
        moved = [_move_aside(store, store.trial_path(trial)) for trial in sorted(own)]
        there = set(store.places.look())
        left = store.damaged(there.intersection(damaged))
        every = list(store.places.archives.values())
        broken = [a for a in every if a.problem or not left.keys().isdisjoint(a.parts)]
        whole = [archive for archive in every if archive not in broken]
        for archive in broken:
            contents = []
            for trial in sorted(archive.parts.keys() - store.places.loose):
                content = reader.read(archive, trial)
                is_kept = content in _versions(trial, whole, reader)
                if not is_kept and _is_whole(store, trial, content, trial not in damaged):
                    contents.append(Content.of(trial, content))
            if contents:
                _write(store, contents, functools.partial(reader.read, archive))
            moved.append(_move_aside(store, archive.path))
    return moved


def quarantine_networks(
    store: Store, damaged: Iterable[int]
) -> list[tuple[epath.Path, epath.Path]]:
    """Moves networks that are damaged to STORE/quarantine, as `quarantine` moves trials."""
    with _alone(store):
        return [_move_aside(store, store.networks.path(number)) for number in sorted(damaged)]


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Raises StoreError, which says who moves the store's files, unless this process alone may."""
    folder = store.path / claims.FOLDER
    with Claims(folder, "", kind=claims.COMPACTION) as ours:
        if not ours.take([0]):
            who = [f"process {claim.process}" for claim in claims.held(folder, claims.COMPACTION)]
            raise StoreError(
                f"{store.path} is just being compacted by {''.join(who) or 'somebody else'}",
                "run the same command when that has ended",
            )
        yield


def _own(store: Store, trial: int) -> bytes | UnreadableError:
    """Returns the content of a trial's own file."""
    path = store.trial_path(trial)
    try:
        return store.places.own(trial)
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} was removed while it was merged", "run the same command again"
        ) from error


def _versions(trial: int, of: Iterable[Archive], reader: Reader) -> list[bytes]:
    """Returns what archives hold of a trial."""
    return [reader.read(archive, trial) for archive in of if trial in archive.parts]


def _is_whole(store: Store, trial: int, content: bytes, of_any_config: bool = False) -> bool:
    try:
        store.verified(trial, content, store.archive_folder)
    except OtherTrialError:
        return of_any_config
    except DamagedFileError:
        return False
    return True


def _write(
    store: Store,
    contents: Sequence[Content],
    read: Callable[[int], bytes | UnreadableError],
    progress: Progress = lambda trials: None,
) -> Archive:
    """Writes a new archive of what `read` returns, which has to be `contents`; reads it back."""
    folder = store.archive_folder
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        atomic.sync_folder(store.path)
    names = (archives.name(contents, other) for other in itertools.count())
    path = next(path for path in map(folder.joinpath, names) if not path.exists())
    with atomic.replacing(path) as file:
        file.write(archives.encode_index(contents))
        for expected in contents:
            content = read(expected.trial)
            if not isinstance(content, bytes) or Content.of(expected.trial, content) != expected:
                raise StoreError(
                    f"trial {expected.trial} of {store.path} changed while it was merged",
                    "run the same command again",
                )
            file.write(content)
            progress(1 / _STAGES)
    archive = archives.inspect(path)
    with Reader() as reader:
        for expected in contents:
            found = reader.read(archive, expected.trial) if expected.trial in archive.parts else b""
            if archive.problem or found != read(expected.trial):
                raise StoreError(
                    f"{path} was read back differently from how it was written, and nothing was "
                    "removed",
                    "check the disk and the memory of this machine, and remove that file",
                )
            progress(1 / _STAGES)
    return archive


def _remove(store: Store, trials: Iterable[int]) -> None:
    for trial in trials:
        store.trial_path(trial).unlink(missing_ok=True)


def _move_aside(store: Store, path: epath.Path) -> tuple[epath.Path, epath.Path]:
    """Moves a file to quarantine; returns from where to where."""
    return path, store.places.move_aside(path)
