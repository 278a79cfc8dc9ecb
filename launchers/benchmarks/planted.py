"""Trials that are made up: of known memorization and influence, or of none."""

from collections.abc import Iterator

import numpy as np

from analysis.estimates.values import Pairs
from tfmem import experiments
from tfmem.config import ImportConfig
from tfmem.datasets import Dataset, Split, numbered_ids
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

_RIGHT = 0.8  # Chance to be right where nothing was planted.
_ALONE = 0.1  # Chance to be right on a planted test example without its training example.
_WITH = (0.5, 0.95)  # And with it: lowest and highest.


def splits(n: int, n_test: int, classes: int, rng: np.random.Generator) -> Iterator[Split]:
    """Yields a training and a test split of so many examples, which belong to classes in turn."""
    for name, count in (("train", n), ("test", n_test)):
        yield Split(rng.permutation(np.arange(count) % classes), numbered_ids(name, count))


def plant(n: int, n_test: int, classes: int, pairs: int, seed: int = 0) -> tuple[Dataset, Pairs]:
    """Plants pairs of a memorized training example and the test example that it carries.

    They are spread over the classes, and no example is in two of them.

    Args:
      n: training examples.
      n_test: test examples, at least as many as pairs.
      classes: how many.
      pairs: how many.
      seed: of the random choices.

    Returns:
      The dataset, without images, and the pairs.
    """
    rng = np.random.default_rng(seed)
    train, test = splits(n, n_test, classes, rng)
    test_index = np.sort(rng.permutation(n_test)[:pairs])
    train_index = np.empty(pairs, np.int64)
    for label in range(classes):
        of_class = np.flatnonzero(test.labels[test_index] == label)
        own = np.flatnonzero(train.labels == label)
        train_index[of_class] = rng.permutation(own)[: len(of_class)]
    influence = rng.uniform(*_WITH, pairs) - _ALONE
    dataset = Dataset("", train, test, tuple(map(str, range(classes))))
    return dataset, Pairs(train_index, test_index, influence, memorization=np.ones(pairs))


def write(dataset: Dataset, pairs: Pairs, path: str, num_trials: int, seed: int = 0) -> Store:
    """Writes a store of trials that show what was planted, and nothing else.

    A planted training example is right in a trial that saw it, and otherwise not; its test example
    is right with the chance that makes the influence. All others are right at random, whatever the
    trial saw.
    """
    config = ImportConfig("arrays", "planted", str(seed), "", num_trials)
    store = Store.create(path, config, dataset)
    n, n_test = len(dataset.train), len(dataset.test)
    for number in range(num_trials):
        rng = np.random.default_rng((seed, number))
        subset = rng.random(n, np.float32) < experiments.SUBSET_RATIO
        train = rng.random(n, np.float32) < _RIGHT
        train[pairs.train_index] = subset[pairs.train_index]
        chance = np.full(n_test, _RIGHT)
        chance[pairs.test_index] = _ALONE + pairs.influence * subset[pairs.train_index]
        test = rng.random(n_test) < chance
        store.write(Trial(number, None, subset, Predictions(train), Predictions(test)))
    return store


def random_trial(dataset: Dataset, seed: int = 0) -> Trial:
    """Returns a trial that predicts at random."""
    rng = np.random.default_rng(seed)

    def predictions(split: Split) -> Predictions:
        predicted = rng.integers(0, dataset.num_classes, len(split), dtype=np.uint16)
        probability = rng.random(len(split), dtype=np.float32).astype(np.float16)
        return Predictions(predicted == split.labels, predicted, probability)

    subset = rng.random(len(dataset.train)) < experiments.SUBSET_RATIO
    splits = predictions(dataset.train), predictions(dataset.test)
    return Trial(0, 0, subset, *splits, seconds=1.0)
