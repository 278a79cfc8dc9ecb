"""Two ways to train a trial, one result."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.trials import assert_same_trial
from tfmem import engine, experiments, models, pipeline
from tfmem.training import common, fit, stacked


@pytest.fixture(scope="module")
def digits_problem(digits):
    return common.Problem(experiments.get("digits_mlp"), digits)


@pytest.fixture(scope="module")
def digits_fit(digits_problem):
    return fit.FitTrainer(digits_problem, fit.build_strategy("default"))


@pytest.fixture(scope="module")
def digits_stacked(digits_problem):
    return stacked.StackedTrainer(digits_problem)


def tiny_problem(config, dataset, **changes):
    return common.Problem(dataclasses.replace(config, **changes), dataset)


def numpy_sgd(problem, trial, steps):
    """The slow twin: SGD on one trial, example by example, in float64."""
    config, dataset = problem.config, problem.dataset
    subset = problem.subset(trial)
    weights = [
        weight.astype(np.float64)
        for weight in models.initial_weights(problem.build_model(), config.seed, trial)
    ]
    velocities = [np.zeros_like(weight) for weight in weights]
    images = dataset.train.images.reshape(len(dataset.train), -1) / dataset.pixel_max
    for step in range(steps):
        epoch, batch = divmod(step, problem.steps_per_epoch)
        order = pipeline.batch_order(config, subset, trial, epoch)
        examples = order[batch * config.batch_size : (batch + 1) * config.batch_size]
        gradients = [np.zeros_like(weight) for weight in weights]
        for example in examples:
            outputs = [images[example]]
            for layer in range(0, len(weights), 2):
                z = outputs[-1] @ weights[layer] + weights[layer + 1]
                outputs.append(np.maximum(z, 0) if layer < len(weights) - 2 else z)
            delta = np.exp(outputs[-1]) / np.exp(outputs[-1]).sum()
            delta[dataset.train.labels[example]] -= 1
            for layer in range(len(weights) - 2, -1, -2):
                gradients[layer] += np.outer(outputs[layer // 2], delta) / len(examples)
                gradients[layer + 1] += delta / len(examples)
                delta = (weights[layer] @ delta) * (outputs[layer // 2] > 0)
        rate = float(problem.schedule()(step))
        for i, gradient in enumerate(gradients):
            velocities[i] = config.momentum * velocities[i] - rate * gradient
            weights[i] = weights[i] * (1 - config.weight_decay * rate) + velocities[i]
    return weights


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model_options": {"hidden": []}},
        {"model_options": {"hidden": [5, 7]}},
        {"weight_decay": 0.3, "momentum": 0.0},
    ],
)
def test_one_epoch_equals_the_slow_twin(tiny, tiny_config, changes):
    """15 of 21 examples in batches of 4: the last batch has 3."""
    problem = tiny_problem(tiny_config, tiny, **changes)
    assert (problem.subset_size, problem.steps_per_epoch) == (15, 4)
    expected = numpy_sgd(problem, trial=2, steps=4)
    initial = models.initial_weights(problem.build_model(), 0, 2)
    assert np.abs(expected[0] - initial[0]).max() > 1e-3
    default = fit.build_strategy("default")
    for trainer in (stacked.StackedTrainer(problem), fit.FitTrainer(problem, default)):
        for ours, twin in zip(trainer.weights_after(2, 4), expected, strict=True):
            np.testing.assert_allclose(ours, twin, atol=1e-6)


def test_stacked_and_fit_take_the_same_steps(digits_problem, digits_fit, digits_stacked):
    """Equal to float32 rounding: weights are near 0.1, whose spacing in float32 is 7.5e-9."""
    initial = models.initial_weights(digits_problem.build_model(), 0, 3)
    for steps in (2, 14):
        ours, theirs = (t.weights_after(3, steps) for t in (digits_stacked, digits_fit))
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=1e-7)
    assert np.abs(ours[0] - initial[0]).max() > 1e-3


def test_stacked_and_fit_finish_alike(digits_problem, digits_fit, digits_stacked):
    trials = [0, 1, 2]
    ours = {trial.number: trial for trial in digits_stacked.train(trials)}
    for theirs in digits_fit.train(trials):
        mine = ours[theirs.number]
        np.testing.assert_array_equal(mine.subset, theirs.subset)
        same = [mine.train.predicted == theirs.train.predicted]
        same += [mine.test.predicted == theirs.test.predicted]
        assert np.concatenate(same).mean() >= 0.995
        gap = mine.test.label_probability.astype(float) - theirs.test.label_probability
        assert np.abs(gap).mean() < 0.005
        assert 0.94 < mine.test_accuracy < 0.99
        assert mine.subset_accuracy > 0.99


def test_a_trial_does_not_depend_on_its_stack(digits_problem, digits_stacked):
    """Bit for bit: alone, in another place, in a stack of another size, after others."""
    problem = dataclasses.replace(
        digits_problem, config=dataclasses.replace(digits_problem.config, epochs=4)
    )
    alone = {t.number: t for t in stacked.StackedTrainer(problem, 1).train([5, 90])}
    together = stacked.StackedTrainer(problem, 6)
    for trials in (range(2, 12), [90, 91, 5], [7, 5]):
        found = {trial.number: trial for trial in together.train(trials)}
        assert set(found) == set(trials)
        for number in set(found) & set(alone):
            assert_same_trial(found[number], alone[number])


def test_a_fit_trial_does_not_depend_on_those_before(tiny, tiny_config):
    problem = tiny_problem(tiny_config, tiny)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    first = list(trainer.train([4, 1, 2]))
    assert [trial.number for trial in first] == [4, 1, 2]
    fresh = fit.FitTrainer(problem, fit.build_strategy("default"))
    assert_same_trial(first[2], next(iter(fresh.train([2]))))


def test_predictions_are_the_models_own(tiny, tiny_config):
    """Evaluated without batches at all, on every example in index order."""
    changes = {"model": "inception", "model_options": {}, "base_learning_rate": 1e-3}
    problem = tiny_problem(tiny_config, tiny, **changes)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    trial = next(iter(trainer.train([0])))
    for split, predictions in ((tiny.train, trial.train), (tiny.test, trial.test)):
        for index in range(len(split)):
            image = split.images[index : index + 1].astype(np.float32) / 255
            logits = trainer._model(image, training=False)
            probability = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]
            expected = probability[split.labels[index]]
            assert predictions.label_probability[index] == pytest.approx(expected, abs=2e-3)
            assert predictions.predicted[index] == probability.argmax()
    np.testing.assert_array_equal(trial.subset, problem.subset(0))


def test_progress_adds_up(tiny, tiny_config):
    problem = tiny_problem(tiny_config, tiny)
    for trainer in (
        stacked.StackedTrainer(problem, 2),
        fit.FitTrainer(problem, fit.build_strategy("default")),
    ):
        done = []
        list(trainer.train(range(5), done.append))
        assert sum(done) == pytest.approx(5)
        assert len(done) > 5


def test_stacks_in_training_are_dropped_when_nobody_waits_for_them(tiny, tiny_config):
    trainer = stacked.StackedTrainer(tiny_problem(tiny_config, tiny), 1)
    done = []
    trials = trainer.train(range(1000), done.append)
    first = next(trials)
    trials.close()
    assert first.number in range(1000)
    assert sum(done) < 500


def test_a_diverged_trial_is_named_and_the_others_kept(tiny, tiny_config):
    class Diverging(common.Problem):
        def finished(self, number, subset, logits, seconds):
            logits = np.where(number == 1, np.nan, logits)
            return super().finished(number, subset, logits, seconds)

    problem = Diverging(tiny_config, tiny)
    for trainer in (
        stacked.StackedTrainer(problem, 2),
        fit.FitTrainer(problem, fit.build_strategy("default")),
    ):
        kept = []
        with pytest.raises(common.DivergedError, match=r"trial 1 .*--base_learning_rate=0.1"):
            kept.extend(trial.number for trial in _collecting(trainer.train(range(4)), kept))
        assert sorted(kept) == [0, 2, 3]


def _collecting(trials, kept):
    for trial in trials:
        kept.append(trial.number)
    return iter(())


def test_what_can_be_stacked():
    assert len(stacked.dense_layers(models.build("mlp", (8, 8, 1), 10, hidden=[5, 6]))) == 3
    assert len(stacked.dense_layers(models.build("linear", (8, 8, 1), 10))) == 1
    assert stacked.dense_layers(models.build("inception", (8, 8, 1), 10)) is None
    inputs = keras.Input((4,))
    tanh = keras.layers.Dense(3, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(tanh))
    assert stacked.dense_layers(model) is None


def test_make_trainer(tiny, tiny_config):
    inception = dataclasses.replace(tiny_config, model="inception", model_options={})

    def kind(config, stack, strategy):
        return type(engine.make_trainer(config, tiny, stack, strategy)).__name__

    assert kind(tiny_config, "auto", "auto") == "StackedTrainer"
    assert kind(tiny_config, 3, "default") == "StackedTrainer"
    assert kind(tiny_config, "auto", "default") == "FitTrainer"
    assert kind(tiny_config, "none", "auto") == "FitTrainer"
    assert kind(inception, "auto", "auto") == "FitTrainer"
    with pytest.raises(ValueError, match="use --stack=none"):
        engine.make_trainer(inception, tiny, 4, "auto")
    with pytest.raises(ValueError, match="use --stack=none with mirrored"):
        engine.make_trainer(tiny_config, tiny, 4, "mirrored")


# In processes of their own: logical devices must be made before TensorFlow starts, and two mirrored
# models in one process mistake each other's all-reduces.
_FOUR_DEVICES = """
import dataclasses
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
from tfmem import datasets, experiments
from tfmem.training import common, fit

digits = datasets.load("digits")
config = dataclasses.replace(experiments.get("digits_mlp"), epochs=2)
"""
_AGREES_WITH_ONE = """
problem = common.Problem(config, digits)
mirrored = fit.FitTrainer(problem, fit.build_strategy("mirrored"))
single = fit.FitTrainer(problem, fit.build_strategy("default"))
for steps in (5, 14):  # The 14th batch has 48 examples, 3 replicas' share.
    for one, two in zip(mirrored.weights_after(1, steps), single.weights_after(1, steps)):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
one, two = next(iter(mirrored.train([1]))), next(iter(single.train([1])))
assert np.mean(one.test.predicted == two.test.predicted) > 0.99
"""
_SHORT_BATCH_NORM = """
# 7 of 10 examples in batches of 4: the last batch has 3 examples for 4 replicas.
split = digits.train
few = datasets.Split(split.labels[:10], split.ids[:10], split.images[:10])
short = dataclasses.replace(config, model="inception", model_options={}, batch_size=4, epochs=1)
problem = common.Problem(short, dataclasses.replace(digits, train=few))
trial = next(iter(fit.FitTrainer(problem, fit.build_strategy("mirrored")).train([0])))
assert len(trial.test.predicted) == 540
"""
_UNEVEN = """
try:
    bad = dataclasses.replace(config, batch_size=66)
    fit.FitTrainer(common.Problem(bad, digits), fit.build_strategy("mirrored"))
except ValueError as error:
    assert "66 cannot be spread evenly over 4 replicas" in str(error), error
else:
    raise AssertionError("a batch of 66 over 4 replicas")
"""


@pytest.mark.parametrize("script", [_AGREES_WITH_ONE, _SHORT_BATCH_NORM, _UNEVEN])
def test_four_replicas(script):
    done = subprocess.run(
        [sys.executable, "-c", _FOUR_DEVICES + script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
