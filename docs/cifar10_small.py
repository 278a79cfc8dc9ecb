"""CIFAR-10 on two CPU cores: a network of one convolution, and a recipe of five epochs.

tfmem train_trials --experiment=docs/cifar10_small.py:recipe --store=cifar
tfmem train_turnover --experiment=docs/cifar10_small.py:recipe --store=cifar_turnover
"""

import keras

from tfmem.models.layers import before_relu
from tfmem.models.turnover import NetworkBuilder
from tfmem.recipe import ExperimentConfig


def network(input_shape, num_classes, filters=32, hidden=128, turnover=False):
    """Returns images -> logits: filters on patches of 4x4 pixels, ReLU, a dense layer, ReLU."""
    building, initializer = NetworkBuilder(turnover), before_relu(turnover)
    images = keras.Input(input_shape)
    x = keras.layers.Rescaling(4.0, offset=-2.0)(images)  # [0, 1] to about unit variance.
    x = keras.layers.Conv2D(
        filters, 4, strides=4, activation="relu", kernel_initializer=initializer, name="patches"
    )(x)
    x = building.drop(x, "patches")
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(
        hidden, activation="relu", kernel_initializer=initializer, name="hidden"
    )(x)
    x = building.drop(x, "hidden")
    return building.model(images, keras.layers.Dense(num_classes)(x), "cifar10_small")


recipe = ExperimentConfig(
    name="cifar10_small",
    dataset="cifar10",
    model=f"{__file__}:network",
    model_options={},
    subset_ratio=0.7,
    num_trials=500,
    epochs=5,
    batch_size=256,
    base_learning_rate=0.1,
    momentum=0.9,
    schedule="warmup_linear",
    warmup_fraction=0.15,
)
