"""One store of each kind, made once by the real program in a process of its own, for all tests."""

import fcntl
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np

from analysis.estimates import files
from analysis.estimates.values import ClassInfluence, Estimates, Memorization
from tests import forked
from tests.programs import Finished
from tfmem import datasets
from tfmem.store.store import Store

TRIALS = ("--experiment=digits_mlp", "--epochs=2")
LAST_LAYER = ("--experiment=digits_last_layer", "--network_epochs=6", "--epochs=2")
REMOVAL = ("--experiment=digits_mlp", "--epochs=1", "--runs=2", "--thresholds=0.9,0.4,1")
REMOVAL += ("--base_learning_rate=1e-6",)
TURNOVER = ("--experiment=digits_mlp", "--epochs=3", "--corrupted_labels=300")
DYNAMICS = ("--experiment=digits_mlp", "--epochs=3", "--corrupted_labels=400")
DYNAMICS += ("--gradient_batches=3", "--conditions=everything,easy", "--runs=2")
IN_PAIRS = [7, 30, 31]  # Their memorization is 0.9, and they influence test examples.

_COMMANDS = {
    "random_subsets": ("launchers.train_trials", *TRIALS, "--trials=0:12"),
    "last_layer": ("launchers.train_last_layer", *LAST_LAYER, "--trials=0:4"),
    "removal": ("launchers.train_removal", *REMOVAL, "--estimates={}.npz"),
    "turnover": ("launchers.train_turnover", *TURNOVER, "--trials=0:2", "--influence=3"),
    "dynamics": ("launchers.train_dynamics", *DYNAMICS),
    "imported": ("launchers.import_trials", "--format=arrays", "--source={}.npz"),
}


class Made(NamedTuple):
    """A store, and what the program said that made it."""

    store: Store
    said: Finished


def made(tmp_path_factory, name: str) -> Made:
    """Returns a store of a kind; the first worker that asks for it makes it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # All workers'.
    path = folder / "made" / name
    path.parent.mkdir(exist_ok=True)
    said = path.with_suffix(".json")
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            source = path.with_suffix(".npz")
            if name == "removal":
                digits = datasets.load("digits")
                write_estimates(source, removal_memorization(), digits, blocks(digits, IN_PAIRS))
            elif name == "imported":
                np.savez(source, **imported_arrays(np.random.default_rng(0)))
            words = [word.format(path) for word in _COMMANDS[name]]
            said.write_text(json.dumps(forked.run("-m", *words, f"--store={path}")))
    return Made(Store.open(path), Finished(*json.loads(said.read_text())))


def imported_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "subset_mask": np.arange(6 * 10).reshape(6, 10) % 3 != 0,
        "train_correct": rng.random((6, 10)) < 0.7,
        "test_correct": rng.random((6, 4)) < 0.7,
        "train_labels": np.arange(10) % 2,
        "test_labels": np.array([0, 1, 1, 0]),
    }


def removal_memorization() -> np.ndarray:
    """Of 1,257 examples, 100 have 0.4 (inclusive) or more and 10 have 0.9."""
    values = np.full(1257, 0.05)
    values[1000:1090] = 0.4
    values[[*IN_PAIRS, 100, 200, 300, 400, 500, 600, 700]] = 0.9
    return values


def write_estimates(path: pathlib.Path, memorization, dataset, influences=()) -> None:
    zeros = np.zeros(len(memorization))
    details = Memorization(memorization, zeros, zeros, zeros.astype(int), zeros.astype(int))
    labels = dataset.train.labels, dataset.test.labels
    files.write(path, Estimates(memorization, *labels, tuple(influences), details))


def blocks(dataset, chosen, value=0.5) -> list[ClassInfluence]:
    """Returns influences of which only those of the chosen examples, one each, are not 0."""
    found = []
    for label in range(dataset.num_classes):
        rows, columns = (
            np.flatnonzero(split.labels == label) for split in (dataset.train, dataset.test)
        )
        influence = np.zeros((len(rows), len(columns)))
        influence[np.isin(rows, chosen), 3] = value
        found.append(ClassInfluence(rows, columns, influence, np.zeros_like(influence)))
    return found
