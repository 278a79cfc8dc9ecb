"""The small Inception of the authors' release, for images of 8 to 32 pixels (Sec. B)."""

import functools

import keras

from tfmem.models import layers

_STEM = 96
# Per stage: the (1x1, 3x3) widths of its blocks.
_STAGES = (
    ((32, 32), (32, 48)),
    ((112, 48), (96, 64), (80, 80), (48, 96)),
    ((176, 160), (176, 160)),
)
# Per variant: the filters of the stride-2 convolution after the first and the second stage. That of
# Zhang et al. (2017) is joined by a branch of max pooling, which makes the outputs equally wide.
_DOWN = {"release": (160, 240), "zhang": (80, 96)}


def inception(
    input_shape: tuple[int, int, int],
    num_classes: int,
    variant: str = "release",
    norm_decay: float = 0.999,
) -> keras.Model:
    """Returns images -> logits.

    Blocks of a 1x1 and a 3x3 branch, two downsamplings by stride 2, global pooling.

    Args:
      input_shape: height, width and channels, at least 4 pixels a side.
      num_classes: the number of logits.
      variant: `release` downsamples by a convolution and ends with a max pool; `zhang`, as Zhang et
        al. (2017) describe the network, by a convolution next to a max pool, and ends with a mean.
      norm_decay: of the debiased moving averages of batch norm, in (0, 1). That of the release
        remembers 1,000 steps; of a trial of few hundreds it averages the first ones too.

    Raises:
      ValueError: not an image, one smaller than the two downsamplings, an unknown variant, or a
        decay out of range.
    """
    if variant not in _DOWN:
        raise ValueError(f"variant is {variant!r}, expected one of {', '.join(_DOWN)}")
    if not 0 < norm_decay < 1:
        raise ValueError(f"norm_decay is {norm_decay}, expected in (0, 1)")
    conv_norm_relu = functools.partial(_conv_norm_relu, decay=norm_decay)
    layers.require_image(input_shape, 4, "inception")
    inputs = layers.images(input_shape)
    x = conv_norm_relu(inputs, _STEM, 3, "stem")
    for stage, blocks in enumerate(_STAGES, 1):
        if stage > 1:
            x = _down(x, _DOWN[variant][stage - 2], f"stage{stage - 1}_down", variant, norm_decay)
        for block, (filters_1x1, filters_3x3) in enumerate(blocks, 1):
            name = f"stage{stage}_block{block}"
            branches = [
                conv_norm_relu(x, filters_1x1, 1, f"{name}_1x1"),
                conv_norm_relu(x, filters_3x3, 3, f"{name}_3x3"),
            ]
            x = keras.layers.Concatenate(name=f"{name}_concat")(branches)
    release = variant == "release"
    pool = keras.layers.GlobalMaxPooling2D if release else keras.layers.GlobalAveragePooling2D
    x = pool(name="pool")(x)
    return keras.Model(inputs, layers.logits(x, num_classes), name="inception")


def _conv_norm_relu(x, filters: int, kernel: int, name: str, decay: float, strides: int = 1):
    x = layers.conv(x, filters, kernel, f"{name}_conv", strides)
    x = layers.norm(x, f"{name}_norm", decay, debiased=True)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _down(x, filters: int, name: str, variant: str, decay: float):
    convolved = _conv_norm_relu(x, filters, 3, name, decay, strides=2)
    if variant == "release":
        return convolved
    pooled = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return keras.layers.Concatenate(name=f"{name}_concat")([convolved, pooled])
