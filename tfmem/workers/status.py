"""How far an experiment is: what is stored, in training and given up, whoever trains it."""

import dataclasses
from collections.abc import Iterable, Mapping

from tfmem.store.store import Store
from tfmem.workers import claims, logs
from tfmem.workers.logs import Logs


@dataclasses.dataclass(frozen=True)
class Status:
    """The state of some trials of a store.

    Attributes:
      total: how many there are to be.
      done: how many are stored; that they are sound is for `Store.damaged` to say.
      running: how many are in training.
      failed: how many a launch has given up, and nobody trains again.
      work: trials' worth of work that is done, parts of trials in training included.
    """

    total: int
    done: int
    running: int
    failed: int
    work: float


def read(store: Store, trials: Iterable[int], fresh: Mapping[int, float] | None = None) -> Status:
    """Returns how far trials are.

    Args:
      store: of the trials.
      trials: their numbers.
      fresh: the progress of those that this process trains, newer than their claims.
    """
    trials = set(trials)
    left = trials - set(store.numbers())
    shares = {claim.trial: claim.progress for claim in claims.held(store.path / claims.FOLDER)}
    shares |= fresh or {}
    running = {trial: share for trial, share in shares.items() if trial in left}
    failures = Logs(store.path / logs.FOLDER).failures()
    given_up = {failure.trial for failure in failures if failure.is_final}
    done = len(trials) - len(left)
    return Status(
        total=len(trials),
        done=done,
        running=len(running),
        failed=len((given_up & left) - running.keys()),
        work=done + sum(running.values()),
    )
