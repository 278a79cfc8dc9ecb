"""Recipes of one's own: optimizers, l2, clipping and label smoothing, against twins and Keras."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trials import assert_same_trial
from tests.twins import numpy_sgd, pytorch_sgd
from tfmem import experiments, models
from tfmem.config import OPTIMIZERS, digest
from tfmem.training import batches, fit, optimizers, stacked, trainers
from tfmem.training.problem import Problem

CONSTANT = dict(schedule="constant", warmup_fraction=0.0)
OTHER = dict(momentum=0.0, weight_decay=0.0, base_learning_rate=0.01)
STACKED = trainers.Options(stack=8)


def fitted(problem):
    return fit.FitTrainer(problem, fit.build_strategy("default"))


def assert_near(found, expected, tolerance=1e-6):
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "changes",
    [
        {"l2": 0.1},
        {"l2": 0.1, "optimizer_options": {"nesterov": True}},
        {"l2": 0.1, "momentum": 0.0, "label_smoothing": 0.2},
        {"label_smoothing": 0.2, "model_options": {"hidden": [5, 7]}},
    ],
)
def test_l2_is_the_weight_decay_of_pytorch(tiny, tiny_config, changes):
    """Three steps, stacked and not, of 3, 2 and 1 layers of weights that narrow and widen."""
    problem = Problem(dataclasses.replace(tiny_config, **CONSTANT, **changes), tiny)
    expected = numpy_sgd(problem, trial=2, steps=3, update=pytorch_sgd(problem.config))
    without = dataclasses.replace(problem.config, l2=0.0, label_smoothing=0.0)
    plain = numpy_sgd(dataclasses.replace(problem, config=without), trial=2, steps=3)
    assert np.abs(expected[0] - plain[0]).max() > 1e-3
    for trainer in (stacked.StackedTrainer(problem), fitted(problem)):
        assert_near(trainer.weights_after(2, 3), expected)


def test_weight_decay_is_a_tenth_of_l2_at_momentum_09(tiny, tiny_config):
    """What --help says: where gradients are 0, both pull by about x per unit of rate in the end."""
    kept = {}
    for name, value in (("l2", 0.01), ("weight_decay", 0.1)):
        config = dataclasses.replace(tiny_config, **{name: value})
        optimizer = optimizers.build(config, 0.1)
        weight = keras.Variable([1.0])
        for _ in range(300):
            optimizer.apply([tf.zeros([1])], [weight])
        kept[name] = np.log(float(weight[0]))
    assert kept["l2"] == pytest.approx(kept["weight_decay"], rel=0.05)


def adamw(decay, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """The update of Loshchilov & Hutter (2019), with Keras's epsilon and its place."""

    def update(weight, gradient, state, rate, step):
        first, second = state if isinstance(state, tuple) else (state, state)
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        scale = np.sqrt(1 - beta_2 ** (step + 1)) / (1 - beta_1 ** (step + 1))
        move = rate * scale * first / (np.sqrt(second) + epsilon)
        return weight * (1 - decay * rate) - move, (first, second)

    return update


def test_adamw_with_a_cosine_equals_its_twin_and_plain_keras(tiny, tiny_config):
    recipe = dict(optimizer="adamw", optimizer_options={"weight_decay": 0.3}, schedule="cosine")
    config = dataclasses.replace(tiny_config, **OTHER, **recipe)
    problem = Problem(config, tiny)
    found = fitted(problem).weights_after(2, 4)
    assert_near(found, numpy_sgd(problem, 2, 4, update=adamw(0.3)), 2e-5)

    model = problem.build_model()
    model.set_weights(models.initial_weights(model, config.seed, 2))
    total = config.epochs * problem.steps_per_epoch
    warmup = config.warmup_fraction * total
    rates = keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=0.01, warmup_steps=warmup
    )
    model.compile(
        keras.optimizers.AdamW(rates, weight_decay=0.3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    order = batches.batch_order(config, problem.subset(2), 2, 0)
    for start in range(0, len(order), config.batch_size):
        batch = order[start : start + config.batch_size]
        images = tiny.train.images[batch].astype(np.float32) / 255
        model.train_on_batch(images, tiny.train.labels[batch])
    assert_near(found, model.get_weights())


@pytest.mark.parametrize(
    "options", [{"clipnorm": 0.1}, {"global_clipnorm": 0.1}, {"clipvalue": 0.01}]
)
def test_clipping_is_that_of_keras_and_comes_before_l2(tiny, tiny_config, options):
    gradients = [np.float32([[0.3, -0.4]]), None, np.float32([0.005])]
    weights = [np.float32([[1, 2]]), np.float32([7]), np.float32([3])]

    def moved(l2, momentum=0.0):
        config = dataclasses.replace(
            tiny_config, momentum=momentum, l2=l2, optimizer_options=options
        )
        variables = [keras.Variable(weight) for weight in weights]
        optimizers.build(config, 1.0).apply(gradients, variables)
        return [
            before - np.asarray(after) for before, after in zip(weights, variables, strict=True)
        ]

    by_hand = {
        "clipnorm": [[[0.06, -0.08]], [0], [0.005]],
        "global_clipnorm": [
            np.array([[0.3, -0.4]]) * 0.1 / 0.500025,
            [0],
            [0.005 * 0.1 / 0.500025],
        ],
        "clipvalue": [[[0.01, -0.01]], [0], [0.005]],
    }[next(iter(options))]
    assert_near(moved(0.0), by_hand)
    pulled = [np.array(part) + 0.5 * weight for part, weight in zip(by_hand, weights, strict=True)]
    pulled[1] = [0]  # What has no gradient stays, as in PyTorch.
    assert_near(moved(0.5), pulled)
    plain = keras.optimizers.SGD(1.0, **options)
    variables = [keras.Variable(weights[0]), keras.Variable(weights[2])]
    plain.apply([gradients[0], gradients[2]], variables)
    assert_near([weights[0] - np.asarray(variables[0])], [by_hand[0]])


def test_smoothing_is_that_of_keras(rng):
    logits, labels = rng.normal(size=(5, 4)).astype(np.float32), np.array([0, 3, 1, 1, 2])
    config = experiments.resolve("digits_mlp", {"label_smoothing": 0.1})
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = float(theirs(np.eye(4)[labels], logits))
    ours = optimizers.loss(config)(labels, logits, sample_weight=np.full(5, 0.2, np.float32))
    assert float(ours) == pytest.approx(expected, rel=1e-6)
    # By hand: 1 - s + s / c of the true label, s / c of each other.
    assert optimizers.smoothed(tf.constant([1]), 4, 0.2).numpy().tolist() == [
        pytest.approx([0.05, 0.85, 0.05, 0.05])
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(optimizer="adam", **OTHER), "stacked training has sgd, not adam"),
        (dict(optimizer_options={"clipnorm": 1.0}), "stacked training has no clipnorm"),
    ],
)
def test_what_is_not_stacked_is_trained_one_at_a_time(tiny, tiny_config, changes, words):
    config = dataclasses.replace(tiny_config, **changes)
    assert isinstance(trainers.make_trainer(config, tiny), fit.FitTrainer)
    with pytest.raises(ValueError, match=f"cannot be stacked: {words}; use --stack=none"):
        trainers.make_trainer(config, tiny, STACKED)


def test_what_is_stacked(tiny, tiny_config):
    recipe = dict(l2=0.01, label_smoothing=0.1, optimizer_options={"nesterov": True})
    config = dataclasses.replace(tiny_config, **recipe, schedule="cosine", warmup_fraction=0.0)
    assert isinstance(trainers.make_trainer(config, tiny), stacked.StackedTrainer)
    problem = Problem(config, tiny)
    for one in (1, 4):
        ours, theirs = (
            t.weights_after(1, one) for t in (stacked.StackedTrainer(problem), fitted(problem))
        )
        assert_near(ours, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_one_of_keras(name, tiny_config):
    config = dataclasses.replace(tiny_config, optimizer=name, **OTHER)
    optimizer = optimizers.build(config, 0.01)
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_trial_begins_with_an_optimizer_that_has_forgotten_the_last(tiny, tiny_config, precision):
    recipe = dict(optimizer="nadam", optimizer_options={"clipnorm": 0.5}, l2=0.01)
    config = dataclasses.replace(tiny_config, **OTHER, **recipe, precision=precision)
    trainer = fitted(Problem(config, tiny))
    first, _, again = trainer.train([4, 1, 4])
    assert_same_trial(first, again)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("adam", {"beta": 0.9}, "it has no argument 'beta', only weight_decay, beta_1, beta_2"),
        ("adam", {"kwargs": 1}, "it has no argument 'kwargs'"),
        ("sgd", {"nesterov": "yes"}, "nesterov is 'yes', expected true or false"),
        ("adam", {"beta_1": "high"}, "Cast string to float is not supported"),
        ("adam", {"clipnorm": "a"}, "not supported between instances of 'str' and 'int'"),
        ("adam", {"clipnorm": 0}, "clipnorm is 0, expected above 0"),
        ("sgd", {"clipnorm": 1, "clipvalue": 1}, "Only one of `clipnorm`, `clipvalue` and"),
    ],
)
def test_options_that_keras_does_not_take_are_one_line(tiny, tiny_config, name, options, words):
    config = dataclasses.replace(tiny_config, optimizer=name, optimizer_options=options, **OTHER)
    for options in (trainers.Options(), STACKED):
        with pytest.raises(
            ValueError, match=f"^{name} does not take --optimizer.*({words}).*$"
        ) as e:
            trainers.make_trainer(config, tiny, options)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "changes",
    [
        dict(l2=0.1),
        dict(label_smoothing=0.1),
        dict(optimizer_options={"nesterov": True}),
        dict(optimizer="adam", momentum=0.0),
        dict(schedule="cosine"),
    ],
)
def test_all_of_a_recipe_is_in_the_digest(tiny_config, changes):
    assert digest(dataclasses.replace(tiny_config, **changes), "f") != digest(tiny_config, "f")
