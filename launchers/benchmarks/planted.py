"""Trials whose memorization and influence are known, because they were put there."""

import dataclasses

import numpy as np

from tfmem import experiments
from tfmem.config import ImportConfig
from tfmem.datasets import Dataset, Split, numbered_ids
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

_RIGHT = 0.8  # Chance to be right where nothing was planted.
_ALONE = 0.1  # Chance to be right on a planted test example without its training example.
_WITH = (0.5, 0.95)  # And with it: lowest and highest.


@dataclasses.dataclass(frozen=True)
class Planted:
    """Pairs of a memorized training example and the test example of its class that it carries.

    Attributes:
      dataset: without images.
      train_index: int64 [p], different ones.
      test_index: int64 [p], different ones.
      influence: float64 [p], infl(i, j): how much more often j is right with i.
    """

    dataset: Dataset
    train_index: np.ndarray
    test_index: np.ndarray
    influence: np.ndarray


def plant(n: int, n_test: int, classes: int, pairs: int, seed: int = 0) -> Planted:
    """Plants pairs, spread over the classes.

    Args:
      n: training examples.
      n_test: test examples, at least as many as pairs.
      classes: examples belong to them in turn.
      pairs: how many.
      seed: of the random choices.
    """
    rng = np.random.default_rng(seed)
    labels = [rng.permutation(np.arange(count) % classes) for count in (n, n_test)]
    train, test = (
        Split(of_split, numbered_ids(name, len(of_split)))
        for name, of_split in zip(("train", "test"), labels, strict=True)
    )
    test_index = np.sort(rng.permutation(n_test)[:pairs])
    train_index = np.empty(pairs, np.int64)
    for label in range(classes):
        of_class = np.flatnonzero(labels[1][test_index] == label)
        own = np.flatnonzero(labels[0] == label)
        train_index[of_class] = rng.permutation(own)[: len(of_class)]
    influence = rng.uniform(*_WITH, pairs) - _ALONE
    dataset = Dataset("", train, test, tuple(map(str, range(classes))))
    return Planted(dataset, train_index, test_index, influence)


def write(planted: Planted, path: str, num_trials: int, seed: int = 0) -> Store:
    """Writes a store of trials that show what was planted, and nothing else.

    A planted training example is right in a trial that saw it, and otherwise not; its test example
    is right with the chance that makes the influence. All others are right at random, whatever the
    trial saw.
    """
    config = ImportConfig("arrays", "planted", str(seed), "", num_trials)
    store = Store.create(path, config, planted.dataset)
    n, n_test = len(planted.dataset.train), len(planted.dataset.test)
    for number in range(num_trials):
        rng = np.random.default_rng((seed, number))
        subset = rng.random(n, np.float32) < experiments.SUBSET_RATIO
        train = rng.random(n, np.float32) < _RIGHT
        train[planted.train_index] = subset[planted.train_index]
        chance = np.full(n_test, _RIGHT)
        chance[planted.test_index] = _ALONE + planted.influence * subset[planted.train_index]
        test = rng.random(n_test) < chance
        store.write(Trial(number, None, subset, Predictions(train), Predictions(test)))
    return store
