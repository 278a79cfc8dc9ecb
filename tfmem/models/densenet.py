"""DenseNet of Huang et al. (2017) for small images: depth 100, growth 12 (Sec. B)."""

import keras

from tfmem.models import layers

_DEPTH = 100
_GROWTH = 12
_DENSE_BLOCKS = 3
_BOTTLENECK = 4  # Filters of a bottleneck's 1x1 convolution, in growths.
_COMPRESSION = 0.5  # Share of the channels that a transition keeps.
_PLAIN_STEM = 16


def densenet100(
    input_shape: tuple[int, int, int], num_classes: int, bottleneck_compression: bool = True
) -> keras.Model:
    """Returns images -> logits.

    Three dense blocks, each layer of which appends its `growth` channels to all before it; a 1x1
    convolution and a 2x2 mean pool between blocks; norm, ReLU and a mean pool at the end.

    Args:
      input_shape: height, width and channels, at least 4 pixels a side.
      num_classes: the number of logits.
      bottleneck_compression: DenseNet-BC (0.8 M parameters): a 1x1 convolution to 4 growths before
        each 3x3 convolution, and transitions that halve the channels. Otherwise neither (7 M). The
        paper does not say which of the two it trained.

    Raises:
      ValueError: not an image, or one smaller than the two transitions.
    """
    layers.require_image(input_shape, 4, "densenet100")
    # Not in a dense block: the stem, a convolution in each transition, and the logits.
    convolutions = _DEPTH - _DENSE_BLOCKS - 1
    layers_per_block = convolutions // _DENSE_BLOCKS // (2 if bottleneck_compression else 1)
    inputs = layers.images(input_shape)
    stem = 2 * _GROWTH if bottleneck_compression else _PLAIN_STEM
    x = layers.conv(inputs, stem, 3, "stem_conv")
    for block in range(1, _DENSE_BLOCKS + 1):
        if block > 1:
            compression = _COMPRESSION if bottleneck_compression else 1
            x = _transition(x, int(x.shape[-1] * compression), f"transition{block - 1}")
        for index in range(1, layers_per_block + 1):
            x = _dense_layer(x, bottleneck_compression, f"block{block}_layer{index}")
    x = layers.norm_relu(x, "final")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.logits(x, num_classes), name="densenet100")


def _dense_layer(x, bottleneck: bool, name: str):
    grown = layers.norm_relu(x, name, 1)
    if bottleneck:
        grown = layers.conv(grown, _BOTTLENECK * _GROWTH, 1, f"{name}_conv1")
        grown = layers.norm_relu(grown, name, 2)
    grown = layers.conv(grown, _GROWTH, 3, f"{name}_conv{2 if bottleneck else 1}")
    return keras.layers.Concatenate(name=f"{name}_concat")([x, grown])


def _transition(x, filters: int, name: str):
    x = layers.conv(layers.norm_relu(x, name), filters, 1, f"{name}_conv")
    return keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)
