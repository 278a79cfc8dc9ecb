"""Two ways to train a trial, one result."""

import dataclasses
import re

import keras
import numpy as np
import pytest

from tests.networks import add_to_builders
from tests.trials import assert_same_trial
from tests.twins import numpy_sgd
from tfmem import datasets, experiments, models
from tfmem.models import initializers, settings
from tfmem.subsets import FixedSubset
from tfmem.training import failures, fit, stacked, trainers
from tfmem.training.dynamics import DynamicsTrainer
from tfmem.training.problem import Problem
from tfmem.training.turnover import TurnoverTrainer


@pytest.fixture(scope="module")
def digits_problem(digits):
    return Problem(experiments.get("digits_mlp"), digits)


@pytest.fixture(scope="module")
def digits_fit(digits_problem):
    return fit.FitTrainer(digits_problem, fit.build_strategy("default"))


@pytest.fixture(scope="module")
def digits_stacked(digits_problem):
    return stacked.StackedTrainer(digits_problem)


def tiny_problem(config, dataset, **changes):
    return Problem(dataclasses.replace(config, **changes), dataset)


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
    initial = initializers.initial_weights(problem.build_model(), 0, 2)
    assert np.abs(expected[0] - initial[0]).max() > 1e-3
    default = fit.build_strategy("default")
    for trainer in (stacked.StackedTrainer(problem), fit.FitTrainer(problem, default)):
        for ours, twin in zip(trainer.weights_after(2, 4), expected, strict=True):
            np.testing.assert_allclose(ours, twin, atol=1e-6)


def test_stacked_and_fit_take_the_same_steps(digits_problem, digits_fit, digits_stacked):
    """Equal to float32 rounding: weights are near 0.1, whose spacing in float32 is 7.5e-9."""
    initial = initializers.initial_weights(digits_problem.build_model(), 0, 3)
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


def random_trainer(kind, config, dataset):
    everything = FixedSubset(np.ones(21, bool))
    turnover = kind is TurnoverTrainer
    problem = Problem(config, dataset, everything if turnover else None, turnover)
    groups = dict(groups=np.ones((1, 21), bool)) if kind is DynamicsTrainer else {}
    return kind(problem, fit.build_strategy("default"), **groups)


@pytest.mark.parametrize(
    "kind",
    [fit.FitTrainer, pytest.param(TurnoverTrainer, marks=pytest.mark.slow), DynamicsTrainer],
)
def test_random_layers_draw_by_seed_and_trial(kind, tiny, tiny_config, monkeypatch):
    """Dropout, augmentation and a layer's own noise; whatever was trained or drawn before."""
    add_to_builders(monkeypatch)
    config = dataclasses.replace(tiny_config, model="random_layers", model_options={})
    trainer = random_trainer(kind, config, tiny)
    one, other, again = trainer.train([3, 1, 3])
    assert_same_trial(one, again)
    (fresh,) = random_trainer(kind, config, tiny).train([3])
    assert_same_trial(one, fresh)
    drawn = [models.initial_random_state(trainer.network, *key) for key in ((0, 3), (0, 1), (1, 3))]
    seeds_drawn = {int(state[0]) for states in drawn for state in states}
    assert len(seeds_drawn) == 3 * len(drawn[0]) == 3 * (1 + 2 + 1)
    # That they draw at all: the same weights, once in training and once in evaluation.
    images = tiny.train.images / np.float32(255)
    if kind is fit.FitTrainer:
        twice = [keras.ops.convert_to_numpy(trainer.network(images, training=True)) for _ in "ab"]
        assert np.abs(twice[0] - twice[1]).max() > 0.1
        assert not np.array_equal(one.train.label_probability, other.train.label_probability)


def test_float16_training_keeps_gradients_that_float16_flushes(tiny, tiny_config, monkeypatch):
    """Gradients of 1e-9 at the hidden units: the smallest float16 above 0 is 6e-8."""
    rng = np.random.default_rng(0)
    weights = [np.zeros((16, 8)), np.ones(8), rng.normal(0, 1e-8, (8, 3)), np.zeros(3)]
    weights = [weight.astype(np.float32) for weight in weights]
    monkeypatch.setattr(initializers, "initial_weights", lambda *_: weights)

    def moved(precision):
        """Returns how a step moves the hidden kernel, which is 0 before."""
        constant = dict(schedule="constant", warmup_fraction=0.0, precision=precision)
        problem = tiny_problem(tiny_config, tiny, **constant)
        return fit.FitTrainer(problem, fit.build_strategy("default")).weights_after(0, 1)[0]

    expected = moved("float32")
    assert 1e-11 < np.abs(expected).max() < 1e-8
    np.testing.assert_allclose(moved("mixed_float16"), expected, atol=0.02 * np.abs(expected).max())
    with monkeypatch.context() as unscaled:
        unscaled.setattr(keras.optimizers, "LossScaleOptimizer", None)
        unscaled.setattr(fit, "_LossScale", lambda optimizer: optimizer)
        assert not moved("mixed_float16").any()


def test_other_subsets_take_nothing_from_those_before(tiny, tiny_config):
    """11 instead of 15 examples: fewer steps, another schedule, another short batch."""
    kept = FixedSubset(np.arange(21) % 2 == 0)
    for kind in (fit.FitTrainer, stacked.StackedTrainer):
        more = (fit.build_strategy("default"),) if kind is fit.FitTrainer else ()
        used = kind(tiny_problem(tiny_config, tiny), *more)
        list(used.train([3]))
        used.set_subsets(kept)
        ours = next(iter(used.train([3])))
        fresh = kind(Problem(tiny_config, tiny, kept), *more)
        assert_same_trial(ours, next(iter(fresh.train([3]))))
        assert ours.subset.sum() == 11


@pytest.fixture
def hostile_settings():
    """What another part of the process may have set, and a keras.json sets from the beginning."""
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.01)
    keras.config.set_max_epochs(1)
    keras.config.set_dtype_policy("mixed_float16")
    yield
    settings.pin()
    keras.config.set_dtype_policy("float32")


def test_settings_of_others_change_no_bit(tiny, tiny_config, monkeypatch, request):
    add_to_builders(monkeypatch)
    problem = tiny_problem(tiny_config, tiny, model="small_batch_norm", model_options={})
    default = fit.build_strategy("default")
    (clean,) = fit.FitTrainer(problem, default).train([0])
    request.getfixturevalue("hostile_settings")
    trainer = fit.FitTrainer(problem, default)
    (ours,) = trainer.train([0])
    assert_same_trial(ours, clean)
    features, again = (next(trainer.features("test")), next(trainer.features("test", "flatten")))
    np.testing.assert_array_equal(features, again)
    assert keras.config.dtype_policy().name == "mixed_float16"  # Of others, as it was.


@pytest.mark.parametrize(
    "model", ["small_batch_norm", pytest.param("inception", marks=pytest.mark.slow)]
)
def test_predictions_are_the_models_own(model, tiny, tiny_config, monkeypatch):
    """Evaluated without batches at all, on every example in index order."""
    add_to_builders(monkeypatch)
    changes = {"model": model, "model_options": {}, "base_learning_rate": 1e-3}
    problem = tiny_problem(tiny_config, tiny, **changes)
    trainer = fit.FitTrainer(problem, fit.build_strategy("default"))
    trial = next(iter(trainer.train([0])))
    for split, predictions in ((tiny.train, trial.train), (tiny.test, trial.test)):
        for index in range(len(split)):
            image = split.images[index : index + 1].astype(np.float32) / 255
            logits = trainer.network(image, training=False)
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
    class Diverging(Problem):
        def to_trial(self, number, subset, predicted, probability, *others):
            probability = np.where(number == 1, np.nan, probability)
            return super().to_trial(number, subset, predicted, probability, *others)

    problem = Diverging(tiny_config, tiny)
    for trainer in (
        stacked.StackedTrainer(problem, 2),
        fit.FitTrainer(problem, fit.build_strategy("default")),
    ):
        results = list(trainer.train(range(4)))
        assert sorted(result.number for result in results) == [0, 1, 2, 3]
        (failed,) = (result for result in results if isinstance(result, failures.Failed))
        assert failed.number == 1
        assert isinstance(failed.error, failures.DivergedError)
        with pytest.raises(failures.DivergedError, match=r"diverged .*--base_learning_rate=0.1"):
            list(failures.succeeded(results))


def test_trials_of_a_stack_that_breaks_fail_and_the_others_are_kept(tiny, tiny_config):
    """One that runs out of memory, say: what broke it is not known, but which trials it was is."""

    class Broken(Problem):
        def subset(self, trial):
            if trial == 2:
                raise MemoryError
            return super().subset(trial)

    problem = Broken(tiny_config, tiny)
    results = list(stacked.StackedTrainer(problem, 2, workers=1).train(range(6)))
    failed = [result.number for result in results if isinstance(result, failures.Failed)]
    assert failed == [2, 3]
    assert sorted(result.number for result in results) == [0, 1, 2, 3, 4, 5]
    (one,) = fit.FitTrainer(problem, fit.build_strategy("default")).train([2])
    assert isinstance(one.error, MemoryError)


def test_what_is_wrong_for_all_trials_is_no_failure_of_one(tiny, tiny_config):
    class Wrong(Problem):
        def subset(self, trial):
            raise ValueError("no such input")

    problem = Wrong(tiny_config, tiny)
    for trainer in (
        stacked.StackedTrainer(problem, 2),
        fit.FitTrainer(problem, fit.build_strategy("default")),
    ):
        with pytest.raises(ValueError, match="no such input"):
            list(trainer.train(range(4)))


def test_what_can_be_stacked():
    assert len(stacked.dense_layers(models.build("mlp", (8, 8, 1), 10, hidden=[5, 6]))) == 3
    assert len(stacked.dense_layers(models.build("linear", (8, 8, 1), 10))) == 1
    assert stacked.dense_layers(models.build("inception", (8, 8, 1), 10)) is None


class NoisyDense(keras.layers.Dense):
    """What Keras users derive: a dense layer that computes something else."""

    def call(self, x, training=None):
        return super().call(x) + keras.random.normal(())


@pytest.mark.parametrize(
    ("hidden", "between"),
    [
        (dict(activation="tanh"), None),
        (dict(activation="relu", kernel_regularizer="l2"), None),
        (dict(activation="relu", bias_constraint="non_neg"), None),
        (dict(activation="relu", activity_regularizer="l1"), None),
        (dict(activation="relu", trainable=False), None),
        (dict(activation="relu", use_bias=False), None),
        (dict(activation="relu"), keras.layers.Dropout),
        (dict(activation="relu"), "twice"),
        (dict(activation="relu"), "noisy"),
    ],
    ids=lambda value: str(value),
)
def test_what_a_stack_would_leave_out_is_not_stacked(hidden, between):
    inputs = keras.Input((4,))
    layer = (NoisyDense if between == "noisy" else keras.layers.Dense)(4, **hidden)
    x = layer(inputs)
    if between == "twice":
        x = layer(x)
    elif isinstance(between, type):
        x = between(0.5)(x)
    assert stacked.dense_layers(keras.Model(inputs, keras.layers.Dense(2)(x))) is None


def test_dense_layers_over_pixels_are_not_stacked():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Dense(5, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    assert stacked.dense_layers(model) is None
    assert stacked.dense_layers(keras.Model(inputs, keras.layers.Dense(2)(inputs))) is None


def test_make_trainer(tiny, tiny_config):
    inception = dataclasses.replace(tiny_config, model="inception", model_options={})

    def make(config, stack, strategy="auto", **others):
        return trainers.make_trainer(config, tiny, trainers.Options(stack, strategy, **others))

    def kind(config, stack, strategy):
        return type(make(config, stack, strategy)).__name__

    assert kind(tiny_config, "auto", "auto") == "StackedTrainer"
    assert kind(tiny_config, 3, "default") == "StackedTrainer"
    assert kind(tiny_config, "auto", "default") == "FitTrainer"
    assert kind(tiny_config, "none", "auto") == "FitTrainer"
    assert kind(inception, "auto", "auto") == "FitTrainer"
    with pytest.raises(ValueError, match="use --stack=none"):
        make(inception, 4)
    with pytest.raises(ValueError, match=r"--strategy=mirrored goes with .* add --stack=none"):
        make(tiny_config, 4, "mirrored")
    with pytest.raises(ValueError, match=r"--xla goes with .* add --stack=none"):
        make(tiny_config, "auto", jit_compile=True)
    with pytest.raises(ValueError, match=r"--tensorboard goes with .* add --stack=none"):
        make(tiny_config, "auto", tensorboard="logs")
    # What stacked training does not do is trained one at a time, or refused.
    for changes, words in (
        ({"precision": "mixed_bfloat16"}, "float32, not in mixed_bfloat16"),
        ({"flip": True}, "cropped or flipped"),
    ):
        config = dataclasses.replace(tiny_config, **changes)
        assert kind(config, "auto", "auto") == "FitTrainer"
        with pytest.raises(ValueError, match=words):
            make(config, 2)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"model": "resnet50", "model_options": {"stem": "large"}},
            "at least 32x32 pixels as (height, width, channels), got (8, 8, 1)",
        ),
        ({"model": "resnet18", "image_size": 7}, "at least 8x8 pixels"),
        ({"model_options": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ({"crop": "area_aspect"}, "digits is in memory: give --crop=padded or --crop=none"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, words):
    config = experiments.resolve("digits_mlp", overrides)
    dataset = datasets.load_for(config)
    with pytest.raises(ValueError, match=re.escape(words)):
        trainers.make_trainer(config, dataset)
