"""Training steps, as many in one execution as take about a second.

Python costs more than a small model's step, so that an epoch is one execution where it can be. None
is much longer than a second: between two, progress is told and a program can be stopped.
"""

import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfmem.training import feeds

_SECONDS = 1.0


class Executions:
    """Takes training steps of a compiled model on the batches of a feed.

    Args:
      model: takes the batches of the feed.
      feed: of the model.
      strategy: of the model.
      jit_compile: whether XLA compiles a step.
    """

    def __init__(
        self,
        model: keras.Model,
        feed: feeds.Feed,
        strategy: tf.distribute.Strategy,
        jit_compile: bool,
    ):
        self._model = model
        self._step_seconds = _SECONDS
        step = tf.function(
            lambda data: strategy.run(model.train_step, args=(data,)), jit_compile=jit_compile
        )

        @tf.function
        def steps(epoch: Any, first: tf.Tensor, end: tf.Tensor) -> dict[str, tf.Tensor]:
            def take(number):
                step(feed.step(epoch, number))
                return number + 1

            tf.while_loop(lambda number: number < end, take, [first])
            return model.get_metrics_result()

        # Traced once, whatever the epoch, the trial and its subset.
        self.steps = steps

    @property
    def at_once(self) -> int:
        """How many steps the next execution takes at most."""
        return max(1, int(_SECONDS / self._step_seconds))

    def take(
        self, epoch: Any, count: int, done: Callable[[int], None] = lambda steps: None
    ) -> dict[str, float]:
        """Takes the first steps of an epoch.

        Args:
          epoch: as `Feed.epoch` returns it.
          count: of steps.
          done: called with the number of steps that were just taken.

        Returns:
          The metrics over them, by name.
        """
        self._model.reset_metrics()
        first, metrics = 0, {}
        while first < count:
            begin = time.perf_counter()
            end = min(count, first + self.at_once)
            found = self.steps(epoch, tf.constant(first), tf.constant(end))
            metrics = {name: float(value) for name, value in found.items()}  # It waits for them.
            # The first execution compiles, so that few steps follow it, which tell more.
            self._step_seconds = (time.perf_counter() - begin) / (end - first)
            done(end - first)
            first = end
        return metrics
