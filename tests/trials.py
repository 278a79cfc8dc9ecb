"""Random trials, for tests of what reads them."""

import numpy as np

from tfmem.disk.bits import BitMatrix
from tfmem.store.trials import Predictions, Trial, TrialSet


def trial_set(subset, train_correct, test_correct, train_labels, test_labels) -> TrialSet:
    """Returns a TrialSet of boolean matrices and labels."""
    return TrialSet(
        np.arange(len(subset)),
        *(BitMatrix.from_bool(np.asarray(m, bool)) for m in (subset, train_correct, test_correct)),
        np.asarray(train_labels),
        np.asarray(test_labels),
    )


def random_trial(number, dataset, rng, with_predictions=True) -> Trial:
    """Returns a trial with random contents that fit the dataset."""

    def predictions(split):
        predicted = rng.integers(0, dataset.num_classes, len(split)).astype(np.uint16)
        if not with_predictions:
            return Predictions(predicted == split.labels)
        probability = rng.random(len(split)).astype(np.float16)
        return Predictions(predicted == split.labels, predicted, probability)

    subset = np.zeros(len(dataset.train), bool)
    subset[rng.permutation(len(subset))[: len(subset) // 2]] = True
    train, test = predictions(dataset.train), predictions(dataset.test)
    return Trial(number, 0, subset, train, test, seconds=1.5)


def followed_trial(number, dataset, epochs) -> Trial:
    """Returns a trial on the whole training set, of which only the epochs matter."""
    nothing_right = (
        Predictions(np.zeros(len(part), bool)) for part in (dataset.train, dataset.test)
    )
    return Trial(number, 0, np.ones(len(dataset.train), bool), *nothing_right, epochs=epochs)


def assert_same_trial(a: Trial, b: Trial) -> None:
    """Asserts that two trials hold the same arrays, bit for bit."""
    assert (a.number, a.base_seed) == (b.number, b.base_seed)
    np.testing.assert_array_equal(a.subset, b.subset)
    for ours, theirs in ((a.train, b.train), (a.test, b.test)):
        for name in ("correct", "predicted", "label_probability"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert (mine is None) == (other is None)
            if mine is not None:
                assert mine.dtype == other.dtype
                np.testing.assert_array_equal(mine, other)
