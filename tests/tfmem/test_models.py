import keras
import numpy as np
import pytest

from tfmem import models

# Trainable parameters of every registered model. A new row of BUILDERS needs one here.
# Inception: counted on the authors' release (batch norm scale and offset counted). MLP: of their
# MNIST example, 784-512-256-10, by hand: 784*512 + 512 + 512*256 + 256 + 256*10 + 10.
PARAMETERS = {
    "linear": [((28, 28, 1), 10, {}, 7_850)],
    "mlp": [
        ((28, 28, 1), 10, {"hidden": [512, 256]}, 535_818),
        ((8, 8, 1), 10, {"hidden": [512]}, 38_410),
    ],
    "inception": [((32, 32, 3), 100, {}, 1_926_116), ((28, 28, 1), 10, {}, 1_894_058)],
}


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_every_model_has_a_row():
    assert set(PARAMETERS) == set(models.BUILDERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    for shape, classes, options, count in PARAMETERS[name]:
        model = models.build(name, shape, classes, **options)
        assert trainable(model) == count
        assert model.output_shape == (None, classes)


def test_inception_runs_on_digits(rng):
    model = models.build("inception", (8, 8, 1), 10)
    assert model(rng.random((2, 8, 8, 1), np.float32)).shape == (2, 10)


def test_evaluation_does_not_see_the_batchs_neighbours(rng):
    model = models.build("inception", (8, 8, 1), 10)
    model.set_weights(models.initial_weights(model, 0, 0))
    images = rng.random((5, 8, 8, 1)).astype(np.float32)
    alone = keras.ops.convert_to_numpy(model(images[:1], training=False))
    together = keras.ops.convert_to_numpy(model(images, training=False))
    # Sums of up to 3,000 float32 products, in another order for another batch size.
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)
    training = keras.ops.convert_to_numpy(model(images, training=True))
    assert np.abs(training[:1] - alone).max() > 1e-3


def test_wrong_models_are_refused():
    with pytest.raises(ValueError, match="did you mean 'mlp'"):
        models.build("mpl", (8, 8, 1), 10)
    with pytest.raises(ValueError, match="at least 4x4"):
        models.build("inception", (2, 2, 1), 10)
    with pytest.raises(ValueError, match="depth"):
        models.build("mlp", (8, 8, 1), 10, depth=3)


def test_initial_weights_depend_on_seed_and_trial_only():
    first = models.build("inception", (8, 8, 1), 10)
    drawn = models.initial_weights(first, 0, 5)
    keras.utils.set_random_seed(1)
    again = models.initial_weights(models.build("inception", (8, 8, 1), 10), 0, 5)
    for one, two, weight in zip(drawn, again, first.weights, strict=True):
        assert one.shape == tuple(weight.shape)
        np.testing.assert_array_equal(one, two)
    for base_seed, trial in ((1, 5), (0, 6)):
        other = models.initial_weights(first, base_seed, trial)
        assert np.abs(other[0] - drawn[0]).max() > 0.01


def test_initial_weights_follow_the_layers_initializers():
    model = models.build("mlp", (28, 28, 1), 10, hidden=[512])
    kernel, bias, _, _ = models.initial_weights(model, 0, 0)
    limit = np.sqrt(6 / (784 + 512))  # Glorot uniform, Keras's default.
    assert np.abs(kernel).max() == pytest.approx(limit, rel=1e-3)
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)
    assert not bias.any()


def test_equal_shapes_get_different_weights():
    model = models.build("mlp", (4, 4, 1), 16, hidden=[16, 16])
    first, _, second, _, third, _ = models.initial_weights(model, 0, 0)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(second - third).max() > 0.1
