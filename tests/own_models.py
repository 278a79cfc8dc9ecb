"""Models of one's own, as a user's file has them; the last ones are wrong."""

import keras
import numpy as np
from keras import layers

from tfmem.models.turnover import NetworkBuilder


def mlp(input_shape, num_classes, hidden=()):
    """The built-in MLP, as one would write it."""
    model = keras.Sequential([keras.Input(input_shape), layers.Flatten()])
    for units in hidden:
        model.add(layers.Dense(units, activation="relu"))
    model.add(layers.Dense(num_classes))
    return model


class Scaled(layers.Layer):
    """Multiplies by weights that are drawn, and adds one that is not."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="random_normal")
        self.offset = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return x * self.scale + self.offset


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, num_classes):
        super().__init__()
        self.inner = keras.Sequential([layers.Flatten(), layers.Dense(12, activation="gelu")])
        self.outer = layers.Dense(num_classes)

    def call(self, images):
        return self.outer(self.inner(images))


def subclassed(input_shape, num_classes):
    return Subclassed(num_classes)


def of_all_kinds(input_shape, num_classes):
    """Layers with weights of every kind that Keras has."""
    inputs = keras.Input(input_shape)
    x = layers.SeparableConv2D(4, 3, padding="same")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.GroupNormalization(2)(x)
    x = layers.Reshape((-1, 4))(x)
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 6), bias_axes="d")(x)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.LSTM(5, return_sequences=True)(x)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    x = Scaled()(layers.LayerNormalization()(x))
    x = layers.GlobalAveragePooling1D()(x)
    codes = layers.Discretization(bin_boundaries=[0.0, 1.0])(x)
    x = layers.Concatenate()([x, layers.Flatten()(layers.Embedding(3, 4)(codes))])
    inner = keras.Sequential([layers.Dense(7, "relu"), layers.Dense(6)], name="nested")
    return keras.Model(inputs, layers.Dense(num_classes)(inner(x)))


def with_dropout(input_shape, num_classes):
    """Keras's own batch norm, dropout and augmentation, in a model within the model."""
    inner = [layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.3)]
    before = [layers.RandomFlip(), layers.Flatten()]
    return keras.Sequential([*before, keras.Sequential(inner), layers.Dense(num_classes)])


def pretrained(input_shape, num_classes):
    """A backbone that is the same in every trial, and a fresh head."""
    backbone = layers.Dense(6, activation="relu", name="backbone")
    model = keras.Sequential([keras.Input(input_shape), layers.Flatten(), backbone])
    kernel = np.linspace(-0.1, 0.1, backbone.kernel.shape[0] * 6).reshape(-1, 6)
    backbone.set_weights([kernel, np.full(6, 0.5)])
    model.add(layers.Dense(num_classes, name="head"))
    return model


def dropped(input_shape, num_classes, turnover=False):
    """A model with turn-over dropout."""
    network = NetworkBuilder(turnover)
    images = keras.Input(input_shape)
    x = layers.Dense(256, activation="relu")(layers.Flatten()(images))
    x = network.drop(x, "hidden")
    return network.model(images, layers.Dense(num_classes)(x), "dropped")


def raises(input_shape, num_classes):
    return layers.Dense(num_classes / 0)


def returns_nothing(input_shape, num_classes):
    keras.Sequential()


def returns_features(input_shape, num_classes):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(5)])


class Failing(keras.Model):
    def call(self, images):
        raise RuntimeError("not today")


def cannot_be_called(input_shape, num_classes):
    return Failing()


def gives_nan(input_shape, num_classes):
    return keras.Sequential([mlp(input_shape, num_classes), layers.Lambda(lambda x: x / 0.0)])


def gives_probabilities(input_shape, num_classes):
    return keras.Sequential([mlp(input_shape, num_classes), layers.Softmax()])


not_a_function = 3
