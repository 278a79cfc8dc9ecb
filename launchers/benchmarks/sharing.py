"""What it costs that launchers share a store: claims, logs, and looks at how far all are."""

import contextlib
import dataclasses
import statistics
import tempfile
from collections.abc import Iterator

from launchers.benchmarks import planted, timing
from tfmem.config import ImportConfig
from tfmem.store.store import Store
from tfmem.store.trials import Trial
from tfmem.workers import claims, logs, status
from tfmem.workers.claims import Claims
from tfmem.workers.launch import Launch
from tfmem.workers.logs import Logs

# CIFAR-100 has so many training and test examples and classes.
SIZES = (50_000, 10_000, 100)
_ROUNDS = 3
_TRIALS = 200
STORED = 10_000
CLAIMED = 256
_LOOKS = 5


class _Trainer:
    """Hands out a trial that is made already."""

    batch_of_trials = 1

    def __init__(self, trial: Trial):
        self._trial = trial

    def train(self, trials, progress=None, checkpoints=None):
        for number in trials:
            yield dataclasses.replace(self._trial, number=number)


@contextlib.contextmanager
def _new_store() -> Iterator[tuple[Store, Trial]]:
    """Yields an empty store, and a trial of it."""
    dataset, _ = planted.plant(*SIZES, pairs=0)
    with tempfile.TemporaryDirectory() as folder:
        config = ImportConfig("arrays", "x", "", "", STORED)
        yield Store.create(f"{folder}/store", config, dataset), planted.random_trial(dataset)


def trials() -> None:
    """A trial that only has to be stored, with and without a launch around it."""
    measures = {
        "stored, synced to the disk": _stored,
        "claimed, logged, stored and given back": _launched,
    }
    timing.report(measures, _ROUNDS, "a trial")


def _stored() -> float:
    with _new_store() as (store, trial):
        copies = _Trainer(trial).train(range(_TRIALS))
        return timing.seconds(list, map(store.write, copies)) / _TRIALS


def _launched() -> float:
    with _new_store() as (store, trial), Launch(store) as launch:
        return timing.seconds(launch.run, _Trainer(trial), range(_TRIALS)) / _TRIALS


def looks() -> None:
    """How long one look at a large experiment takes, which every launcher's line repeats."""
    with _new_store() as (store, _):
        log = Logs(store.path / logs.FOLDER)
        for number in range(STORED):
            store.trial_path(number).touch()
            log.add_later(number, "stored")
        with Claims(store.path / claims.FOLDER, "launch") as held:
            held.take(range(STORED, STORED + CLAIMED))
            looked = [timing.seconds(status.read, store, range(2 * STORED)) for _ in range(_LOOKS)]
    print(f"  one look: {1000 * statistics.mean(looked):.0f} ms", flush=True)
