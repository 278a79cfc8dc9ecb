"""What all ways of training share: the shape of the problem and the finished trial."""

import dataclasses
import functools
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from tfmem import models
from tfmem.datasets import ImageDataset
from tfmem.models import initializers
from tfmem.recipe import BUILT, ExperimentConfig
from tfmem.store.epochs import Epoch
from tfmem.store.trials import Predictions, Trial
from tfmem.subsets import RandomSubsets, Subsets
from tfmem.training import batches, schedules
from tfmem.training.failures import DivergedError


@dataclasses.dataclass(frozen=True)
class Problem:
    """A config and its dataset, and what follows from the two.

    Attributes:
      config: how trials are trained.
      dataset: with images, representations or a stream.
      given_subsets: what each trial is trained on; None is the config's random subsets.
      turnover: whether the model has turn-over dropout.
    """

    config: ExperimentConfig
    dataset: ImageDataset
    given_subsets: Subsets | None = None
    turnover: bool = False

    @functools.cached_property
    def subsets(self) -> Subsets:
        """What each trial is trained on."""
        if self.given_subsets is not None:
            return self.given_subsets
        train, config = self.dataset.train, self.config
        return RandomSubsets(len(train), config.subset_ratio, config.seed, train.candidates)

    @functools.cached_property
    def subset_size(self) -> int:
        """m of Sec. 2."""
        return self.subsets.size

    @property
    def steps_per_epoch(self) -> int:
        return batches.steps_per_epoch(self.config, self.subset_size)

    def build_model(self) -> keras.Model:
        return models.build_with(
            self.config.model_options,
            self.config.model,
            self.dataset.input_shape,
            self.dataset.num_classes,
            precision=self.config.precision,
            turnover=self.turnover,
            source=self.config.model_source,
        )

    def initial_weights(self, network: keras.Model, trial: int) -> list[np.ndarray]:
        """Returns what the network of a trial starts with, in the order of its weights."""
        seed = self.config.seed
        if self.config.initial_weights == BUILT:
            return initializers.built_weights(self.build_model, seed, trial)
        return initializers.initial_weights(network, seed, trial)

    def scaled(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images, or what takes their place, as the model takes them: float32."""
        images, largest = tf.cast(images, tf.float32), self.dataset.pixel_max
        return images if largest is None else images / largest

    def schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        return schedules.build(self.config, self.steps_per_epoch)

    def subset(self, trial: int) -> np.ndarray:
        """Returns the trial's subset mask, bool [n]."""
        return self.subsets.mask(trial)

    def to_trial(
        self,
        number: int,
        subset: np.ndarray,
        predicted: np.ndarray,
        probability: np.ndarray,
        seconds: float,
        epochs: Mapping[int, Epoch] | None = None,
    ) -> Trial:
        """Returns what a store keeps of a trained trial.

        Args:
          number: the trial.
          subset: bool [n], what it was trained on.
          predicted: uint16 [n + n'], on the training examples and then the test examples.
          probability: float16 [n + n'], of the true label, as `batches.evaluate` gives it.
          seconds: what it cost.
          epochs: what is kept of each epoch of a run that is followed, by its number.

        Raises:
          DivergedError: a logit was not finite.
        """
        if np.isnan(probability).any():
            raise DivergedError(
                f"the model of {self.config.name} diverged (its logits are not finite): "
                f"--base_learning_rate={self.config.base_learning_rate} is too high for it"
            )

        n, dataset = len(self.dataset.train), self.dataset
        train, test = (
            Predictions(predicted[part] == split.labels, predicted[part], probability[part])
            for split, part in ((dataset.train, slice(n)), (dataset.test, slice(n, None)))
        )
        return Trial(number, self.config.seed, subset, train, test, seconds, epochs or {})
