"""The figures of README.md, "What we measured": each a ratio, its parts measured in one run."""

import concurrent.futures
import dataclasses
import multiprocessing
import pathlib
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from analysis import cli, estimators
from launchers.benchmark import duration
from tfmem import bits, datasets, experiments, subsets
from tfmem.config import ImportConfig
from tfmem.store import Predictions, Store, Trial, TrialSet

T = TypeVar("T")

_ROUNDS = 3
_STACKED_TRIALS = 200
_MNIST_STACKED_TRIALS = 4
# n, n', dimensions and classes of the last-layer benchmark: CIFAR-100 and the penultimate features
# of ResNet50 (Sec. 3.6).
_REPRESENTATIONS = (50_000, 10_000, 2048, 100)
_LAST_LAYER_EPOCHS = 8  # Of 40, each the same work.
_LAST_LAYER_ROUNDS = 5
_PRODUCT_SIDE = 4096  # Of the square matrices whose product measures the machine.
# t, n, n' and classes of the influence benchmark.
_INFLUENCE = (2000, 20_000, 5_000, 100)
# Trials, n, n' and classes of a store of the paper's CIFAR-100 size.
_CIFAR100 = (4000, 50_000, 10_000, 100)


def run(data_dir: str | None) -> None:
    """Runs all benchmarks and prints each when it is finished.

    Args:
      data_dir: where TFDS keeps MNIST; without it, pictures of the same shape are made up, which
        cost the same.
    """
    for title, measure in (
        ("digits_mlp: stacked against Keras fit", digits_stacked),
        ("mnist_mlp: stacked against Keras fit", lambda: mnist_stacked(data_dir)),
        (
            "last layer, n = {:,}, n' = {:,}, {} dimensions, {} classes".format(*_REPRESENTATIONS),
            last_layer,
        ),
        ("influence, t = {}, n = {}, n' = {}, {} classes".format(*_INFLUENCE), influence),
        ("reading a store of {} trials, n = {}, n' = {}".format(*_CIFAR100), reading),
    ):
        print(f"\n{title}", flush=True)
        measure()


def _seconds_per_trial(trainer, trials) -> float:
    start = time.perf_counter()
    for _ in trainer.train(trials):
        pass
    return (time.perf_counter() - start) / len(trials)


def _report(rows: dict[str, list[float]], per: str) -> None:
    """Prints the median of each row and how many times longer than the first row it took."""
    first = next(iter(rows.values()))
    for name, seconds in rows.items():
        ratios = [other / own for other, own in zip(seconds, first, strict=True)]
        line = f"  {name:<58} {duration(statistics.median(seconds)):>8} {per}"
        if seconds is not first:
            line += f"  {statistics.median(ratios):6.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
        print(line, flush=True)


def digits_stacked() -> None:
    """200 stacked trials, our own loop over Keras fit, and the loop that one writes at first."""
    from tfmem.training import common, fit, stacked

    config = experiments.get("digits_mlp")
    problem = common.Problem(config, datasets.load(config.dataset))
    strategy = fit.build_strategy("default")
    stacks, reused = stacked.StackedTrainer(problem), fit.FitTrainer(problem, strategy)
    one_stack = stacked.StackedTrainer(problem, _STACKED_TRIALS, workers=1)
    trials = range(_STACKED_TRIALS)
    for trainer, some in ((stacks, trials), (one_stack, trials), (reused, [0])):
        trainer.warm_up(some)

    rows: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        for name, measure in (
            (f"stacked, {len(trials)} trials", lambda: _seconds_per_trial(stacks, trials)),
            ("the same in one step over all cores", lambda: _seconds_per_trial(one_stack, trials)),
            (
                "--stack=none: Keras fit, compiled once",
                lambda: _seconds_per_trial(reused, range(8)),
            ),
            ("plain Keras fit on arrays, a model for each trial", lambda: _plain_fit(problem, 3)),
        ):
            rows.setdefault(name, []).append(measure())
    _report(rows, "a trial")


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


def _mnist(data_dir: str | None) -> datasets.Dataset:
    if not datasets.needs_download("mnist", data_dir):
        return datasets.load("mnist", data_dir)
    print("  (MNIST is not here: on made-up pictures of its shape)")
    rng = np.random.default_rng(0)
    train, test = (
        datasets.Split(
            rng.integers(0, 10, count),
            datasets.numbered_ids(name, count),
            rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8),
        )
        for name, count in (("train", 60_000), ("test", 10_000))
    )
    return datasets.Dataset("mnist", train, test, tuple("0123456789"), pixel_max=255)


def mnist_stacked(data_dir: str | None) -> None:
    """The recipe of the authors' MNIST example, stacked and as Keras fit with and without XLA."""
    from tfmem.training import common, fit, stacked

    problem = common.Problem(experiments.get("mnist_mlp"), _mnist(data_dir))
    strategy = fit.build_strategy("default")
    trials = range(_MNIST_STACKED_TRIALS)
    trainers = {
        f"stacked, {len(trials)} trials": (stacked.StackedTrainer(problem), trials),
        "Keras fit": (fit.FitTrainer(problem, strategy), [0]),
        "Keras fit, compiled by XLA": (fit.FitTrainer(problem, strategy, jit_compile=True), [0]),
    }
    for trainer, some in trainers.values():
        trainer.warm_up(some)
    rows: dict[str, list[float]] = {}
    for _ in range(2):
        for name, (trainer, some) in trainers.items():
            rows.setdefault(name, []).append(_seconds_per_trial(trainer, some))
    _report(rows, "a trial")


@dataclasses.dataclass(frozen=True)
class _Cost:
    seconds: float
    peak_gib: float  # Of the whole process, its inputs included.


def _alone(function: Callable[..., float], *args) -> _Cost:
    """Runs a function that returns its own seconds in a process of its own."""
    return _Cost(*_result_and_peak(function, *args))


def _result_and_peak(function: Callable[..., T], *args) -> tuple[T, float]:
    """Runs a function in a process of its own; returns its result and that process's peak GiB."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        result = pool.submit(function, *args).result()
        return result, pool.submit(_peak_bytes).result() / 2**30


def _peak_bytes() -> int:
    """Returns the peak memory of this process; Linux's ru_maxrss would count its parent's too."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _product_gflops() -> float:
    """The machine's rate of float32 matrix products on all cores, by NumPy or by TensorFlow."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    side = _PRODUCT_SIDE
    left, right = rng.random((2, side, side), np.float32)
    tensors = tf.constant(left), tf.constant(right)
    rates = []
    for product in (lambda: left @ right, lambda: tf.matmul(*tensors).numpy()):
        start = time.perf_counter()
        product()
        rates.append(2 * side**3 / (time.perf_counter() - start) / 1e9)
    return max(rates)


def _made_up_representations() -> datasets.Dataset:
    n, n_test, dimensions, classes = _REPRESENTATIONS
    rng = np.random.default_rng(0)

    def split(name: str, count: int) -> datasets.Split:
        images = rng.random((count, dimensions), np.float32)
        images /= np.float32(np.sqrt(dimensions))  # In place, for the peak of memory.
        labels = rng.integers(0, classes, count)
        return datasets.Split(labels, datasets.numbered_ids(name, count), images)

    splits = split("train", n), split("test", n_test)
    return datasets.Dataset("", *splits, tuple(map(str, range(classes))))


def _linear_trials() -> list[tuple[float, float]]:
    """Per round, GFLOP/s of linear trials, and of matrix products right before and after them."""
    cli.import_tensorflow()
    from tfmem.training import common, stacked

    config = experiments.get("cifar100_last_layer")
    config = dataclasses.replace(config, epochs=_LAST_LAYER_EPOCHS)
    problem = common.Problem(config, _made_up_representations())
    trainer = stacked.StackedTrainer(problem)
    trials = range(trainer.batch_of_trials)
    trainer.warm_up(trials)
    gflop = _linear_gflop(config.epochs)
    _product_gflops()
    rates, before = [], _product_gflops()
    for _ in range(_LAST_LAYER_ROUNDS):
        rate = gflop / _seconds_per_trial(trainer, trials)
        after = _product_gflops()
        rates.append((rate, (before + after) / 2))
        before = after
    return rates


def _linear_gflop(epochs: int) -> float:
    """What a linear trial cannot do without: logits and gradients, and the evaluation's logits."""
    n, n_test, dimensions, classes = _REPRESENTATIONS
    m = subsets.subset_size(n, experiments.SUBSET_RATIO)
    examples = 2 * epochs * m + n + n_test
    return 2 * examples * dimensions * classes / 1e9


def last_layer() -> None:
    """Linear trials on representations against the machine's own rate of matrix products."""
    rates, peak = _result_and_peak(_linear_trials)
    ratios = [linear / product for linear, product in rates]
    linear, product = (statistics.median(values) for values in zip(*rates, strict=True))
    config = experiments.get("cifar100_last_layer")
    seconds = _linear_gflop(config.epochs) / linear
    low, high = min(ratios), max(ratios)
    print(f"  linear trials ({_LAST_LAYER_EPOCHS} epochs and evaluation)   {linear:6.1f} GFLOP/s")
    print(f"  matrix products, {_PRODUCT_SIDE} x {_PRODUCT_SIDE}   {product:6.1f} GFLOP/s")
    print(f"  ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}), peak {peak:.2f} GiB")
    print(
        f"  at that rate a trial of {config.epochs} epochs takes {seconds:.1f} s, "
        f"{config.num_trials:,} of them {duration(seconds * config.num_trials)}",
        flush=True,
    )


def _random_trials() -> TrialSet:
    t, n, n_test, classes = _INFLUENCE
    rng = np.random.default_rng(0)

    def matrix(count: int) -> bits.BitMatrix:
        packed = rng.integers(0, 256, (t, bits.packed_length(count)), dtype=np.uint8)
        return bits.BitMatrix(packed, count)

    return TrialSet(
        numbers=np.arange(t),
        subset=matrix(n),
        train_correct=matrix(n),
        test_correct=matrix(n_test),
        train_labels=rng.integers(0, classes, n),
        test_labels=rng.integers(0, classes, n_test),
    )


def _two_products() -> float:
    """The plain formula, both of its terms as products of whole float32 matrices."""
    trials = _random_trials()
    subset = trials.subset.columns().astype(np.float32)
    correct = trials.test_correct.columns().astype(np.float32)
    start = time.perf_counter()
    absent = 1 - subset
    inside = subset.T @ correct / subset.sum(axis=0)[:, None]
    outside = absent.T @ correct / absent.sum(axis=0)[:, None]
    influence = inside - outside
    seconds = time.perf_counter() - start
    del influence
    return seconds


def _full() -> float:
    trials = _random_trials()
    start = time.perf_counter()
    for _ in estimators.full_influence(trials):
        pass
    return time.perf_counter() - start


def _by_class() -> float:
    trials = _random_trials()
    start = time.perf_counter()
    for label in range(_INFLUENCE[3]):
        estimators.class_influence(trials, label)
    return time.perf_counter() - start


def influence() -> None:
    """Full and class-wise influence against the two-product formula, with peak memory."""
    functions = {
        "two products": _two_products,
        "one product, in blocks, the full matrix": _full,
        "one product, class by class, with standard errors": _by_class,
    }
    costs: dict[str, list[_Cost]] = {name: [] for name in functions}
    for _ in range(_ROUNDS):
        for name, function in functions.items():
            costs[name].append(_alone(function))
    plain = costs["two products"]
    for name, found in costs.items():
        ratios = [other.seconds / own.seconds for other, own in zip(plain, found, strict=True)]
        median = statistics.median(cost.seconds for cost in found)
        line = f"  {name:<52} {median:6.2f} s, peak {max(c.peak_gib for c in found):5.2f} GiB"
        if found is not plain:
            line += f"  {statistics.median(ratios):6.1f} times faster"
            line += f" ({min(ratios):.1f} to {max(ratios):.1f})"
        print(line, flush=True)


def _fill(path: str) -> float:
    """Writes a store of the paper's CIFAR-100 size, with random predictions."""
    t, n, n_test, classes = _CIFAR100
    rng = np.random.default_rng(0)
    train, test = (
        datasets.Split(rng.integers(0, classes, count), datasets.numbered_ids(name, count))
        for name, count in (("train", n), ("test", n_test))
    )
    dataset = datasets.Dataset("", train, test, tuple(map(str, range(classes))))
    store = Store.create(path, ImportConfig("arrays", "random", "", "", t), dataset)

    def predictions(split: datasets.Split) -> Predictions:
        predicted = rng.integers(0, classes, len(split), dtype=np.uint16)
        probability = rng.random(len(split), dtype=np.float32).astype(np.float16)
        return Predictions(predicted == split.labels, predicted, probability)

    some = [(rng.random(n) < experiments.SUBSET_RATIO, predictions(train), predictions(test))]
    some += [(rng.random(n) < experiments.SUBSET_RATIO, predictions(train), predictions(test))]
    start = time.perf_counter()
    for number in range(t):
        store.write(Trial(number, 0, *some[number % 2]))
    return time.perf_counter() - start


def _read(path: str) -> float:
    start = time.perf_counter()
    Store.open(path).load()
    return time.perf_counter() - start


def reading() -> None:
    """Reading, with every checksum verified, what the estimators need."""
    with tempfile.TemporaryDirectory() as folder:
        written = _alone(_fill, folder)
        paths = list((Store.open(folder).path / "trials").iterdir())
        size = sum(path.stat().length for path in paths) / 1e9
        costs = [_alone(_read, folder) for _ in range(_ROUNDS)]
    seconds = statistics.median(cost.seconds for cost in costs)
    peak = max(cost.peak_gib for cost in costs)
    print(f"  {size:.2f} GB written in {written.seconds:.1f} s, each trial synced to the disk")
    print(f"  read in {seconds:.1f} s ({size / seconds:.2f} GB/s), peak {peak:.2f} GiB", flush=True)
