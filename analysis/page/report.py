"""From a store to its page."""

import dataclasses
from collections.abc import Callable

import numpy as np
from absl import logging
from etils import epath

from analysis.estimates import estimators, files, pairs
from analysis.estimates.values import PROBABILITY, Estimates
from analysis.measures import settling
from analysis.page import render
from tfmem import datasets, experiments
from tfmem.datasets import Dataset
from tfmem.disk import atomic
from tfmem.store.pictures import load_pictures
from tfmem.store.store import Store
from tfmem.store.trials import TrialSet

_SPLITS = 3  # Random splits into halves that are averaged.


@dataclasses.dataclass(frozen=True)
class Summary:
    """The page's main numbers.

    Attributes:
      test_accuracy: mean over the trials.
      test_accuracy_deviation: standard deviation over the trials.
      num_memorized: training examples with mem >= mem_threshold.
      num_pairs: high-influence pairs.
      num_trials: t.
      path: where the page is.
    """

    test_accuracy: float
    test_accuracy_deviation: float
    num_memorized: int
    num_pairs: int
    num_trials: int
    path: epath.Path


def steps(store: Store) -> int:
    """Returns how far `make_report` will call its progress function."""
    num_trials = len(store.numbers())
    return num_trials + _SPLITS * len(settling.split_sizes(num_trials))


def make_report(
    store: Store,
    out_path: epath.PathLike,
    *,
    estimates: epath.PathLike | None = None,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
    data_dir: str | None = None,
    progress: Callable[[float], None] = lambda amount: None,
) -> Summary:
    """Writes the report of a store.

    Args:
      store: with at least one finished trial.
      out_path: where the page goes, atomically.
      estimates: an estimates file of this dataset to show, instead of computing estimates.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
      data_dir: where TFDS keeps the pictures' data; without it the page shows ids.
      progress: called with 1 after each of `steps(store)` steps.

    Raises:
      ValueError: no trials, a damaged one, or estimates that are not of this dataset.
    """

    given = None if estimates is None else _read_estimates(estimates, store.dataset)
    trials = store.load(on_trial=lambda number: progress(1))
    dataset, notes = _with_images(store, data_dir)
    own = _estimate(trials) if given is None else None
    if given is not None:
        made_from = "" if given.num_trials is None else f" (from {given.num_trials:,} trials)"
        notes.append(
            f"Memorization and influence come from {epath.Path(estimates).name}{made_from}; "
            f"accuracies and the section on trust from the store's {len(trials):,} trials."
        )
        if given.estimator == PROBABILITY:
            notes.append(
                "They are differences of the probability of the label, not of how often it is "
                "predicted."
            )
    shown = own or given
    found = pairs.select(shown.memorization, shown.influences, mem_threshold, infl_threshold)
    measured = settling.measure(trials, mem_threshold, infl_threshold, _SPLITS, progress, own)
    if len(found) and not measured.enough:
        notes.append(
            f"{len(trials):,} trials are too few to rely on the pairs below: "
            "the section on trust says why."
        )
    summary = render.summarize(trials)
    html = render.to_html(
        config=store.config,
        dataset=dataset,
        fingerprint=store.fingerprint,
        trials=summary,
        estimates=shown,
        pairs=found,
        convergence=measured,
        versions=store.versions,
        notes=notes,
    )
    atomic.write_bytes(out_path, html.encode())
    return Summary(
        test_accuracy=float(summary.test_accuracy.mean()),
        test_accuracy_deviation=float(summary.test_accuracy.std()),
        num_memorized=int(np.count_nonzero(shown.memorization >= mem_threshold)),
        num_pairs=len(found),
        num_trials=len(trials),
        path=epath.Path(out_path),
    )


def _estimate(trials: TrialSet) -> Estimates:
    memorization = estimators.memorization(trials)
    return Estimates(
        memorization=memorization.value,
        train_labels=trials.train_labels,
        test_labels=trials.test_labels,
        influences=tuple(estimators.class_influences(trials)),
        details=memorization,
        num_trials=len(trials),
    )


def _read_estimates(path: epath.PathLike, dataset: Dataset) -> Estimates:
    found = files.read_estimates(path)
    datasets.require_same_labels(dataset, found.train_labels, found.test_labels, str(path))
    needed = int(dataset.train.labels.max()) + 1
    if len(found.influences) < needed:
        raise ValueError(
            f"{path} has the influence of {len(found.influences)} classes, expected {needed}: "
            "analysis.estimate --influence=class writes them"
        )
    return found


def _with_images(store: Store, data_dir: str | None) -> tuple[Dataset, list[str]]:
    """Returns the store's dataset, with images if they can be had; if not, a note says why."""
    try:
        return load_pictures(store, data_dir), []
    except ValueError as reason:
        logging.warning("no pictures in the report: %s", reason)
        return store.dataset, [f"There are no pictures, ids stand in their place: {reason}."]
