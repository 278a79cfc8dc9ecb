"""The flags that choose an experiment, override its numbers and say how trials are trained."""

import contextlib
import functools
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from absl import flags

from analysis import cli
from launchers import progress
from tfmem import cluster, datasets, engine, experiments, logs
from tfmem.config import (
    CROPS,
    PRECISIONS,
    SCHEDULES,
    DynamicsConfig,
    ExperimentConfig,
    RemovalConfig,
)
from tfmem.launch import Launch, Outcome
from tfmem.logs import Logs
from tfmem.store import Store, Trial
from tfmem.subsets import Subsets

FLAGS = flags.FLAGS
flags.disclaim_key_flags()  # --help of a program lists the flags that it defines through this.
_CHOICES = {"schedule": SCHEDULES, "crop": CROPS, "precision": PRECISIONS}


def define_experiment(
    names: Iterable[str] = experiments.EXPERIMENTS, required: bool = True
) -> None:
    """Defines --experiment and --data_dir.

    Args:
      names: the experiments that the program takes.
      required: whether there has to be one.
    """
    word = "(required) " if required else ""
    flags.DEFINE_string("experiment", None, f"{word}One of {', '.join(names)}.")
    flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data; TFDS's own default if empty.")
    if required:
        flags.mark_flag_as_required("experiment")


def define_overrides(without: Iterable[str] = ()) -> None:
    """Defines a flag for every number of an experiment that can be overridden.

    Args:
      without: fields that mean nothing to the program.
    """
    for field, text in experiments.OVERRIDES.items():
        if field in without:
            continue
        text = f"Overrides the experiment's. {text}"
        kind = experiments.field_type(field)
        if field in _CHOICES:
            flags.DEFINE_enum(field, None, _CHOICES[field], text)
        elif kind is bool:
            flags.DEFINE_bool(field, None, text)
        elif kind is int:
            flags.DEFINE_integer(field, None, text)
        elif kind is float:
            flags.DEFINE_float(field, None, text)
        elif field == "dataset":
            flags.DEFINE_string(field, None, f"Overrides the experiment's: {datasets.known()}.")
        else:
            flags.DEFINE_string(field, None, text)


def define_training(stacks: bool = True) -> None:
    """Defines how trials are trained: what does not change what they are.

    Args:
      stacks: whether the program can train trials stacked.
    """
    strategy = (
        "tf.distribute strategy of one trial: mirrored over all GPUs, default for one device. auto "
        "is mirrored for ImageNet and default for all others"
    )
    xla = "Compile unstacked training with XLA; stacked training always is."
    if stacks:
        flags.DEFINE_string(
            "stack",
            engine.STACK_AUTO,
            "Trials trained together in one compiled step: a number; auto, which stacks dense "
            "networks; none, which trains one at a time with Keras fit.",
        )
        strategy += "; with --stack=auto, both other values also turn stacking off"
    else:
        xla = "Compile training with XLA."
    flags.DEFINE_enum(
        "strategy", engine.STRATEGY_AUTO, ["auto", "mirrored", "default"], f"{strategy}."
    )
    flags.DEFINE_bool("xla", False, xla)
    flags.DEFINE_string(
        "tensorboard", None, "Folder for TensorBoard logs of unstacked trials; none if empty."
    )


def define_launch() -> None:
    """Defines what a launch does about trials that are interrupted or fail."""
    flags.DEFINE_float(
        "checkpoint_seconds",
        60.0,
        "An unstacked trial in training is saved at the end of an epoch if so much time has passed "
        "since it was last; it continues from there.",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        "retries", 2, "How often a trial that failed is trained again.", lower_bound=0
    )


_ROOM = {
    "gpus_per_trial": "GPUs that train one trial together; ImageNet's recipe has 8. By default "
    "one, or CPU cores where there is no GPU.",
    "trials_per_gpu": "Trials that share one GPU, for small models.",
    "cpus_per_trial": "CPU cores of a trial: those that feed its GPU, or, where there is no GPU, "
    "those that it is trained on; one by default.",
}


def define_engine() -> None:
    """Defines where trials are trained: in this process, or by Ray, and which of them."""
    flags.DEFINE_enum(
        "engine",
        "local",
        ["local", "ray"],
        "local trains in this process; ray on all GPUs of this machine, or of a cluster.",
    )
    flags.DEFINE_string(
        "ray_address",
        None,
        "With --engine=ray: a Ray cluster, HOST:PORT, or auto for the one that this machine is "
        "part of; by default a Ray of this machine alone is started.",
    )
    for name, text in _ROOM.items():
        flags.DEFINE_integer(name, None, f"With --engine=ray: {text}", lower_bound=1)
    flags.DEFINE_string(
        "shard",
        None,
        "i/N: only every N-th of the trials, from the i-th on, counted from 0: one task of a Slurm "
        "array.",
    )


def room() -> cluster.Room | None:
    """Returns what a worker takes of Ray, or None without Ray; ValueError if flags contradict."""
    if FLAGS.engine == "ray":
        given = {name: FLAGS[name].value for name in _ROOM if FLAGS[name].present}
        return cluster.Room(**given)
    for name in ("ray_address", *_ROOM):
        if FLAGS[name].present:
            raise ValueError(f"--{name} has no effect with --engine=local: add --engine=ray")
    return None


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


def shard(trials: range) -> range:
    """Returns the part of the trials that --shard asks for; ValueError if it is no part."""
    if FLAGS.shard is None:
        return trials
    match = re.fullmatch(r"(\d+)/(\d+)", FLAGS.shard)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not index < count:
        raise ValueError(f"--shard={FLAGS.shard}: expected i/N with i from 0 to N - 1, such as 0/8")
    return trials[index::count]


def overrides() -> dict[str, Any]:
    """Returns the numbers that the flags override, by field; None for the others."""
    found = {}
    for field in experiments.OVERRIDES:
        value = FLAGS[field].value if field in FLAGS else None
        if value is not None:
            value = _parsed(field, value)
        found[field] = value
    return found


def experiment() -> ExperimentConfig:
    """Returns the config that the flags ask for; ValueError if they are wrong."""
    config = experiments.resolve(FLAGS.experiment, overrides())
    datasets.require_known(config.dataset)
    return config


def require_images(config: ExperimentConfig) -> None:
    """Raises ValueError if the experiment is one of the last layer alone."""
    if config.name in experiments.NETWORK_OF:
        raise ValueError(
            f"{config.name} trains on the penultimate features of a network: "
            "launchers.train_last_layer makes them and its trials"
        )


def options() -> engine.Options:
    """Returns how the flags want trials to be trained; ValueError if they are wrong."""
    return engine.Options(
        stack=_stack(FLAGS.stack) if "stack" in FLAGS else engine.STACK_NONE,
        strategy=FLAGS.strategy,
        jit_compile=FLAGS.xla,
        tensorboard=FLAGS.tensorboard or None,
    )


def missing_trials(store: Store, trials: range) -> list[int]:
    """Returns the trials that have to be trained; says what is there, and what is damaged."""
    missing, damaged = engine.missing_trials(store, trials)
    for problem in damaged.values():
        print(problem.split("; to make it again")[0] + ": training it again")
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing):,} of {len(trials):,} trials are already in the store")
    return missing


def new_launch(store: Store) -> Launch:
    """Returns a launch as the flags want it."""
    return Launch(store, FLAGS.retries, FLAGS.checkpoint_seconds)


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
    room: cluster.Room,
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
    make_trainer = functools.partial(engine.load_trainer, config, data_dir, options())
    job = cluster.Job(str(store.path), make_trainer, FLAGS.retries, FLAGS.checkpoint_seconds)
    with progress.shown(store, trials):
        outcome = cluster.run(job, missing, room, FLAGS.ray_address, cli.signals_noted)
    return report(store, outcome)


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


def print_stored(trials: Sequence[int], one: str = "trial") -> None:
    """Says how many of the trials are in the store of --store, calling each of them `one`."""
    there = len(set(trials) & set(Store.open(FLAGS.store).numbers()))
    of_all = "" if there == len(trials) else f" of {len(trials):,}"
    ones = one if len(trials) == 1 else f"{one}s"
    print(f"{there:,}{of_all} {ones} in {FLAGS.store}")


def condition_trials(config: RemovalConfig | DynamicsConfig) -> range:
    """Returns what --trials asks for, all by default; ValueError if the config has fewer."""
    trials = cli.parse_range(FLAGS.trials) if FLAGS.trials else range(config.num_trials)
    if trials.stop > config.num_trials:
        raise ValueError(
            f"--trials={FLAGS.trials}: {config.runs:,} runs of {len(config.conditions)} conditions "
            f"are trials 0:{config.num_trials}"
        )
    return trials


def _parsed(field: str, value: Any) -> Any:
    """Returns what a text flag says; ValueError if it is no such thing."""
    if field == "model_options":
        try:
            options = json.loads(value)
        except ValueError as error:
            raise ValueError(f"--model_options={value} is not JSON: {error}") from error
        if not isinstance(options, dict):
            raise ValueError(f"--model_options={value}: expected a JSON object of names and values")
        return options
    if field == "decay_epochs":
        try:
            return tuple(int(part) for part in value.split(",") if part)
        except ValueError as error:
            raise ValueError(f"--decay_epochs={value}: expected epochs like 30,60,90") from error
    return value


def _stack(text: str) -> str | int:
    if text in (engine.STACK_AUTO, engine.STACK_NONE):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise ValueError(f"--stack={text}: expected auto, none or a positive number of trials")
