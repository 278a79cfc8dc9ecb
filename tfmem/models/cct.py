"""Compact convolutional transformers of Hassani et al. (2021), arXiv:2104.05704."""

import dataclasses

import keras
from keras import ops

from tfmem.models import layers
from tfmem.models.turnover import NetworkBuilder

_STEM_FILTERS = 64  # Of all convolutions of the tokenizer but the last.


@dataclasses.dataclass(frozen=True)
class _Variant:
    """A row of Hassani et al.'s Table 1: `blocks / kernel x convolutions`.

    Attributes:
      blocks: of the transformer.
      convolutions: 3x3, of the tokenizer, each followed by a max pool that halves the image.
      width: features of a token.
      heads: of the attention.
      widening: hidden units of a block's dense layers, in widths.
    """

    blocks: int
    convolutions: int
    width: int
    heads: int
    widening: int


VARIANTS = {
    "2/3x2": _Variant(blocks=2, convolutions=2, width=128, heads=2, widening=1),
    "4/3x2": _Variant(blocks=4, convolutions=2, width=128, heads=2, widening=1),
    "6/3x1": _Variant(blocks=6, convolutions=1, width=256, heads=4, widening=2),
    "7/3x1": _Variant(blocks=7, convolutions=1, width=256, heads=4, widening=2),
}


@keras.saving.register_keras_serializable(package="tfmem")
class Positions(keras.layers.Layer):
    """Adds a learned vector to each place of a sequence, [batch, places, features]."""

    def __init__(self, positions_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.positions_initializer = keras.initializers.get(
            positions_initializer or keras.initializers.TruncatedNormal(stddev=0.2)
        )

    def build(self, input_shape):
        self.positions = self.add_weight(
            shape=input_shape[1:], initializer=self.positions_initializer, name="positions"
        )

    def call(self, x):
        return x + self.positions

    def get_config(self):
        initializer = keras.initializers.serialize(self.positions_initializer)
        return {**super().get_config(), "positions_initializer": initializer}


@keras.saving.register_keras_serializable(package="tfmem")
class Attention(keras.layers.Layer):
    """Scaled dot products of queries, keys and values, [batch, places, features] each."""

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def call(self, inputs):
        places, features = inputs[0].shape[1:]
        heads = [ops.reshape(x, (-1, places, self.heads, features // self.heads)) for x in inputs]
        return ops.reshape(ops.dot_product_attention(*heads), (-1, places, features))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable(package="tfmem")
class WeightedSum(keras.layers.Layer):
    """The sum over places of a sequence, weighted by the softmax of a score for each place."""

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], input_shape[0][2])

    def call(self, inputs):
        x, scores = inputs
        return ops.sum(x * ops.softmax(scores, axis=1), axis=1)


def cct(
    input_shape: tuple[int, int, int],
    num_classes: int,
    variant: str = "2/3x2",
    turnover: bool = False,
) -> keras.Model:
    """Returns images -> logits: convolutions make tokens, a transformer, a learned pooling.

    The blocks normalize before attention and before the dense layers, as ViT's do, with ReLU where
    Hassani et al. have GELU (Liu et al., App. A), and without stochastic depth.

    Args:
      input_shape: height, width and channels, at least 4 pixels a side.
      num_classes: the number of logits.
      variant: a key of `VARIANTS`; `2/3x2` has 0.28 M parameters.
      turnover: whether turn-over dropout follows every hidden layer: the tokenizer's convolutions
        and, in each block, the attention, the hidden units and what is added to the tokens.

    Raises:
      ValueError: not an image, one smaller than the poolings, or an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}, expected one of {', '.join(VARIANTS)}")
    chosen = VARIANTS[variant]
    layers.require_image(input_shape, 4, "cct")
    network = NetworkBuilder(turnover)
    inputs = x = layers.images(input_shape)
    for index in range(1, chosen.convolutions + 1):
        name, last = f"tokenizer{index}", index == chosen.convolutions
        x = keras.layers.Conv2D(
            chosen.width if last else _STEM_FILTERS,
            3,
            padding="same",
            use_bias=False,
            activation="relu",
            kernel_initializer=layers.before_relu(turnover),
            name=f"{name}_conv",
        )(x)
        x = network.drop(x, name)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    x = keras.layers.Reshape((-1, chosen.width), name="tokens")(x)
    x = Positions(name="positions")(x)
    for index in range(1, chosen.blocks + 1):
        x = _block(x, chosen, network, f"block{index}")
    x = _norm(x, "final_norm")
    x = WeightedSum(name="pool")([x, _dense(x, 1, "pool_scores")])
    return network.model(inputs, layers.logits(x, num_classes), "cct")


def _block(x, variant: _Variant, network: NetworkBuilder, name: str):
    width, normed = variant.width, _norm(x, f"{name}_norm1")
    parts = [
        _dense(normed, width, f"{name}_{part}", use_bias=False)
        for part in ("queries", "keys", "values")
    ]
    attended = Attention(variant.heads, name=f"{name}_attention")(parts)
    attended = network.drop(attended, f"{name}_attention")
    attended = _dense(attended, width, f"{name}_projection")
    attended = network.drop(attended, f"{name}_projection")
    x = keras.layers.Add(name=f"{name}_add1")([x, attended])
    normed = _norm(x, f"{name}_norm2")
    hidden = _dense(normed, variant.widening * width, f"{name}_hidden", "relu")
    hidden = network.drop(hidden, f"{name}_hidden")
    hidden = network.drop(_dense(hidden, width, f"{name}_output"), f"{name}_output")
    return keras.layers.Add(name=f"{name}_add2")([x, hidden])


def _norm(x, name: str):
    return keras.layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def _dense(x, units: int, name: str, activation: str | None = None, use_bias: bool = True):
    return keras.layers.Dense(
        units,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name=name,
    )(x)
