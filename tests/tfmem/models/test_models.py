"""What all architectures have in common, and their blocks against NumPy."""

import keras
import numpy as np
import pytest

from tests.networks import Twin, built, run, sizes, trained
from tfmem import models
from tfmem.models import initializers, layers
from tfmem.recipe import PRECISIONS

FAMILIES = ["inception", "resnet18", "resnet50", "densenet100"]


@pytest.fixture
def images(rng):
    return rng.random((2, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [
        *("inception", "resnet18"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "densenet100")),
    ],
)
def test_evaluation_does_not_see_the_batchs_neighbours(name, rng):
    model = trained(name)
    images = rng.random((5, 8, 8, 1)).astype(np.float32)
    alone = run(model, images[:1])
    # Sums of up to 5,000 float32 products, in another order for another batch size.
    scale = np.abs(alone).max()
    np.testing.assert_allclose(run(model, images)[:1], alone, atol=1e-4 * scale)
    assert np.abs(run(model, images, training=True)[:1] - alone).max() > 1e-2 * scale


def test_batch_norm_remembers_nine_tenths(images):
    """Of the mean, and of the variance with Bessel's correction."""
    model = trained("resnet18")
    convolved = run(models.features(model, "stem_conv"), images).reshape(-1, 64)
    before = model.get_layer("group1_block1_norm1").get_weights()
    run(model, images, training=True)
    after = model.get_layer("group1_block1_norm1").get_weights()
    moments = convolved.mean(axis=0), convolved.var(axis=0, ddof=1)
    for old, new, moment in zip(before[2:], after[2:], moments, strict=True):
        np.testing.assert_allclose(new, 0.9 * old + 0.1 * moment, atol=1e-5)


@pytest.mark.parametrize(("options", "decay"), [({}, 0.999), ({"norm_decay": 0.5}, 0.5)])
def test_inceptions_batch_norm_is_debiased(options, decay, rng):
    """As an average that starts at 0 and is divided by 1 - decay^steps: of what it saw alone."""
    model = models.build("inception", (8, 8, 1), 10, **options)
    model.set_weights(initializers.initial_weights(model, 0, 0))
    norm = model.get_layer("stem_norm")
    hidden = np.zeros((2, 96))
    for step in range(1, 4):
        images = step * rng.random((2, 8, 8, 1)).astype(np.float32)
        convolved = run(models.features(model, "stem_conv"), images).reshape(-1, 96)
        moments = np.stack([convolved.mean(axis=0), convolved.var(axis=0, ddof=1)])
        hidden = decay * hidden + (1 - decay) * moments
        run(model, images, training=True)
        averages = np.stack(norm.get_weights()[2:])
        np.testing.assert_allclose(averages, hidden / (1 - decay**step), atol=1e-5)


def test_batch_norm_of_one_value_stays_finite():
    norm = layers.BatchNorm(momentum=0.9)
    norm(np.ones((1, 1, 1, 2), np.float32), training=True)
    np.testing.assert_allclose(norm.moving_variance, [0.9, 0.9])


def test_batch_norm_both_ways_through_its_config():
    norm = layers.BatchNorm(momentum=0.7, epsilon=1e-5, debiased=True, name="norm")
    again = layers.BatchNorm.from_config(norm.get_config())
    assert (again.momentum, again.epsilon, again.debiased) == (0.7, 1e-5, True)


@pytest.mark.parametrize(
    ("name", "options", "width"),
    [
        ("inception", {}, 176 + 160),
        ("inception", {"variant": "zhang"}, 176 + 160),
        ("resnet18", {}, 512),
        ("resnet18", {"block": "he"}, 512),
        pytest.param("resnet50", {}, 2048, marks=pytest.mark.slow),
        ("densenet100", {}, 342),
        pytest.param(
            "densenet100",
            {"bottleneck_compression": False},
            16 + 3 * 32 * 12,
            marks=pytest.mark.slow,
        ),
        ("mlp", {}, 64),
    ],
)
def test_features_are_as_wide_as_the_last_block(name, options, width):
    assert models.features(built(name, **options)).output_shape == (None, width)


@pytest.mark.parametrize("name", ["inception", "resnet18", "densenet100"])
def test_features_are_what_the_logits_are_computed_from(name, images):
    model = trained(name)
    features = run(models.features(model), images)
    assert features.dtype == np.float32
    kernel, bias = model.get_layer("logits").get_weights()
    logits = run(model, images)
    np.testing.assert_allclose(features @ kernel + bias, logits, atol=1e-5 * np.abs(logits).max())


def test_features_of_a_named_layer_are_flattened(rng):
    model = trained("inception")
    images = rng.random((2, 8, 8, 1)).astype(np.float32)
    kernel = model.get_layer("stem_conv").kernel
    convolved = keras.ops.conv(images, kernel, padding="same")
    named = run(models.features(model, "stem_conv"), images)
    assert named.shape == (2, 8 * 8 * 96)
    np.testing.assert_allclose(named, np.reshape(convolved, (2, -1)), atol=1e-5)
    np.testing.assert_array_equal(
        run(models.features(model, "images"), images), images.reshape(2, 64)
    )
    np.testing.assert_array_equal(run(models.features(model, "logits"), images), run(model, images))
    with pytest.raises(ValueError, match="did you mean 'stage2_block3_1x1_conv'"):
        models.features(model, "stage2_block3_1x1_con")


def test_features_of_an_mlp_are_its_last_hidden_layer(rng):
    model = models.build("mlp", (4, 4, 1), 3, hidden=[7, 5])
    images = rng.random((2, 4, 4, 1)).astype(np.float32)
    x = images.reshape(2, 16)
    for layer in ("hidden_1", "hidden_2"):
        kernel, bias = model.get_layer(layer).get_weights()
        x = np.maximum(x @ kernel + bias, 0)
    np.testing.assert_allclose(run(models.features(model), images), x, atol=1e-6)


def test_logits_of_an_untrained_resnet_are_zero(images):
    model = built("resnet18")
    model.set_weights(initializers.initial_weights(model, 0, 0))
    assert run(models.features(model), images).any()
    np.testing.assert_array_equal(run(model, images), np.zeros((2, 10)))


def test_a_bottleneck_block_agrees_with_its_numpy_twin(images):
    twin = Twin(trained("resnet50"), images, symmetric=True)
    x = twin.output("group1_block3_add")
    name = "group2_block1"
    normed = twin.norm_relu(x, f"{name}_norm1")
    shortcut = twin.conv(normed, f"{name}_shortcut_conv", strides=2)
    residual = twin.conv(normed, f"{name}_conv1")
    residual = twin.conv(twin.norm_relu(residual, f"{name}_norm2"), f"{name}_conv2", strides=2)
    residual = twin.conv(twin.norm_relu(residual, f"{name}_norm3"), f"{name}_conv3")
    twin.agrees(f"{name}_add", shortcut + residual)

    x = twin.output(f"{name}_add")
    name = "group2_block2"
    residual = x
    for index in (1, 2, 3):
        normed = twin.norm_relu(residual, f"{name}_norm{index}")
        residual = twin.conv(normed, f"{name}_conv{index}")
    twin.agrees(f"{name}_add", x + residual)


@pytest.mark.parametrize(
    ("block", "kernels", "strides"), [("release", (1, 3), (1, 2)), ("he", (3, 3), (2, 1))]
)
def test_a_basic_block_agrees_with_its_numpy_twin(block, kernels, strides, images):
    twin = Twin(trained("resnet18", block=block), images, symmetric=True)
    name = "group3_block1"
    x = twin.output("group2_block2_add")
    normed = twin.norm_relu(x, f"{name}_norm1")
    shortcut = twin.conv(normed, f"{name}_shortcut_conv", strides=2)
    residual = twin.conv(normed, f"{name}_conv1", strides[0])
    residual = twin.conv(twin.norm_relu(residual, f"{name}_norm2"), f"{name}_conv2", strides[1])
    twin.agrees(f"{name}_add", shortcut + residual)
    for index, kernel in enumerate(kernels, 1):
        assert twin.model.get_layer(f"{name}_conv{index}").kernel_size == (kernel, kernel)


@pytest.mark.parametrize("name", ["resnet18", "densenet100"])
def test_the_head_normalizes_and_averages(name, images):
    twin = Twin(trained(name), images)
    last = {"resnet18": "group4_block2_add", "densenet100": "block3_layer16_concat"}[name]
    normed = twin.norm_relu(twin.output(last), "final_norm")
    twin.agrees("pool", normed.mean(axis=(1, 2)))


def test_dense_layers_and_transitions_agree_with_their_numpy_twins(images):
    twin = Twin(trained("densenet100"), images)
    x = twin.output("block1_layer15_concat")
    name = "block1_layer16"
    grown = twin.conv(twin.norm_relu(x, f"{name}_norm1"), f"{name}_conv1")
    grown = twin.conv(twin.norm_relu(grown, f"{name}_norm2"), f"{name}_conv2")
    twin.agrees(f"{name}_concat", np.concatenate([x, grown], axis=-1))

    x = twin.output(f"{name}_concat")
    mixed = twin.conv(twin.norm_relu(x, "transition1_norm"), "transition1_conv")
    pooled = mixed.reshape(2, 4, 2, 4, 2, 108).mean(axis=(2, 4))
    twin.agrees("transition1_pool", pooled)

    plain = Twin(trained("densenet100", bottleneck_compression=False), images)
    x = plain.output("block1_layer31_concat")
    grown = plain.conv(plain.norm_relu(x, "block1_layer32_norm1"), "block1_layer32_conv1")
    plain.agrees("block1_layer32_concat", np.concatenate([x, grown], axis=-1))


def test_inception_agrees_with_its_numpy_twin(images):
    twin = Twin(trained("inception", variant="zhang"), images)
    x = twin.output("stem_relu")
    name = "stage1_block1"
    branches = [
        twin.norm_relu(twin.conv(x, f"{name}_{size}_conv"), f"{name}_{size}_norm")
        for size in ("1x1", "3x3")
    ]
    twin.agrees(f"{name}_concat", np.concatenate(branches, axis=-1))

    x = twin.output("stage1_block2_concat")
    convolved = twin.norm_relu(twin.conv(x, "stage1_down_conv", strides=2), "stage1_down_norm")
    pooled = twin.windows(x, 3, 2, fill=-np.inf).max(axis=(-1, -2))
    twin.agrees("stage1_down_concat", np.concatenate([convolved, pooled], axis=-1))
    twin.agrees("pool", twin.output("stage3_block2_concat").mean(axis=(1, 2)))

    release = Twin(trained("inception"), images)
    release.agrees("pool", release.output("stage3_block2_concat").max(axis=(1, 2)))


def test_a_large_stem_agrees_with_its_numpy_twin(rng):
    model = built("resnet18", (32, 32, 3), stem="large")
    twin = Twin(model, rng.random((2, 32, 32, 3)).astype(np.float32), symmetric=True)
    convolved = twin.conv(twin.images.astype(np.float64), "stem_conv", strides=2)
    pooled = twin.windows(convolved, 3, 2, fill=-np.inf).max(axis=(-1, -2))
    twin.agrees("stem_pool", pooled)


@pytest.fixture
def global_policy():
    """Sets a dtype policy that no precision is, and restores the one before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield "float64"
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision_is_that_of_the_hidden_layers_only(precision, global_policy):
    model = models.build("inception", (8, 8, 1), 10, precision=precision)
    assert keras.config.dtype_policy().name == global_policy
    compute = precision.removeprefix("mixed_")
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            assert layer.compute_dtype == ("float32" if layer.name == "logits" else compute)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {weight.dtype for weight in initializers.initial_weights(model, 0, 0)} == {
        np.dtype(np.float32)
    }
    assert model.output.dtype == "float32"
    assert models.features(model).output.dtype == "float32"


@pytest.mark.parametrize("name", ["linear", "inception", "resnet18", "densenet100"])
def test_logits_are_float32_in_every_family(name):
    model = models.build(name, (8, 8, 1), 10, precision="mixed_float16")
    assert model.get_layer("logits").compute_dtype == "float32"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_rounds_what_float32_computes(precision, images):
    full = trained("inception")
    mixed = models.build("inception", (8, 8, 1), 10, precision=precision)
    mixed.set_weights(full.get_weights())
    expected, actual = run(full, images), run(mixed, images)
    # A dozen layers, each rounding to 8 bits (bfloat16) or 11 (float16), up or down.
    unit = {"mixed_bfloat16": 2**-8, "mixed_float16": 2**-11}[precision]
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert unit / 12 < error < 12 * unit


def test_the_global_policy_is_restored_after_an_error(global_policy):
    with pytest.raises(ValueError, match="at least 4x4"):
        models.build("inception", (2, 2, 1), 10, precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == global_policy


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("mpl", (8, 8, 1), {}, "did you mean 'mlp'"),
        ("mlp", (8, 8, 1), {"depth": 3}, "'mlp'.*unexpected.*'depth'"),
        ("linear", (8, 8, 1), {"hidden": [3]}, "'linear'.*unexpected.*'hidden'"),
        ("mlp", (8, 8, 1), {"precision": "half"}, ".*'half'.*float32, mixed_.*, mixed_.*"),
        ("inception", (2, 2, 1), {}, r"at least 4x4.*\(2, 2, 1\).*'mlp'"),
        ("inception", (8, 8, 1), {"variant": "v3"}, "'v3'.*release, zhang"),
        ("inception", (8, 8, 1), {"norm_decay": 1}, r"norm_decay is 1, expected in \(0, 1\)"),
        ("resnet50", (8, 8, 1), {"version": 3}, "version is 3, expected 1 or 2"),
        ("densenet100", (3, 8, 1), {}, r"at least 4x4.*\(3, 8, 1\).*'mlp'"),
        ("densenet100", (64,), {}, r"height, width, channels.*\(64,\).*'mlp'"),
        ("resnet50", (512,), {}, r"height, width, channels.*\(512,\).*'mlp'"),
        ("resnet50", (), {}, r"height, width, channels.*\(\).*'mlp'"),
        ("resnet18", (7, 8, 1), {}, r"at least 8x8.*\(7, 8, 1\).*'mlp'"),
        ("resnet18", (31, 32, 1), {"stem": "large"}, r"32x32.*\(31, 32, 1\): use stem='small'"),
        ("resnet18", (8, 8, 1), {"stem": "tiny"}, "'tiny'.*auto, small, large"),
        ("resnet18", (8, 8, 1), {"block": "v1"}, "'v1'.*release, he"),
        ("resnet50", (8, 8, 1), {"block": "he"}, "'resnet50'.*unexpected.*'block'"),
        ("vgg11", (28, 28, 1), {}, r"at least 32x32.*\(28, 28, 1\).*'mlp'"),
        ("cct", (3, 3, 1), {}, r"at least 4x4.*\(3, 3, 1\).*'mlp'"),
        ("cct", (8, 8, 1), {"variant": "3/3x2"}, "'3/3x2'.*2/3x2, 4/3x2, 6/3x1, 7/3x1"),
        ("resnet18", (8, 8, 1), {"turnover": True}, "no turn-over layers.*mlp, vgg11, cct"),
        ("linear", (8, 8, 1), {"turnover": True}, "no turn-over layers.*mlp, vgg11, cct"),
        ("mlp", (8, 8, 1), {"turnover": True}, "no hidden layers for turn-over dropout"),
        ("mlp", (8, 8, 1), {"turnover": True, "hidden": [9]}, "9 units, expected an even number"),
    ],
)
def test_wrong_models_are_refused_in_one_line(name, shape, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        models.build(name, shape, 10, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "smallest", "last"),
    [
        ("inception", 4, "stage3_block2_concat"),
        ("densenet100", 4, "block3_layer16_concat"),
        ("resnet18", 8, "group4_block2_add"),
    ],
)
def test_the_smallest_images_shrink_to_one_pixel(name, smallest, last):
    assert sizes(built(name, (smallest, smallest, 1)), [last]) == [(1, 1)]


def test_initial_weights_depend_on_seed_and_trial_only():
    first = built("inception")
    drawn = initializers.initial_weights(first, 0, 5)
    keras.utils.set_random_seed(1)
    again = initializers.initial_weights(models.build("inception", (8, 8, 1), 10), 0, 5)
    for one, two, weight in zip(drawn, again, first.weights, strict=True):
        assert one.shape == tuple(weight.shape)
        np.testing.assert_array_equal(one, two)
    for base_seed, trial in ((1, 5), (0, 6)):
        other = initializers.initial_weights(first, base_seed, trial)
        assert np.abs(other[0] - drawn[0]).max() > 0.01


def test_initial_weights_follow_the_layers_initializers():
    model = models.build("mlp", (28, 28, 1), 10, hidden=[512])
    kernel, bias, _, _ = initializers.initial_weights(model, 0, 0)
    limit = np.sqrt(6 / (784 + 512))  # Glorot uniform, Keras's default.
    assert np.abs(kernel).max() == pytest.approx(limit, rel=1e-3)
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)
    assert not bias.any()


@pytest.mark.parametrize("name", FAMILIES)
def test_convolutions_start_as_sonnets_and_norms_as_identities(name):
    model = built(name)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert not any(layer.use_bias for layer in convolutions)
    kernels = 0
    drawn = initializers.initial_weights(model, 0, 0)
    for value, weight in zip(drawn, model.weights, strict=True):
        assert value.shape == tuple(weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            assert (value == 1).all()
        elif weight.name in ("beta", "moving_mean", "bias"):
            assert (value == 0).all()
        elif value.ndim == 2:
            assert value.any() == ("resnet" not in name)
        else:
            kernels += 1
            # A normal of deviation 1 / sqrt(fan in), cut off at 2 deviations: what is left
            # deviates by 0.8796 of that. Six standard errors of a standard deviation.
            unit = 1 / np.sqrt(np.prod(value.shape[:3]))
            assert value.std() == pytest.approx(0.8796 * unit, rel=6 / np.sqrt(2 * value.size))
            assert np.abs(value).max() <= 2 * unit * (1 + 1e-6)
    assert kernels == len(convolutions)


def test_equal_shapes_get_different_weights():
    model = models.build("mlp", (4, 4, 1), 16, hidden=[16, 16])
    first, _, second, _, third, _ = initializers.initial_weights(model, 0, 0)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(second - third).max() > 0.1


def test_a_weight_that_nobody_says_how_to_draw_is_named():
    class Scaled(keras.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(), name="scale")

        def call(self, x):
            return x * self.scale

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Scaled(name="scaled")(inputs), name="odd")
    message = "odd has the weight 'scaled/scale', which no layer has added by add_weight"
    with pytest.raises(ValueError, match=message):
        initializers.initial_weights(model, 0, 0)
