"""Features are trained on as images are: stacked or not, with turn-over dropout."""

import dataclasses

import numpy as np
import pytest

from tests.trials import assert_same_trial
from tests.twins import numpy_sgd
from tfmem import datasets, models
from tfmem.models import turnover
from tfmem.store import artifacts
from tfmem.training import fit, stacked, trainers
from tfmem.training.problem import Problem


@pytest.fixture(scope="module")
def problem(tiny_config, tmp_path_factory):
    """40 training and 11 test examples of 2 x 3 features, which are far from 0 and large."""
    rng = np.random.default_rng(5)
    arrays = {}
    for split, count in (("train", 40), ("test", 11)):
        labels = np.arange(count) % 3
        arrays[f"x_{split}"] = rng.normal(1000 + 50 * labels[:, None, None], 40, (count, 2, 3))
        arrays[f"y_{split}"] = labels
    path = tmp_path_factory.mktemp("features") / "own.npz"
    np.savez(path, **arrays)
    config = dataclasses.replace(tiny_config, dataset=f"npz:{path}", standardize=True)
    found = Problem(config, datasets.load_for(config))
    assert (found.dataset.input_shape, found.subset_size) == ((2, 3), 28)
    return found


@pytest.fixture(scope="module")
def stacks(problem):
    return stacked.StackedTrainer(problem)


@pytest.fixture(scope="module")
def fits(problem):
    return fit.FitTrainer(problem, fit.build_strategy("default"))


def test_stacked_and_fit_take_the_steps_of_the_slow_twin(problem, stacks, fits):
    expected = numpy_sgd(problem, trial=1, steps=4)
    for trainer in (stacks, fits):
        for ours, twin in zip(trainer.weights_after(1, 4), expected, strict=True):
            np.testing.assert_allclose(ours, twin, rtol=0, atol=1e-6)


def test_stacked_and_fit_finish_alike(stacks, fits):
    ours = {trial.number: trial for trial in stacks.train([0, 1, 2])}
    for theirs in fits.train([0, 1, 2]):
        mine = ours[theirs.number]
        np.testing.assert_array_equal(mine.subset, theirs.subset)
        for one, two in ((mine.train, theirs.train), (mine.test, theirs.test)):
            np.testing.assert_array_equal(one.predicted, two.predicted)
            np.testing.assert_allclose(one.label_probability, two.label_probability, rtol=2e-3)


def test_a_trial_on_features_does_not_depend_on_its_stack(problem, stacks):
    (alone,) = stacks.train([4])
    together = stacked.StackedTrainer(problem, 3, workers=1).train([3, 4, 5])
    assert_same_trial(next(trial for trial in together if trial.number == 4), alone)


def test_turnover_dropout_on_features(problem, tmp_path):
    """Training examples are predicted by the half that saw them, others by the whole network."""
    config = dataclasses.replace(problem.config, epochs=2, model_options={"hidden": [32]})
    options = trainers.Options()
    made = trainers.make_turnover_trainer(config, problem.dataset, options, str(tmp_path))
    (trial,) = made.train([0])
    network = artifacts.load(artifacts.network_path(str(tmp_path), 0))
    halves = problem.dataset.train, trial.train, turnover.UNMUTED
    whole = problem.dataset.test, trial.test, turnover.FULL
    for split, found, mode in (halves, whole):
        ids = np.arange(len(split), dtype=np.int32)
        modes = np.full(len(split), turnover.MODES[mode], np.float32)
        logits = network.predict_on_batch([split.images, ids, modes])
        np.testing.assert_array_equal(found.predicted, logits.argmax(axis=-1))


def test_which_models_take_features():
    message = r"takes images of at least \d+x\d+ pixels .*got \(4,\): use 'mlp' or 'linear'"
    for name in models.BUILDERS:
        if name in ("linear", "mlp"):
            assert models.build(name, (4,), 3).input_shape == (None, 4)
        else:
            with pytest.raises(ValueError, match=message):
                models.build(name, (4,), 3)
