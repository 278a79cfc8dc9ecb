"""The two ways to findings: trials in stores, and a file of estimates."""

import os
from collections.abc import Generator

import numpy as np
from etils import epath

from analysis.cli import program, stores
from analysis.estimates import estimators, sources
from analysis.estimates.values import CORRECTNESS, ESTIMATORS, Estimates
from analysis.notebook.findings import Findings, Trials
from tfmem import datasets, words
from tfmem.datasets import Dataset, ImageDataset, Split
from tfmem.store import parts
from tfmem.store.pictures import load_pictures
from tfmem.store.store import Store
from tfmem.store.trials import Trial

_INFLUENCE = (estimators.CLASS, estimators.NONE)
_DELAY = 2.0  # Seconds; what is read sooner shows no bar.


def estimate(
    store: epath.PathLike,
    *others: epath.PathLike,
    trials: range | None = None,
    influence: str = estimators.CLASS,
    estimator: str = CORRECTNESS,
    data_dir: epath.PathLike | None = None,
) -> Findings:
    """Estimates memorization and influence from the trials of a store, as `tfmem estimate` does.

    Pictures are those of the dataset that the store was made with, found where it says, and what
    the trials predict is read when it is asked for.

    Args:
      store: where it is: a text or a path.
      *others: stores of the same experiment and seed, whose trials were made apart.
      trials: which of them; all by default.
      influence: `class`, on test examples of the same class, or `none`, which takes less memory.
      estimator: `correctness`, the paper's, or `probability`, which varies less.
      data_dir: where TFDS keeps the pictures' data; TFDS's own default if None.

    Raises:
      ValueError: no store of trials on random subsets is there, it has none of the trials or a
        damaged one, or stores do not fit together.
    """
    words.lookup(dict.fromkeys(_INFLUENCE), influence, "influence")
    words.lookup(dict.fromkeys(ESTIMATORS), estimator, "estimator")
    if trials is not None and not (isinstance(trials, range) and trials and trials.step == 1):
        raise ValueError(f"trials is {trials!r}, expected a range such as range(0, 1000)")
    paths = [_path(path) for path in (store, *others)]
    for path in paths:
        if path.suffix == ".npz":
            raise ValueError(f"{path} is no store: analysis.open_estimates reads such a file")
    found = stores.open_parts(paths, allow_missing=False, wanted=trials)
    with program.progress_bar(found.count, "trials read", _DELAY) as progress:
        how = influence, estimator
        estimates = sources.of_stores(found, *how, lambda number: progress(1))
    first = found.stores[0]
    folder = None if data_dir is None else os.fspath(_path(data_dir))
    return Findings(
        estimates,
        first.dataset,
        ", ".join(map(str, paths)),
        load=lambda: load_pictures(first, folder),
        trials=_Trials(found),
    )


class _Trials(Trials):
    """The trials of stores, read whenever they are asked for."""

    def __init__(self, found: stores.Parts):
        self._found = found

    def read(self) -> Generator[Trial, None, None]:
        return self._found.read("predictions", _DELAY)

    def test_accuracy(self) -> np.ndarray:
        right = np.zeros(len(self._found.stores[0].dataset.test), np.int64)
        for block in parts.blocks(self._found.stores, self._found.numbers):
            right += block.test_correct.transposed.row_sums()
        return right / self._found.count


def open_estimates(
    path: epath.PathLike,
    dataset: str | ImageDataset | None = None,
    data_dir: epath.PathLike | None = None,
) -> Findings:
    """Opens an estimates file, ours or a published one, as `tfmem figures` does.

    Such a file knows no pictures, and not what the trials predict: `to_pandas` has no columns of
    votes; `analysis.estimate` has both.

    Args:
      path: where it is: a text or a path.
      dataset: whose estimates they are, for pictures and names of classes: as --dataset takes it,
        or what `tfmem.datasets.load` returned. None shows ids, and classes by number.
      data_dir: where TFDS keeps the dataset; TFDS's own default if None.

    Raises:
      ValueError: it is no such file, or of another dataset.
    """
    path = _path(path)
    if Store.exists(path):
        raise ValueError(f"{path} is a store: analysis.estimate reads it")
    if data_dir is not None and not isinstance(dataset, str):
        raise ValueError("data_dir is where the dataset lies, which needs its name: dataset=NAME")
    if isinstance(dataset, str):
        folder = None if data_dir is None else os.fspath(_path(data_dir))
        dataset = datasets.load(dataset, folder)
    estimates = sources.read_for(path, dataset)
    if dataset is None:
        return Findings(estimates, _nameless(estimates), str(path))
    loaded = dataset
    return Findings(estimates, loaded.without_images(), str(path), load=lambda: loaded)


def _path(path: epath.PathLike) -> epath.Path:
    return epath.Path(path).expanduser()


def _nameless(estimates: Estimates) -> Dataset:
    """Returns the examples of estimates: ids are their own or indices, classes are numbers."""
    known = (
        (estimates.train_ids, estimates.train_labels),
        (estimates.test_ids, estimates.test_labels),
    )
    train, test = (
        Split(labels, np.arange(len(labels)).astype(np.str_) if ids is None else ids)
        for ids, labels in known
    )
    count = 1 + max(train.labels.max(initial=0), test.labels.max(initial=0))
    return Dataset("", train, test, tuple(map(str, range(count))))
