"""Models of one's own: any Keras model that maps images, or what takes their place, to logits."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfmem import own

_TOLERANCE = 1e-3  # Of probabilities that add up to 1.


def builder(name: str, source: str) -> Callable[..., Any]:
    """Returns the function of that name; ValueError if its file is not the one expected.

    Args:
      name: `FILE.py:NAME` or `PACKAGE.MODULE:NAME`.
      source: of its file; "" is as it is.
    """
    found, text = own.load(name)
    if source and text != source:
        raise ValueError(f"{name} is not what it was when the trials began: restore that version")
    if not callable(found):
        raise own.refused(name, found, "a function that returns a keras.Model")
    return found


def build(
    builder: Callable[..., Any],
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    options: Mapping[str, Any],
) -> keras.Model:
    """Returns the model that a builder of one's own returns, as a functional one.

    Args:
      builder: called with (input_shape, num_classes, **options).
      name: of it, for messages.
      input_shape: of one image.
      num_classes: the number of logits.
      options: of the builder.

    Raises:
      ValueError: it raises something, or returns no model from such images to such logits.
    """
    found = own.call(builder, input_shape, num_classes, **options)
    if not isinstance(found, keras.Model):
        raise own.refused(name, found, "a keras.Model")
    with own.told_of(builder):
        model = _functional(found, input_shape, "turnover" in options)
    shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(model.outputs)]
    if shapes != [(None, num_classes)]:
        raise ValueError(
            f"{own.where(name)}: the model's output is of shape {_listed(shapes)}, expected "
            f"logits of shape (None, {num_classes})"
        )
    if model.outputs[0].dtype == "float32":
        return model
    as_float = keras.layers.Activation("linear", dtype="float32", name="float32_logits")
    return keras.Model(model.inputs, as_float(model.outputs[0]), name=model.name)


def _listed(shapes: list[tuple]) -> str:
    return " and ".join(map(str, shapes))


def _functional(model: keras.Model, input_shape: tuple[int, ...], turnover: bool) -> keras.Model:
    """Returns the model as a graph of layers from images of that shape."""
    if isinstance(model, keras.Sequential):
        if not model.built:
            model.build((None, *input_shape))
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    inputs = [] if not hasattr(model, "inputs") else keras.tree.flatten(model.inputs)
    if inputs and (turnover or [tuple(one.shape) for one in inputs] == [(None, *input_shape)]):
        return model
    images = keras.Input(input_shape, name="images")
    return keras.Model(images, model(images), name=model.name)


def require_logits(name: str, source: str, apply: Callable[[], np.ndarray]) -> None:
    """Checks what a model of one's own makes of some training examples.

    Args:
      name: of its builder.
      source: as `builder` takes it.
      apply: returns its outputs, float32 [k, classes].

    Raises:
      ValueError: it raises something, its outputs are not finite, or they are probabilities.
    """
    with own.told_of(builder(name, source)):
        outputs = apply()
    if not np.isfinite(outputs).all():
        raise ValueError(
            f"{own.where(name)}: the model gives {outputs[~np.isfinite(outputs)][0]} for training "
            "examples before it is trained, expected numbers: look for a division by 0, or a "
            "logarithm of it"
        )
    if outputs.min() >= 0 and np.abs(outputs.sum(axis=-1) - 1).max() < _TOLERANCE:
        raise ValueError(
            f"{own.where(name)}: the model gives probabilities, expected logits, which the loss "
            "takes: remove the softmax at its end"
        )
