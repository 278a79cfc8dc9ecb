"""What both ways of training share: the shape of the problem and the finished trial."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np

from tfmem import models, pipeline, schedules, subsets
from tfmem.config import ExperimentConfig
from tfmem.datasets import Dataset, Split
from tfmem.store import Predictions, Trial

# Called as trials advance, with the number of trials' worth of work just done (1 = one trial).
Progress = Callable[[float], None]


class DivergedError(ValueError):
    """A trial whose model gives no numbers any more."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A config and its dataset, and what follows from the two.

    Attributes:
      config: how trials are trained.
      dataset: with images.
    """

    config: ExperimentConfig
    dataset: Dataset

    @functools.cached_property
    def subset_size(self) -> int:
        """m of Sec. 2."""
        return subsets.subset_size(len(self.dataset.train), self.config.subset_ratio)

    @property
    def steps_per_epoch(self) -> int:
        return pipeline.steps_per_epoch(self.config, self.subset_size)

    def build_model(self) -> keras.Model:
        return models.build(
            self.config.model,
            self.dataset.input_shape,
            self.dataset.num_classes,
            **self.config.model_options,
        )

    def schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        return schedules.build(self.config, self.config.epochs * self.steps_per_epoch)

    def subset(self, trial: int) -> np.ndarray:
        """Returns the trial's subset mask, bool [n]."""
        return subsets.sample_subset(
            len(self.dataset.train), self.config.subset_ratio, self.config.seed, trial
        )

    def finished(
        self, number: int, subset: np.ndarray, logits: np.ndarray, seconds: float
    ) -> Trial:
        """Returns what a store keeps of a trained trial.

        Args:
          number: the trial.
          subset: bool [n], what it was trained on.
          logits: float32 [n + n', classes], on the training examples and then the test examples.
          seconds: what it cost.

        Raises:
          DivergedError: a logit is not finite.
        """
        if not np.isfinite(logits).all():
            raise DivergedError(
                f"trial {number} of {self.config.name} diverged (its logits are not finite): "
                f"--base_learning_rate={self.config.base_learning_rate} is too high for it"
            )

        def predictions(split: Split, logits: np.ndarray) -> Predictions:
            predicted, probability = pipeline.evaluate(logits, split.labels)
            return Predictions(predicted == split.labels, predicted, probability)

        train_logits, test_logits = np.split(logits, [len(self.dataset.train)])
        train = predictions(self.dataset.train, train_logits)
        test = predictions(self.dataset.test, test_logits)
        return Trial(number, self.config.seed, subset, train, test, seconds)
