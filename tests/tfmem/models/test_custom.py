"""Models of one's own: from a file to a network whose weights are drawn anew for each trial."""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest

from tests import own_models
from tests.interrupting import Interrupted, InterruptingCheckpoints
from tests.networks import run
from tests.sources import random_dataset
from tests.trials import assert_same_trial
from tfmem import config
from tfmem.models import initializers
from tfmem.training import feeds, fit, trainers
from tfmem.training.checkpoints import Checkpoints
from tfmem.training.problem import Problem

FILE = pathlib.Path(own_models.__file__)
SOURCE = FILE.read_text()
OF_KERAS = ["MobileNetV2", "EfficientNetV2B0", "ConvNeXtTiny", "DenseNet121"]


def own(name, tiny_config, **changes):
    """Returns the config with a model of `tests/own_models.py`."""
    changes = dict(model_options={}, model_source=SOURCE, epochs=2) | changes
    return dataclasses.replace(tiny_config, model=f"{FILE}:{name}", **changes)


def trained(problem, trials=(3,), **options):
    trainer = trainers.make_trainer(
        problem.config, problem.dataset, trainers.Options(**options), problem.given_subsets
    )
    return sorted(trainer.train(trials), key=lambda trial: trial.number)


@pytest.mark.parametrize("stack", [2, "none"])
def test_the_built_in_mlp_written_by_oneself_gives_its_trials(stack, tiny, tiny_config):
    theirs = own("mlp", tiny_config, model_options={"hidden": [8]}, epochs=3)
    pairs = (trained(Problem(one, tiny), range(2), stack=stack) for one in (theirs, tiny_config))
    for mine, built_in in zip(*pairs, strict=True):
        assert_same_trial(mine, built_in)


def weights(problem, trial):
    return problem.initial_weights(problem.build_model(), trial)


def test_every_layer_is_drawn_by_its_own_initializer(tiny, tiny_config):
    problem = Problem(own("of_all_kinds", tiny_config), tiny)
    network = problem.build_model()
    first, again, other = (problem.initial_weights(network, trial) for trial in (0, 0, 1))
    random = ("kernel", "embeddings", "variable")
    for variable, a, b, c in zip(network.weights, first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        if any(word in variable.name for word in random) and a.ndim:
            assert (a != c).mean() > 0.9, variable.path
        else:
            np.testing.assert_array_equal(a, variable.numpy())
    # Keras starts an LSTM's bias at 1 for its forget gate, the second of four.
    (bias,) = (
        value
        for variable, value in zip(network.weights, first, strict=True)
        if variable.path.endswith("lstm_cell/bias")
    )
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 5))


def test_weights_are_spread_as_keras_draws_them(tiny, tiny_config):
    """Glorot's limit of a kernel of 8 x 3 is sqrt(6 / 11); a normal has deviation 0.05."""
    network = Problem(own("of_all_kinds", tiny_config), tiny).build_model()
    drawn = [initializers.initial_weights(network, 0, trial) for trial in range(60)]
    paths = [variable.path for variable in network.weights]
    scale = next(index for index, path in enumerate(paths) if "scaled" in path)
    values = np.concatenate([one[scale] for one in drawn])
    assert values.std() == pytest.approx(0.05, rel=0.2)
    head = paths.index(network.layers[-1].kernel.path)
    values = np.concatenate([one[head].ravel() for one in drawn])
    assert np.abs(values).max() == pytest.approx(np.sqrt(6 / (6 + 3)), rel=0.02)


@pytest.mark.parametrize(
    "name", [pytest.param("of_all_kinds", marks=pytest.mark.slow), "subclassed", "pretrained"]
)
def test_the_same_trial_twice_and_after_another(name, tiny, tiny_config):
    changes = dict(initial_weights="built") if name == "pretrained" else {}
    problem = Problem(own(name, tiny_config, **changes), tiny)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    first, _, again = trainer.train([3, 4, 3])
    assert_same_trial(first, again)
    assert_same_trial(first, trained(problem)[0])


def test_a_model_without_a_graph_is_like_its_twin_with_one(tiny, tiny_config, rng):
    network = Problem(own("subclassed", tiny_config), tiny).build_model()
    assert network.output.shape == (None, 3)
    kernel, bias, outer, outer_bias = network.get_weights()
    images = rng.random((5, 4, 4, 1), np.float32)
    hidden = keras.activations.gelu(images.reshape(5, 16) @ kernel + bias).numpy()
    np.testing.assert_allclose(run(network, images), hidden @ outer + outer_bias, atol=1e-5)


def test_what_layers_compute_within_a_layer_counts_for_evaluation_batches(tiny, tiny_config):
    """32 x 32 x 512 values of float32, in and out, are 4 MiB: 128 examples are 512 MiB."""
    wide = keras.layers.Conv2D(512, 1)
    inner = keras.Sequential([keras.layers.UpSampling2D(8), wide, keras.layers.ReLU()])
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.GlobalAveragePooling2D()(inner(inputs))
    assert feeds.evaluated_at_once(keras.Model(inputs, outputs)) == 128
    assert feeds.evaluated_at_once(Problem(tiny_config, tiny).build_model()) == 8192


def test_pretrained_weights_are_kept_and_the_head_is_fresh(tiny, tiny_config):
    problem = Problem(own("pretrained", tiny_config, initial_weights="built"), tiny)
    first, again, other = (weights(problem, trial) for trial in (0, 0, 1))
    for one in (again, other):
        np.testing.assert_array_equal(first[0], one[0])
        np.testing.assert_array_equal(one[1], np.full(6, 0.5, np.float32))
    np.testing.assert_array_equal(first[2], again[2])
    assert (first[2] != other[2]).all()
    drawn = dataclasses.replace(problem.config, initial_weights="drawn")
    assert (weights(Problem(drawn, tiny), 0)[0] != first[0]).all()


def test_stacked_trials_start_from_what_is_built_too(tiny, tiny_config):
    problem = Problem(own("pretrained", tiny_config, initial_weights="built"), tiny)
    stacked, alone = (trained(problem, stack=stack)[0] for stack in (2, "none"))
    np.testing.assert_allclose(
        stacked.train.label_probability, alone.train.label_probability, atol=2e-3
    )


def test_mixed_precision_gives_float32_logits(tiny, tiny_config):
    changes = dict(precision="mixed_bfloat16", model_options={"hidden": [8]})
    network = Problem(own("mlp", tiny_config, **changes), tiny).build_model()
    assert network.output.dtype == "float32"
    assert network.layers[1].compute_dtype == "bfloat16"


def test_turnover_dropout_of_ones_own(tiny, tiny_config):
    config_, options = own("dropped", tiny_config), trainers.Options()
    trainer = trainers.make_turnover_trainer(config_, tiny, options, store="")
    assert trainer.network.name == "dropped"
    with pytest.raises(ValueError, match=r"has no turn-over layers.*your own that take turnover"):
        trainers.make_turnover_trainer(own("mlp", tiny_config), tiny, options, store="")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", ": ZeroDivisionError: division by zero"),
        ("returns_nothing", ": returns_nothing gives None, expected a keras.Model"),
        ("returns_features", "output is of shape (None, 4, 4, 5), expected logits of shape"),
        ("cannot_be_called", "RuntimeError: Exception encountered when calling Failing.call()"),
        ("gives_nan", "expected numbers: look for a division by 0"),
        ("gives_probabilities", "gives probabilities, expected logits"),
        ("not_a_function", "not_a_function gives an int, expected a function that returns a"),
        ("nowhere", "has no 'nowhere': it has"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(name, words, tiny, tiny_config):
    with pytest.raises(ValueError, match=r"^.*$") as caught:
        trained(Problem(own(name, tiny_config), tiny))
    message = str(caught.value)
    assert words in message
    assert FILE.name in message
    if name != "nowhere":
        assert re.search(r"own_models.py, line \d+: ", message)
    assert "\n" not in message


def test_options_that_the_builder_does_not_take(tiny, tiny_config):
    problem = Problem(own("mlp", tiny_config, model_options={"depth": 3}), tiny)
    with pytest.raises(ValueError, match=r"own_models.py, line \d+: TypeError: .*'depth'"):
        trained(problem)


def test_another_version_of_the_file_is_another_experiment(tmp_path, tiny, tiny_config):
    copy = tmp_path / "models.py"
    copy.write_text(SOURCE)
    here, there = (
        dataclasses.replace(own("mlp", tiny_config), model=f"{path}:mlp") for path in (FILE, copy)
    )
    assert config.digest(here, "") == config.digest(there, "")  # Wherever it lies.
    changed = dataclasses.replace(here, model_source=SOURCE + "\n")
    assert config.digest(here, "") != config.digest(changed, "")
    (line,) = config.differences(here, changed)
    assert line.startswith("model_source: ")
    assert len(line) < 200
    assert config.differences(here, own("subclassed", tiny_config)) == [
        "model: 'mlp' and 'subclassed'"
    ]
    copy.write_text(SOURCE + "\n")
    with pytest.raises(ValueError, match="is not what it was when the trials began"):
        Problem(there, tiny).build_model()


def of_keras(input_shape, num_classes, name="MobileNetV2"):
    options = dict(weights=None, classes=num_classes, classifier_activation=None)
    return getattr(keras.applications, name)(input_shape=input_shape, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_KERAS)
def test_models_of_keras_applications(name, tiny_config, tmp_path):
    """Trained twice, and interrupted and continued, on 32 x 32 pixels: equal to the last bit."""
    here = pathlib.Path(__file__)
    changes = dict(model_source=here.read_text(), model_options={"name": name}, epochs=2)
    changes["base_learning_rate"] = 0.001  # On pictures of noise.
    config_ = dataclasses.replace(tiny_config, model=f"{here}:of_keras", **changes)
    problem = Problem(config_, random_dataset(np.random.default_rng(0), (12, 6), (32, 32, 3)))
    first, other = (weights(problem, trial) for trial in (0, 1))
    assert len(first) > 100
    kernels = [value for value in zip(first, other, strict=True) if value[0].ndim >= 2]
    assert all((a != b).any() for a, b in kernels)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    trial, _, again = trainer.train([3, 4, 3])
    assert_same_trial(trial, again)
    with pytest.raises(Interrupted):
        list(trainer.train([3], checkpoints=InterruptingCheckpoints(tmp_path, after=1)))
    list(trainer.train([4]))
    (continued,) = trainer.train([3], checkpoints=Checkpoints(tmp_path, "digest", 0))
    assert_same_trial(trial, continued)
