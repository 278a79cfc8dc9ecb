"""How fast trials are: stacked, one at a time, and of the last layer alone."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from launchers.benchmarks import planted, timing
from launchers.benchmarks.sizes import MEASURED, Sizes
from tfmem import datasets, experiments, quiet, subsets
from tfmem.training.failures import succeeded
from tfmem.training.protocol import Trainer

_MNIST_TRIALS = 4


def _seconds_per_trial(trainer: Trainer, trials: Sequence[int]) -> float:
    return timing.seconds(list, succeeded(trainer.train(trials))) / len(trials)


def _warmed_up(
    trainers: Mapping[str, tuple[Trainer, Sequence[int]]],
) -> dict[str, Callable[[], float]]:
    """Compiles what trainers need; returns what measures the seconds of each of their trials."""
    for trainer, trials in trainers.values():
        trainer.warm_up(trials)
    return {name: functools.partial(_seconds_per_trial, *given) for name, given in trainers.items()}


def digits_stacked(sizes: Sizes) -> None:
    """Stacked trials, our own loop over Keras fit, and the loop that one writes at first."""
    from tfmem.training import fit, stacked
    from tfmem.training.problem import Problem

    config = experiments.get("digits_mlp")
    problem = Problem(config, datasets.load(config.dataset))
    strategy = fit.build_strategy("default")
    trials = range(sizes.stacked)
    one_stack = stacked.StackedTrainer(problem, sizes.stacked, workers=1)
    trainers: dict[str, tuple[Trainer, Sequence[int]]] = {
        f"stacked, {len(trials)} trials": (stacked.StackedTrainer(problem), trials),
        "the same in one step over all cores": (one_stack, trials),
        "--stack=none: Keras fit, compiled once": (fit.FitTrainer(problem, strategy), range(8)),
    }
    measures = _warmed_up(trainers)
    plain = "plain Keras fit on arrays, a model for each trial"
    timing.report({**measures, plain: lambda: _plain_fit(problem, 3)}, sizes.rounds, "a trial")


def _plain_fit(problem, count: int) -> float:
    """Seconds a trial of the same recipe, as Keras's own guide would write it, all defaults."""
    import keras

    config, train, test = problem.config, problem.dataset.train, problem.dataset.test
    scale = np.float32(1 / problem.dataset.pixel_max)
    images = np.concatenate([train.images, test.images]) * scale
    start = time.perf_counter()
    for trial in range(count):
        keras.utils.set_random_seed(trial)
        subset = problem.subset(trial)
        model = problem.build_model()
        model.compile(
            keras.optimizers.SGD(problem.schedule(), momentum=config.momentum),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(
            images[: len(train)][subset],
            train.labels[subset],
            batch_size=config.batch_size,
            epochs=config.epochs,
            verbose=0,
        )
        model.predict(images, verbose=0)
    return (time.perf_counter() - start) / count


def mnist(sizes: Sizes, data_dir: str | None) -> datasets.ArrayDataset:
    """Returns MNIST, or made-up pictures of its shape where it would have to be downloaded."""
    if sizes.mnist == MEASURED.mnist and not datasets.needs_download("mnist", data_dir):
        return datasets.require_in_memory(datasets.load("mnist", data_dir), "the benchmark")
    print("  (MNIST is not here: on made-up pictures of its shape)")
    rng = np.random.default_rng(0)
    train, test = (
        split.with_images(rng.integers(0, 256, (len(split), 28, 28, 1), dtype=np.uint8))
        for split in planted.splits(*sizes.mnist, 10, rng)
    )
    return datasets.ArrayDataset("mnist", train, test, tuple("0123456789"), pixel_max=255)


def mnist_stacked(sizes: Sizes, data_dir: str | None) -> None:
    """The recipe of the authors' MNIST example, stacked and as Keras fit with and without XLA."""
    from tfmem.training import fit, stacked
    from tfmem.training.problem import Problem

    problem = Problem(experiments.get("mnist_mlp"), mnist(sizes, data_dir))
    strategy = fit.build_strategy("default")
    trials = range(_MNIST_TRIALS)
    trainers: dict[str, tuple[Trainer, Sequence[int]]] = {
        f"stacked, {len(trials)} trials": (stacked.StackedTrainer(problem), trials),
        "Keras fit": (fit.FitTrainer(problem, strategy), [0]),
        "Keras fit, compiled by XLA": (fit.FitTrainer(problem, strategy, jit_compile=True), [0]),
    }
    timing.report(_warmed_up(trainers), min(sizes.rounds, 2), "a trial")


def _product_gflops(sizes: Sizes) -> float:
    """The machine's rate of float32 matrix products on all cores, by NumPy or by TensorFlow."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    side = sizes.product_side
    left, right = rng.random((2, side, side), np.float32)
    tensors = tf.constant(left), tf.constant(right)
    products = (lambda: left @ right), (lambda: tf.matmul(*tensors).numpy())
    return 2 * side**3 / min(map(timing.seconds, products)) / 1e9


def _made_up_representations(sizes: Sizes) -> datasets.ArrayDataset:
    n, n_test, dimensions, classes = sizes.representations
    rng = np.random.default_rng(0)
    splits = []
    for bare in planted.splits(n, n_test, classes, rng):
        features = rng.random((len(bare), dimensions), np.float32)
        features /= np.float32(np.sqrt(dimensions))  # In place, for the peak of memory.
        splits.append(bare.with_images(features))
    train, test = splits
    return datasets.ArrayDataset("", train, test, tuple(map(str, range(classes))))


def _linear_trials(sizes: Sizes) -> list[tuple[float, float]]:
    """Per round, GFLOP/s of linear trials, and of matrix products right before and after them."""
    quiet.import_tensorflow()
    from tfmem.training import stacked
    from tfmem.training.problem import Problem

    config = experiments.get("cifar100_last_layer")
    config = dataclasses.replace(config, epochs=sizes.linear_epochs)
    problem = Problem(config, _made_up_representations(sizes))
    trainer = stacked.StackedTrainer(problem)
    trials = range(trainer.batch_of_trials)
    trainer.warm_up(trials)
    gflop = _linear_gflop(sizes, config.epochs)
    _product_gflops(sizes)
    rates, before = [], _product_gflops(sizes)
    for _ in range(sizes.more_rounds):
        rate = gflop / _seconds_per_trial(trainer, trials)
        after = _product_gflops(sizes)
        rates.append((rate, (before + after) / 2))
        before = after
    return rates


def _linear_gflop(sizes: Sizes, epochs: int) -> float:
    """What a linear trial cannot do without: logits and gradients, and the evaluation's logits."""
    n, n_test, dimensions, classes = sizes.representations
    m = subsets.subset_size(n, experiments.SUBSET_RATIO)
    examples = 2 * epochs * m + n + n_test
    return 2 * examples * dimensions * classes / 1e9


def last_layer(sizes: Sizes) -> None:
    """Linear trials on representations against the machine's own rate of matrix products."""
    rates, peak = timing.result_and_peak(_linear_trials, sizes)
    ratios = [linear / product for linear, product in rates]
    linear, product = (statistics.median(values) for values in zip(*rates, strict=True))
    config = experiments.get("cifar100_last_layer")
    seconds = _linear_gflop(sizes, config.epochs) / linear
    low, high = min(ratios), max(ratios)
    print(f"  linear trials ({sizes.linear_epochs} epochs and evaluation)   {linear:6.1f} GFLOP/s")
    side = sizes.product_side
    print(f"  matrix products, {side} x {side}   {product:6.1f} GFLOP/s")
    print(f"  ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}), peak {peak:.2f} GiB")
    print(
        f"  at that rate a trial of {config.epochs} epochs takes {seconds:.1f} s, "
        f"{config.num_trials:,} of them {timing.duration(seconds * config.num_trials)}",
        flush=True,
    )
