"""What happened in training each trial: its log, and what it failed of.

STORE/logs/trial-000042.log        all that is logged while it is trained, attempt after attempt
STORE/logs/trial-000042.failed     why it is not stored, while it is not
"""

import contextlib
import dataclasses
import json
import logging as python_logging
import re
import textwrap
import threading
import time
from collections.abc import Iterator

from absl import logging
from etils import epath

from tfmem.disk import atomic, small_json

FOLDER = "logs"  # It lies in a store.
_FAILED = re.compile(r"trial-(\d{6,})\.failed")
_FAILURE = {"launch": str, "attempts": int, "is_final": bool, "error": str}
_MAX_BYTES = 2**16
_FLUSH_SECONDS = 10.0
_ERROR_LENGTH = 400  # TensorFlow's errors may be pages long.


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a trial is not stored.

    Attributes:
      trial: its number in the store.
      launch: in which launch it failed.
      attempts: how often it did, in that launch.
      is_final: whether that launch has given it up.
      error: what happened, in one line.
    """

    trial: int
    launch: str
    attempts: int
    is_final: bool
    error: str


class Logs:
    """The logs of one store's trials, and their failures."""

    def __init__(self, folder: epath.PathLike):
        self._folder = epath.Path(folder)
        self._lock = threading.RLock()
        self._texts: dict[int, str] = {}  # Of trials in training, what is not written yet.
        self._flushed: dict[int, float] = {}
        self._handler = _Handler(self)

    def path(self, trial: int) -> epath.Path:
        return self._folder / f"trial-{trial:06d}.log"

    def begin(self, trial: int, text: str) -> None:
        """Opens a trial's log, behind what earlier attempts wrote.

        Raises:
          OSError: it cannot be written; so in `end`.
        """
        path = self.path(trial)
        with self._lock:
            is_torn = path.exists() and not path.read_bytes().endswith(b"\n")
            self._texts[trial] = "\n" if is_torn else ""
            self._add(trial, text)
            self._flush(trial)

    def end(self, trial: int, text: str) -> None:
        """Closes a trial's log."""
        with self._lock:
            self._add(trial, text)
            self._flush(trial)
            del self._texts[trial]

    def add_later(self, trial: int, text: str) -> None:
        """Adds to the log of a trial that is not in training."""
        self.begin(trial, text)
        del self._texts[trial]

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """While it is open, what is logged goes to the logs of all trials in training as well."""
        logger, own = logging.get_absl_logger(), logging.get_absl_handler()
        kept = logger.level, own.level
        # The console goes on showing what it did.
        shown = logger.getEffectiveLevel()
        own.setLevel(max(shown, own.level))
        logger.setLevel(min(shown, python_logging.INFO))
        logger.addHandler(self._handler)
        try:
            yield
        finally:
            logger.removeHandler(self._handler)
            logger.setLevel(kept[0])
            own.setLevel(kept[1])
            with self._lock:
                for trial in self._texts:
                    with contextlib.suppress(OSError):  # What cannot be written is lost.
                        self._flush(trial)
                self._texts.clear()

    def fail(self, trial: int, launch: str, error: str, limit: int) -> Failure:
        """Counts a failed attempt, the last one if there were more than `limit`; returns the sum.

        Failures in other launches do not count.
        """
        found = self.failure(trial)
        attempts = 1 + (found.attempts if found and found.launch == launch else 0)
        line = textwrap.shorten(error, _ERROR_LENGTH, placeholder=" ...")  # The log has all of it.
        failure = Failure(trial, launch, attempts, attempts > limit, line)
        content = json.dumps(dataclasses.asdict(failure)).encode()
        atomic.write_bytes(self._failed_path(trial), content, durable=False)
        return failure

    def failure(self, trial: int) -> Failure | None:
        """Returns why a trial is not stored, or None if nothing is known.

        A file that cannot be read is said, and tells nothing.
        """
        path = self._failed_path(trial)
        try:
            found = small_json.read(path, _MAX_BYTES)
        except FileNotFoundError:
            return None
        except small_json.BadJsonError as error:
            small_json.say_once(str(error))
            return None
        if {name: type(found.get(name)) for name in _FAILURE} != _FAILURE:
            small_json.say_once(f"{path} is no failure, which has {', '.join(_FAILURE)}")
            return None
        return Failure(trial, *(found[name] for name in _FAILURE))

    def forget_failure(self, trial: int) -> None:
        """Removes the failure of a trial that is stored."""
        self._failed_path(trial).unlink(missing_ok=True)

    def failures(self) -> Iterator[Failure]:
        """Yields the failures of all trials."""
        for name in filter(None, map(_FAILED.fullmatch, atomic.names(self._folder))):
            if failure := self.failure(int(name[1])):
                yield failure

    def remove_abandoned(self) -> None:
        """Removes temporary files of processes that have ended; OSError if it cannot."""
        atomic.remove_abandoned(self._folder)

    def _failed_path(self, trial: int) -> epath.Path:
        return self._folder / f"trial-{trial:06d}.failed"

    def _emit(self, text: str) -> None:
        with self._lock:
            for trial in self._texts:
                self._add(trial, text)
                if time.monotonic() - self._flushed[trial] >= _FLUSH_SECONDS:
                    # A log is not worth a trial: it may be written later.
                    with contextlib.suppress(OSError):
                        self._flush(trial)

    def _add(self, trial: int, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        self._texts[trial] += "".join(f"{stamp} {line}\n" for line in text.splitlines())

    def _flush(self, trial: int) -> None:
        self._flushed[trial] = time.monotonic()
        if self._texts[trial]:
            # Another process may train the same trial, and write into the same log.
            atomic.append_bytes(self.path(trial), self._texts[trial].encode())
            self._texts[trial] = ""


class _Handler(python_logging.Handler):
    """Hands what is logged to the logs of trials."""

    def __init__(self, logs: Logs):
        super().__init__(python_logging.INFO)
        self._logs = logs

    def emit(self, record: python_logging.LogRecord) -> None:
        self._logs._emit(self.format(record))
