"""The flags that choose an experiment, override its numbers and say how trials are trained."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from absl import flags

from analysis.cli import arguments, program
from tfmem import datasets, experiments, own, quiet
from tfmem.config import DynamicsConfig, RemovalConfig
from tfmem.disk import atomic
from tfmem.recipe import CROPS, INITIAL_WEIGHTS, OPTIMIZERS, PRECISIONS, SCHEDULES, ExperimentConfig
from tfmem.training import trainers
from tfmem.workers import cluster

FLAGS = flags.FLAGS
# A flag counts as defined by the program that defines it through this.
flags.disclaim_key_flags()
# Fields that say which random subset a trial sees: nothing to programs with subsets of their own.
OF_SUBSETS = ("subset_ratio", "candidates")
_FILES = ("labels", "candidates")
_CHOICES = {
    "schedule": SCHEDULES,
    "crop": CROPS,
    "precision": PRECISIONS,
    "initial_weights": INITIAL_WEIGHTS,
    "optimizer": OPTIMIZERS,
}
_DEFINE: Mapping[Any, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


def define_experiment(
    names: Iterable[str] = experiments.EXPERIMENTS, required: bool = True
) -> None:
    """Defines --experiment.

    Args:
      names: the experiments that the program takes.
      required: whether there has to be one.
    """
    with program.group("What is trained"):
        text = (
            f"One of {', '.join(names)}; tfmem experiments says what they are. Or one of your own, "
            "FILE.py:NAME or MODULE:NAME: an ExperimentConfig, or a function that returns one."
        )
        arguments.define_own("experiment", text, required)


def define_store(required: bool = True) -> None:
    """Defines --store and --data_dir.

    Args:
      required: whether there has to be a store.
    """
    with program.group("What is read and written"):
        text = "Directory of the store; made if it is not there."
        arguments.define_path("store", text, required)
        arguments.define_data_dir()


def _define_overrides(without: Iterable[str]) -> None:
    """Defines a flag for every other number of an experiment that can be overridden."""
    with program.group("The recipe (what is given overrides the experiment's)"):
        for field, text in experiments.OVERRIDES.items():
            if field in without:
                continue
            if field == "dataset":
                arguments.define_dataset("Dataset")
            elif field == "model":
                arguments.define_own(field, text)
            elif field in _CHOICES:
                flags.DEFINE_enum(field, None, _CHOICES[field], text)
            elif field in _FILES:
                arguments.define_path(field, text)
            else:
                define = _DEFINE.get(experiments.field_type(field), flags.DEFINE_string)
                define(field, None, text)


def define_training(without: Iterable[str] = (), stacks: bool = True) -> None:
    """Defines how trials are trained: the recipe, and what does not change what they are.

    Args:
      without: fields of an experiment that mean nothing to the program.
      stacks: whether the program can train trials stacked.
    """
    _define_overrides(without)
    with program.group("Where and how"):
        strategy = (
            "tf.distribute strategy of one trial: mirrored over all GPUs, default for one device. "
            "auto is mirrored for ImageNet and default for all others"
        )
        xla = "Compile unstacked training with XLA; stacked training always is."
        if stacks:
            flags.DEFINE_string(
                "stack",
                trainers.STACK_AUTO,
                "Trials trained together in one compiled step: a number; auto, which stacks dense "
                "networks; none, which trains one at a time with Keras fit.",
            )
            strategy += "; with --stack=auto, both other values also turn stacking off"
        else:
            xla = "Compile training with XLA."
        flags.DEFINE_enum(
            "strategy", trainers.STRATEGY_AUTO, ["auto", "mirrored", "default"], f"{strategy}."
        )
        flags.DEFINE_bool("xla", False, xla)
        text = "Folder for TensorBoard logs of unstacked trials; none if empty."
        arguments.define_path("tensorboard", text)


def define_launch() -> None:
    """Defines what a launch does about trials that are interrupted or fail."""
    with program.group("When trials are interrupted or fail"):
        flags.DEFINE_float(
            "checkpoint_seconds",
            60.0,
            "An unstacked trial in training is saved at the end of an epoch if so much time has "
            "passed since it was last; it continues from there.",
            lower_bound=0.0,
        )
        text = "How often a trial that failed is trained again."
        arguments.define_count("retries", 2, text, lowest=0)


_ROOM = {
    "gpus_per_trial": "GPUs that train one trial together; ImageNet's recipe has 8. By default "
    "one, or CPU cores where there is no GPU.",
    "trials_per_gpu": "Trials that share one GPU, for small models.",
    "cpus_per_trial": "CPU cores of a trial: those that feed its GPU, or, where there is no GPU, "
    "those that it is trained on; one by default.",
}


def define_engine() -> None:
    """Defines where trials are trained: in this process, or by Ray, and which of them."""
    with program.group("Where and how"):
        flags.DEFINE_enum(
            "engine",
            "local",
            ["local", "ray"],
            "local trains in this process; ray on all GPUs of this machine, or of a cluster.",
        )
        arguments.define_text(
            "ray_address",
            "With --engine=ray: a Ray cluster, HOST:PORT, or auto for the one that this machine is "
            "part of; by default a Ray of this machine alone is started.",
        )
        for name, text in _ROOM.items():
            arguments.define_count(name, None, f"With --engine=ray: {text}")
        arguments.define_text(
            "shard",
            "i/N: only every N-th of the trials, from the i-th on, counted from 0: one task of a "
            "Slurm array.",
        )


def room() -> cluster.WorkerResources | None:
    """Returns what a worker takes of Ray, or None without Ray; ValueError if flags contradict."""
    if FLAGS.engine == "ray":
        given = {name: value for name in _ROOM if (value := FLAGS[name].value) is not None}
        return cluster.WorkerResources(**given)
    for name in ("ray_address", *_ROOM):
        if FLAGS[name].present:
            raise ValueError(f"--{name} has no effect with --engine=local: add --engine=ray")
    return None


def shard(trials: range) -> range:
    """Returns the part of the trials that --shard asks for; ValueError if it is no part."""
    if FLAGS.shard is None:
        return trials
    match = re.fullmatch(r"(\d+)/(\d+)", FLAGS.shard)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not index < count:
        raise ValueError(f"--shard={FLAGS.shard}: expected i/N with i from 0 to N - 1, such as 0/8")
    return trials[index::count]


def experiment() -> ExperimentConfig:
    """Returns the config that the flags ask for; ValueError if they are wrong."""
    values = {field: FLAGS[field].value for field in experiments.OVERRIDES if field in FLAGS}
    given = {field: _parsed(field, value) for field, value in values.items() if value is not None}
    config = experiments.resolve(FLAGS.experiment, given)
    datasets.require_known(config.dataset)
    if config.has_own_model:
        quiet.import_tensorflow(find_devices=False)  # Which the file imports.
        model, source = own.located(config.model), own.load(config.model)[1]
        config = dataclasses.replace(config, model=model, model_source=source)
    return dataclasses.replace(config, dataset=datasets.located(config.dataset))


def require_images(config: ExperimentConfig) -> None:
    """Raises ValueError if the experiment is one of the last layer alone."""
    if config.name in experiments.NETWORK_OF:
        raise ValueError(
            f"{config.name} trains on the penultimate features of a network: "
            "tfmem train_last_layer makes them and its trials"
        )


def options() -> trainers.Options:
    """Returns how the flags want trials to be trained; ValueError if they are wrong."""
    return trainers.Options(
        stack=_stack(FLAGS.stack) if "stack" in FLAGS else trainers.STACK_NONE,
        strategy=FLAGS.strategy,
        jit_compile=FLAGS.xla,
        tensorboard=FLAGS.tensorboard or None,
    )


def condition_trials(config: RemovalConfig | DynamicsConfig) -> range:
    """Returns what --trials asks for, all by default; ValueError if the config has fewer."""
    trials = arguments.chosen_trials() or range(config.num_trials)
    if trials.stop > config.num_trials:
        raise ValueError(
            f"--trials={FLAGS.trials}: {config.runs:,} runs of {len(config.conditions)} conditions "
            f"are trials 0:{config.num_trials}"
        )
    return trials


def _parsed(field: str, value: Any) -> Any:
    """Returns what a text flag says; ValueError if it is no such thing."""
    if field in _FILES:
        return atomic.absolute(value)
    if field in ("model_options", "optimizer_options"):
        try:
            options = json.loads(value)
        except ValueError as error:
            raise ValueError(f"--{field}={value} is not JSON: {error}") from error
        if not isinstance(options, dict):
            raise ValueError(f"--{field}={value}: expected a JSON object of names and values")
        return options
    if field == "decay_epochs":
        try:
            return tuple(int(part) for part in value.split(",") if part)
        except ValueError as error:
            raise ValueError(f"--decay_epochs={value}: expected epochs like 30,60,90") from error
    return value


def _stack(text: str) -> str | int:
    if text in (trainers.STACK_AUTO, trainers.STACK_NONE):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise ValueError(f"--stack={text}: expected auto, none or a positive number of trials")
