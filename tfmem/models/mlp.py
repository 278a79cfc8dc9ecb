"""Multi-layer perceptrons; without hidden layers, a linear model."""

from collections.abc import Sequence

import keras


def build(
    input_shape: tuple[int, ...], num_classes: int, hidden: Sequence[int] = ()
) -> keras.Model:
    """Returns images -> logits through ReLU layers of the given widths.

    Args:
      input_shape: of one image; it is flattened.
      num_classes: the number of logits.
      hidden: units of each hidden layer.
    """
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for index, units in enumerate(hidden, 1):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(x)
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="mlp" if hidden else "linear")
