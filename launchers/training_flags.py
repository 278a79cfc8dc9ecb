"""The flags that choose an experiment, override its numbers and say how trials are trained."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import flags

from analysis import cli
from tfmem import datasets, engine, experiments
from tfmem.config import (
    CROPS,
    PRECISIONS,
    SCHEDULES,
    DynamicsConfig,
    ExperimentConfig,
    RemovalConfig,
)
from tfmem.store import Store
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


def define_checkpoints() -> None:
    """Defines how often a trial in training is saved."""
    flags.DEFINE_float(
        "checkpoint_seconds",
        60.0,
        "An unstacked trial in training is saved at the end of an epoch if so much time has passed "
        "since it was last; it continues from there.",
        lower_bound=0.0,
    )


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


def train(store: Store, trainer, trials: list[int], first: int = 0) -> None:
    """Trains and stores trials, with a progress bar; see `engine.run`."""
    with cli.progress_bar(len(trials), "trials") as progress:
        engine.run(store, trainer, trials, progress, FLAGS.checkpoint_seconds, first)


def train_conditions(
    config: RemovalConfig | DynamicsConfig,
    subsets: Sequence[Subsets],
    missing: Sequence[int],
    make_trainer: Callable[[Subsets], Any],
    create_store: Callable[[], Store],
) -> None:
    """Trains and stores runs of several conditions, with one progress bar for all.

    Args:
      config: run r of condition c is trial c * runs + r.
      subsets: what each condition is trained on, in their order.
      missing: trials of the store, ascending.
      make_trainer: takes the first condition's subsets.
      create_store: called when there is a trainer, so that a contradiction in the flags leaves no
        store behind.

    Raises:
      ValueError: runs diverged; all others are stored.
    """
    import tensorflow as tf

    from tfmem.training.common import DivergedError

    # Stacked runs compile a step for each condition, which TensorFlow takes for an oversight.
    tf.get_logger().addFilter(lambda record: "tf.function retracing" not in record.getMessage())
    diverged, store, trainer = [], None, None
    with contextlib.ExitStack() as until_done:
        for number, trials in itertools.groupby(missing, lambda trial: trial // config.runs):
            if trainer is None:
                trainer = make_trainer(subsets[number])
                store = create_store()
                progress = until_done.enter_context(cli.progress_bar(len(missing), "runs"))
            else:
                trainer = trainer.for_subsets(subsets[number])
            first = number * config.runs
            runs = [trial - first for trial in trials]
            try:
                engine.run(store, trainer, runs, progress, FLAGS.checkpoint_seconds, first)
            except DivergedError as error:
                where = f"{config.conditions[number]} (its trial 0 is trial {first} of the store)"
                diverged.append(f"{where}: {error}")
    if diverged:
        raise ValueError("; ".join(diverged))


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
