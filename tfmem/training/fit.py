"""One trial at a time with Keras `fit` under a tf.distribute strategy, for any model."""

import time
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfmem import models, pipeline
from tfmem.store import Trial
from tfmem.training.common import DivergedError, Problem, Progress

_EVALUATION_BATCH = 512
STRATEGIES = ("default", "mirrored")


def build_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of that name.

    Args:
      name: `default`, one device; `mirrored`, every GPU of this machine, or every logical CPU
        device where there is no GPU.
    """
    if name == "default":
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices(kind)]
    )


class _EpochProgress(keras.callbacks.Callback):
    def __init__(self, progress: Progress, epochs: int):
        super().__init__()
        self._progress = progress
        self._epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        self._progress(1 / self._epochs)


class FitTrainer:
    """Trains trials of one problem one after another.

    The model is built and compiled once; each trial starts from its own initial weights and an
    optimizer that has forgotten the last one.

    Args:
      problem: any model.
      strategy: where the model lives.
      jit_compile: whether XLA compiles the training step.

    Raises:
      ValueError: Keras runs on another backend than TensorFlow, or the batch is not a multiple of
        the number of replicas.
    """

    def __init__(
        self, problem: Problem, strategy: tf.distribute.Strategy, jit_compile: bool = False
    ):
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"Keras runs on {keras.backend.backend()!r}; training needs TensorFlow: "
                "set KERAS_BACKEND=tensorflow"
            )
        self._problem = problem
        self._replicas = strategy.num_replicas_in_sync
        dataset, config = problem.dataset, problem.config
        if config.batch_size % self._replicas:
            raise ValueError(
                f"a batch of {config.batch_size} cannot be spread evenly over {self._replicas} "
                "replicas: give a --batch_size that is a multiple of them"
            )
        self._images = np.concatenate([dataset.train.images, dataset.test.images])
        with strategy.scope():
            self._model = problem.build_model()
            self._model.compile(
                optimizer=keras.optimizers.SGD(
                    problem.schedule(),
                    momentum=config.momentum,
                    weight_decay=config.weight_decay or None,
                ),
                # A sum over examples that each weigh 1 / (examples in the batch): the mean over
                # the global batch, however it is spread over replicas and however short it is.
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
                jit_compile=jit_compile,
            )
            self._model.optimizer.build(self._model.trainable_variables)

    batch_of_trials = 1  # How many trials are in training at once.

    def train(
        self, trials: Sequence[int], progress: Progress = lambda trials: None
    ) -> Iterator[Trial]:
        """Yields each of the trials, in the order given, when it is finished.

        Args:
          trials: their numbers.
          progress: called with the work done since the last call.

        Raises:
          DivergedError: a trial's model gives no finite logits; raised after all others were
            yielded.
        """
        config = self._problem.config
        diverged = []
        for number in trials:
            start = time.perf_counter()
            subset = self._start(number)
            self._model.fit(
                self._batches(subset, number, config.epochs),
                epochs=config.epochs,
                steps_per_epoch=self._problem.steps_per_epoch,
                callbacks=[_EpochProgress(progress, config.epochs)],
                shuffle=False,
                verbose=0,
            )
            logits = self._logits()
            try:
                yield self._problem.finished(number, subset, logits, time.perf_counter() - start)
            except DivergedError as error:
                diverged.append(error)
        if diverged:
            raise diverged[0]

    def warm_up(self, trials: Sequence[int]) -> None:
        """Compiles what `train` needs, at the cost of two steps and one evaluation."""
        self.weights_after(trials[0], steps=2)
        self._logits()

    def weights_after(self, trial: int, steps: int) -> list[np.ndarray]:
        """Returns one trial's weights after so many steps of its first epoch."""
        subset = self._start(trial)
        self._model.fit(
            self._batches(subset, trial, epochs=1),
            epochs=1,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
        )
        return self._model.get_weights()

    def _start(self, trial: int) -> np.ndarray:
        """Sets the trial's initial weights, resets the optimizer and returns the subset mask."""
        seed = self._problem.config.seed
        self._model.set_weights(models.initial_weights(self._model, seed, trial))
        # Its step count and velocities; the rate is a schedule, never a variable.
        for variable in self._model.optimizer.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        return self._problem.subset(trial)

    def _batches(self, subset: np.ndarray, trial: int, epochs: int) -> tf.data.Dataset:
        """Yields (images, labels, weights) for every step.

        An epoch's last batch may be short; several replicas get it spread out to full length.
        """
        config, dataset = self._problem.config, self._problem.dataset
        orders = [pipeline.batch_order(config, subset, trial, epoch) for epoch in range(epochs)]
        images = tf.constant(dataset.train.images)
        labels = tf.constant(dataset.train.labels)

        short = self._problem.subset_size % config.batch_size
        slots, spread_weights = map(
            tf.constant,
            pipeline.spread(short or config.batch_size, config.batch_size, self._replicas),
        )

        def batch(index: tf.Tensor):
            weights = tf.fill(tf.shape(index), 1 / tf.cast(tf.size(index), tf.float32))
            if self._replicas > 1 and tf.size(index) < config.batch_size:
                index, weights = tf.gather(index, slots), spread_weights
            return self._scaled(tf.gather(images, index)), tf.gather(labels, index), weights

        return (
            tf.data.Dataset.from_tensor_slices(np.stack(orders))
            .flat_map(
                lambda order: tf.data.Dataset.from_tensor_slices(order).batch(config.batch_size)
            )
            .map(batch, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _scaled(self, images: tf.Tensor) -> tf.Tensor:
        return tf.cast(images, tf.float32) / self._problem.dataset.pixel_max

    def _logits(self) -> np.ndarray:
        """Returns float32 [n + n', classes], in evaluation mode, every batch full."""
        count = len(self._images)
        size = -(-min(_EVALUATION_BATCH, count) // self._replicas) * self._replicas
        images = tf.constant(self._images)
        batches = (
            tf.data.Dataset.from_tensor_slices(pipeline.padded_batches(count, size))
            .map(lambda index: self._scaled(tf.gather(images, index)))
            .prefetch(tf.data.AUTOTUNE)
        )
        return self._model.predict(batches, verbose=0)[:count]
