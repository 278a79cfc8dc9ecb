"""The pieces that all architectures are made of, with the constants of the authors' release."""

import math

import keras
from keras import ops

_DECAY = 0.9
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


def conv(x, filters: int, kernel: int, name: str, strides: int = 1, symmetric: bool = False):
    """Applies a square convolution without bias.

    Args:
      x: [batch, height, width, channels].
      filters: how many channels come out.
      kernel: its side in pixels, an odd number.
      name: of the layer.
      strides: in both directions.
      symmetric: whether (kernel - 1) / 2 pixels of 0 are on every side, as in the release's
        ResNets, and not only as many as the strides need, as SAME of TensorFlow has it: these are
        on the right and the bottom first, so that a stride of 2 begins a pixel later.
    """
    explicit = symmetric and strides > 1 and kernel > 1  # Otherwise the two are one.
    if explicit:
        x = keras.layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="valid" if explicit else "same",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            _CUT_OFF_DEVIATION**2, mode="fan_in", distribution="truncated_normal"
        ),
        name=name,
    )(x)


@keras.saving.register_keras_serializable(package="tfmem")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm over all axes but the last, with moving averages as in the release.

    A batch of N values a channel is normalized by its variance; what enters the moving variance is
    that times N / (N - 1), Bessel's correction.

    Args:
      debiased: whether the averages are of the batches so far alone, weighted by momentum^age, and
        not of the initial values too: those of a moving average that starts at 0 and is divided by
        1 - momentum^steps.
    """

    def __init__(self, debiased: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.debiased = debiased
        if debiased:
            # It counts what is drawn, which starts at 0 with a trial, and is in its checkpoint, but
            # no weight: those are the same four of every batch norm.
            self.updates = keras.random.SeedGenerator(seed=0)

    def call(self, inputs, training=None, mask=None):
        x = ops.cast(inputs, "float32")
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            mean, variance = ops.moments(x, axes=list(range(len(x.shape) - 1)))
            count = ops.cast(ops.size(x), "float32") / x.shape[-1]
            self._remember(mean, variance * count / ops.maximum(count - 1, 1))
        x = ops.batch_normalization(x, mean, variance, -1, self.beta, self.gamma, self.epsilon)
        return ops.cast(x, self.compute_dtype)

    def _remember(self, mean, variance):
        share = 1 - self.momentum  # Of this batch in the averages.
        if self.debiased:
            steps = 1 + ops.cast(self.updates.next()[1], "float32")
            share = -share / ops.expm1(steps * math.log(self.momentum))
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * (1 - share) + value * share)

    def get_config(self):
        return {**super().get_config(), "debiased": self.debiased}


def norm(x, name: str, decay: float = _DECAY, debiased: bool = False):
    """Applies batch norm; `decay` is what its moving averages keep of themselves at each step."""
    return BatchNorm(momentum=decay, epsilon=_EPSILON, debiased=debiased, name=name)(x)


def norm_relu(x, name: str, index: int | str = ""):
    """Applies batch norm and ReLU: the layers `<name>_norm<index>` and `<name>_relu<index>`."""
    return keras.layers.ReLU(name=f"{name}_relu{index}")(norm(x, f"{name}_norm{index}"))


def logits(x, num_classes: int, kernel_initializer: str = "glorot_uniform"):
    """Applies the last layer, float32 under every precision: softmax needs the digits."""
    return keras.layers.Dense(
        num_classes, kernel_initializer=kernel_initializer, dtype="float32", name="logits"
    )(x)
