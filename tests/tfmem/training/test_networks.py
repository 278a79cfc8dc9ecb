"""What is kept of the network of a trial is all that its predictions come from."""

import dataclasses

import numpy as np
import pytest

from tests import slow
from tests.networks import STATEFUL, add_to_builders
from tfmem import datasets
from tfmem.config import EvaluationConfig
from tfmem.store.store import Store
from tfmem.training import fit, stacked
from tfmem.training.evaluation import Evaluator
from tfmem.training.problem import Problem


def fitted(config, dataset, keep=True):
    default = fit.build_strategy("default")
    return fit.FitTrainer(Problem(config, dataset), default, keep_networks=keep)


def other_test_split(tiny, rng):
    images = rng.integers(0, 256, (14, *tiny.input_shape), dtype=np.uint8)
    test = datasets.ArraySplit(np.arange(14) % 3, datasets.numbered_ids("other", 14), images)
    return dataclasses.replace(tiny, test=test)


def assert_trained_with(other, trials, predictions):
    """Asserts predictions to be those of trials that were trained with that test split."""
    for trial, (predicted, probability) in zip(trials, predictions, strict=True):
        np.testing.assert_array_equal(predicted, trial.test.predicted)
        np.testing.assert_array_equal(probability, trial.test.label_probability)
        assert (predicted.shape, predicted.dtype) == ((len(other.test),), np.uint16)


KINDS = ["batch_norm", "random_layers", "loss_scale", "own_model"]


@pytest.mark.parametrize("name", slow.some(KINDS, lambda name: name == "random_layers"))
def test_a_network_comes_back_from_the_store(tiny, tiny_config, name, tmp_path, rng, monkeypatch):
    add_to_builders(monkeypatch)
    config = dataclasses.replace(tiny_config, **STATEFUL[name])
    trainer, other = fitted(config, tiny), other_test_split(tiny, rng)
    (trial,) = trainer.train([4])
    weights = trainer.network.get_weights()
    store = Store.create(tmp_path, config, tiny)
    store.write(trial)
    kept = Store.open(tmp_path).networks.read(store.read(4))
    assert (kept.stacked, kept.jit_compile) == (False, False)
    for found, expected in zip(kept.weights, weights, strict=True):
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    # Elsewhere, after another trial: nothing is left of that.
    elsewhere = fitted(config, other, keep=False)
    (trained,) = elsewhere.train([4])
    list(elsewhere.train([9]))
    assert_trained_with(other, [trained], elsewhere.evaluate([kept]))
    assert trained.network is None


def test_networks_of_stacks(tiny, tiny_config, rng):
    """A layer that narrows is trained turned; a network is kept as Keras has it."""
    other = other_test_split(tiny, rng)
    trainer = stacked.StackedTrainer(Problem(tiny_config, tiny), 2, 1, keep_networks=True)
    trials = sorted(trainer.train(range(4)), key=lambda trial: trial.number)
    elsewhere = stacked.StackedTrainer(Problem(tiny_config, other), 2, 1)
    trained = sorted(elsewhere.train(range(4)), key=lambda trial: trial.number)
    networks = [trial.network for trial in trials]
    assert all(network.stacked for network in networks)
    assert_trained_with(other, trained, elsewhere.evaluate(networks))
    alone = fitted(tiny_config, tiny, keep=False)
    for trial in trials:
        ((predicted, _),) = alone.evaluate([trial.network])
        np.testing.assert_array_equal(predicted, trial.test.predicted)
        shapes = [weight.shape for weight in trial.network.weights]
        assert shapes == [(16, 8), (8,), (8, 3), (3,)]


@pytest.mark.parametrize("is_stacked", [False, True])
def test_networks_of_another_model(is_stacked, tiny, tiny_config):
    (trial,) = fitted(tiny_config, tiny).train([0])
    network = dataclasses.replace(trial.network, stacked=is_stacked)
    for hidden, what in (
        ([9], r"a weight 0 of shape \(16, 8\), expected \(16, 9\)"),
        ([8, 8], "4 weights, expected 6"),
    ):
        config = dataclasses.replace(tiny_config, model_options={"hidden": hidden})
        evaluator = Evaluator(EvaluationConfig(config, "tiny"), tiny, "auto")
        with pytest.raises(ValueError, match=f"trial 0 is another model's: it has {what}"):
            next(evaluator.run([(trial, network)]))
