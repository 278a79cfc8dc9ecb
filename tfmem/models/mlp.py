"""Multi-layer perceptrons; without hidden layers, a linear model."""

from collections.abc import Sequence

import keras

from tfmem.models import layers
from tfmem.models.turnover import NetworkBuilder


def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    hidden: Sequence[int] = (),
    turnover: bool = False,
) -> keras.Model:
    """Returns images or representations -> logits through ReLU layers of the given widths.

    Args:
      input_shape: of one image or representation; it is flattened.
      num_classes: the number of logits.
      hidden: units of each hidden layer.
      turnover: whether turn-over dropout follows every hidden layer.
    """
    network = NetworkBuilder(turnover)
    inputs = layers.images(input_shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for index, units in enumerate(hidden, 1):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(x)
        x = network.drop(x, f"hidden_{index}")
    return network.model(inputs, layers.logits(x, num_classes), "mlp" if hidden else "linear")


def linear(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns images or representations -> logits without hidden layers.

    Args:
      input_shape: of one image or representation; it is flattened.
      num_classes: the number of logits.
    """
    return mlp(input_shape, num_classes)
