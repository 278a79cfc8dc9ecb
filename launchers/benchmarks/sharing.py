"""What it costs that launchers share a store: claims, logs, and looks at how far all are."""

import contextlib
import dataclasses
import statistics
import tempfile
from collections.abc import Iterator

from launchers.benchmarks import planted, timing
from launchers.benchmarks.sizes import Sizes
from tfmem.config import ImportConfig
from tfmem.store.store import Store
from tfmem.store.trials import Trial
from tfmem.workers import claims, logs, status
from tfmem.workers.claims import Claims
from tfmem.workers.launch import Launch
from tfmem.workers.logs import Logs

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
def _new_store(sizes: Sizes) -> Iterator[tuple[Store, Trial]]:
    """Yields an empty store, and a trial of it."""
    dataset, _ = planted.plant(*sizes.shared, pairs=0)
    with tempfile.TemporaryDirectory() as folder:
        config = ImportConfig("arrays", "x", "", "", sizes.stored)
        yield Store.create(f"{folder}/store", config, dataset), planted.random_trial(dataset)


def trials(sizes: Sizes) -> None:
    """A trial that only has to be stored, with and without a launch around it."""
    measures = {
        "stored, synced to the disk": lambda: _stored(sizes),
        "claimed, logged, stored and given back": lambda: _launched(sizes),
    }
    timing.report(measures, sizes.rounds, "a trial")


def _stored(sizes: Sizes) -> float:
    with _new_store(sizes) as (store, trial):
        copies = _Trainer(trial).train(range(sizes.launched))
        return timing.seconds(list, map(store.write, copies)) / sizes.launched


def _launched(sizes: Sizes) -> float:
    with _new_store(sizes) as (store, trial), Launch(store) as launch:
        return timing.seconds(launch.run, _Trainer(trial), range(sizes.launched)) / sizes.launched


def looks(sizes: Sizes) -> None:
    """How long one look at a large experiment takes, which every launcher's line repeats."""
    with _new_store(sizes) as (store, _):
        log = Logs(store.path / logs.FOLDER)
        for number in range(sizes.stored):
            store.trial_path(number).touch()
            log.add_later(number, "stored")
        with Claims(store.path / claims.FOLDER, "launch") as held:
            held.take(range(sizes.stored, sizes.stored + sizes.claimed))
            looked = [
                timing.seconds(status.read, store, range(2 * sizes.stored)) for _ in range(_LOOKS)
            ]
    print(f"  one look: {1000 * statistics.mean(looked):.0f} ms", flush=True)
