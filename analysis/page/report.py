"""From a store to its page."""

import shlex
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging
from etils import epath

from analysis.estimates import estimators, files, pairs
from analysis.estimates.values import PROBABILITY, Estimates
from analysis.measures import settling
from analysis.measures.votes import NoPredictionsError, Votes, held_out_votes
from tfmem import datasets, experiments
from tfmem.config import EvaluationConfig
from tfmem.datasets import Dataset
from tfmem.disk import atomic
from tfmem.store import parts
from tfmem.store.pictures import load_pictures
from tfmem.store.store import Store
from tfmem.store.trials import Trial, TrialSet
from tfmem.words import counted, of_expected

_SPLITS = 3  # Random splits into halves that are averaged.


def steps(numbers: Sequence[int], are_loaded: bool = False) -> int:
    """Returns how far `make_report` calls its progress for some trials, loaded already or not."""
    splits = _SPLITS * len(settling.split_sizes(len(numbers)))
    # Trials are read once for what was right, and once for what was predicted.
    return splits + len(numbers) * (1 if are_loaded else 2)


def make_report(
    store: Store,
    out_path: epath.PathLike,
    *,
    numbers: Sequence[int] | None = None,
    trials: TrialSet | None = None,
    estimates: Estimates | None = None,
    estimates_path: epath.PathLike | None = None,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
    data_dir: str | None = None,
    progress: Callable[[float], None] = lambda amount: None,
) -> None:
    """Writes the report of a store.

    Args:
      store: with at least one finished trial.
      out_path: where the page goes, atomically.
      numbers: which trials it is of; all by default.
      trials: these, if they are loaded already.
      estimates: of these trials, if they are known already.
      estimates_path: a file with other estimates of this dataset, to show instead.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
      data_dir: where TFDS keeps the pictures' data; without it the page shows ids.
      progress: called with 1 after each of `steps`.

    Raises:
      ValueError: no trials, a damaged one, or estimates that are not of this dataset.
    """
    from analysis.page import render  # It and matplotlib take a second that --help does not need.

    given = None
    if estimates_path is not None:
        given = _read_estimates(estimates_path, store.dataset), epath.Path(estimates_path).name
    if trials is None:
        trials = store.load(numbers, on_trial=lambda number: progress(1))
    dataset, notes = _with_images(store, data_dir)
    if isinstance(store.config, EvaluationConfig):
        other = datasets.short_name(store.config.test_dataset)
        notes.append(f"The test examples are those of {other}, on which the models were evaluated.")
    if given is None:
        shown = estimates = estimates or estimators.estimate(trials)
    else:
        shown, name = given
        notes += _about(shown, name, len(trials))
    expected = parts.num_expected([store])
    if len(trials) < expected:
        notes.append(f"{len(trials):,} of the {counted(expected, 'trial')} asked for are here.")
    notes += [f"{line}." for line in shown.unknown_lines()]
    found = pairs.select(shown.memorization, shown.influences, mem_threshold, infl_threshold)
    measured = settling.measure(trials, mem_threshold, infl_threshold, _SPLITS, progress, estimates)
    if len(found) and not measured.enough:
        notes.append(
            f"{counted(len(trials), 'trial')} are too few to rely on the pairs, which are hidden "
            "until they are asked for: the section on trust says why."
        )
    html = render.to_html(
        config=store.config,
        dataset=dataset,
        fingerprint=store.head.dataset_fingerprint,
        trials=render.summarize(trials),
        num_expected=expected,
        estimates=shown,
        pairs=found,
        settled=measured,
        versions=store.head.versions,
        notes=notes,
        lookup=f"tfmem table --store={shlex.quote(str(store.path))} --out=examples.csv",
        votes=_votes(store, trials.numbers.tolist(), progress),
    )
    atomic.write_bytes(out_path, html.encode())


def _votes(
    store: Store, numbers: Sequence[int], progress: Callable[[float], None]
) -> Callable[[np.ndarray], Votes | None]:
    """Returns the function that asks these trials what training examples are called without them.

    It returns None where the source of the trials kept no predictions.
    """
    dataset = store.dataset

    def of(train: np.ndarray) -> Votes | None:
        left = len(numbers)

        def read() -> Iterator[Trial]:
            nonlocal left
            for number in numbers:
                yield store.read(number)
                progress(1)
                left -= 1

        try:
            return held_out_votes(read(), dataset.train.labels, dataset.num_classes, train)
        except NoPredictionsError:
            progress(left)
            return None

    return of


def _read_estimates(path: epath.PathLike, dataset: Dataset) -> Estimates:
    found = files.read(path)
    datasets.require_same_labels(dataset, found.train_labels, found.test_labels, str(path))
    found.require_influences(str(path))
    return found


def _about(given: Estimates, name: str, num_trials: int) -> list[str]:
    """Returns what the page says of estimates that are not those of its trials."""
    made_from = ""
    if given.num_trials is not None:
        made_from = f" (from {of_expected(given.num_trials, given.num_trials_expected)} trials)"
    notes = [
        f"Memorization and influence come from {name}{made_from}; "
        f"accuracies and the section on trust from the store's {num_trials:,} trials."
    ]
    if given.estimator == PROBABILITY:
        notes.append(
            "They are differences of the probability of the label, not of how often it is "
            "predicted."
        )
    return notes


def _with_images(store: Store, data_dir: str | None) -> tuple[Dataset, list[str]]:
    """Returns the store's dataset, with images if they can be had; if not, a note says why.

    Of features there are none to be had, and nothing is said.
    """
    from analysis.plots import pictures  # As above.

    try:
        dataset = load_pictures(store, data_dir)
        if dataset.has_images:
            pictures.require_drawable(dataset.input_shape[-1])
        return dataset, []
    except ValueError as reason:
        logging.warning("no pictures in the report: %s", reason)
        return store.dataset, [f"There are no pictures, ids stand in their place: {reason}."]
