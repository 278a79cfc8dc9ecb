"""Runs a list of trials on this machine and stores each one as soon as it is finished."""

from collections.abc import Sequence

from tfmem.config import ExperimentConfig
from tfmem.datasets import Dataset
from tfmem.store import Store

STACK_AUTO = "auto"
STACK_NONE = "none"


def make_trainer(config: ExperimentConfig, dataset: Dataset, stack: str | int, strategy: str):
    """Returns what trains the config's trials, a `StackedTrainer` or a `FitTrainer`.

    Args:
      config: says how.
      dataset: with images.
      stack: `auto` stacks models that can be stacked, `none` does not, a number stacks so many.
      strategy: `auto`, `default` or `mirrored` (`training.fit.build_strategy`); stacked trials run
        on one device, so that `mirrored` goes with unstacked ones.

    Raises:
      ValueError: the model cannot be stacked, or stack and strategy contradict each other.
    """
    from tfmem.training import common, fit, stacked

    problem = common.Problem(config, dataset)
    if stack == STACK_AUTO:
        stackable = stacked.dense_layers(problem.build_model()) is not None
        stack = None if stackable and strategy == "auto" else STACK_NONE
    if stack == STACK_NONE:
        name = "default" if strategy == "auto" else strategy
        return fit.FitTrainer(problem, fit.build_strategy(name))
    if strategy == "mirrored":
        raise ValueError("stacked trials run on one device: use --stack=none with mirrored")
    return stacked.StackedTrainer(problem, stack)


def run(store: Store, trainer, trials: Sequence[int], progress=lambda trials: None) -> None:
    """Trains the trials and stores each one when it is finished.

    Args:
      store: where they go.
      trainer: has `train(trials, progress)`, which yields finished trials.
      trials: their numbers.
      progress: called with the number of trials' worth of work just done, as they advance.

    Raises:
      DivergedError: some trials diverged; all others are stored.
    """
    for trial in trainer.train(trials, progress):
        store.write(trial)
