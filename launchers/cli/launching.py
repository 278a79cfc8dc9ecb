"""Training as the flags want it, here or on Ray, and what is said of it in the end."""

import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from analysis.cli import program
from launchers.cli import progress, training_flags
from tfmem.config import DynamicsConfig, ExperimentConfig, RemovalConfig
from tfmem.store.store import Store
from tfmem.store.trials import Trial
from tfmem.subsets import Subsets
from tfmem.training import trainers
from tfmem.workers import cluster, logs
from tfmem.workers.launch import Launch, Outcome
from tfmem.workers.logs import Logs

FLAGS = flags.FLAGS


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


def missing_trials(store: Store, trials: range) -> list[int]:
    """Returns the trials that have to be trained; says what is there, and what is damaged."""
    missing, damaged = store.missing_trials(trials)
    for problem in damaged.values():
        print(f"{problem.what}: training it again")
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing):,} of {len(trials):,} trials are already in the store")
    return missing


def train(
    store: Store,
    trainer,
    trials: Sequence[int],
    missing: Sequence[int],
    before_write: Callable[[Trial], None] = lambda trial: None,
) -> int:
    """Trains and stores trials, with one line for all of them; returns the exit code.

    Args:
      store: where they go.
      trainer: of the store's trials.
      trials: all that are to be there.
      missing: those that are not.
      before_write: called with each finished trial, before it is stored.
    """
    with new_launch(store) as launch, progress.shown(store, trials, launch.claims.progress):
        launch.run(trainer, missing, before_write=before_write)
    return report(store, launch.outcome)


def train_on_ray(
    store: Store,
    config: ExperimentConfig,
    trials: Sequence[int],
    missing: Sequence[int],
    room: cluster.WorkerResources,
) -> int:
    """Trains and stores trials on Ray, with one line for all of them; returns the exit code.

    Args:
      store: where they go.
      config: of the store.
      trials: all that are to be there.
      missing: those that are not.
      room: what a worker takes.
    """
    # A worker may have another working directory, and on another machine another home.
    data_dir = os.path.abspath(os.path.expanduser(FLAGS.data_dir)) if FLAGS.data_dir else None
    make_trainer = functools.partial(
        trainers.load_trainer, config, data_dir, training_flags.options()
    )
    job = cluster.Job(make_trainer, FLAGS.retries, FLAGS.checkpoint_seconds)
    with progress.shown(store, trials):
        outcome = cluster.run(store, job, missing, room, FLAGS.ray_address, program.signals_noted)
    return report(store, outcome)


def train_conditions(
    config: RemovalConfig | DynamicsConfig,
    subsets: Sequence[Subsets],
    trials: Sequence[int],
    missing: Sequence[int],
    make_trainer: Callable[[Subsets], Any],
    create_store: Callable[[], Store],
) -> int:
    """Trains and stores runs of several conditions, with one line for all; returns the exit code.

    Args:
      config: run r of condition c is trial c * runs + r.
      subsets: what each condition is trained on, in their order.
      trials: all runs that are to be there, by their numbers in the store.
      missing: those that are not, ascending.
      make_trainer: takes the first condition's subsets.
      create_store: called when there is a trainer, so that a contradiction in the flags leaves no
        store behind.
    """
    import tensorflow as tf

    # Stacked runs compile a step for each condition, which TensorFlow takes for an oversight.
    tf.get_logger().addFilter(lambda record: "tf.function retracing" not in record.getMessage())
    launch, trainer = None, None
    with contextlib.ExitStack() as until_done:
        for number, group in itertools.groupby(missing, lambda trial: trial // config.runs):
            if trainer is None:
                trainer = make_trainer(subsets[number])
                store = create_store()
                launch = until_done.enter_context(new_launch(store))
                shown = progress.shown(store, trials, launch.claims.progress)
                until_done.enter_context(shown)
            else:
                trainer = trainer.for_subsets(subsets[number])
            first = number * config.runs
            launch.run(trainer, [trial - first for trial in group], first)
    return report(
        store,
        launch.outcome,
        lambda trial: (
            f"trial {trial} ({config.conditions[trial // config.runs]}, run {trial % config.runs})"
        ),
    )


def new_launch(store: Store) -> Launch:
    """Returns a launch as the flags want it."""
    return Launch(store, FLAGS.retries, FLAGS.checkpoint_seconds)


def report(store: Store, outcome: Outcome, name: Callable[[int], str] = "trial {}".format) -> int:
    """Says which trials failed, and which are left to others; returns the exit code.

    Args:
      store: of the trials.
      outcome: of a launch that has ended.
      name: what a trial is called, by its number in the store.
    """
    log = Logs(store.path / logs.FOLDER).path
    for number, failure in sorted(outcome.failed.items()):
        times = "1 attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
        print(
            f"{name(number)} failed after {times}: {failure.error}; log: {log(number)}",
            file=sys.stderr,
        )
    count = len(outcome.elsewhere)
    if count:
        others, them = ("1 trial is", "it") if count == 1 else (f"{count:,} trials are", "them")
        print(f"{others} in training elsewhere, and left to whoever trains {them}")
    return 1 if outcome.failed else 0


def print_stored(trials: Sequence[int], one: str = "trial") -> None:
    """Says how many of the trials are in the store of --store, calling each of them `one`."""
    there = len(set(trials) & set(Store.open(FLAGS.store).numbers()))
    of_all = "" if there == len(trials) else f" of {len(trials):,}"
    ones = one if len(trials) == 1 else f"{one}s"
    print(f"{there:,}{of_all} {ones} in {FLAGS.store}")
