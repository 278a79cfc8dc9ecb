"""One launch of a program that trains trials for a store, perhaps beside others.

Several launches, on this machine and on others, may train for one store at the same time, and each
may be stopped at any moment: a trial is trained by one of them (`workers.claims`), stored once, and
retried if it fails.
"""

import contextlib
import dataclasses
import itertools
import os
import socket
import time
import traceback
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from absl import logging

from tfmem.store.store import Store
from tfmem.store.trials import Trial
from tfmem.training.checkpoints import Checkpoints
from tfmem.training.failures import DivergedError, Failed
from tfmem.workers import claims, logs
from tfmem.workers.claims import Claim, Claims
from tfmem.workers.logs import Failure, Logs

HOPELESS = 5  # A launch ends if its first so many trials all fail for good.


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of trials that a launch did not store.

    Attributes:
      failed: those that it has given up, by their numbers in the store.
      elsewhere: those that other launches have in training, as far as their claims tell; of a
        launch that went through its `rounds`, those that are in living hands.
    """

    failed: Mapping[int, Failure]
    elsewhere: Sequence[int]


class HopelessError(ValueError):
    """All trials fail, and those that are left would too."""

    def __init__(self, failures: Iterable[Failure], where: Logs):
        failures = list(failures)
        last = failures[-1]
        super().__init__(
            f"the first {len(failures)} trials have all failed, the last with: {last.error}; its "
            f"log: {where.path(last.trial)}"
        )

    def __reduce__(self):
        return ValueError, self.args  # Another process needs the words alone.


class Launch:
    """Trains trials and stores them; a context that has to be left, so that claims are given back.

    Args:
      store: where trials go.
      retries: how often a trial that failed is trained again.
      checkpoint_seconds: how much time passes between two checkpoints of a trial.
      name: of a launch that this process is only a part of; None for a new one.
      leaves_retries: whether `run` returns after a failure, so that a trial is retried by another
        process: what broke may be this one.
    """

    def __init__(
        self,
        store: Store,
        retries: int = 0,
        checkpoint_seconds: float = 60.0,
        name: str | None = None,
        leaves_retries: bool = False,
    ):
        self.store = store
        self.name = name or uuid.uuid4().hex
        self.logs = Logs(store.path / logs.FOLDER)
        self._retries, self._leaves_retries = retries, leaves_retries
        self._checkpoint_seconds = checkpoint_seconds
        self._stored = 0
        self._failed: dict[int, Failure] = {}
        self._elsewhere: list[int] = []
        self._until_closed = contextlib.ExitStack()

    def __enter__(self) -> "Launch":
        self.logs.remove_abandoned()
        claims.remove_abandoned(self.store.path / claims.FOLDER, but_of=self.name)
        self.claims = self._until_closed.enter_context(
            Claims(self.store.path / claims.FOLDER, self.name, self._take_over)
        )
        self._until_closed.enter_context(self.logs.listening())
        return self

    def __exit__(self, *error) -> None:
        self._until_closed.close()

    @property
    def outcome(self) -> Outcome:
        """What became of the trials of all runs so far."""
        return Outcome(self._failed, self._elsewhere)

    def rounds(self, trials: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yields the trials, which have to be run, and then what others had of them and lost.

        What is in training elsewhere is watched when nothing else is left. Trials whose claims are
        renewed are left to their owners; the others come in a further round, when they are given
        back or their claims have lapsed. So at the end each trial is stored, given up, or in
        living hands.
        """
        while trials:
            yield trials
            trials = self._left_behind()

    def _left_behind(self) -> list[int]:
        """Waits until a trial that others had is nobody's and not stored, or all others live."""
        watch = claims.Watch(self.store.path / claims.FOLDER)
        others = set(self._elsewhere)
        left: list[int] = []
        while others:
            begin = time.monotonic()
            nobodys, living = watch.look(others)
            left = [number for number in sorted(nobodys) if not self.store.has(number)]
            others -= nobodys
            if left or others == living:
                break
            # A slow file system is not kept busy by this.
            time.sleep(max(claims.RENEW_SECONDS / 20, time.monotonic() - begin))
        self._elsewhere = sorted(others)
        return left

    def run(self, trainer, trials: Sequence[int], first: int = 0) -> bool:
        """Trains the trials that no other launch trains, and stores each one when it is finished.

        It takes as many trials at once as are in training at once. The trainer asks for the next
        when it has room, so that those are in training while these are stored, and what it has not
        asked for is left to others.

        Args:
          trainer: has `batch_of_trials`, and `train(trials, progress, checkpoints)`, which yields
            finished trials.
          trials: their numbers, as the trainer counts them.
          first: the number in the store of the trainer's trial 0.

        Returns:
          Whether it is done; False if trials were left to be retried by another process.

        Raises:
          HopelessError: the first trials have all failed.
          OSError: the store cannot be written.
        """
        checkpoints = Checkpoints(
            self.store.path / "checkpoints", self.store.head.digest, self._checkpoint_seconds, first
        )
        checkpoints.remove_finished(self.store.numbers())
        at_once = trainer.batch_of_trials
        left, again = deque(first + trial for trial in trials), deque[int]()
        while left or again:
            # What failed is trained by itself: trials of one stack fail together.
            taken = self._take(left or deque([again.popleft()]), at_once)
            asked: Iterable[int] = [number - first for number in taken]
            if left:
                further = self._further(left, at_once)
                asked = itertools.chain(asked, (number - first for number in further))
            training = trainer.train(asked, self.claims.advance, checkpoints)
            with contextlib.closing(training) as results:  # However the loop ends.
                for result in results:
                    number = first + result.number
                    if not isinstance(result, Failed):
                        self._write(dataclasses.replace(result, number=number))
                        checkpoints.remove(result.number)
                        self.claims.release(number)
                    elif not self._fail(number, result.error):
                        if self._leaves_retries:
                            return False
                        again.append(number)
        return True

    def has_work(self, trials: Iterable[int]) -> bool:
        """Returns whether there is one of the store's trials that `run` would train."""
        held = {claim.trial for claim in claims.held(self.store.path / claims.FOLDER)}
        return any(
            number not in held
            and not self._is_given_up(self.logs.failure(number))
            and not self.store.has(number)
            for number in trials
        )

    def _is_given_up(self, failure: Failure | None) -> bool:
        return failure is not None and failure.launch == self.name and failure.is_final

    def _take(self, left: deque[int], count: int) -> list[int]:
        """Claims up to `count` trials that have to be trained here and now.

        They are asked for in the order of `left`, and go from there.
        """
        taken: list[int] = []
        while left and len(taken) < count:
            asked = [left.popleft() for _ in range(min(count - len(taken), len(left)))]
            claimed = self.claims.take(asked)
            self._elsewhere += [n for n in asked if n not in claimed and n not in self._failed]
            taken += filter(self._begin, claimed)
        return taken

    def _further(self, left: deque[int], count: int) -> Iterator[int]:
        """Yields what `_take` takes, time after time until nothing is left."""
        while taken := self._take(left, count):
            yield from taken

    def _begin(self, number: int) -> bool:
        """Begins a trial that is claimed; returns whether it has to be trained."""
        failure = self.logs.failure(number)
        if failure and self._is_given_up(failure):
            self._failed[number] = failure
        if number in self._failed or self.store.has(number):
            self.claims.release(number)
            return False
        attempt = 1 + (failure.attempts if failure and failure.launch == self.name else 0)
        self.logs.begin(number, f"attempt {attempt}, {_where()}")
        return True

    def _write(self, trial: Trial) -> None:
        number = trial.number
        was_first = self.store.write(trial)
        self._stored += was_first
        self.logs.forget_failure(number)
        what = "stored" if was_first else "dropped, since another process stored it first,"
        accuracy = f"{trial.test_accuracy:.2%} on test, {trial.subset_accuracy:.2%} on its subset"
        self.logs.end(number, f"{what} after {trial.seconds:.4g} s: accuracy {accuracy}")

    def _fail(self, number: int, error: Exception) -> bool:
        """Notes a failed attempt; returns whether the trial is given up."""
        # On the same machine it would diverge in the same way.
        retries = 0 if isinstance(error, DivergedError) else self._retries
        text = str(error) or type(error).__name__
        failure = self.logs.fail(number, self.name, text, retries)
        self.logs.end(number, "".join(traceback.format_exception(error)))
        self.claims.release(number)
        if self._gives_up(failure):
            return True
        logging.warning("trial %d failed and is tried again: %s", number, failure.error)
        return False

    def _take_over(self, claim: Claim) -> bool:
        """Notes that a process ended without a word; returns whether its trial is trained again."""
        if claim.launch != self.name:
            return True
        error = f"its process {claim.process} ended without a word: killed, or out of memory?"
        failure = self.logs.fail(claim.trial, self.name, error, self._retries)
        self.logs.add_later(claim.trial, error)
        return not self._gives_up(failure)

    def _gives_up(self, failure: Failure) -> bool:
        """Notes a failure if it is final; returns whether it is."""
        if failure.is_final:
            self._failed[failure.trial] = failure
            if not self._stored and len(self._failed) >= HOPELESS:
                raise HopelessError(self._failed.values(), self.logs)
        return failure.is_final


def _where() -> str:
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = f"host {socket.gethostname()}, process {os.getpid()}"
    return where + (f", GPUs {gpus}" if gpus else "")
