"""How fast trials are read and estimated from, at the paper's sizes."""

import collections
import dataclasses
import functools
import pathlib
import statistics
import tempfile
import time

import numpy as np

from analysis.estimates import estimators, files
from launchers.benchmarks import planted, timing
from launchers.benchmarks.sizes import Sizes
from tfmem.config import ImportConfig
from tfmem.disk import bits
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, TrialSet


def _random_trials(size: tuple[int, int, int, int]) -> TrialSet:
    t, n, n_test, classes = size
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


def _two_products(sizes: Sizes) -> float:
    """The plain formula, both of its terms as products of whole float32 matrices."""
    trials = _random_trials(sizes.influence)
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


def _full(sizes: Sizes) -> float:
    blocks = estimators.full_influence(_random_trials(sizes.influence))
    return timing.seconds(collections.deque, blocks, 0)  # Keeps none of them.


def _by_class(sizes: Sizes) -> float:
    """Memorization, and influence class by class."""
    trials = _random_trials(sizes.influence)
    begin = time.perf_counter()
    collections.deque(estimators.estimate(trials).influences, 0)
    return time.perf_counter() - begin


def many(sizes: Sizes) -> None:
    """Estimates from more trials than the papers have, in two stores that were made apart."""
    for size in sizes.many:
        t, n, n_test, classes = size
        print(f"  {t:,} trials, n = {n:,}, n' = {n_test:,}, {classes} classes:")
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"{folder}/{name}" for name in ("first", "second")]
            for path, numbers in zip(paths, (range(t // 2), range(t // 2, t)), strict=True):
                _fill(path, size, numbers, bits_alone=True)
            stores = (f"--store={path}" for path in paths)
            _run("analysis.estimate", *stores, f"--out={folder}/estimates.npz")


def influence(sizes: Sizes) -> None:
    """Full and class-wise influence against the two-product formula, with peak memory."""
    functions = {
        "two products": _two_products,
        "one product, in blocks, the full matrix": _full,
        "one product, class by class, with standard errors": _by_class,
    }
    measures = {
        name: functools.partial(timing.alone, function, sizes)
        for name, function in functions.items()
    }
    costs = timing.in_turn(measures, sizes.rounds)
    plain = costs["two products"]
    for name, found in costs.items():
        ratios = [other.seconds / own.seconds for other, own in zip(plain, found, strict=True)]
        median = statistics.median(cost.seconds for cost in found)
        line = f"  {name:<52} {median:6.2f} s, peak {max(c.peak_gib for c in found):5.2f} GiB"
        if found is not plain:
            line += f"  {statistics.median(ratios):6.1f} times faster"
            line += f" ({min(ratios):.1f} to {max(ratios):.1f})"
        print(line, flush=True)


def _fill(
    path: str, size: tuple[int, int, int, int], numbers: range, bits_alone: bool = False
) -> float:
    """Writes some trials of a store, with random predictions or with what is right alone."""
    count = size[0]
    dataset, _ = planted.plant(*size[1:], pairs=0)
    store = Store.create(path, ImportConfig("arrays", "random", "", "", count), dataset)
    some = [planted.random_trial(dataset, seed) for seed in range(2)]
    if bits_alone:
        some = [
            dataclasses.replace(
                one, train=Predictions(one.train.correct), test=Predictions(one.test.correct)
            )
            for one in some
        ]
    trials = (dataclasses.replace(some[number % 2], number=number) for number in numbers)
    return timing.seconds(list, map(store.write, trials))


def _read(path: str) -> float:
    return timing.seconds(lambda: Store.open(path).load())


def cifar100(sizes: Sizes) -> None:
    """A store's life: written, checked, read, merged into archives, checked, read, estimated."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/store"
        seconds = _fill(store, sizes.cifar100, range(sizes.cifar100[0]))
        print(f"  {_size(store):.2f} GB written in {seconds:.1f} s, each trial synced to the disk")
        _read_all(store, sizes.rounds, "a file a trial")
        _run("launchers.compact_store", f"--store={store}")
        _read_all(store, sizes.rounds, "merged into one archive")
        flags = f"--store={store}", f"--out={folder}/estimates.npz"
        _run("analysis.estimate", *flags)
        _, n, n_test, _ = sizes.cifar100
        print(f"  with all {n:,} x {n_test:,} influences, of {sizes.full:,} trials:")
        _run("analysis.estimate", *flags, "--influence=full", f"--trials=0:{sizes.full}")


def _read_all(store: str, rounds: int, how: str) -> None:
    """Measures reading a store, every checksum verified: for estimates, and by check_store."""
    size = _size(store)
    costs = [timing.alone(_read, store) for _ in range(rounds)]
    seconds = statistics.median(cost.seconds for cost in costs)
    peak = max(cost.peak_gib for cost in costs)
    rate = 1000 * size / seconds
    print(f"  {how}: read in {seconds:.1f} s ({rate:.0f} MB/s), peak {peak:.2f} GiB", flush=True)
    _run("launchers.check_store", f"--store={store}")


def mnist(sizes: Sizes) -> None:
    """What is asked of a store of MNIST's size, and the full matrix beside its products alone."""
    count, n, n_test, classes = sizes.mnist_store
    with tempfile.TemporaryDirectory() as folder:
        store, out = f"{folder}/store", f"{folder}/estimates.npz"
        dataset, wanted = planted.plant(n, n_test, classes, sizes.planted_pairs)
        planted.write(dataset, wanted, store, count)
        _run("analysis.convergence", f"--store={store}")
        _run("analysis.report", f"--store={store}", f"--out={folder}/report.html")
        _run("analysis.estimate", f"--store={store}", f"--out={out}")
        products = timing.alone(_products_of, store)
        print(f"  the full matrix's products alone: {products.seconds:.1f} s", flush=True)
        _run("analysis.estimate", f"--store={store}", f"--out={out}", "--influence=full")


def _products_of(store: str) -> float:
    trials = Store.open(store).load()
    subset = trials.subset.columns().T.astype(np.float32)
    correct = trials.test_correct.columns().astype(np.float32)
    return timing.seconds(np.matmul, subset, correct)


def imagenet(sizes: Sizes) -> None:
    """The programs from a store to pairs, which are the planted ones."""
    with tempfile.TemporaryDirectory() as folder:
        store, estimates, out = (f"{folder}/{name}" for name in ("store", "e.npz", "pairs.npz"))
        dataset, wanted = planted.plant(*sizes.imagenet[1:], sizes.planted_pairs)
        seconds = timing.seconds(planted.write, dataset, wanted, store, sizes.imagenet[0])
        print(f"  {_size(store):.2f} GB written in {seconds:.1f} s")
        _run("analysis.estimate", f"--store={store}", f"--out={estimates}")
        _run("analysis.select_pairs", f"--estimates={estimates}", f"--out={out}")
        found = files.read_pairs(out)
        pairs, others = (
            set(zip(some.train_index.tolist(), some.test_index.tolist(), strict=True))
            for some in (found, wanted)
        )
        print(
            f"  {len(found):,} pairs found, {len(wanted):,} planted: "
            f"{'the same' if pairs == others else 'NOT the same'}",
            flush=True,
        )
        _run("analysis.convergence", f"--store={store}")
        _run("analysis.report", f"--store={store}", f"--out={folder}/report.html")


def _run(program: str, *flags: str) -> None:
    cost = timing.program(program, *flags)
    print(f"  {program}: {cost.seconds:.1f} s, peak {cost.peak_gib:.2f} GiB", flush=True)


def _size(store: str) -> float:
    """Returns the GB of a store's trials."""
    folders = (pathlib.Path(store, name) for name in ("trials", "archives"))
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*")) / 1e9
