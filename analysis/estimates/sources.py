"""Where estimates come from: trials of stores, or a file that belongs to a known dataset."""

import dataclasses
from collections.abc import Callable

from etils import epath

from analysis.cli import stores
from analysis.estimates import estimators, files
from analysis.estimates.values import CORRECTNESS, PROBABILITY, Estimates
from tfmem import datasets
from tfmem.datasets import Dataset
from tfmem.store import parts


def of_stores(
    found: stores.Parts,
    influence: str = estimators.CLASS,
    estimator: str = CORRECTNESS,
    on_trial: Callable[[int], None] = lambda number: None,
) -> Estimates:
    """Returns estimates from trials of stores; only counts are in memory where these will do.

    Args:
      found: the stores, and which of their trials.
      influence: one of `estimators.INFLUENCE`.
      estimator: one of `values.ESTIMATORS`.
      on_trial: called after each trial is read, for a progress bar.

    Raises:
      StoreError: as `Store.load`.
    """
    which, dataset = (found.stores, found.numbers, on_trial), found.stores[0].dataset
    if influence != estimators.FULL and estimator == CORRECTNESS:
        blocks = parts.blocks(*which)
        estimates = estimators.estimate_in_blocks(blocks, found.count, dataset, influence)
    else:
        trials = parts.load(*which, estimator == PROBABILITY)
        estimates = estimators.estimate(trials, dataset, influence, estimator)
    return dataclasses.replace(estimates, num_trials_expected=found.expected)


def read_for(path: epath.PathLike, dataset: Dataset | None) -> Estimates:
    """Reads estimates, which must be of the dataset; of a file without labels it has them.

    Args:
      path: of an estimates file.
      dataset: whose they are; None if that is not known.

    Raises:
      ValueError: as `files.read`, or they are of another dataset.
    """
    try:
        found = files.read(path)
    except ValueError:
        if dataset is None:
            raise
        found = files.read(path, (dataset.train.labels, dataset.test.labels))
    if dataset is not None:
        what = str(path)
        datasets.require_same_labels(dataset, found.train_labels, found.test_labels, what)
        datasets.require_same_ids(dataset, found.train_ids, found.test_ids, what)
    return found
