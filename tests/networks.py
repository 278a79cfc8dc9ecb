"""Models of every architecture, each built once for a test process, and a small one."""

import functools

import keras
import numpy as np

from tfmem import models
from tfmem.models import layers
from tfmem.models.turnover import NetworkBuilder


@functools.cache
def cached(name, shape, classes, options):
    return models.build(name, shape, classes, **dict(options))


def built(name, shape=(8, 8, 1), classes=10, **options):
    """Returns the model, one for all tests: none of them relies on weights that it has not set."""
    return cached(name, shape, classes, tuple(sorted(options.items())))


@functools.cache
def trained_weights(name, options):
    model = cached(name, (8, 8, 1), 10, options)
    weights = models.initial_weights(model, 0, 0)
    rng = np.random.default_rng(0)
    for index, variable in enumerate(model.weights):
        shape = weights[index].shape
        if variable.name in ("gamma", "moving_variance"):
            weights[index] = rng.uniform(0.5, 1.5, shape)
        elif variable.name in ("beta", "moving_mean"):
            weights[index] = rng.normal(0, 0.3, shape)
        elif not weights[index].any():
            weights[index] = rng.normal(0, 0.1, shape)
    return weights


def trained(name, **options):
    """Returns the model on 8x8 images with weights as if trained: no norm trivial, no logit 0."""
    model = built(name, **options)
    model.set_weights(trained_weights(name, tuple(sorted(options.items()))))
    return model


def run(model, images, training=False):
    return keras.ops.convert_to_numpy(model(images, training=training))


def sizes(model, layers):
    return [model.get_layer(layer).output.shape[1:3] for layer in layers]


def small_batch_norm(input_shape, num_classes):
    """A convolution with batch norm: what makes replicas differ, without the size of a ResNet."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9, name="norm")(x)
    x = keras.layers.Flatten(name="flatten")(keras.layers.ReLU(name="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x))


class Noise(keras.layers.Layer):
    """Adds noise in training, from Keras's global seed generator: it has none of its own."""

    def call(self, x, training=False):
        return x + keras.random.normal(keras.ops.shape(x), stddev=0.1) if training else x


def random_layers(input_shape, num_classes, turnover=False):
    """Layers that draw random numbers: augmentation, dropout in a model, one's own."""
    network = NetworkBuilder(turnover)
    inputs = keras.Input(input_shape, name="images")
    x = keras.layers.RandomTranslation(0.2, 0.2, name="translation")(inputs)
    x = keras.layers.Flatten(name="flatten")(x)
    x = network.drop(keras.layers.Dense(16, activation="relu", name="hidden")(x), "hidden")
    inner = [keras.layers.Dropout(0.5, seed=3), keras.layers.GaussianNoise(0.1)]
    x = keras.Sequential(inner, name="inner")(x)
    return network.model(inputs, layers.logits(Noise(name="noise")(x), num_classes), "random")
