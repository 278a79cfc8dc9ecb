"""The small Inception of the authors' release, for images of 8 to 32 pixels (Sec. B)."""

import keras

# Convolutions of the authors' release: batch norm with these constants, no bias, SAME padding.
_BATCH_NORM = dict(momentum=0.9, epsilon=1e-5)
_STEM = 96
# Per stage: the (1x1, 3x3) widths of its blocks, then the filters of the stride-2 convolution.
_STAGES = (
    (((32, 32), (32, 48)), 160),
    (((112, 48), (96, 64), (80, 80), (48, 96)), 240),
    (((176, 160), (176, 160)), None),
)


def _conv(x, filters: int, kernel: int, name: str, strides: int = 1):
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(**_BATCH_NORM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def build(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Returns images -> logits.

    Blocks of a 1x1 and a 3x3 branch, two downsamplings by stride 2, global max pooling.

    Args:
      input_shape: height, width and channels, at least 4 pixels a side.
      num_classes: the number of logits.

    Raises:
      ValueError: the image is smaller than the two downsamplings.
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 4:
        raise ValueError(
            f"inception downsamples twice: images must be at least 4x4, got {input_shape}"
        )
    inputs = keras.Input(input_shape)
    x = _conv(inputs, _STEM, 3, "stem")
    for stage, (blocks, downsample) in enumerate(_STAGES, 1):
        for block, (filters_1x1, filters_3x3) in enumerate(blocks, 1):
            name = f"stage{stage}_block{block}"
            branches = [
                _conv(x, filters_1x1, 1, f"{name}_1x1"),
                _conv(x, filters_3x3, 3, f"{name}_3x3"),
            ]
            x = keras.layers.Concatenate(name=f"{name}_concat")(branches)
        if downsample:
            x = _conv(x, downsample, 3, f"stage{stage}_down", strides=2)
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name="inception")
