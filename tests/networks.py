"""Networks small enough for tests."""

import keras


def small_batch_norm(input_shape, num_classes):
    """A convolution with batch norm: what makes replicas differ, without the size of a ResNet."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9, name="norm")(x)
    x = keras.layers.Flatten(name="flatten")(keras.layers.ReLU(name="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x))
