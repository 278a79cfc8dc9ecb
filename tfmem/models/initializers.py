"""A trial's initial weights: each from its own initializer, with a seed of its own."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfmem import seeds

_NOTED = "tfmem_initializer"  # What a weight was made with, as an attribute of it.


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Notes the initializer of every weight that a layer adds within.

    Layers keep some of their initializers as attributes, and some nowhere: the bias of an LSTM
    starts at 1 for its forget gate and at `bias_initializer` for the others.
    """
    add_weight = keras.layers.Layer.add_weight

    @functools.wraps(add_weight)
    def noting(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> keras.Variable:
        variable = add_weight(layer, *args, **kwargs)
        given = kwargs.get("initializer", args[1] if len(args) > 1 else None)
        default = "glorot_uniform" if "float" in variable.dtype else "zeros"
        setattr(variable, _NOTED, keras.initializers.get(given or default))
        return variable

    keras.layers.Layer.add_weight = noting
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def initial_weights(model: keras.Model, base_seed: int, trial: int) -> list[np.ndarray]:
    """Draws the trial's initial weights, in the order of `model.weights`.

    Each weight comes from its layer's initializer with a seed of its own, a pure function of (base
    seed, trial, position): not of what was built or trained before.

    Raises:
      ValueError: no layer says how a weight is initialized.
    """
    own_seeds = seeds.integers(base_seed, trial, "initial_weights", len(model.weights))
    drawn = []
    for seed, variable in zip(own_seeds, model.weights, strict=True):
        initializer = getattr(variable, _NOTED, None)
        if initializer is None:
            raise ValueError(
                f"{model.name} has the weight {variable.path!r}, which no layer has added by "
                "add_weight: there is nothing to draw it from; --initial_weights=built starts "
                "from what the builder returns"
            )
        initializer = _seeded(initializer, seed)
        drawn.append(keras.ops.convert_to_numpy(initializer(variable.shape, variable.dtype)))
    return drawn


def _seeded(initializer: Any, seed: int) -> Callable[..., Any]:
    """Returns the initializer with a seed; where it takes none, what it draws from is seeded."""
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    if "seed" in config:
        return type(initializer).from_config({**config, "seed": seed})
    if not type(initializer).__module__.startswith("keras."):
        keras.utils.set_random_seed(seed)
    return initializer


def built_weights(build: Callable[[], keras.Model], base_seed: int, trial: int) -> list[np.ndarray]:
    """Returns the weights of a model that is built under the trial's seed."""
    (seed,) = seeds.integers(base_seed, trial, "initial_weights", 1)
    keras.utils.set_random_seed(seed)
    return build().get_weights()
