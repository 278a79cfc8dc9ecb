"""Learning-rate schedules, the papers' and a cosine, as Keras schedules over arrays of steps.

A schedule maps a step, or an array of steps, to rates, so that `fit` and stacked training take the
same float32 numbers from it.
"""

import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from tfmem.recipe import ConstantSchedule, CosineSchedule, ExperimentConfig, StepSchedule


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose fields are all that Keras has to save of it."""

    def get_config(self):
        return dict(vars(self))


@dataclasses.dataclass(eq=False)
class _Warmup(_Schedule):
    """A schedule that warms up over a share of its steps."""

    base_learning_rate: float
    total_steps: int
    warmup_fraction: float

    @property
    def warmup_steps(self) -> float:
        return self.warmup_fraction * self.total_steps


@keras.saving.register_keras_serializable(package="tfmem")
class WarmupLinear(_Warmup):
    """Linear from 0 to the base rate over the first iterations, then linearly back to 0 (Sec. B).

    With T steps of which a share f warms up, the rate at step s is
    base * min(s / (f T), (T - s) / ((1 - f) T)): 0 at step 0, base at step f T, 0 at step T.
    """

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = step / self.warmup_steps
        falling = (self.total_steps - step) / (self.total_steps - self.warmup_steps)
        return self.base_learning_rate * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)


@keras.saving.register_keras_serializable(package="tfmem")
@dataclasses.dataclass(eq=False)
class WarmupSteps(_Schedule):
    """Linear from 0 to the base rate, then constant between decays (Sec. B, ImageNet).

    The rate at step s is base * min(s / warmup, 1) * factor ** (number of decays at or before s).
    Without warm-up steps it starts at the base rate.
    """

    base_learning_rate: float
    warmup_steps: int
    decay_steps: Sequence[int]
    decay_factor: float

    def __call__(self, step):
        step = ops.cast(step, "float32")
        risen = step / self.warmup_steps if self.warmup_steps else ops.ones_like(step)
        rate = self.base_learning_rate * ops.minimum(risen, 1.0)
        for decay_step in self.decay_steps:
            rate = rate * ops.where(step >= decay_step, self.decay_factor, 1.0)
        return rate


@keras.saving.register_keras_serializable(package="tfmem")
class WarmupCosine(_Warmup):
    """Linear from 0 to the base rate over the first iterations, then half a cosine down to 0.

    With T steps of which a share f warms up, the rate at step s is base * s / (f T) up to step f T
    and base * (1 + cos(pi (s - f T) / ((1 - f) T))) / 2 from there on. The second part is Keras's
    `CosineDecay`, whose own warm-up takes one step at a time alone.
    """

    def __call__(self, step):
        step, warmup_steps = ops.cast(step, "float32"), self.warmup_steps
        decay = keras.optimizers.schedules.CosineDecay(
            self.base_learning_rate, self.total_steps - warmup_steps
        )
        falling = decay(ops.maximum(step - warmup_steps, 0.0))
        if not warmup_steps:
            return falling
        rising = self.base_learning_rate * step / warmup_steps
        return ops.where(step < warmup_steps, rising, falling)


@keras.saving.register_keras_serializable(package="tfmem")
@dataclasses.dataclass(eq=False)
class Constant(_Schedule):
    """The base rate at every step."""

    base_learning_rate: float

    def __call__(self, step):
        return ops.full(ops.shape(step), self.base_learning_rate, "float32")


def build(
    config: ExperimentConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the config's schedule over all optimizer steps of a trial."""
    described, base = config.learning_rates, config.base_learning_rate
    if isinstance(described, ConstantSchedule):
        return Constant(base)
    if isinstance(described, StepSchedule):
        return WarmupSteps(
            base,
            described.warmup_epochs * steps_per_epoch,
            [epoch * steps_per_epoch for epoch in described.decay_epochs],
            described.decay_factor,
        )
    kind = WarmupCosine if isinstance(described, CosineSchedule) else WarmupLinear
    return kind(base, config.epochs * steps_per_epoch, described.warmup_fraction)
