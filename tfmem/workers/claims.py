"""Which trial is being trained by whom, so that all who train for one store share its trials.

    STORE/claims/trial-000042.json    while that trial is in training

A claim saves work, no more: what two have trained is stored once all the same (`Store.write`). It
is renewed as long as its trial is in training. Who finds one whose process has ended, or that has
not been renewed for long, takes the trial over.
"""

import contextlib
import dataclasses
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from absl import logging
from etils import epath

from tfmem.disk import atomic, processes
from tfmem.disk.processes import Process

FOLDER = "claims"  # In a store.
RENEW_SECONDS = 10.0
# A claim of another machine that is not renewed for so long is nobody's. Clocks of machines that
# share a store have to agree to less than that.
LEASE_SECONDS = 300.0
# Where files cannot be created exclusively, a claim counts if it is still there after a while.
_CONFIRM_SECONDS = 1.0
_NAME = re.compile(r"trial-(\d{6,})\.json")
_KEY = re.compile("[0-9a-f]{32}")
_TAKING_OVER = re.compile(rf"{_NAME.pattern}\.[0-9a-f]*\.taken")


@dataclasses.dataclass(frozen=True)
class Claim:
    """Who trains a trial.

    Attributes:
      trial: its number in the store.
      process: the process, or None if the file does not tell.
      key: of the `Claims` that made it.
      launch: of which launch it is part.
      progress: the share of its work that is done, in [0, 1].
    """

    trial: int
    process: Process | None
    key: str
    launch: str
    progress: float

    def encode(self) -> bytes:
        return json.dumps({**dataclasses.asdict(self), "process": str(self.process)}).encode()

    @classmethod
    def decode(cls, trial: int, content: bytes) -> "Claim":
        """The inverse of `encode`; of other content, the claim of an unknown process."""
        try:
            found = json.loads(content)
            process = Process.parse(found["process"])
            key, launch, progress = found["key"], found["launch"], float(found["progress"])
            if not _KEY.fullmatch(key):  # It becomes part of a file's name.
                raise ValueError(f"{key!r} is no key")
            return cls(trial, process, key, str(launch), min(max(progress, 0.0), 1.0))
        except (ValueError, TypeError, KeyError):
            return cls(trial, None, "", "", 0.0)


class Claims:
    """The claims of one process for one store, renewed in the background until it is closed.

    Args:
      folder: where claims are.
      launch: names what the process is part of.
      on_taken_over: called with the claim of a process that has ended, when its trial is taken
        over; it may say no by returning False.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        launch: str,
        on_taken_over: Callable[[Claim], bool] = lambda claim: True,
    ):
        self._folder = epath.Path(folder)
        self._launch = launch
        self._on_taken_over = on_taken_over
        self._process = processes.current()
        self._key = uuid.uuid4().hex
        self._held: set[int] = set()
        self._work = 0.0  # Trials' worth of work on those that are held.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewing = threading.Thread(target=self._renew_often, daemon=True)
        self._renewing.start()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *error) -> None:
        self._closed.set()
        self._renewing.join()
        for trial in list(self._held):
            # The store may not be writable any more, which is said elsewhere.
            with contextlib.suppress(OSError):
                self.release(trial)

    def take(self, trial: int) -> bool:
        """Claims a trial; returns whether it may be trained now.

        Raises:
          OSError: the claim cannot be written.
        """
        if not self._create(trial) and not self._take_over(trial):
            return False
        with self._lock:
            self._held.add(trial)
        return True

    def release(self, trial: int) -> None:
        """Gives a trial back, trained or not."""
        with self._lock:
            self._held.discard(trial)
            self._work = max(self._work - 1, 0.0) if self._held else 0.0
        path = self._path(trial)
        if self._is_mine(path):
            path.unlink(missing_ok=True)

    def advance(self, trials: float) -> None:
        """Counts work that was just done on the trials that are held, 1 being a trial's."""
        with self._lock:
            self._work += trials

    def progress(self) -> dict[int, float]:
        """Returns the share of its work that is done, by trial that is held: the same for all."""
        with self._lock:
            share = min(self._work / len(self._held), 1.0) if self._held else 0.0
            return dict.fromkeys(sorted(self._held), share)

    def _path(self, trial: int) -> epath.Path:
        return self._folder / f"trial-{trial:06d}.json"

    def _claim(self, trial: int, progress: float) -> bytes:
        return Claim(trial, self._process, self._key, self._launch, progress).encode()

    def _create(self, trial: int) -> bool:
        path = self._path(trial)
        if not atomic.create_bytes(path, self._claim(trial, 0.0), durable=False):
            return False
        if atomic.is_local(path):
            return True
        time.sleep(_CONFIRM_SECONDS)
        return self._is_mine(path)

    def _take_over(self, trial: int) -> bool:
        """Takes the claim of a process that has ended; returns whether the trial may be trained."""
        path = self._path(trial)
        claim = read(path)
        if claim is None:  # It has just been given back.
            return self._create(trial)
        if not _is_abandoned(path, claim):
            return False
        with _alone(path, claim) as is_alone:
            if not is_alone:
                return False
            if not self._on_taken_over(claim):
                path.unlink(missing_ok=True)
                return False
            # In its place at once: no moment in which another could create it.
            atomic.write_bytes(path, self._claim(trial, 0.0), durable=False)
            return True

    def _is_mine(self, path: epath.Path) -> bool:
        claim = read(path)
        return claim is not None and claim.key == self._key

    def _renew_often(self) -> None:
        while not self._closed.wait(RENEW_SECONDS):
            for trial, progress in self.progress().items():
                path = self._path(trial)
                try:
                    with self._lock:
                        if trial in self._held and self._is_mine(path):
                            content = self._claim(trial, progress)
                            atomic.write_bytes(path, content, durable=False)
                except OSError as error:
                    logging.warning("the claim of trial %d is not renewed: %s", trial, error)


def read(path: epath.Path) -> Claim | None:
    """Returns the claim in a file, or None if there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return Claim.decode(int(_NAME.fullmatch(path.name)[1]), content)


def held(folder: epath.PathLike) -> Iterator[Claim]:
    """Yields the claims of trials that are being trained."""
    for path in _paths(epath.Path(folder)):
        claim = read(path)
        if claim is not None and not _is_abandoned(path, claim):
            yield claim


def remove_abandoned(folder: epath.PathLike, but_of: str | None = None) -> None:
    """Removes what is left of those that do not train any more.

    Args:
      folder: where claims are.
      but_of: a launch whose claims are left, because whoever takes them over has to know.

    Raises:
      OSError: it cannot be removed.
    """
    folder = epath.Path(folder)
    for name in filter(_TAKING_OVER.fullmatch, atomic.names(folder)):
        _remove_marker_if_abandoned(folder / name)
    atomic.remove_abandoned(folder)
    for path in _paths(folder):
        claim = read(path)
        if claim is not None and claim.launch != but_of and _is_abandoned(path, claim):
            with _alone(path, claim) as is_alone:
                if is_alone:
                    path.unlink(missing_ok=True)


def _paths(folder: epath.Path) -> list[epath.Path]:
    return [folder / name for name in filter(_NAME.fullmatch, atomic.names(folder))]


def _is_abandoned(path: epath.Path, claim: Claim) -> bool:
    running = claim.process.is_running() if claim.process else None
    if running is None:
        try:
            running = time.time() - path.stat().mtime < LEASE_SECONDS
        except FileNotFoundError:
            return False  # It has just been given back.
    return not running


@contextlib.contextmanager
def _alone(path: epath.Path, claim: Claim) -> Iterator[bool]:
    """Yields whether an abandoned claim is still there, and this process alone may replace it."""
    marker = path.parent / f"{path.name}.{claim.key}.taken"
    if not atomic.create_bytes(marker, str(processes.current()).encode(), durable=False):
        _remove_marker_if_abandoned(marker)  # For the next time.
        yield False
        return
    try:
        found = read(path)
        yield found is not None and found.key == claim.key
    finally:
        marker.unlink(missing_ok=True)


def _remove_marker_if_abandoned(marker: epath.Path) -> None:
    try:
        process = Process.parse(marker.read_bytes().decode())
    except FileNotFoundError:
        return
    except ValueError:
        process = None
    if _is_abandoned(marker, Claim(0, process, "", "", 0.0)):
        marker.unlink(missing_ok=True)
