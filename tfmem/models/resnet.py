"""ResNets of the authors' release, for small and for large images (Sec. B).

Their convolutions pad symmetrically, other than TensorFlow's; the stem's max pool pads as SAME.
"""

import dataclasses
import functools

import keras

from tfmem.models import layers

_STEM_FILTERS = 64
_WIDTHS = (64, 128, 256, 512)
# How often each stem and the groups after it halve an image, which is also the smallest it takes.
_DOWNSAMPLING = {"small": 8, "large": 32}
_LARGE_IMAGE = 64


@dataclasses.dataclass(frozen=True)
class _Block:
    """A residual block: several convolutions, with norm and ReLU before (v2) or after each (v1).

    Attributes:
      kernels: of its convolutions.
      widening: filters of its convolutions, in widths of the group.
      strided: index of the convolution that takes the block's stride.
    """

    kernels: tuple[int, ...]
    widening: tuple[int, ...]
    strided: int


_BOTTLENECK = _Block(kernels=(1, 3, 1), widening=(1, 1, 4), strided=1)
_BASIC = {
    # The release's first convolution is 1x1, unlike that of He et al. (2016).
    "release": _Block(kernels=(1, 3), widening=(1, 1), strided=1),
    "he": _Block(kernels=(3, 3), widening=(1, 1), strided=0),
}
_BLOCKS_PER_GROUP = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def resnet50(
    input_shape: tuple[int, int, int], num_classes: int, stem: str = "auto", version: int = 2
) -> keras.Model:
    """Returns images -> logits through (3, 4, 6, 3) bottleneck blocks.

    Args:
      input_shape: height, width and channels, at least 8 pixels a side, 32 with the large stem.
      num_classes: the number of logits, all of them 0 before training.
      stem: `small` is a 3x3 convolution; `large` a 7x7 one of stride 2 and a 3x3 max pool of stride
        2; `auto` is `large` for images of 64 pixels a side or more, else `small`.
      version: 2, norm and ReLU before each convolution (He et al. 2016b), is the release's network
        for CIFAR; 1, after each and after the sum (He et al. 2016a), that of its ImageNet
        checkpoints. Strides are taken by the 3x3 convolutions in both.

    Raises:
      ValueError: not an image, one too small for the stem, or an unknown stem or version.
    """
    if version not in (1, 2):
        raise ValueError(f"version is {version!r}, expected 1 or 2")
    return _build("resnet50", _BOTTLENECK, input_shape, num_classes, stem, version)


def resnet18(
    input_shape: tuple[int, int, int], num_classes: int, stem: str = "auto", block: str = "release"
) -> keras.Model:
    """Returns images -> logits through (2, 2, 2, 2) basic blocks.

    Args:
      input_shape, num_classes, stem: as of `resnet50`.
      block: `release` (a 1x1 and a 3x3 convolution, 7.0 M parameters) or `he` (two 3x3
        convolutions, as He et al. have them, 11.2 M).

    Raises:
      ValueError: not an image, one too small for the stem, or an unknown stem or block.
    """
    if block not in _BASIC:
        raise ValueError(f"block is {block!r}, expected one of {', '.join(_BASIC)}")
    return _build("resnet18", _BASIC[block], input_shape, num_classes, stem)


def _build(
    name: str, block: _Block, input_shape, num_classes: int, stem: str, version: int = 2
) -> keras.Model:
    if stem not in ("auto", *_DOWNSAMPLING):
        raise ValueError(f"stem is {stem!r}, expected one of auto, {', '.join(_DOWNSAMPLING)}")
    layers.require_image(input_shape, _DOWNSAMPLING["small"], name)
    if stem == "auto":
        stem = "large" if min(input_shape[:2]) >= _LARGE_IMAGE else "small"
    layers.require_image(
        input_shape, _DOWNSAMPLING[stem], f"{name} with stem={stem!r}", "use stem='small'"
    )

    inputs = layers.images(input_shape)
    kernel, strides = (7, 2) if stem == "large" else (3, 1)
    x = _conv(inputs, _STEM_FILTERS, kernel, "stem_conv", strides)
    if version == 1:
        x = layers.norm_relu(x, "stem")
    if stem == "large":
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    residual = {1: _post_activation, 2: _pre_activation}[version]
    groups = zip(_WIDTHS, _BLOCKS_PER_GROUP[name], strict=True)
    for group, (width, blocks) in enumerate(groups, 1):
        for index in range(1, blocks + 1):
            strides = 2 if group > 1 and index == 1 else 1
            x = residual(x, block, width, strides, index == 1, f"group{group}_block{index}")
    if version == 2:
        x = layers.norm_relu(x, "final")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.logits(x, num_classes, "zeros"), name=name)


_conv = functools.partial(layers.conv, symmetric=True)


def _convolutions(block: _Block, width: int, strides: int, name: str):
    """Yields what applies each of a block's convolutions."""
    for index, (kernel, widening) in enumerate(zip(block.kernels, block.widening, strict=True)):
        yield functools.partial(
            _conv,
            filters=width * widening,
            kernel=kernel,
            name=f"{name}_conv{index + 1}",
            strides=strides if index == block.strided else 1,
        )


def _pre_activation(x, block: _Block, width: int, strides: int, project: bool, name: str):
    shortcut = x
    for index, conv in enumerate(_convolutions(block, width, strides, name), 1):
        x = layers.norm_relu(x, name, index)
        if index == 1 and project:
            filters = width * block.widening[-1]
            shortcut = _conv(x, filters, 1, f"{name}_shortcut_conv", strides)
        x = conv(x)
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _post_activation(x, block: _Block, width: int, strides: int, project: bool, name: str):
    shortcut = x
    if project:
        filters = width * block.widening[-1]
        shortcut = _conv(x, filters, 1, f"{name}_shortcut_conv", strides)
        shortcut = layers.norm(shortcut, f"{name}_shortcut_norm")
    for index, conv in enumerate(_convolutions(block, width, strides, name), 1):
        if index > 1:
            x = keras.layers.ReLU(name=f"{name}_relu{index - 1}")(x)
        x = layers.norm(conv(x), f"{name}_norm{index}")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
