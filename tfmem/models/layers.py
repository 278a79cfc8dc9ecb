"""The pieces that all architectures are made of, with the constants of the authors' release."""

import keras

_MOMENTUM = 0.9
_EPSILON = 1e-5
# Convolutions start from a normal of standard deviation 1 / sqrt(fan in), cut off at two of them:
# Sonnet's default, which the release leaves in place. Keras would widen it by the deviation of a
# standard normal that is cut off at 2.
_CUT_OFF_DEVIATION = 0.87962566103423978


def require_image(
    input_shape: tuple[int, ...],
    smallest: int,
    model: str,
    remedy: str = "use 'mlp' or 'linear', which take any shape",
) -> None:
    """Refuses what is not an image of at least `smallest` pixels a side.

    Args:
      input_shape: expected to be (height, width, channels).
      smallest: the fewest pixels a side that survive the model's downsamplings.
      model: what refuses, for the message.
      remedy: what to do about it, for the message.

    Raises:
      ValueError: it is not such an image.
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < smallest:
        raise ValueError(
            f"{model} takes images of at least {smallest}x{smallest} pixels as (height, width, "
            f"channels), got {input_shape}: {remedy}"
        )


def before_relu(turnover: bool) -> keras.initializers.Initializer:
    """Returns the initializer of what has no norm before its ReLU: as He et al. (2015) have it.

    Turn-over dropout doubles the mean square of what it lets through on average, as it halves the
    units and doubles their activations: the kernels' variance is halved for it.
    """
    return keras.initializers.VarianceScaling(
        1.0 if turnover else 2.0, mode="fan_in", distribution="truncated_normal"
    )


def images(input_shape: tuple[int, ...]) -> keras.KerasTensor:
    """Returns the symbolic input of a model, [batch, *input_shape]."""
    return keras.Input(input_shape, name="images")


def conv(x, filters: int, kernel: int, name: str, strides: int = 1):
    """Applies a square convolution without bias, SAME padding."""
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            _CUT_OFF_DEVIATION**2, mode="fan_in", distribution="truncated_normal"
        ),
        name=name,
    )(x)


def norm_relu(x, name: str, index: int | str = ""):
    """Applies batch norm and ReLU: the layers `<name>_norm<index>` and `<name>_relu<index>`."""
    x = keras.layers.BatchNormalization(
        momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_norm{index}"
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu{index}")(x)


def conv_norm_relu(x, filters: int, kernel: int, name: str, strides: int = 1):
    """Applies the three as `<name>_conv`, `<name>_norm` and `<name>_relu`."""
    return norm_relu(conv(x, filters, kernel, f"{name}_conv", strides), name)


def logits(x, num_classes: int, kernel_initializer: str = "glorot_uniform"):
    """Applies the last layer, float32 under every precision: softmax needs the digits."""
    return keras.layers.Dense(
        num_classes, kernel_initializer=kernel_initializer, dtype="float32", name="logits"
    )(x)
