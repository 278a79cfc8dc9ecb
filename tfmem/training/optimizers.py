"""What a trial descends, and by which steps: Keras's losses and optimizers by a config."""

import inspect
import json
import re
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfmem.recipe import NOT_TAKEN, ExperimentConfig

_CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")


class SmoothedCrossentropy(keras.losses.CategoricalCrossentropy):
    """Keras's cross-entropy with smoothed labels, of labels that are numbers of classes."""

    def call(self, y_true, y_pred):
        # Keras has made them the floats that losses take: exact below 2^24.
        labels = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1])
        return super().call(labels, y_pred)


def loss(config: ExperimentConfig) -> keras.losses.Loss:
    """Returns the loss of labels [b] and logits [b, classes], summed over weighted examples.

    Where each weighs 1 / (examples in the batch) it is the mean over the global batch, however it
    is spread over replicas and however short it is.
    """
    how: dict[str, Any] = dict(from_logits=True, reduction="sum")
    if config.label_smoothing:
        return SmoothedCrossentropy(label_smoothing=config.label_smoothing, **how)
    return keras.losses.SparseCategoricalCrossentropy(**how)


def smoothed(labels: tf.Tensor, num_classes: int, smoothing: float) -> tf.Tensor:
    """Returns what the labels are trained towards: float32 [..., classes] for labels [...]."""
    truth = tf.one_hot(labels, num_classes)
    return truth * (1 - smoothing) + smoothing / num_classes if smoothing else truth


class _OfWholeBatch(keras.optimizers.Optimizer):
    """Clips the gradient of the whole batch, and then adds l2 times the weights to it.

    Keras clips on every replica what its share of the batch gives, before it sums them up.
    """

    l2 = 0.0
    clips: tuple[float | None, float | None, float | None] = (None, None, None)

    def apply(self, grads, trainable_variables=None):
        variables = list(trainable_variables or self._trainable_variables)
        present = [place for place, grad in enumerate(grads) if grad is not None]
        whole = [tf.convert_to_tensor(grads[place]) for place in present]  # An embedding's too.
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        if replicas > 1:
            whole = context.all_reduce("sum", whole)
        norm, global_norm, value = self.clips
        if norm is not None:
            whole = [tf.clip_by_norm(grad, norm) for grad in whole]
        if global_norm is not None:
            whole, _ = tf.clip_by_global_norm(whole, global_norm)
        if value is not None:
            whole = [tf.clip_by_value(grad, -value, value) for grad in whole]
        given = list(grads)
        for place, grad in zip(present, whole, strict=True):
            weight = tf.cast(tf.convert_to_tensor(variables[place]), grad.dtype)
            # Keras sums over replicas again.
            given[place] = (grad + self.l2 * weight if self.l2 else grad) / replicas
        super().apply(given, variables)


def build(config: ExperimentConfig, rates: Any) -> keras.optimizers.Optimizer:
    """Returns the config's optimizer.

    Args:
      config: of the experiment.
      rates: learning rate, a number or a schedule.

    Raises:
      ValueError: Keras does not take the config's optimizer_options.
    """
    of_fields: dict[str, Any] = {}
    if config.optimizer == "sgd":
        of_fields = {"momentum": config.momentum, "weight_decay": config.weight_decay or None}
    options = {**of_fields, **config.optimizer_options}
    try:
        kind = type(keras.optimizers.get(config.optimizer))
        _require_known(kind, config.optimizer_options, ("kwargs", *NOT_TAKEN, *of_fields))
        if config.l2 or any(options.get(name) is not None for name in _CLIPS):
            kind = type(f"{kind.__name__}OfWholeBatch", (_OfWholeBatch, kind), {})
        optimizer = kind(learning_rate=rates, **options)
    except Exception as error:
        raise _refused(config, error) from error
    if isinstance(optimizer, _OfWholeBatch):
        optimizer.l2 = config.l2
        optimizer.clips = tuple(getattr(optimizer, name) for name in _CLIPS)
        for name in _CLIPS:
            setattr(optimizer, name, None)
    return optimizer


def state(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns all that an optimizer keeps from step to step; Keras's Nadam does not list all."""
    found = {id(variable): variable for variable in optimizer.variables}
    for part in (optimizer, getattr(optimizer, "inner_optimizer", optimizer)):
        own = (value for value in vars(part).values() if isinstance(value, keras.Variable))
        found |= {id(variable): variable for variable in own}
    return list(found.values())


def require(config: ExperimentConfig) -> None:
    """Raises ValueError, in one line, if the optimizer cannot take a step with its options."""
    if not config.optimizer_options:
        return
    optimizer = build(config, config.base_learning_rate)
    try:
        weight = keras.Variable([[1.0, 2.0], [3.0, 4.0]])
        optimizer.apply([tf.constant([[1.0, 2.0], [3.0, 5.0]])], [weight])
        if not bool(ops.all(ops.isfinite(weight))):
            raise ValueError("a step gives a weight that is not finite")
    except Exception as error:
        raise _refused(config, error) from error


def _require_known(
    kind: type[keras.optimizers.Optimizer], options: Mapping[str, Any], others: Collection[str]
) -> None:
    """Raises ValueError if an option is not of the optimizer, or of no type that it can have."""
    arguments = inspect.signature(kind).parameters.items()
    defaults = {name: argument.default for name, argument in arguments if name not in others}
    for name, value in options.items():
        if name not in defaults:
            raise ValueError(f"it has no argument {name!r}, only {', '.join(defaults)}")
        if isinstance(defaults[name], bool) and not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, expected true or false")
        if name in _CLIPS and value is not None and not value > 0:
            raise ValueError(f"{name} is {value!r}, expected above 0")


def _refused(config: ExperimentConfig, error: Exception) -> ValueError:
    # TensorFlow says first where it failed, in braces.
    told = textwrap.shorten(re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error)), 300)
    return ValueError(
        f"{config.optimizer} does not take "
        f"--optimizer_options='{json.dumps(config.optimizer_options)}': {told}"
    )
