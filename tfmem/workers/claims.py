"""Which trial is being trained by whom, so that all who train for one store share its trials.

    STORE/claims/trial-000042.json        while that trial is in training
    STORE/claims/compaction-000000.json   while files are moved (`tfmem.workers.compaction`)

A claim saves work, no more: what two have trained is stored once all the same (`Store.write`). It
is renewed as long as its trial is in training. Who finds one whose process has ended, or that has
not been renewed for long, writes its own in its place, and after a while reads which one is there.
Who has nothing else to do watches whether the claims of others are renewed (`Watch`). A claim that
cannot be read is nobody's.
"""

import contextlib
import dataclasses
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from absl import logging
from etils import epath

from tfmem.disk import atomic, processes, small_json
from tfmem.disk.processes import Process
from tfmem.words import counted

FOLDER = "claims"  # It lies in a store.
RENEW_SECONDS = 10.0
# A claim that is not renewed for so long is nobody's. The clocks of machines that share a store
# have to agree to less than that.
LEASE_SECONDS = 300.0
_LIVING_PERIODS = 2  # Who has renewed a claim within so many periods is alive.
# A claim counts, unless it was created exclusively, if it is still there after so long.
_CONFIRM_SECONDS = 1.0
TRIAL, COMPACTION = "trial", "compaction"
_MAX_BYTES = 2**16
# Claims that were written in the future: when, and since when, by our clock, they are so.
_ahead: dict[str, tuple[float, float]] = {}
_NAME = re.compile(rf"({TRIAL}|{COMPACTION})-\d{{6,}}\.json")


@dataclasses.dataclass(frozen=True)
class Claim:
    """Who trains a trial.

    Attributes:
      trial: its number in the store.
      process: the process, or None if the file cannot be read.
      key: of the `Claims` that made it, or "".
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
    def decode(cls, trial: int, content: Mapping[str, Any]) -> "Claim":
        """The inverse of `encode`, of decoded JSON; ValueError of anything else."""
        words = [content.get(name) for name in ("process", "key", "launch")]
        process, key, launch = (word if isinstance(word, str) else "" for word in words)
        progress = content.get("progress")
        if not key or isinstance(progress, bool) or not isinstance(progress, int | float):
            raise ValueError(f"its key is {key!r} and its progress {progress!r}")
        if not 0 <= progress <= 1:
            raise ValueError(f"its progress is {progress}, expected 0 to 1")
        return cls(trial, Process.parse(process), key, launch, float(progress))


class Claims:
    """The claims of one process for one store, renewed in the background until it is closed.

    Args:
      folder: where claims are.
      launch: names what the process is part of.
      on_taken_over: called with the claim of a process that has ended, when its trial was taken
        over; it may say no by returning False.
      kind: what is claimed, TRIAL or COMPACTION.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        launch: str,
        on_taken_over: Callable[[Claim], bool] = lambda claim: True,
        kind: str = TRIAL,
    ):
        self._folder, self._launch, self._kind = epath.Path(folder), launch, kind
        self._on_taken_over = on_taken_over
        self._process = processes.current()
        self._key = uuid.uuid4().hex
        self._held: set[int] = set()
        self._work = 0.0  # It counts the work on all that are held; 1 is a trial's.
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

    def take(self, trials: Iterable[int]) -> list[int]:
        """Claims trials; returns those that may be trained now.

        Raises:
          OSError: a claim cannot be written.
        """
        taken: list[int] = []
        abandoned: dict[int, Claim] = {}
        for trial in trials:
            path, content = self._path(trial), self._claim(trial, 0.0)
            if not atomic.create_bytes(path, content, durable=False):
                claim = read(path)
                if claim is None or not _is_abandoned(path, claim):
                    continue
                abandoned[trial] = claim
                atomic.write_bytes(path, content, durable=False)
            with self._lock:
                self._held.add(trial)
            taken.append(trial)
        if abandoned or (taken and not atomic.is_local(self._folder)):
            time.sleep(_CONFIRM_SECONDS)
            for trial in taken:
                claim, is_mine = abandoned.get(trial), self._is_mine(self._path(trial))
                if not is_mine or (claim and not self._on_taken_over(claim)):
                    self.release(trial)
        return [trial for trial in taken if trial in self._held]

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
        return _path(self._folder, self._kind, trial)

    def _claim(self, trial: int, progress: float) -> bytes:
        return Claim(trial, self._process, self._key, self._launch, progress).encode()

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
                except Exception as error:  # Whatever it is, the others have to be renewed.
                    logging.warning("the claim of trial %d is not renewed: %s", trial, error)


class Watch:
    """Tells claims whose owners live from those that nobody renews any more.

    It is made when nothing else is left to do, and looks again and again: a claim that changes
    between two looks was renewed. So clocks need not agree.
    """

    def __init__(self, folder: epath.PathLike):
        self._folder = epath.Path(folder)
        self._begin = time.monotonic()
        self._found: dict[
            int, tuple[Claim, float]
        ] = {}  # What each claim was, and when it was written.
        self._renewed: dict[int, float] = {}  # When a claim was seen to have changed.
        self._has_said = False

    def look(self, trials: Iterable[int]) -> tuple[set[int], set[int]]:
        """Returns which of the trials are nobody's, and which are in living hands.

        Of the others it is not known yet: their claims are renewed soon, or lapse.
        """
        nobodys: set[int] = set()
        living: set[int] = set()
        others: set[int] = set()
        for trial in trials:
            path = _path(self._folder, TRIAL, trial)
            claim = read(path)
            if claim is None or _is_abandoned(path, claim):
                nobodys.add(trial)
            else:
                (living if self._is_renewed(path, claim) else others).add(trial)
        self._say(others)
        return nobodys, living

    def _is_renewed(self, path: epath.Path, claim: Claim) -> bool:
        within = _LIVING_PERIODS * RENEW_SECONDS
        try:
            written = _written(path)
        except FileNotFoundError:
            return False  # It has just been given back.
        now = time.monotonic()
        if self._found.setdefault(claim.trial, (claim, written)) != (claim, written):
            self._found[claim.trial], self._renewed[claim.trial] = (claim, written), now
        # On the same machine the clock is the same.
        is_of_here = claim.process is not None and claim.process.is_running()
        return (is_of_here and 0 <= time.time() - written < within) or (
            claim.trial in self._renewed and now - self._renewed[claim.trial] < within
        )

    def _say(self, others: set[int]) -> None:
        waited = time.monotonic() - self._begin
        if others and not self._has_said and waited >= _LIVING_PERIODS * RENEW_SECONDS:
            self._has_said = True
            its = "its claim was" if len(others) == 1 else "their claims were"
            logging.warning(
                "%s in training elsewhere, but %s not renewed for %.0f s: trained here if that "
                "lasts for %.0f s",
                counted(len(others), "trial is", "trials are"),
                its,
                waited,
                LEASE_SECONDS,
            )


def read(path: epath.Path) -> Claim | None:
    """Returns the claim in a file, or None if there is no such file.

    If the file is something else, that is said, and the claim is of no process: it is abandoned.
    """
    number = int(path.stem.rpartition("-")[2])
    try:
        return Claim.decode(number, small_json.read(path, _MAX_BYTES))
    except FileNotFoundError:
        return None
    except small_json.BadJsonError as error:
        small_json.say_once(str(error))
    except ValueError as error:
        small_json.say_once(f"{path} is no claim ({error})")
    return Claim(number, None, "", "", 0.0)


def held(folder: epath.PathLike, kind: str = TRIAL) -> Iterator[Claim]:
    """Yields the claims of trials that are being trained, or of another kind."""
    for path, claim in _all(folder):
        if path.name.startswith(kind) and not _is_abandoned(path, claim):
            yield claim


def remove_abandoned(folder: epath.PathLike, but_of: str | None = None) -> None:
    """Removes what is left of those that do not train any more.

    Claims of the launch `but_of` stay, because whoever takes them over has to know.

    Raises:
      OSError: it cannot be removed.
    """
    atomic.remove_abandoned(folder)
    for path, claim in _all(folder):
        if claim.launch != but_of and _is_abandoned(path, claim):
            path.unlink(missing_ok=True)


def _all(folder: epath.PathLike) -> Iterator[tuple[epath.Path, Claim]]:
    for name in filter(_NAME.fullmatch, atomic.names(folder)):
        path = epath.Path(folder) / name
        if claim := read(path):
            yield path, claim


def _path(folder: epath.Path, kind: str, number: int) -> epath.Path:
    return folder / f"{kind}-{number:06d}.json"


def _is_abandoned(path: epath.Path, claim: Claim) -> bool:
    if claim.process is None or claim.process.is_running() is False:
        return True
    try:
        return _age(path) >= LEASE_SECONDS
    except FileNotFoundError:
        return False  # It has just been given back.


def _age(path: epath.Path) -> float:
    """Returns how many seconds ago a claim was renewed.

    If that was in the future, by more than a lease, some clock is wrong: it counts from when this
    process has first seen it so.
    """
    written, now = _written(path), time.time()
    if written - now <= LEASE_SECONDS:
        return now - written
    before, since = _ahead.get(str(path), (None, 0.0))
    if before != written:
        if before is None:
            logging.warning(
                "%s was written %.0f s from now: is a clock wrong? It counts as renewed just now",
                path,
                written - now,
            )
        since = time.monotonic()
        _ahead[str(path)] = written, since
    return time.monotonic() - since


def _written(path: epath.Path) -> float:
    return atomic.size_and_time(path)[1]
