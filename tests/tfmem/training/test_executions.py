"""Steps of an epoch in any number of executions, each of about a second; nothing traced twice."""

import dataclasses
import types

import numpy as np
import pytest

from tests.networks import STATEFUL, add_to_builders
from tests.trials import assert_same_trial
from tfmem.subsets import FixedSubset
from tfmem.training import executions, fit, stacked
from tfmem.training.dynamics import DynamicsTrainer
from tfmem.training.problem import Problem
from tfmem.training.turnover import TurnoverTrainer


def make(kind, dataset, config, turnover=False, **how):
    return kind(Problem(config, dataset, None, turnover), fit.build_strategy("default"), **how)


def test_an_execution_takes_about_a_second(tiny, tiny_config, monkeypatch):
    """15 steps an epoch. The first compiles; then steps take 0.25 s, 2 s, and next to nothing."""
    seconds, now = iter([3.0, 0.25, 1.0, 8.0, 2.0, 1e-3]), [0.0]
    calls = iter(range(1000))

    def tell():
        if next(calls) % 2:  # Every second call is at the end of an execution.
            now[0] += next(seconds, 1e-6)
        return now[0]

    monkeypatch.setattr(executions, "time", types.SimpleNamespace(perf_counter=tell))
    trainer = make(fit.FitTrainer, tiny, dataclasses.replace(tiny_config, batch_size=1))
    steps = []
    for epoch in range(2):
        begun = trainer._feed.epoch(0, trainer._problem.subset(0), epoch)
        trainer._executions.take(begun, 15, steps.append)
    assert steps == [1, 1, 4, 4, 1, 1, 3, 15]


@pytest.mark.parametrize("changes", STATEFUL.values(), ids=STATEFUL)
def test_bits_do_not_depend_on_executions(tiny, tiny_config, changes, monkeypatch):
    """4 steps an epoch, the last of 3 examples: one by one, 3 and then 1, all of them."""
    add_to_builders(monkeypatch)
    trainer = make(fit.FitTrainer, tiny, dataclasses.replace(tiny_config, **changes))
    found = []
    for at_once in (1, 3, 100):
        monkeypatch.setattr(executions.Executions, "at_once", at_once)
        work = []
        (trial,) = trainer.train([5], work.append)
        assert len(work) == 3 * -(-4 // at_once) + 2  # And an evaluation of each split.
        found.append((trial, trainer.network.get_weights()))
    for trial, weights in found[1:]:
        assert_same_trial(trial, found[0][0])
        for one, two in zip(weights, found[0][1], strict=True):
            np.testing.assert_array_equal(one, two)


def traces(trainer):
    """Returns how often each of a trainer's functions was traced."""
    if isinstance(trainer, stacked.StackedTrainer):
        functions = trainer._epoch, trainer._logits
        return [one.experimental_get_tracing_count() for one in functions]
    functions = {id(one): one for one in (trainer._executions.steps, *trainer._logits.values())}
    return [one.experimental_get_tracing_count() for one in functions.values()]


@pytest.mark.parametrize("kind", [fit.FitTrainer, TurnoverTrainer, DynamicsTrainer])
def test_conditions_trace_nothing_anew(kind, tiny, tiny_config):
    """Subsets of 1 to 21 examples, in batches of 4: fewer than one batch, whole and short ones."""
    follows = kind is DynamicsTrainer
    how = dict(groups=np.ones((1, 21), bool), gradient_batches=2) if follows else {}
    config = dataclasses.replace(tiny_config, model_options={"hidden": [32]}, epochs=1)
    trainer = make(kind, tiny, config, kind is TurnoverTrainer, **how)
    for size in (15, 1, 21, 8, 3, 13):
        trainer.set_subsets(FixedSubset(np.arange(21) < size))
        (trial,) = trainer.train([0])
        assert trial.subset.sum() == size
        assert set(traces(trainer)) == {1}
    if follows:  # For the first number of examples, and for any.
        assert trainer._measure._of_batch.experimental_get_tracing_count() == 2


def test_conditions_and_stacks_of_any_size_trace_nothing_anew(tiny, tiny_config):
    """Stacks of 2 and of 1. XLA compiles the size of a stack, and not that of a subset."""
    trainer = stacked.StackedTrainer(Problem(tiny_config, tiny), 2, workers=1)
    for size in (15, 1, 21, 8, 3, 13):
        trainer.set_subsets(FixedSubset(np.arange(21) < size))
        found = list(trainer.train(range(3)))
        assert [trial.subset.sum() for trial in found] == [size] * 3
        assert traces(trainer) == [1, 1]
