"""Trained networks on another test set: predictions to the bit as if they were trained with it."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator

import numpy as np

from tfmem.config import EvaluationConfig
from tfmem.datasets import ArrayDataset
from tfmem.store.trials import Network, Predictions, Trial
from tfmem.training import trainers
from tfmem.training.protocol import Trainer


class Evaluator:
    """Evaluates networks in the way in which their trials were evaluated after training.

    Args:
      config: of the trials that come of it.
      dataset: of the config.
      strategy: of networks that are not stacked (`trainers.Options`).
    """

    def __init__(self, config: EvaluationConfig, dataset: ArrayDataset, strategy: str):
        self._config, self._dataset, self._strategy = config, dataset, strategy
        self._trainers: dict[tuple[bool, bool], Trainer] = {}

    def run(self, trained: Iterable[tuple[Trial, Network]]) -> Iterator[Trial]:
        """Yields trials with the predictions of their networks on the dataset's test examples.

        Args:
          trained: trials and their networks; as many are taken at once as are evaluated at once.

        Yields:
          The trials in the same order; all but their test predictions and what they cost is theirs.

        Raises:
          ValueError: a network is another model's, or its logits are not finite.
        """
        for how, group in itertools.groupby(trained, lambda pair: _way(pair[1])):
            trainer = self._trainer(*how)
            while pairs := list(itertools.islice(group, trainer.batch_of_trials)):
                for trial, network in pairs:
                    _require_fits(trial, network, trainer.weight_shapes)
                yield from self._evaluated(trainer, pairs)

    def _trainer(self, stacked: bool, jit_compile: bool) -> Trainer:
        """Returns what trained such networks; it is made once."""
        how = stacked, jit_compile
        if how not in self._trainers:
            alone = trainers.Options(trainers.STACK_NONE, self._strategy, jit_compile)
            options = trainers.Options() if stacked else alone
            made = trainers.make_trainer(self._config.experiment, self._dataset, options)
            self._trainers[how] = made
        return self._trainers[how]

    def _evaluated(self, trainer: Trainer, pairs: list[tuple[Trial, Network]]) -> Iterator[Trial]:
        start = time.perf_counter()
        trials, networks = zip(*pairs, strict=True)
        found = trainer.evaluate(networks)
        seconds = (time.perf_counter() - start) / len(pairs)
        labels = self._dataset.test.labels
        for trial, (predicted, probability) in zip(trials, found, strict=True):
            if np.isnan(probability).any():
                example = self._dataset.test.ids[int(np.isnan(probability).argmax())]
                raise ValueError(
                    f"the network of trial {trial.number} has logits that are not finite on the "
                    f"test example {example} of {self._config.test_dataset}"
                )
            test = Predictions(predicted == labels, predicted, probability)
            yield dataclasses.replace(trial, test=test, seconds=seconds)


def _way(network: Network) -> tuple[bool, bool]:
    """Returns how the network's predictions were computed."""
    return network.stacked, network.jit_compile


def _require_fits(trial: Trial, network: Network, shapes: list[tuple[int, ...]]) -> None:
    """Raises ValueError, with what differs first, if a network has other weights than its model."""
    found = [weight.shape for weight in network.weights]
    if found == shapes:
        return
    what = f"{len(found)} weights, expected {len(shapes)}"
    if len(found) == len(shapes):
        index = next(index for index, shape in enumerate(shapes) if found[index] != shape)
        what = f"a weight {index} of shape {found[index]}, expected {shapes[index]}"
    raise ValueError(f"the network of trial {trial.number} is another model's: it has {what}")
