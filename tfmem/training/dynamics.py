"""The dynamics of training: which examples are right after each epoch, and their gradients."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from etils import epath

from tfmem import seeds
from tfmem.datasets import StreamedDataset
from tfmem.store.epochs import Epoch
from tfmem.training import gradients
from tfmem.training.fit import Evaluated, FitTrainer
from tfmem.training.problem import Problem

_GRADIENT_PASSES = 3  # What a gradient of an example costs, in evaluations of it, about.


class DynamicsTrainer(FitTrainer):
    """Trains models and keeps, after every epoch and before the first, which examples are right.

    On some mini-batches it also measures the gradients of examples (Liu et al., eqs. 3 and 4).

    Args:
      problem: any; its images must be in memory for gradients.
      strategy: where the model lives.
      jit_compile: whether XLA compiles the training step and the evaluation step.
      tensorboard: folder for TensorBoard logs, or None.
      groups: bool [g, n], training examples whose gradients are told apart.
      gradient_batches: mini-batches that are measured after an epoch; 0 measures none.

    Raises:
      ValueError: gradients of a dataset that streams its images, or as `FitTrainer`.
    """

    def __init__(
        self,
        problem: Problem,
        strategy: tf.distribute.Strategy,
        jit_compile: bool = False,
        tensorboard: epath.PathLike | None = None,
        *,
        groups: np.ndarray,
        gradient_batches: int = 0,
    ):
        if gradient_batches and isinstance(problem.dataset, StreamedDataset):
            raise ValueError(
                f"{problem.dataset.name} does not fit into memory, which gradients need: "
                "give --gradient_batches=0"
            )
        super().__init__(problem, strategy, jit_compile, tensorboard)
        self._groups = groups
        self._gradient_batches = gradient_batches
        if gradient_batches:
            # Those of filters are taken one by one, which TensorFlow warns of each time.
            tf.get_logger().addFilter(lambda record: "while_loop" not in record.getMessage())
            self._measure = gradients.Measurement(
                self._network, label_smoothing=problem.config.label_smoothing
            )

    @property
    def observed(self) -> int:
        dataset = self._problem.dataset
        return len(dataset.train) + len(dataset.test) + _GRADIENT_PASSES * self._measured

    @property
    def _measured(self) -> int:
        """Examples whose gradients are measured after an epoch."""
        size = self._problem.config.batch_size
        return min(self._gradient_batches * size, self._problem.subset_size)

    def observe(self, trial: int, epoch: int, evaluated: Evaluated) -> Epoch:
        kept = {f"{split}_correct": self._correct(split, evaluated) for split in ("train", "test")}
        if self._gradient_batches:
            found = self._measure(self._batches(trial, epoch, evaluated), len(self._groups))
            kept |= dataclasses.asdict(found)
        return kept

    def _batches(
        self, trial: int, epoch: int, evaluated: Evaluated
    ) -> Iterator[gradients.MiniBatch]:
        """Yields random mini-batches of what the trial is trained on, without augmentation."""
        config, labels = self._problem.config, self._problem.dataset.train.labels
        rng = seeds.generator(config.seed, trial, "gradient_batches", epoch)
        order = rng.permutation(np.flatnonzero(self._problem.subset(trial)))[: self._measured]
        for start in range(0, len(order), config.batch_size):
            index = order[start : start + config.batch_size]
            images = self._feed.inputs({"index": tf.constant(index)})
            yield gradients.MiniBatch(images, labels[index], self._groups[:, index])
            evaluated(_GRADIENT_PASSES * len(index))
