"""What estimates say, for a notebook: tables, neighbours, figures."""

import abc
import bisect
import contextlib
import dataclasses
import difflib
import functools
import html
import operator
import warnings
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np

from analysis.estimates import pairs
from analysis.estimates.values import Estimates, Pairs, influences_of
from analysis.measures import table, votes
from analysis.measures.examples import named_classes
from analysis.measures.votes import Votes
from tfmem import experiments
from tfmem.datasets import Dataset, ImageDataset, Split, short_name
from tfmem.store.trials import Trial
from tfmem.words import of_expected

if TYPE_CHECKING:  # Only what draws and makes tables imports them.
    import pandas
    from matplotlib.figure import Figure

_SPLITS = {"train": "training", "test": "test"}
_MOST_COMPARED = 1000  # Ids, one by one, with one that is not known.


@dataclasses.dataclass(frozen=True)
class Influence:
    """An example of the other split, and an influence: of it, or on it.

    Attributes:
      id: its stable id.
      index: its place in its split.
      influence: in [-1, 1].
      standard_error: of that; nan where the source has none.
    """

    id: str
    index: int
    influence: float
    standard_error: float


class Trials(abc.ABC):
    """The trials that estimates were made of."""

    @abc.abstractmethod
    def read(self) -> Generator[Trial, None, None]:
        """Yields them one by one, from the first on."""

    @abc.abstractmethod
    def test_accuracy(self) -> np.ndarray:
        """Returns float64 [n'], the share of them that are right on each test example."""


class Findings:
    """Memorization of n training examples, and their influence on n' test examples.

    Examples are named by index or id. `analysis.estimate` and `analysis.open_estimates` make them.

    Attributes:
      estimates: what was estimated, as arrays.
      dataset: labels, ids and names of classes of the examples, without images.
      source: where the estimates come from.
    """

    def __init__(
        self,
        estimates: Estimates,
        dataset: Dataset,
        source: str,
        load: Callable[[], ImageDataset] | None = None,
        trials: Trials | None = None,
    ):
        """Takes what loads the pictures, and the trials; None where there are none to be had."""
        self.estimates = estimates
        self.dataset = dataset
        self.source = source
        self._load = load
        self._trials = trials

    @property
    def memorization(self) -> np.ndarray:
        """float64 [n] in [-1, 1]; nan for an example that was in all trials or in none."""
        return self.estimates.memorization

    @property
    def memorization_se(self) -> np.ndarray | None:
        """float64 [n], standard errors; None in a file that has none, such as a published one."""
        details = self.estimates.details
        return None if details is None else details.standard_error

    @property
    def heldout_accuracy(self) -> np.ndarray | None:
        """float64 [n], the share of the trials without an example that get it right; or None."""
        details = self.estimates.details
        return None if details is None else details.heldout_accuracy

    @property
    def num_in(self) -> np.ndarray | None:
        """int64 [n], how many trials saw an example; or None."""
        details = self.estimates.details
        return None if details is None else details.num_in

    @property
    def num_out(self) -> np.ndarray | None:
        """int64 [n], how many trials left an example out; or None."""
        details = self.estimates.details
        return None if details is None else details.num_out

    def influencers(self, test: int | str, k: int = 10) -> list[Influence]:
        """Returns the k training examples that influence a test example most, those first.

        Args:
          test: the test example, by index or id.
          k: how many; fewer if its class has fewer with an estimate. Of equals the first come.

        Raises:
          ValueError: there is no such example, or its influences are not known.
        """
        column = self._index("test", test)
        label = int(self.dataset.test.labels[column])
        self.estimates.require_influences(self.source)
        if label >= len(self.estimates.influences):  # No training example is of its class.
            return []
        (block,) = influences_of(self.estimates.influences, None, [label], errors=True)
        its = block.test_index == column
        error = block.standard_error
        of_test = block.value[:, its], None if error is None else error[:, its]
        return _most(self.dataset.train, block.train_index, *of_test, k)

    def influenced(self, train: int | str, k: int = 10) -> list[Influence]:
        """Returns the k test examples that a training example influences most, those first.

        Args:
          train: the training example, by index or id.
          k: as in `influencers`.

        Raises:
          ValueError: there is no such example, or its influences are not known.
        """
        row = self._index("train", train)
        label = int(self.dataset.train.labels[row])
        self.estimates.require_influences(self.source)
        chosen = np.arange(len(self.dataset.train)) == row
        (block,) = influences_of(self.estimates.influences, chosen, [label], errors=True)
        of_train = block.value, block.standard_error
        return _most(self.dataset.test, block.test_index, *of_train, k)

    def pairs(
        self,
        mem_threshold: float = experiments.MEM_THRESHOLD,
        infl_threshold: float = experiments.INFL_THRESHOLD,
    ) -> Pairs:
        """Returns the high-influence pairs, the most influential first; both are inclusive.

        `pandas.DataFrame(vars(est.pairs()))` is a table of them.

        Raises:
          ValueError: influences are not known.
        """
        self.estimates.require_influences(self.source)
        found = self.estimates.memorization, self.estimates.influences
        return pairs.select(*found, mem_threshold, infl_threshold)

    def to_pandas(
        self, split: str = table.BOTH, class_: str | int | None = None, top: int | None = None
    ) -> "pandas.DataFrame":
        """Returns what `tfmem table` writes: a row for each example, what deserves a look first.

        Of an estimates file there are no `suggested_label`, `votes` and `label_issue`, and no
        accuracy on test examples: it does not know the trials' predictions. Of a store whose source
        kept none they lack too, with a warning.

        Args:
          split: `train`, `test` or `both`.
          class_: of these examples, by name or number; None is all.
          top: how many rows at most; None is all.

        Raises:
          ValueError: no such split or class, or pandas is missing.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install -e '.[pandas]'") from error
        if split not in table.SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {', '.join(table.SPLITS)}")
        label = None if class_ is None else self._label(class_)
        chosen, accuracy = [], None
        for name, of_split in (("train", self.dataset.train), ("test", self.dataset.test)):
            wanted = of_split.labels >= 0 if label is None else of_split.labels == label
            found = None
            if split in (name, table.BOTH):
                try:
                    found = self._votes(name, np.flatnonzero(wanted))
                except votes.NoPredictionsError as error:
                    warnings.warn(str(error), stacklevel=2)
            chosen.append(found)
        if self._trials is not None and split != table.TRAIN:
            accuracy = self._trials.test_accuracy()
        columns = table.table(
            self.estimates,
            self.dataset,
            *chosen,
            test_accuracy=accuracy,
            split=split,
            labels=None if label is None else np.array([label]),
            top=None if top is None else _at_least_one("top", top),
        )
        frame = pandas.DataFrame(columns)
        if table.LABEL_ISSUE in frame:  # So that it is a mask, in which what is not known is False.
            frame[table.LABEL_ISSUE] = frame[table.LABEL_ISSUE].astype("boolean")
        return frame

    def show(self, class_: str | int | None = None, top: int = 20) -> "Figure":
        """Returns a figure of the training examples with the highest memorization, those first.

        Below each stand its index and its class and, where most trials that left it out call it
        something else, what that is. Ids stand in the place of pictures that cannot be had.

        Args:
          class_: of these examples, by name or number; None is all.
          top: how many at most.

        Raises:
          ValueError: there is no such class.
        """
        from analysis.plots import folder, fonts, ranking
        from analysis.plots.pictures import Picture

        among = self.estimates.known
        if class_ is not None:
            among = among & (self.dataset.train.labels == self._label(class_))
        index = np.flatnonzero(among)
        order = np.argsort(-self.memorization[index], kind="stable")
        index = index[order[: _at_least_one("top", top)]]
        labels = self.dataset.train.labels
        called: dict[int, int] = {}
        with contextlib.suppress(votes.NoPredictionsError):
            if found := self._votes("train", index):
                called = {i: found.label[i] for i in np.flatnonzero(found.issues(labels)).tolist()}
        with (
            folder.examples(self._pictures, "train", index.tolist()) as images,
            fonts.showing(self.dataset.class_names) as names,
        ):
            shown = [
                ranking.Example(
                    Picture(images[i], float(self.memorization[i])),
                    i,
                    names[labels[i]],
                    names[called[i]] if i in called else None,
                )
                for i in index.tolist()
            ]
            return ranking.figure(shown)

    def histogram(self, mem_threshold: float = experiments.MEM_THRESHOLD) -> "Figure":
        """Returns a figure of how many training examples there are at each level of memorization.

        Args:
          mem_threshold: marked by a line; bars above it are darker.
        """
        from analysis.plots import memorization_histogram

        return memorization_histogram.figure(self.memorization, mem_threshold)

    def _index(self, split_name: str, example: int | str) -> int:
        """Returns the index of an example that is given by index or id; ValueError if none is."""
        split, what = getattr(self.dataset, split_name), _SPLITS[split_name]
        if not isinstance(example, str):
            index = operator.index(example)
            if not 0 <= index < len(split):
                raise ValueError(
                    f"{what} example {index}: expected 0 to {len(split) - 1}, or an id"
                )
            return index
        found = np.flatnonzero(split.ids == example)
        if found.size:
            return int(found[0])
        nearest = _nearest(example, split.ids.tolist())
        raise ValueError(f"no {what} example has the id {example!r}: the nearest is {nearest!r}")

    def _label(self, class_: str | int) -> int:
        return int(named_classes([str(class_)], self.dataset.class_names)[0])

    def _votes(self, split_name: str, chosen: np.ndarray) -> Votes | None:
        """Returns votes for chosen examples, int [k]; None without trials.

        Raises:
          NoPredictionsError: the trials do not know their predictions.
        """
        if self._trials is None:
            return None
        votes_of = votes.held_out_votes if split_name == table.TRAIN else votes.test_votes
        labels, classes = getattr(self.dataset, split_name).labels, self.dataset.num_classes
        return votes.in_blocks(votes_of, self._trials.read, labels, classes, chosen)

    @functools.cached_property
    def _pictures(self) -> Dataset:
        """The dataset with its images if these can be had; if not, a warning says why."""
        from analysis.plots import pictures

        if self._load is None:
            return self.dataset
        try:
            loaded = self._load()
            if loaded.has_images:
                pictures.require_drawable(loaded.input_shape[-1])
        except ValueError as reason:
            warnings.warn(f"no pictures, ids stand in their place: {reason}", stacklevel=4)
            return self.dataset
        return loaded

    @functools.cached_property
    def _facts(self) -> dict[str, str]:
        """What the estimates are, in words, by what each is about."""
        found, dataset = self.estimates, self.dataset
        facts = {"source": self.source}
        if dataset.name:
            facts["dataset"] = short_name(dataset.name)
        if found.num_trials is not None:
            facts["trials"] = of_expected(found.num_trials, found.num_trials_expected)
        facts["training examples"] = f"{len(dataset.train):,}"
        facts["test examples"] = f"{len(dataset.test):,}"
        facts["classes"] = f"{dataset.num_classes:,}"
        memorized = np.count_nonzero(found.memorization >= experiments.MEM_THRESHOLD)
        facts["memorized"] = f"{memorized:,} (mem >= {experiments.MEM_THRESHOLD:g})"
        if len(found.influences):
            facts["high-influence pairs"] = f"{len(self.pairs()):,}"
        if found.details is not None and not np.isnan(found.details.heldout_accuracy).all():
            facts["held-out accuracy"] = f"{np.nanmean(found.details.heldout_accuracy):.1%}"
        if found.test_accuracy is not None:
            facts["test accuracy"] = f"{found.test_accuracy:.1%}"
        return facts

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {value}" for name, value in self._facts.items())
        return f"Findings({facts})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{html.escape(name)}</th>"
            f"<td style='text-align: left'>{html.escape(value)}</td></tr>"
            for name, value in self._facts.items()
        )
        return f"<table>{rows}</table>"


def _nearest(name: str, ids: list[str]) -> str:
    """Returns the id that is spelt most alike; of very many, one that begins or ends alike."""
    if len(ids) > _MOST_COMPARED:  # All of ImageNet's would take minutes.
        found: list[str] = []
        for step in (1, -1):  # Read from the beginning, and from the end.
            ordered = sorted(each[::step] for each in ids)
            place = bisect.bisect(ordered, name[::step])
            near = ordered[max(0, place - _MOST_COMPARED // 2) : place + _MOST_COMPARED // 2]
            found += [each[::step] for each in near]
        ids = found
    (nearest,) = difflib.get_close_matches(name, ids, n=1, cutoff=0)
    return nearest


def _at_least_one(name: str, count: int) -> int:
    if count < 1:
        raise ValueError(f"{name} is {count}, expected 1 or more")
    return count


def _most(
    split: Split, index: np.ndarray, value: np.ndarray, error: np.ndarray | None, k: int
) -> list[Influence]:
    """Returns the k examples with the highest values, descending; those without one are left out.

    Args:
      split: of the examples.
      index: int [a], these.
      value: float [a, 1] or [1, a], or nothing where an example is in no block.
      error: of the same shape, or None.
      k: at least 1.
    """
    values = value.ravel()
    errors = np.full(len(values), np.nan) if error is None else error.ravel()
    order = np.argsort(-values, kind="stable")[: _at_least_one("k", k)]
    return [
        Influence(str(split.ids[index[i]]), int(index[i]), float(values[i]), float(errors[i]))
        for i in order.tolist()
        if not np.isnan(values[i])
    ]
