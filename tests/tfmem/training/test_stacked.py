"""Stacked training of linear models on representations (Sec. 3.6), and what bounds its memory."""

import dataclasses
import time

import numpy as np
import pytest

from tests.trials import assert_same_trial
from tests.twins import numpy_sgd
from tfmem import datasets, experiments, models
from tfmem.models import initializers
from tfmem.training import batches, fit, stacked
from tfmem.training.problem import Problem


def representations(n, n_test, d, num_classes):
    """Returns a dataset of non-negative features, each class around a center of its own."""
    rng = np.random.default_rng(3)
    centers = rng.random((num_classes, d))
    splits = []
    for name, count in (("train", n), ("test", n_test)):
        labels = rng.integers(0, num_classes, count)
        noise = rng.standard_normal((count, d))
        images = np.maximum(centers[labels] + noise, 0) / np.sqrt(d)
        ids = datasets.numbered_ids(name, count)
        splits.append(datasets.ArraySplit(labels, ids, images.astype(np.float32)))
    return datasets.ArrayDataset("", *splits, tuple(map(str, range(num_classes))))


@pytest.fixture(scope="module")
def problem():
    """CIFAR-100's widths, batches and recipe, on few examples and in 2 epochs.

    1,051 of 1,501 examples are 3 batches, of which the last has 27; neither split can be evaluated
    in one batch, and 1,501 not in two batches without padding.
    """
    config = dataclasses.replace(experiments.get("cifar100_last_layer"), epochs=2)
    found = Problem(config, representations(1501, 1030, 2048, 100))
    assert (found.subset_size, found.steps_per_epoch, config.batch_size) == (1051, 3, 512)
    return found


@pytest.fixture(scope="module")
def stacks(problem):
    return stacked.StackedTrainer(problem)


def test_linear_models_take_the_steps_of_the_slow_twin_and_of_fit(problem, stacks):
    """The rate of the first step is 0, so the weights move from the second on."""
    expected = numpy_sgd(problem, trial=2, steps=3)
    initial = initializers.initial_weights(problem.build_model(), 0, 2)
    assert np.abs(expected[0] - initial[0]).max() > 1e-3
    for trainer in (stacks, fit.FitTrainer(problem, fit.build_strategy("default"))):
        for ours, twin in zip(trainer.weights_after(2, 3), expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, twin, rtol=0, atol=1e-7)


def test_predictions_are_those_of_the_weights(problem):
    """Of one epoch, the logits in float64: no example is left out and none is out of place."""
    once = dataclasses.replace(problem, config=dataclasses.replace(problem.config, epochs=1))
    trainer = stacked.StackedTrainer(once)
    kernel, bias = (weight.astype(np.float64) for weight in trainer.weights_after(4, 3))
    (trial,) = trainer.train([4])
    np.testing.assert_array_equal(trial.subset, once.subset(4))
    for split, found in ((once.dataset.train, trial.train), (once.dataset.test, trial.test)):
        logits = split.images.astype(np.float64) @ kernel + bias
        predicted, probability = batches.evaluate(logits, split.labels)
        assert len(found.predicted) == len(split)
        # Two logits may be closer than float32 tells apart.
        assert np.mean(found.predicted == predicted) > 0.999
        np.testing.assert_allclose(found.label_probability, probability, rtol=2e-3)


def test_linear_models_finish_like_fit(problem, stacks):
    ours = {trial.number: trial for trial in stacks.train([0, 1])}
    for theirs in fit.FitTrainer(problem, fit.build_strategy("default")).train([0, 1]):
        mine = ours[theirs.number]
        np.testing.assert_array_equal(mine.subset, theirs.subset)
        for one, two in ((mine.train, theirs.train), (mine.test, theirs.test)):
            assert np.mean(one.predicted == two.predicted) > 0.999
            np.testing.assert_allclose(one.label_probability, two.label_probability, rtol=2e-3)


def test_a_linear_model_does_not_depend_on_its_stack(problem, stacks):
    """Bit for bit: alone, in another place, in stacks of other sizes and in other company."""
    alone = {trial.number: trial for trial in stacks.train([5, 90])}
    for size, trials in ((2, [90, 5]), (3, [7, 5, 90, 1]), (8, range(85, 95))):
        together = stacked.StackedTrainer(problem, size, workers=1)
        found = {trial.number: trial for trial in together.train(trials)}
        assert set(found) == set(trials)
        for number in set(found) & set(alone):
            assert_same_trial(found[number], alone[number])


def test_the_weights_of_a_linear_model_do_not_depend_on_its_stack(problem, stacks):
    """What a trial stores is rounded to float16; here is every bit of what it comes from."""

    def weights(group):
        start, velocities, subsets = stacks._start(group)
        order = stacks._order(group, subsets, epoch=0)
        found, _ = stacks._take_steps(start, velocities, order, epoch=0, count=3)
        return [weight.numpy() for weight in found]

    kernels, biases = weights([3, 8, 5, 6, 7])
    for place, trial in ((2, 5), (0, 3)):
        (kernel,), (bias,) = weights([trial])
        np.testing.assert_array_equal(kernels[place], kernel)
        np.testing.assert_array_equal(biases[place], bias)


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "expected"),
    [
        # 4 bytes * (3 * 38,410 + 64 * (64 + 512)) is 0.6 MB.
        ("digits_mlp", (8, 8, 1), 10, 8),
        ("digits_last_layer", (512,), 10, 8),
        # 4 bytes * (3 * 204,900 + 512 * 2048) is 6.7 MB.
        ("cifar100_last_layer", (2048,), 100, 1),
        ("mnist_mlp", (28, 28, 1), 10, 1),
    ],
)
def test_large_models_are_not_stacked_on_a_cpu(name, shape, num_classes, expected):
    config = experiments.get(name)
    model = models.build(config.model, shape, num_classes, **config.model_options)
    found = stacked._cpu_stack_size(stacked.dense_layers(model), config.batch_size)
    assert found == expected


def test_finished_trials_do_not_pile_up(tiny, tiny_config):
    """Two stacks a worker are trained, and no more until somebody takes the first trial."""
    trainer = stacked.StackedTrainer(Problem(tiny_config, tiny), 1, workers=2)
    done = []
    trials = trainer.train(range(50), done.append)
    next(trials)
    deadline = time.monotonic() + 60
    while sum(done) < 3.99 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    assert sum(done) == pytest.approx(4)
    assert len(list(trials)) == 49


def test_no_trials_at_all(tiny, tiny_config):
    assert list(stacked.StackedTrainer(Problem(tiny_config, tiny)).train([])) == []
