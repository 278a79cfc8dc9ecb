"""The architectures that an experiment can name. Adding one is a file and a row of `BUILDERS`.

Ours are functional Keras models of `keras.layers` and `keras.ops` alone, so they run on every Keras
backend; one's own are what a function of one's own returns (`models.custom`). To import this
package pins Keras's settings (`settings.pin`).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator

from tfmem import own, seeds, words
from tfmem.models import (
    cct,
    custom,
    densenet,
    inception,
    initializers,
    mlp,
    resnet,
    settings,
    vgg,
)
from tfmem.recipe import PRECISIONS

settings.pin()

BUILDERS: Mapping[str, Callable[..., keras.Model]] = {
    "linear": mlp.linear,
    "mlp": mlp.mlp,
    "inception": inception.inception,
    "resnet18": resnet.resnet18,
    "resnet50": resnet.resnet50,
    "densenet100": densenet.densenet100,
    "vgg11": vgg.vgg11,
    "cct": cct.cct,
}


def builder_of(name: str, source: str = "") -> Callable[..., keras.Model]:
    """Returns the function that builds a model.

    Args:
      name: one of `BUILDERS`, or `FILE.py:NAME` or `PACKAGE.MODULE:NAME` of one's own.
      source: of the file of one's own, as it has to be; "" is as it is.

    Raises:
      ValueError: there is no such name, or the file is another version.
    """
    return custom.builder(name, source) if own.is_own(name) else _known(name)


def _known(name: str) -> Callable[..., keras.Model]:
    if name in BUILDERS:
        return BUILDERS[name]
    try:
        return words.lookup(BUILDERS, name, "model")
    except ValueError as error:
        raise ValueError(f"{error}; one of your own is FILE.py:NAME") from error


def require_turnover(name: str, source: str = "") -> None:
    """Raises ValueError if the architecture has no turn-over layers, or there is no such name."""
    takes = inspect.signature(builder_of(name, source)).parameters
    if "turnover" not in takes:
        those = ", ".join(
            known
            for known, builder in BUILDERS.items()
            if "turnover" in inspect.signature(builder).parameters
        )
        raise ValueError(
            f"model {name!r} has no turn-over layers; those that have are {those}, and your own "
            "that take turnover=True (docs/your_data.md)"
        )


def build(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    precision: str = "float32",
    turnover: bool = False,
    **options: Any,
) -> keras.Model:
    """Returns `build_with` of a model's options, given as keyword arguments."""
    return build_with(options, name, input_shape, num_classes, precision, turnover)


def build_with(
    options: Mapping[str, Any],
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    precision: str = "float32",
    turnover: bool = False,
    source: str = "",
) -> keras.Model:
    """Returns a model that maps images [batch, *input_shape] to logits [batch, num_classes].

    Weights and logits are float32 under every precision. The global dtype policy stays as it was.
    With turn-over dropout the model maps [images, ids, modes]: `turnover.apply` calls it.

    Args:
      options: keyword arguments of the model's builder.
      name: of its builder, as `builder_of` takes it.
      input_shape: of one image, or of one representation for `linear` and `mlp`.
      num_classes: the number of logits.
      precision: one of `PRECISIONS`, the Keras dtype policy of all other layers.
      turnover: whether turn-over dropout follows every hidden layer.
      source: as `builder_of` takes it.

    Raises:
      ValueError: unknown name or precision, a shape or option that the model does not take,
        turn-over dropout in a model that has no layers for it, or a model of one's own that is no
        such model.
    """
    builder = builder_of(name, source)
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if turnover:
        require_turnover(name, source)
        options = {**options, "turnover": True}
    with settings.dtype_policy(precision), initializers.noted():
        if own.is_own(name):
            return custom.build(builder, name, tuple(input_shape), num_classes, options)
        try:
            return builder(tuple(input_shape), num_classes, **options)
        except TypeError as error:
            raise ValueError(f"model {name!r} with options {options}: {error}") from error


def features(model: keras.Model, layer: str | None = None) -> keras.Model:
    """Returns a model that maps images to what one of the model's layers computes from them.

    It shares the model's weights. Its output is float32 [batch, d], flattened where the layer's has
    more axes.

    Args:
      model: one that `build` returned.
      layer: its name; None is the penultimate layer, whose output the logits are computed from.

    Raises:
      ValueError: the model has no such layer.
    """
    by_name = {known.name: known for known in model.layers}
    found = words.lookup(by_name, "logits" if layer is None else layer, "layer")
    tensor = found.input if layer is None else found.output
    with settings.dtype_policy():
        outputs = keras.layers.Flatten(name="features")(tensor)
        return keras.Model(model.input, outputs, name=f"{model.name}_features")


def random_state(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of all seed generators that a call of the model may draw from.

    Those of its layers come first, as deep as they are nested; the last is Keras's global one,
    which a layer draws from that has none of its own.
    """
    weights = {id(weight) for weight in model.weights}
    own = {id(state): state for state in model.variables if id(state) not in weights}
    return [*own.values(), global_seed_generator().state]


def initial_random_state(model: keras.Model, base_seed: int, trial: int) -> list[np.ndarray]:
    """Draws a trial's values of `random_state`, each by (base seed, trial, position)."""
    states = random_state(model)
    own_seeds = seeds.integers(base_seed, trial, "layers", len(states))
    return [np.array([seed, 0], state.dtype) for seed, state in zip(own_seeds, states, strict=True)]
