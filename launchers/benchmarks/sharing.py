"""What it costs that launchers share a store: claims, logs, and looks at how far all are."""

import dataclasses
import tempfile
import time

import numpy as np

from launchers.benchmarks import planted, timing
from tfmem import experiments
from tfmem.config import ImportConfig
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial
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

    def train(self, trials, progress, checkpoints):
        for number in trials:
            yield dataclasses.replace(self._trial, number=number)


def _new_store(folder: str) -> tuple[Store, Trial]:
    """Returns an empty store, and a trial of it."""
    rng = np.random.default_rng(0)
    dataset = planted.plant(*SIZES, pairs=0).dataset
    store = Store.create(folder, ImportConfig("arrays", "x", "", "", STORED), dataset)

    def predictions(split) -> Predictions:
        predicted = rng.integers(0, SIZES[2], len(split), dtype=np.uint16)
        probability = rng.random(len(split), dtype=np.float32).astype(np.float16)
        return Predictions(predicted == split.labels, predicted, probability)

    subset = rng.random(SIZES[0]) < experiments.SUBSET_RATIO
    train, test = predictions(dataset.train), predictions(dataset.test)
    return store, Trial(0, 0, subset, train, test, seconds=1.0)


def trials() -> None:
    """A trial that only has to be stored, with and without a launch around it."""
    rows: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        for name, measure in (
            ("stored, synced to the disk", _stored),
            ("claimed, logged, stored and given back", _launched),
        ):
            with tempfile.TemporaryDirectory() as folder:
                rows.setdefault(name, []).append(measure(f"{folder}/store"))
    timing.report(rows, "a trial")


def _stored(folder: str) -> float:
    store, trial = _new_store(folder)
    start = time.perf_counter()
    for number in range(_TRIALS):
        store.write(dataclasses.replace(trial, number=number))
    return (time.perf_counter() - start) / _TRIALS


def _launched(folder: str) -> float:
    store, trial = _new_store(folder)
    with Launch(store) as launch:
        start = time.perf_counter()
        launch.run(_Trainer(trial), range(_TRIALS))
        return (time.perf_counter() - start) / _TRIALS


def looks() -> None:
    """How long one look at a large experiment takes, which every launcher's line repeats."""
    with tempfile.TemporaryDirectory() as folder:
        store, _ = _new_store(f"{folder}/store")
        log = Logs(store.path / logs.FOLDER)
        for number in range(STORED):
            store.trial_path(number).touch()
            log.add_later(number, "stored")
        with Claims(store.path / claims.FOLDER, "launch") as held:
            held.take(range(STORED, STORED + CLAIMED))
            start = time.perf_counter()
            for _ in range(_LOOKS):
                status.read(store, range(2 * STORED))
            seconds = (time.perf_counter() - start) / _LOOKS
    print(f"  one look: {1000 * seconds:.0f} ms", flush=True)
