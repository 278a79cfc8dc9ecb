"""The networks of the authors' release, whole, in NumPy: weights carried over give equal logits.

Their convolutions are written as the release pads them. Weights and moving averages are random.
"""

import functools

import keras
import numpy as np
import pytest

from tests import slow
from tests.networks import Twin, run, trained
from tfmem.models import layers


def resnet_v2(blocks_per_group, kernels, twin):
    """Norm, ReLU, convolution; the shortcut leaves after the first norm and ReLU."""
    x = twin.conv(twin.images.astype(np.float64), "stem_conv")
    for group, blocks in enumerate(blocks_per_group, 1):
        for block in range(1, blocks + 1):
            name = f"group{group}_block{block}"
            strides = 2 if group > 1 and block == 1 else 1
            shortcut = x
            for index, kernel in enumerate(kernels, 1):
                x = twin.norm_relu(x, f"{name}_norm{index}")
                if index == 1 and block == 1:
                    shortcut = twin.conv(x, f"{name}_shortcut_conv", strides)
                x = twin.conv(x, f"{name}_conv{index}", strides if kernel == 3 else 1)
            x = x + shortcut
    return twin.logits(twin.norm_relu(x, "final_norm").mean(axis=(1, 2)))


def resnet50_v1(twin):
    """Convolution, norm, ReLU; the last ReLU is of the sum, and the shortcut has a norm."""
    x = twin.conv(twin.images.astype(np.float64), "stem_conv", strides=2)
    x = twin.norm_relu(x, "stem_norm")
    x = twin.windows(x, 3, 2, fill=-np.inf).max(axis=(-1, -2))
    for group, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(1, blocks + 1):
            name = f"group{group}_block{block}"
            strides = 2 if group > 1 and block == 1 else 1
            shortcut = x
            if block == 1:
                shortcut = twin.conv(x, f"{name}_shortcut_conv", strides)
                shortcut = twin.norm(shortcut, f"{name}_shortcut_norm")
            x = twin.norm_relu(twin.conv(x, f"{name}_conv1"), f"{name}_norm1")
            x = twin.norm_relu(twin.conv(x, f"{name}_conv2", strides), f"{name}_norm2")
            x = twin.norm(twin.conv(x, f"{name}_conv3"), f"{name}_norm3")
            x = np.maximum(x + shortcut, 0)
    return twin.logits(x.mean(axis=(1, 2)))


def small_inception(twin):
    def conv_norm_relu(x, name, strides=1):
        return twin.norm_relu(twin.conv(x, f"{name}_conv", strides), f"{name}_norm")

    x = conv_norm_relu(twin.images.astype(np.float64), "stem")
    for stage, blocks in enumerate((2, 4, 2), 1):
        if stage > 1:
            x = conv_norm_relu(x, f"stage{stage - 1}_down", strides=2)
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            branches = [conv_norm_relu(x, f"{name}_{size}") for size in ("1x1", "3x3")]
            x = np.concatenate(branches, axis=-1)
    return twin.logits(x.max(axis=(1, 2)))


NETWORKS = {
    "ResNet50": ("resnet50", {}, (8, 8, 3), functools.partial(resnet_v2, (3, 4, 6, 3), (1, 3, 1))),
    "ResNet50 v1": ("resnet50", {"stem": "large", "version": 1}, (32, 34, 3), resnet50_v1),
    # Sides that strides do not divide, too.
    "ResNet18": ("resnet18", {}, (9, 14, 3), functools.partial(resnet_v2, (2, 2, 2, 2), (1, 3))),
    "Inception": ("inception", {}, (9, 14, 3), small_inception),
}


@pytest.mark.parametrize("name", slow.some(NETWORKS, lambda name: name.startswith("ResNet50")))
def test_equal_weights_give_equal_logits(name, rng):
    model, options, shape, forward = NETWORKS[name]
    network = trained(model, shape, **options)
    images = rng.random((2, *shape)).astype(np.float32)
    expected = forward(Twin(network, images, symmetric=model != "inception"))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(run(network, images), expected, rtol=0, atol=1e-5 * scale)
    if model != "resnet50":  # Which takes a while: the other padding gives others.
        other = forward(Twin(network, images, symmetric=model == "inception"))
        assert np.abs(other - expected).max() > 1e-3 * scale


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_convolutions_pad_as_their_twin(kernel, strides, symmetric, rng):
    for shape in ((8, 11, 2), (9, 12, 2)):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, layers.conv(inputs, 3, kernel, "conv", strides, symmetric))
        twin = Twin(model, rng.random((2, *shape)).astype(np.float32), symmetric)
        twin.agrees("conv", twin.conv(twin.images.astype(np.float64), "conv", strides))


def test_symmetric_padding_begins_a_pixel_earlier():
    """A kernel that copies its middle pixel: strides of 2 take pixels 0 and 2, SAME 1 and 3."""
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1
    for symmetric, taken in ((True, [[0, 2], [8, 10]]), (False, [[5, 7], [13, 15]])):
        inputs = keras.Input((4, 4, 1))
        model = keras.Model(inputs, layers.conv(inputs, 1, 3, "conv", 2, symmetric))
        model.set_weights([kernel])
        np.testing.assert_array_equal(run(model, image)[0, :, :, 0], taken)
