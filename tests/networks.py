"""Models of every architecture, each built once for a test process, and a small one."""

import functools

import keras
import numpy as np

from tfmem import models


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
