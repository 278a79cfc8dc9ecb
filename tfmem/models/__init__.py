"""The architectures that an experiment can name. Adding one is a file and a row of `BUILDERS`."""

from collections.abc import Callable, Mapping

import keras
import numpy as np

from tfmem import seeds, tables
from tfmem.models import inception, mlp

BUILDERS: Mapping[str, Callable[..., keras.Model]] = {
    "linear": mlp.build,
    "mlp": mlp.build,
    "inception": inception.build,
}


def build(name: str, input_shape: tuple[int, ...], num_classes: int, **options) -> keras.Model:
    """Returns a model that maps images [batch, *input_shape] to logits [batch, num_classes].

    Raises:
      ValueError: unknown name, or a shape or option that the model does not take.
    """
    builder = tables.lookup(BUILDERS, name, "model")
    try:
        return builder(tuple(input_shape), num_classes, **options)
    except TypeError as error:
        raise ValueError(f"model {name!r} with options {options}: {error}") from error


def _initializer(layer: keras.Layer, variable) -> keras.initializers.Initializer:
    initializer = getattr(layer, f"{variable.name}_initializer", None)
    if initializer is None:
        raise ValueError(
            f"layer {layer.name!r} has the weight {variable.name!r} but no attribute "
            f"{variable.name}_initializer to draw it from"
        )
    return initializer


def initial_weights(model: keras.Model, base_seed: int, trial: int) -> list[np.ndarray]:
    """Draws the trial's initial weights, in the order of `model.weights`.

    Each weight comes from its layer's initializer with a seed of its own, a pure function of (base
    seed, trial, position): not of what was built or trained before.

    Raises:
      ValueError: a layer does not say how a weight of its is initialized.
    """
    owners = {
        id(variable): layer
        for layer in model._flatten_layers(include_self=False)
        for variable in layer.weights
        if hasattr(layer, f"{variable.name}_initializer")
    }
    words = seeds.integers(base_seed, trial, "initial_weights", len(model.weights))
    drawn = []
    for seed, variable in zip(words, model.weights, strict=True):
        initializer = _initializer(owners.get(id(variable), model), variable)
        config = initializer.get_config()
        if "seed" in config:
            initializer = type(initializer).from_config({**config, "seed": seed})
        value = initializer(variable.shape, variable.dtype)
        drawn.append(keras.ops.convert_to_numpy(value))
    return drawn
