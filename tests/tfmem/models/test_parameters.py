"""The sizes of all architectures: parameters and feature maps."""

import itertools

import numpy as np
import pytest

from tests.networks import built, sizes
from tfmem import experiments, models


def resnet18_parameters(kernel: int) -> int:
    """Counts a small-stem ResNet18, 3 channels and 100 classes; `kernel` is its blocks' first."""
    total = 9 * 3 * 64
    channels = 64
    for width in (64, 128, 256, 512):
        projection = channels * width
        first = 2 * channels + kernel**2 * channels * width + 2 * width + 9 * width * width
        second = 2 * width + kernel**2 * width * width + 2 * width + 9 * width * width
        total += projection + first + second
        channels = width
    return total + 2 * 512 + 512 * 100 + 100


def resnet50_v1_parameters(stem: int, classes: int) -> int:
    """Counts a ResNet50 v1; `stem` is the weights of its first convolution."""
    total, channels = stem + 2 * 64, 64
    for width, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        total += channels * 4 * width + 2 * 4 * width  # The projection and its norm.
        for _ in range(blocks):
            total += channels * width + 2 * width + 9 * width**2 + 2 * width
            total += width * 4 * width + 2 * 4 * width
            channels = 4 * width
    return total + channels * classes + classes


def densenet_parameters(bottleneck_compression: bool, classes: int) -> int:
    """Counts a DenseNet of depth 100 and growth 12 on 3 channels."""
    channels = 24 if bottleneck_compression else 16
    total = 9 * 3 * channels
    for block in range(3):
        for _ in range(16 if bottleneck_compression else 32):
            if bottleneck_compression:
                total += 2 * channels + channels * 48 + 2 * 48 + 9 * 48 * 12
            else:
                total += 2 * channels + 9 * channels * 12
            channels += 12
        if block < 2:
            kept = channels // 2 if bottleneck_compression else channels
            total += 2 * channels + channels * kept
            channels = kept
    return total + 2 * channels + channels * classes + classes


def vgg11_parameters(classes: int) -> int:
    """Counts VGG-11 on 3 channels: eight 3x3 convolutions with biases, two dense layers of 512."""
    total, channels = 0, 3
    for filters in (64, 128, 256, 256, 512, 512, 512, 512):
        total += 9 * channels * filters + filters
        channels = filters
    return total + 2 * (512 * 512 + 512) + 512 * classes + classes


def cct_parameters(blocks: int, convolutions: int, width: int, widening: int) -> int:
    """Counts a compact convolutional transformer on 32 x 32 x 3 with 10 classes."""
    widths = [3, *[64] * (convolutions - 1), width]
    total = sum(9 * a * b for a, b in itertools.pairwise(widths))
    total += (32 // 2**convolutions) ** 2 * width  # Positions.
    hidden = widening * width
    attention = 3 * width**2 + width**2 + width
    dense = width * hidden + hidden + hidden * width + width
    total += blocks * (attention + dense + 4 * width)
    return total + 2 * width + width + 1 + 10 * width + 10


# The small Inception of Zhang et al. has the same widths everywhere but in its two strided
# convolutions: 80 filters on 80 channels instead of 160, and 96 on 144 channels instead of 240.
ZHANG_SAVES = (9 * 80 + 2) * (160 - 80) + (9 * 144 + 2) * (240 - 96)


# Trainable parameters of every registered model. A new row of BUILDERS needs one here.
# Inception and ResNet: counted on the authors' release (batch norm scale and offset counted). MLP:
# of their MNIST example, 784-512-256-10, by hand: 784*512 + 512 + 512*256 + 256 + 256*10 + 10.
PARAMETERS = {
    "linear": [((28, 28, 1), 10, {}, 7_850), ((512,), 10, {}, 5_130)],
    "mlp": [
        ((28, 28, 1), 10, {"hidden": (512, 256)}, 535_818),
        ((8, 8, 1), 10, {"hidden": (512,)}, 38_410),
        ((64,), 10, {"hidden": (512,)}, 38_410),
    ],
    "inception": [
        ((32, 32, 3), 100, {}, 1_926_116),
        ((28, 28, 1), 10, {}, 1_894_058),
        ((32, 32, 3), 100, {"variant": "zhang"}, 1_926_116 - ZHANG_SAVES),
    ],
    "resnet18": [
        ((32, 32, 3), 100, {}, 7_028_132),
        ((32, 32, 3), 100, {"block": "he"}, resnet18_parameters(kernel=3)),
        ((224, 224, 3), 100, {}, 7_028_132 + (49 - 9) * 3 * 64),
    ],
    "resnet50": [
        ((32, 32, 3), 100, {}, 23_697_572),
        ((224, 224, 3), 1000, {}, 25_549_352),
        ((224, 224, 3), 1000, {"version": 1}, 25_557_032),
        ((32, 32, 3), 100, {"version": 1}, resnet50_v1_parameters(stem=9 * 3 * 64, classes=100)),
    ],
    "densenet100": [
        ((32, 32, 3), 10, {}, densenet_parameters(True, 10)),
        ((32, 32, 3), 10, {"bottleneck_compression": False}, densenet_parameters(False, 10)),
    ],
    "vgg11": [((32, 32, 3), 10, {}, vgg11_parameters(10))],
    "cct": [
        ((32, 32, 3), 10, {"variant": name}, cct_parameters(*row))
        for name, row in {
            "2/3x2": (2, 2, 128, 1),
            "4/3x2": (4, 2, 128, 1),
            "6/3x1": (6, 1, 256, 2),
            "7/3x1": (7, 1, 256, 2),
        }.items()
    ],
}


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_every_model_has_a_row():
    assert set(PARAMETERS) == set(models.BUILDERS)


def test_counting_by_hand_agrees_with_published_counts():
    assert resnet18_parameters(kernel=1) == 7_028_132  # The release.
    assert round(resnet18_parameters(kernel=3) / 1e6, 1) == 11.2  # He et al., as usually cited.
    assert resnet50_v1_parameters(49 * 3 * 64, 1000) == 25_557_032  # The release's checkpoints.
    # Huang et al. (2017), Table 2: 0.8 M and 7.0 M.
    assert round(densenet_parameters(True, 10) / 1e6, 1) == 0.8
    assert round(densenet_parameters(False, 10) / 1e6, 1) == 7.0
    # Hassani et al. (2021): 0.28 M and 3.76 M.
    assert round(cct_parameters(2, 2, 128, 1) / 1e6, 2) == 0.28
    assert round(cct_parameters(7, 1, 256, 2) / 1e6, 2) == 3.76


def test_the_recipe_of_imagenet_is_the_releases_v1():
    config = experiments.get("imagenet_resnet50")
    model = built(config.model, (config.image_size,) * 2 + (3,), 1000, **config.model_options)
    assert trainable(model) == 25_557_032


# The first of each, and, in the slow tests, all others of the large ones.
LARGE = ("resnet50", "densenet100")
ROWS = [
    pytest.param(name, *row, marks=pytest.mark.slow if number and name in LARGE else ())
    for name, rows in PARAMETERS.items()
    for number, row in enumerate(rows)
]


@pytest.mark.parametrize(("name", "shape", "classes", "options", "count"), ROWS)
def test_parameter_counts(name, shape, classes, options, count):
    model = built(name, shape, classes, **options)
    assert trainable(model) == count
    assert model.output_shape == (None, classes)


def test_feature_maps_shrink_where_they_should():
    groups = [f"group{group}_block{block}_add" for group, block in enumerate((3, 4, 6, 3), 1)]
    small = built("resnet50", (32, 32, 3), 100)
    assert sizes(small, groups) == [(32, 32), (16, 16), (8, 8), (4, 4)]
    large = built("resnet50", (224, 224, 3), 1000)
    assert sizes(large, ["stem_conv"]) == [(112, 112)]
    assert sizes(large, groups) == [(56, 56), (28, 28), (14, 14), (7, 7)]
    stages = ["stage1_block2_concat", "stage2_block4_concat", "stage3_block2_concat"]
    for variant in ("release", "zhang"):
        inception = built("inception", (32, 32, 3), 100, variant=variant)
        assert sizes(inception, stages) == [(32, 32), (16, 16), (8, 8)]
        assert inception.get_layer("stage2_block1_1x1_conv").input.shape[-1] == 160
        assert inception.get_layer("stage3_block1_1x1_conv").input.shape[-1] == 240
    blocks = [f"block{block}_layer16_concat" for block in (1, 2, 3)]
    assert sizes(built("densenet100", (32, 32, 3)), blocks) == [(32, 32), (16, 16), (8, 8)]


def test_the_stem_goes_by_the_shorter_side_unless_it_is_named():
    def first_group(shape, **options):
        return built("resnet18", shape, **options).get_layer("group1_block2_add").output.shape[1:3]

    assert first_group((64, 64, 3)) == (16, 16)
    assert first_group((63, 80, 3)) == (63, 80)
    assert first_group((64, 64, 3), stem="small") == (64, 64)
    assert first_group((32, 32, 3), stem="large") == (8, 8)
