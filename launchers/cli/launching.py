"""What the training programs share: a call that trains what a store lacks, and its words."""

import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from absl import flags, logging

from analysis.cli import arguments, program
from launchers.cli import progress
from tfmem import datasets, quiet
from tfmem.config import Config, ImportConfig, TrainedConfig, with_digests
from tfmem.datasets import Annotations, Dataset, ImageDataset, annotations
from tfmem.recipe import ExperimentConfig
from tfmem.store.store import Store
from tfmem.subsets import Subsets, subset_size
from tfmem.training import trainers
from tfmem.training.protocol import Trainer
from tfmem.words import counted
from tfmem.workers import cluster, logs
from tfmem.workers.launch import Launch, Outcome
from tfmem.workers.logs import Logs

FLAGS = flags.FLAGS
_Config = TypeVar("_Config", bound=TrainedConfig)
# The program that trains a kind of store, and what it calls one of its trials.
_PROGRAMS = {
    "experiment": ("train_trials", "trial"),
    "last_layer": ("train_last_layer", "trial"),
    "removal": ("train_removal", "trial"),
    "turnover": ("train_turnover", "model"),
    "dynamics": ("train_dynamics", "run"),
}
# What a command that completes a store leaves out: it says itself where the store is and which
# trials it lacks, and the others are about one launch, not about its trials.
_OF_ONE_LAUNCH = {
    *("store", "trials", "shard", "engine", "ray_address", "tensorboard"),
    *("gpus_per_trial", "trials_per_gpu", "cpus_per_trial", "checkpoint_seconds", "retries"),
}

# Trains the missing ones of some trials of a store.
Train = Callable[[Store, range, Sequence[int]], Outcome]


def command(name: str, without: Iterable[str] = _OF_ONE_LAUNCH) -> list[str]:
    """Returns a program and the flags that it was given, as `Store.create` keeps them.

    Paths are absolute, so that the command does the same from any directory.
    """
    given = [
        arguments.serialize(FLAGS[flag])
        for flag in FLAGS
        if FLAGS[flag].present
        and flag not in without
        and not (FLAGS.find_module_defining_flag(flag) or "").startswith("absl.")
    ]
    return [name, *given]


@contextlib.contextmanager
def without_gpus() -> Iterator[None]:
    """Lets TensorFlow take no GPU if it starts in the context: they are for other processes."""
    name = "CUDA_VISIBLE_DEVICES"
    kept = os.environ.get(name)
    os.environ[name] = "-1"
    try:
        yield
    finally:
        if kept is None:
            del os.environ[name]
        else:
            os.environ[name] = kept


def load(config: _Config) -> tuple[_Config, ImageDataset]:
    """Returns the dataset of a config, and the config with digests of the files that it names.

    If a file is not there any more, what it said is taken from the store of --store.

    Raises:
      ValueError: as `datasets.load_for`, or the candidates are too few.
    """
    given = _given(config.experiment)
    dataset = datasets.load_for(config, FLAGS.data_dir, given)
    candidates = dataset.train.candidates
    if candidates is not None:
        count = int(np.count_nonzero(candidates))
        subset_size(count, config.experiment.subset_ratio, "candidates")
    return with_digests(config, *Annotations.of(dataset.train).digests()), dataset


def _given(experiment: ExperimentConfig) -> Annotations | None:
    """Returns what a store keeps of files that are not there any more; None if they are."""
    files = [name for name in (experiment.labels, experiment.candidates) if name]
    gone = [name for name in files if not annotations.path_of(name).exists()]
    if not gone or "store" not in FLAGS or not FLAGS.store or not Store.exists(FLAGS.store):
        return None
    store = Store.open(FLAGS.store)
    if isinstance(store.config, ImportConfig):
        return None
    known = store.config.experiment
    if (known.labels, known.candidates) != (experiment.labels, experiment.candidates):
        return None
    logging.warning("%s is not there: what it said is in %s", gone[0], FLAGS.store)
    return Annotations.of(store.dataset.train)


def train_missing(
    config: Config,
    dataset: Dataset,
    trials: range,
    make_trainer: Callable[[], Trainer],
    *,
    conditions: Mapping[str, Subsets] | None = None,
    notes: Iterable[str] = (),
    on_opened: Callable[[Store], None] = lambda store: None,
    on_ray: Train | None = None,
    asked: range | None = None,
) -> int:
    """Trains what the store of --store lacks of some trials; returns the exit code.

    Where something is missing, the trainer is made before the store, so that flags that contradict
    each other leave no store behind.

    Args:
      config: of the store.
      dataset: of the store.
      trials: all that are to be there.
      make_trainer: returns what trains them, here.
      conditions: what runs are trained on, by their names: run r of condition c is trial
        c * runs + r. None is what the trainer is made with.
      notes: lines that are printed when the flags are known to fit what is there.
      on_opened: called with the store.
      on_ray: trains instead, elsewhere.
      asked: what this launch and those beside it, as in a Slurm array, are asked for together;
        `trials` by default.

    Raises:
      ValueError: the store is of another config or dataset, or as the trainer.
    """
    name, one = _PROGRAMS[config.kind]

    asked = asked or trials

    def opened() -> Store:
        store = Store.create(FLAGS.store, config, dataset, command(name), asked)
        on_opened(store)
        return store

    store = opened() if Store.exists(FLAGS.store) else None
    for note in notes:
        print(note)
    missing = _missing(store, trials) if store else list(trials)
    train = on_ray
    if missing and not train:
        quiet.import_tensorflow()
        train = functools.partial(_train_here, make_trainer(), conditions or {})
    store = store or opened()
    store.ask_for(asked)
    code = 0
    if missing and train:
        code = report(store, train(store, trials, missing), list(conditions or ()))
        store.ask_for(asked)
    there = len(set(trials) & set(store.numbers()))
    part = "" if there == len(trials) else f"{there:,} of "
    print(f"{part}{counted(len(trials), one)} in {FLAGS.store}")
    return code


def _missing(store: Store, trials: range) -> list[int]:
    """Returns the trials that have to be trained; says what is there, and what is damaged."""
    missing, damaged = store.missing_trials(trials)
    for problem in damaged.values():
        print(f"{problem.what}: training it again")
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing):,} of {len(trials):,} trials are already in the store")
    return missing


def _train_here(
    trainer: Trainer,
    conditions: Mapping[str, Subsets],
    store: Store,
    trials: range,
    missing: Sequence[int],
) -> Outcome:
    """Trains and stores trials, with one line for all of them."""
    subsets, runs = list(conditions.values()), store.config.num_trials // max(len(conditions), 1)
    launch = Launch(store, FLAGS.retries, FLAGS.checkpoint_seconds)
    with launch, progress.shown(store, trials, launch.claims.progress):
        for left in launch.rounds(missing):
            if not conditions:
                launch.run(trainer, left)
                continue
            for number, group in itertools.groupby(left, lambda trial: trial // runs):
                trainer.set_subsets(subsets[number])
                first = number * runs
                launch.run(trainer, [trial - first for trial in group], first)
    return launch.outcome


def on_ray(
    config: ExperimentConfig,
    dataset: Dataset,
    options: trainers.Options,
    resources: cluster.WorkerResources,
) -> Train:
    """Returns what trains and stores the config's trials on Ray, with one line for all of them."""
    # A worker may have another working directory, and on another machine another home.
    data_dir = os.path.abspath(os.path.expanduser(FLAGS.data_dir)) if FLAGS.data_dir else None
    given = Annotations.of(dataset.train) if config.labels or config.candidates else None
    make_trainer = functools.partial(trainers.load_trainer, config, data_dir, given, options)

    def train(store: Store, trials: range, missing: Sequence[int]) -> Outcome:
        job = cluster.Job(make_trainer, FLAGS.retries, FLAGS.checkpoint_seconds)
        with progress.shown(store, trials):
            return cluster.run(
                store, job, missing, resources, FLAGS.ray_address, program.signals_noted
            )

    return train


def report(store: Store, outcome: Outcome, conditions: Sequence[str] = ()) -> int:
    """Says which trials failed, and which are left to others; returns the exit code.

    Args:
      store: of the trials.
      outcome: of their launch.
      conditions: names of what runs are trained on, where they have conditions.
    """
    log = Logs(store.path / logs.FOLDER).path
    for number, failure in sorted(outcome.failed.items()):
        called = f"trial {number}"
        if conditions:
            condition, run = divmod(number, store.config.num_trials // len(conditions))
            called += f" ({conditions[condition]}, run {run})"
        print(
            f"{called} failed after {counted(failure.attempts, 'attempt')}: {failure.error}; "
            f"log: {log(number)}",
            file=sys.stderr,
        )
    count = len(outcome.elsewhere)
    if count:
        them = "it" if count == 1 else "them"
        are = counted(count, "trial is", "trials are")
        print(f"{are} in training elsewhere, and left to whoever trains {them}")
    return 1 if outcome.failed else 0
