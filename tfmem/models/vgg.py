"""VGG-11 of Simonyan & Zisserman (2015) without batch norm, for small images."""

from collections.abc import Sequence

import keras

from tfmem.models import layers
from tfmem.models.turnover import NetworkBuilder

# Filters of the convolutions; a 2x2 max pool follows each group.
_GROUPS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg11(
    input_shape: tuple[int, int, int],
    num_classes: int,
    hidden: Sequence[int] = (512, 512),
    turnover: bool = False,
) -> keras.Model:
    """Returns images -> logits through eight 3x3 convolutions and dense layers, ReLU throughout.

    Without batch norm a network this deep only trains from He et al.'s initial weights.

    Args:
      input_shape: height, width and channels, at least 32 pixels a side: five poolings.
      num_classes: the number of logits.
      hidden: units of the dense layers before the logits. The original's 4,096 are for the 25,088
        features of a large image; of a small one there are 512.
      turnover: whether turn-over dropout follows every hidden layer.

    Raises:
      ValueError: not an image, or one smaller than the poolings.
    """
    layers.require_image(input_shape, 2 ** len(_GROUPS), "vgg11")
    network = NetworkBuilder(turnover)
    inputs = x = layers.images(input_shape)
    for group, filters in enumerate(_GROUPS, 1):
        for index, width in enumerate(filters, 1):
            name = f"conv{group}_{index}"
            x = keras.layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=layers.before_relu(turnover),
                name=name,
            )(x)
            x = network.drop(x, name)
        x = keras.layers.MaxPooling2D(2, name=f"pool{group}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(hidden, 1):
        name = f"hidden_{index}"
        x = keras.layers.Dense(
            units, activation="relu", kernel_initializer=layers.before_relu(turnover), name=name
        )(x)
        x = network.drop(x, name)
    return network.model(inputs, layers.logits(x, num_classes), "vgg11")
