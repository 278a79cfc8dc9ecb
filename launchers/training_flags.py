"""The flags that choose an experiment, override its numbers and say how trials are trained."""

import json
from collections.abc import Iterable
from typing import Any

from absl import flags

from analysis import cli
from tfmem import datasets, engine, experiments
from tfmem.config import CROPS, PRECISIONS, SCHEDULES, ExperimentConfig
from tfmem.store import Store

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


def define_training() -> None:
    """Defines how trials are trained: what does not change what they are."""
    flags.DEFINE_string(
        "stack",
        engine.STACK_AUTO,
        "Trials trained together in one compiled step: a number; auto, which stacks dense "
        "networks; none, which trains one at a time with Keras fit.",
    )
    flags.DEFINE_enum(
        "strategy",
        engine.STRATEGY_AUTO,
        ["auto", "mirrored", "default"],
        "tf.distribute strategy of one trial: mirrored over all GPUs, default for one device. auto "
        "is mirrored for ImageNet and default for all others; with --stack=auto, both other values "
        "also turn stacking off.",
    )
    flags.DEFINE_bool(
        "xla", False, "Compile unstacked training with XLA; stacked training always is."
    )
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
        stack=_stack(FLAGS.stack),
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
