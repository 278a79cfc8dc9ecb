"""Models of every architecture, each built once for a test process, and a small one."""

import functools
import pathlib

import keras
import numpy as np

from tests import own_models
from tfmem import models
from tfmem.models import initializers, layers
from tfmem.models.turnover import NetworkBuilder


@functools.cache
def cached(name, shape, classes, options):
    return models.build(name, shape, classes, **dict(options))


def built(name, shape=(8, 8, 1), classes=10, **options):
    """Returns the model, one for all tests: none of them relies on weights that it has not set."""
    return cached(name, shape, classes, tuple(sorted(options.items())))


@functools.cache
def trained_weights(name, shape, options):
    model = cached(name, shape, 10, options)
    weights = initializers.initial_weights(model, 0, 0)
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


def trained(name, shape=(8, 8, 1), **options):
    """Returns the model with weights as if trained: no norm is trivial and no logit 0."""
    model = built(name, shape, **options)
    model.set_weights(trained_weights(name, shape, tuple(sorted(options.items()))))
    return model


def run(model, images, training=False):
    return keras.ops.convert_to_numpy(model(images, training=training))


# Changes of a config that make a trial more than weights: augmentation, batch norm's moving
# statistics, layers that draw, and a loss scale that moves.
STATEFUL = {
    "augmented": dict(crop="padded", crop_padding=1, flip=True),
    "batch_norm": dict(model="small_batch_norm", model_options={}),
    "random_layers": dict(model="random_layers", model_options={}),
    "loss_scale": dict(precision="mixed_float16"),
    "own_model": dict(
        model=f"{own_models.__file__}:with_dropout",
        model_options={},
        model_source=pathlib.Path(own_models.__file__).read_text(),
    ),
}


def add_to_builders(monkeypatch):
    """Lets configs name the networks of this module."""
    for builder in (small_batch_norm, random_layers):
        monkeypatch.setitem(models.BUILDERS, builder.__name__, builder)


def sizes(model, layers):
    return [model.get_layer(layer).output.shape[1:3] for layer in layers]


def small_batch_norm(input_shape, num_classes):
    """A convolution with batch norm: what makes replicas differ, without the size of a ResNet."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.BatchNorm(momentum=0.9, debiased=True, name="norm")(x)
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


class Twin:
    """The layers of a model written out in float64 NumPy.

    Args:
      model: of images.
      images: float32 [batch, height, width, channels].
      symmetric: whether convolutions have (size - 1) / 2 pixels of padding on every side, as in the
        release's ResNets, or as many as TensorFlow's SAME.
    """

    def __init__(self, model, images, symmetric=False):
        self.model, self.images, self.symmetric = model, images, symmetric

    def output(self, layer):
        shape = self.model.get_layer(layer).output.shape[1:]
        flat = run(models.features(self.model, layer), self.images)
        return flat.reshape(-1, *shape).astype(np.float64)

    @staticmethod
    def windows(x, size, strides, fill=0.0, symmetric=False):
        """Returns [batch, height, width, channels, size, size]."""
        padding = []
        for side in x.shape[1:3]:
            total = max((-(-side // strides) - 1) * strides + size - side, 0)
            around = (total // 2, total - total // 2)
            padding.append(((size - 1) // 2,) * 2 if symmetric else around)
        x = np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=fill)
        views = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
        return views[:, ::strides, ::strides]

    def conv(self, x, layer, strides=1):
        (kernel,) = self.model.get_layer(layer).get_weights()
        views = self.windows(x, kernel.shape[0], strides, symmetric=self.symmetric)
        return np.einsum("bhwcij,ijcf->bhwf", views, kernel, optimize=True)

    def norm(self, x, layer):
        gamma, beta, mean, variance = self.model.get_layer(layer).get_weights()
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def norm_relu(self, x, layer):
        return np.maximum(self.norm(x, layer), 0)

    def logits(self, x):
        kernel, bias = self.model.get_layer("logits").get_weights()
        return x @ kernel + bias

    def agrees(self, layer, expected):
        actual = self.output(layer)
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())
