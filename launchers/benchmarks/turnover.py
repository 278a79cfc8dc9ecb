"""What turn-over dropout costs, and gradients that are never formed."""

import functools
from collections.abc import Callable

import numpy as np

from launchers.benchmarks import timing, training
from tfmem import experiments, subsets
from tfmem.training import turnover
from tfmem.training.problem import Problem

_ROUNDS = 5
_STEPS = 60
_COMPILING = 10  # Steps that compile, and are taken off.
GRADIENT_BATCHES = 2


def steps(data_dir: str | None) -> None:
    """A training step with turn-over dropout and without, both compiled by XLA."""
    from tfmem.training import fit

    config = experiments.get("mnist_mlp4096")
    dataset = training.mnist(data_dir)
    everything = subsets.FixedSubset(np.ones(len(dataset.train), bool))
    strategy = fit.build_strategy("default")
    trainers = {
        "without": fit.FitTrainer(Problem(config, dataset, everything), strategy, True),
        "with turn-over dropout": turnover.TurnoverTrainer(
            Problem(config, dataset, everything, turnover=True), strategy, True
        ),
    }
    for trainer in trainers.values():
        trainer.warm_up([0])
    measures = {
        name: functools.partial(_seconds_per_step, trainer) for name, trainer in trainers.items()
    }
    timing.report(measures, _ROUNDS, "a step")


def _seconds_per_step(trainer) -> float:
    """Times steps, without what a trial costs before its first one."""
    long = timing.seconds(trainer.weights_after, 0, _STEPS + _COMPILING)
    return (long - timing.seconds(trainer.weights_after, 0, _COMPILING)) / _STEPS


def gradients(data_dir: str | None) -> None:
    """Eqs. 3 and 4 of a dense network: by sums alone, and from every example's gradient."""
    import tensorflow as tf

    from tfmem import models
    from tfmem.training.gradients import Measurement, MiniBatch

    config = experiments.get("mnist_mlp4096")
    train = training.mnist(data_dir).train
    network = models.build(config.model, train.images.shape[1:], 10, **config.model_options)
    network.set_weights(models.initial_weights(network, 0, 0))
    batches = []
    for number in range(GRADIENT_BATCHES):
        part = slice(number * config.batch_size, (number + 1) * config.batch_size)
        images = tf.constant(train.images[part].astype(np.float32) / 255)
        batches.append(MiniBatch(images, train.labels[part], np.ones((1, config.batch_size), bool)))

    def measured(dense: bool) -> Callable[[], float]:
        measure = Measurement(network, dense)
        measure(batches, 1)
        return lambda: timing.seconds(measure, batches, 1) / GRADIENT_BATCHES

    ways = {"never formed": measured(True), "formed in chunks of 256 MiB": measured(False)}
    timing.report(ways, _ROUNDS, "a mini-batch")
