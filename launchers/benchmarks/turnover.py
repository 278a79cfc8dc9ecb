"""What turn-over dropout costs, and gradients that are never formed."""

import functools
from collections.abc import Callable

import numpy as np

from launchers.benchmarks import timing, training
from launchers.benchmarks.sizes import Sizes
from tfmem import experiments, subsets

_COMPILING = 10  # Steps that compile, and are taken off.


def steps(sizes: Sizes, data_dir: str | None) -> None:
    """A training step with turn-over dropout and without, both compiled by XLA."""
    from tfmem.training import fit, turnover
    from tfmem.training.problem import Problem

    config = experiments.get("mnist_mlp4096")
    dataset = training.mnist(sizes, data_dir)
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
        name: functools.partial(_seconds_per_step, trainer, sizes.steps)
        for name, trainer in trainers.items()
    }
    timing.report(measures, sizes.more_rounds, "a step")


def _seconds_per_step(trainer, steps: int) -> float:
    """Times steps, without what a trial costs before its first one."""
    long = timing.seconds(trainer.weights_after, 0, steps + _COMPILING)
    return (long - timing.seconds(trainer.weights_after, 0, _COMPILING)) / steps


def gradients(sizes: Sizes, data_dir: str | None) -> None:
    """Eqs. 3 and 4 of a dense network: by sums alone, and from every example's gradient."""
    import tensorflow as tf

    from tfmem import models
    from tfmem.models import initializers
    from tfmem.training.gradients import Measurement, MiniBatch

    config = experiments.get("mnist_mlp4096")
    train = training.mnist(sizes, data_dir).train
    network = models.build(config.model, train.images.shape[1:], 10, **config.model_options)
    network.set_weights(initializers.initial_weights(network, 0, 0))
    batches = []
    for number in range(sizes.gradient_batches):
        part = slice(number * config.batch_size, (number + 1) * config.batch_size)
        images = tf.constant(train.images[part].astype(np.float32) / 255)
        batches.append(MiniBatch(images, train.labels[part], np.ones((1, config.batch_size), bool)))

    def measured(dense: bool) -> Callable[[], float]:
        measure = Measurement(network, dense)
        measure(batches, 1)
        return lambda: timing.seconds(measure, batches, 1) / sizes.gradient_batches

    ways = {"never formed": measured(True), "formed in chunks of 256 MiB": measured(False)}
    timing.report(ways, sizes.more_rounds, "a mini-batch")
