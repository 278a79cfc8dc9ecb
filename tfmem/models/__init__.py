"""The architectures that an experiment can name. Adding one is a file and a row of `BUILDERS`.

They are functional Keras models of `keras.layers` and `keras.ops` alone, so they run on every Keras
backend. To import this package pins Keras's settings (`settings.pin`).
"""

import inspect
from collections.abc import Callable, Mapping

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator

from tfmem import seeds, words
from tfmem.config import PRECISIONS
from tfmem.models import cct, densenet, inception, mlp, resnet, settings, vgg

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


def require_turnover(name: str) -> None:
    """Raises ValueError if the architecture has no turn-over layers, or there is no such name."""
    words.lookup(BUILDERS, name, "model")
    takes = {known: inspect.signature(builder).parameters for known, builder in BUILDERS.items()}
    if "turnover" not in takes[name]:
        those = ", ".join(known for known in BUILDERS if "turnover" in takes[known])
        raise ValueError(f"model {name!r} has no turn-over layers; those that have are {those}")


def build(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    precision: str = "float32",
    turnover: bool = False,
    **options,
) -> keras.Model:
    """Returns a model that maps images [batch, *input_shape] to logits [batch, num_classes].

    Weights and logits are float32 under every precision. The global dtype policy stays as it was.
    With turn-over dropout the model maps [images, ids, modes]: `turnover.apply` calls it.

    Args:
      name: one of `BUILDERS`.
      input_shape: of one image, or of one representation for `linear` and `mlp`.
      num_classes: the number of logits.
      precision: one of `PRECISIONS`, the Keras dtype policy of all other layers.
      turnover: whether turn-over dropout follows every hidden layer.
      **options: of that model's builder.

    Raises:
      ValueError: unknown name or precision, a shape or option that the model does not take, or
        turn-over dropout in a model that has no layers for it.
    """
    builder = words.lookup(BUILDERS, name, "model")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if turnover:
        require_turnover(name)
        options = {**options, "turnover": True}
    try:
        with settings.dtype_policy(precision):
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


def initial_weights(model: keras.Model, base_seed: int, trial: int) -> list[np.ndarray]:
    """Draws the trial's initial weights, in the order of `model.weights`.

    Each weight comes from its layer's initializer with a seed of its own, a pure function of (base
    seed, trial, position): not of what was built or trained before.

    Raises:
      ValueError: a layer does not say how a weight of its is initialized.
    """
    initializers = {
        id(variable): getattr(layer, f"{variable.name}_initializer")
        for layer in model._flatten_layers(include_self=False)
        for variable in layer.weights
        if hasattr(layer, f"{variable.name}_initializer")
    }
    own_seeds = seeds.integers(base_seed, trial, "initial_weights", len(model.weights))
    drawn = []
    for seed, variable in zip(own_seeds, model.weights, strict=True):
        initializer = initializers.get(id(variable))
        if initializer is None:
            raise ValueError(
                f"{model.name} has the weight {variable.path!r}, but its layer has no attribute "
                f"{variable.name}_initializer to draw it from"
            )
        config = initializer.get_config()
        if "seed" in config:
            initializer = type(initializer).from_config({**config, "seed": seed})
        drawn.append(keras.ops.convert_to_numpy(initializer(variable.shape, variable.dtype)))
    return drawn


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
