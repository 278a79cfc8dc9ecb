"""Chooses what trains trials; `tfmem.workers.launch` lets it train them."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmem import datasets, quiet
from tfmem.config import DynamicsConfig
from tfmem.datasets import Annotations, ArrayDataset, ImageDataset, StreamedDataset
from tfmem.recipe import ExperimentConfig
from tfmem.subsets import FixedSubset, Subsets, of_condition
from tfmem.training.protocol import Trainer

if TYPE_CHECKING:  # They import TensorFlow.
    from tfmem.training.dynamics import DynamicsTrainer
    from tfmem.training.fit import FitTrainer
    from tfmem.training.problem import Problem
    from tfmem.training.turnover import TurnoverTrainer

STACK_AUTO = "auto"
STACK_NONE = "none"
STRATEGY_AUTO = "auto"
_TRIED = 8  # Examples that a model of one's own is tried on.


@dataclasses.dataclass(frozen=True)
class Options:
    """How trials are trained; what they are is up to their config.

    Attributes:
      stack: `auto` stacks models that can be stacked, `none` does not, a number stacks so many.
      strategy: `auto`, `default` or `mirrored` (`training.fit.build_strategy`). `auto` is
        `mirrored` for a dataset that does not fit into memory (ImageNet), where a trial needs all
        GPUs, and one device a trial for others. Stacked trials run on one device.
      jit_compile: whether XLA compiles unstacked training; stacked training always is.
      tensorboard: folder for TensorBoard logs of unstacked trials, or None.
      cores: CPU cores to compute on, beside other processes; None is all of them, or a GPU.
      keep_networks: whether finished trials on random subsets have their networks with them.
    """

    stack: str | int = STACK_AUTO
    strategy: str = STRATEGY_AUTO
    jit_compile: bool = False
    tensorboard: str | None = None
    cores: int | None = None
    keep_networks: bool = False


def load_trainer(
    config: ExperimentConfig,
    data_dir: str | None,
    given: Annotations | None,
    options: Options,
    cores: int | None,
) -> Trainer:
    """Returns what trains the config's trials, in a process of ours that has only just begun.

    Args:
      config: what a trial is.
      data_dir: where TFDS keeps its data; None is TFDS's own default.
      given: what files of labels and candidates said, which need not be on this machine; None if
        the config names none.
      options: how it is trained.
      cores: CPU cores to compute on; None is all of them, or a GPU.

    Raises:
      ValueError: as `datasets.load_for` and `make_trainer`.
    """
    quiet.in_program()
    begin(cores)
    dataset = datasets.load_for(config, data_dir, given)
    return make_trainer(config, dataset, dataclasses.replace(options, cores=cores))


def begin(cores: int | None) -> None:
    """Imports TensorFlow, which computes on so many CPU cores from now on, or on all it has."""
    if cores is not None:
        quiet.import_tensorflow(find_devices=False)
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
    quiet.import_tensorflow()


def make_trainer(
    config: ExperimentConfig,
    dataset: ImageDataset,
    options: Options = Options(),
    subsets: Subsets | None = None,
) -> Trainer:
    """Returns what trains the config's trials, a `StackedTrainer` or a `FitTrainer`.

    Args:
      config: what a trial is.
      dataset: with images, representations or a stream.
      options: how it is trained.
      subsets: what each trial is trained on; None is the config's random subsets.

    Raises:
      ValueError: the model cannot be stacked, or options contradict each other.
    """
    from tfmem.training import fit, stacked
    from tfmem.training.problem import Problem

    problem = _sound(Problem(config, dataset, subsets))
    # Strategies are for trials that are not stacked: to name one is to ask for these.
    chooses = options.stack == STACK_AUTO and options.strategy == STRATEGY_AUTO
    if isinstance(options.stack, int) or chooses:
        size = options.stack if isinstance(options.stack, int) else None
        try:
            trainer = stacked.StackedTrainer(problem, size, options.cores, options.keep_networks)
        except stacked.NotStackableError:
            if not chooses:
                raise
        else:
            _require_nothing_unstacked(options)
            return trainer
    return fit.FitTrainer(problem, *_placed(dataset, options), options.keep_networks)


def _require_nothing_unstacked(options: Options) -> None:
    """Raises ValueError, naming the flag, if an option goes with unstacked trials alone."""
    for given, flag in (
        (options.strategy == "mirrored", "--strategy=mirrored"),
        (options.jit_compile, "--xla"),
        (options.tensorboard, "--tensorboard"),
    ):
        if given:
            raise ValueError(
                f"{flag} goes with trials that are trained one at a time, and these are stacked: "
                "add --stack=none"
            )


def make_network_trainer(
    config: ExperimentConfig, dataset: ImageDataset, options: Options
) -> "FitTrainer":
    """Returns what trains a network on all of a dataset, never stacked, and has it afterwards."""
    from tfmem.training import fit
    from tfmem.training.problem import Problem

    problem = _sound(Problem(config, dataset, _everything(dataset)))
    return fit.FitTrainer(problem, *_placed(dataset, options))


def make_turnover_trainer(
    config: ExperimentConfig, dataset: ImageDataset, options: Options, store: str
) -> "TurnoverTrainer":
    """Returns what trains models with turn-over dropout on all of a dataset, never stacked.

    Args:
      config: how a model is trained.
      dataset: with images.
      options: where it is trained.
      store: where networks are kept.

    Raises:
      ValueError: as `TurnoverTrainer`.
    """
    from tfmem import models
    from tfmem.training import turnover
    from tfmem.training.problem import Problem

    models.require_turnover(config.model, config.model_source)
    problem = _sound(Problem(config, dataset, _everything(dataset), turnover=True))
    return turnover.TurnoverTrainer(problem, *_placed(dataset, options), store)


def make_dynamics_trainer(
    config: DynamicsConfig,
    dataset: ImageDataset,
    subsets: dict[str, np.ndarray],
    options: Options = Options(),
) -> "DynamicsTrainer":
    """Returns what trains models and follows them epoch by epoch, never stacked.

    Args:
      config: how, on its first condition.
      dataset: with images, or a stream.
      subsets: bool [n], `tr_easy` and `tr_difficult`, whose gradients are told apart.
      options: where they are trained.

    Raises:
      ValueError: as `DynamicsTrainer`.
    """
    from tfmem.training import dynamics
    from tfmem.training.problem import Problem

    easy, difficult = subsets["tr_easy"], subsets["tr_difficult"]
    kept = of_condition(config.conditions[0], subsets)
    return dynamics.DynamicsTrainer(
        _sound(Problem(config.experiment, dataset, kept)),
        *_placed(dataset, options),
        groups=np.stack([np.ones_like(easy), easy, difficult]),
        gradient_batches=config.gradient_batches,
    )


def require_trainable(config: ExperimentConfig, dataset: ImageDataset) -> None:
    """Checks what a trainer checks when it is made, for a process that makes none.

    Raises:
      ValueError: the model does not take what the dataset has, or gives no logits; Keras's
        optimizer does not take its options.
    """
    quiet.import_tensorflow()
    from tfmem.training import optimizers
    from tfmem.training.problem import Problem

    optimizers.require(config)
    _sound(Problem(config, dataset)).build_model()


def _sound(problem: "Problem") -> "Problem":
    """Returns the problem; ValueError if a model of one's own does not give logits."""
    from tfmem.models import custom, turnover

    config, dataset = problem.config, problem.dataset
    if not config.has_own_model:
        return problem
    if isinstance(dataset, ArrayDataset):
        images = dataset.train.images[:_TRIED]
    else:  # Those of a stream take long to reach, and any will do.
        images = np.random.default_rng(0).random((_TRIED, *dataset.input_shape))
    network, scaled = problem.build_model(), problem.scaled(images)

    def logits() -> np.ndarray:
        if problem.turnover:
            return np.array(turnover.apply(network, scaled, np.arange(len(images)), turnover.FULL))
        return np.array(network(scaled, training=False))

    custom.require_logits(config.model, config.model_source, logits)
    return problem


def _everything(dataset: ImageDataset) -> FixedSubset:
    return FixedSubset(np.ones(len(dataset.train), bool))


def _placed(dataset: ImageDataset, options: Options) -> tuple[Any, bool, str | None]:
    """Returns the strategy of unstacked trials, whether XLA compiles, the TensorBoard folder."""
    from tfmem.training import fit

    strategy = fit.build_strategy("mirrored" if is_mirrored(dataset, options) else "default")
    return strategy, options.jit_compile, options.tensorboard


def is_mirrored(dataset: ImageDataset, options: Options) -> bool:
    """Returns whether a trial that is not stacked is trained on all GPUs."""
    if options.strategy == STRATEGY_AUTO:
        return isinstance(dataset, StreamedDataset)
    return options.strategy == "mirrored"
