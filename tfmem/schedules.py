"""The papers' learning-rate schedules, as Keras schedules over whole batches of steps.

A schedule maps a step, or an array of steps, to rates, so that `fit` and stacked training take the
same float32 numbers from it.
"""

import keras
from keras import ops

from tfmem.config import ExperimentConfig


@keras.saving.register_keras_serializable(package="tfmem")
class WarmupLinear(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0 to the base rate over the first iterations, then linearly back to 0 (Sec. B).

    With T steps of which a share f warms up, the rate at step s is
    base * min(s / (f T), (T - s) / ((1 - f) T)): 0 at step 0, base at step f T, 0 at step T.
    """

    def __init__(self, base_learning_rate: float, total_steps: int, warmup_fraction: float):
        self.base_learning_rate = base_learning_rate
        self.total_steps = total_steps
        self.warmup_fraction = warmup_fraction

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warmup_steps = self.warmup_fraction * self.total_steps
        rising = step / warmup_steps
        falling = (self.total_steps - step) / (self.total_steps - warmup_steps)
        return self.base_learning_rate * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self):
        return {
            "base_learning_rate": self.base_learning_rate,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
        }


@keras.saving.register_keras_serializable(package="tfmem")
class Constant(keras.optimizers.schedules.LearningRateSchedule):
    """The base rate at every step."""

    def __init__(self, base_learning_rate: float):
        self.base_learning_rate = base_learning_rate

    def __call__(self, step):
        return ops.full(ops.shape(step), self.base_learning_rate, "float32")

    def get_config(self):
        return {"base_learning_rate": self.base_learning_rate}


def build(
    config: ExperimentConfig, total_steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the config's schedule over `total_steps` optimizer steps."""
    if config.schedule == "constant":
        return Constant(config.base_learning_rate)
    return WarmupLinear(config.base_learning_rate, total_steps, config.warmup_fraction)
