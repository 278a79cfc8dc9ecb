"""What the page shows of examples: those around a level, the panels, the pairs, the classes."""

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from analysis.estimates.values import Estimates, Pairs
from analysis.measures import examples
from analysis.measures.examples import Estimated, GalleryRow, PanelRow
from analysis.page.text import interval, shortened
from analysis.page.thumbnails import Key
from analysis.plots.style import number
from tfmem.datasets import Dataset, Split

MAX_LISTED = 200  # Pairs that are shown without scripts.
_SPLITS = {"train": "training", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Example:
    """What the page says of one example.

    Attributes:
      key: `train` or `test`, and its index.
      id: its stable name.
      class_name: of its label.
    """

    key: Key
    id: str
    class_name: str

    @property
    def short_id(self) -> str:
        return shortened(self.id)

    @property
    def name(self) -> str:
        return f"{_SPLITS[self.key[0]]} example {self.id}, class {self.class_name}"


@dataclasses.dataclass(frozen=True)
class Valued:
    """An example with an estimate above it, and whether that reaches the threshold."""

    example: Example
    quantity: str  # `mem` or `infl`.
    value: float
    standard_error: float | None
    reaches: bool

    @property
    def title(self) -> str:
        text = f"{self.example.name}: {self.quantity} {number(self.value, 3)}"
        if self.standard_error is None:
            return text
        low, high = interval(self.value, self.standard_error)
        return f"{text} ± {number(self.standard_error, 3)}, 95%: {number(low)} to {number(high)}"


class Examples:
    """Examples by split and index, with their estimates; knows which ones the page shows.

    Attributes:
      shown: how often each example was asked for, the first ones first.
    """

    def __init__(self, dataset: Dataset, estimates: Estimates, thresholds: tuple[float, float]):
        """Takes the estimates of a dataset, and theta_mem and theta_infl."""
        self._dataset = dataset
        self._estimates = estimates
        self._mem_threshold, self._infl_threshold = thresholds
        self.shown: collections.Counter[Key] = collections.Counter()

    def get(self, split_name: str, index: int) -> Example:
        key = split_name, index
        self.shown[key] += 1
        split: Split = getattr(self._dataset, split_name)
        return Example(key, str(split.ids[index]), self._dataset.class_names[split.labels[index]])

    def memorization(self, index: int) -> Valued:
        value = float(self._estimates.memorization[index])
        details = self._estimates.details
        error = None if details is None else float(details.standard_error[index])
        reaches = value >= self._mem_threshold
        return Valued(self.get("train", index), "mem", value, error, reaches)

    def influences(
        self, train_index: Sequence[int], test_index: Sequence[int], influence: Sequence[float]
    ) -> list[Valued]:
        """Returns the test examples of pairs, each with the influence on it."""
        train, test = (np.array(index, np.int64) for index in (train_index, test_index))
        found = self._estimates.influence_errors(train, test)
        errors = [None] * len(test) if found is None else found.tolist()
        return [
            Valued(self.get("test", index), "infl", value, error, value >= self._infl_threshold)
            for index, value, error in zip(test_index, influence, errors, strict=True)
        ]

    def gallery(self) -> list[GalleryRow[Valued]]:
        """Returns examples around the levels of memorization, of the classes to show."""
        values, dataset = self._estimates.memorization, self._dataset
        labels, names = dataset.train.labels, dataset.class_names
        shown = examples.shown_classes(values, labels, len(names), self._mem_threshold)
        rows = examples.gallery(values, labels, shown.tolist(), names)
        return [row.shown(lambda found: self.memorization(found.example)) for row in rows]

    def panels(self, pairs: Pairs) -> list[list[PanelRow[Valued]]]:
        """Returns the sets of rows of Figs. 4 to 6."""

        def shown(row: PanelRow[Estimated]) -> PanelRow[Valued]:
            train = self.memorization(row.train.example)
            index, influence = zip(*row.tests, strict=True) if row.tests else ((), ())
            tests = self.influences([row.train.example] * len(index), index, influence)
            return PanelRow(row.name, train, tuple(tests))

        sets = examples.panels(self._estimates, pairs, self._dataset.class_names)
        return [[shown(row) for row in rows] for rows in sets]

    def pairs(self, pairs: Pairs) -> list[tuple[Valued, Valued]]:
        """Returns the training and the test example of each of the first 200 pairs."""
        listed = pairs.take(np.arange(min(len(pairs), MAX_LISTED)))
        train_index = listed.train_index.tolist()
        tests = self.influences(train_index, listed.test_index.tolist(), listed.influence.tolist())
        return list(zip(map(self.memorization, train_index), tests, strict=True))


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """What is counted of one class: `known` are the training examples with an estimate."""

    name: str
    train: int
    known: int
    memorized: int
    mean_memorization: float
    heldout_accuracy: float | None
    pairs: int
    test: int
    influenced: int


def class_rows(
    dataset: Dataset, estimates: Estimates, pairs: Pairs, mem_threshold: float
) -> list[ClassRow]:
    rows = []
    train_labels, test_labels = dataset.train.labels, dataset.test.labels
    for label, name in enumerate(dataset.class_names):
        known = estimates.known & (train_labels == label)
        memorization = estimates.memorization[known]
        heldout = None
        if estimates.details is not None and known.any():
            heldout = float(estimates.details.heldout_accuracy[known].mean())
        of_class = pairs.test_index[train_labels[pairs.train_index] == label]
        rows.append(
            ClassRow(
                name=name,
                train=int(np.count_nonzero(train_labels == label)),
                known=len(memorization),
                memorized=int(np.count_nonzero(memorization >= mem_threshold)),
                mean_memorization=float(memorization.mean()) if len(memorization) else math.nan,
                heldout_accuracy=heldout,
                pairs=len(of_class),
                test=int(np.count_nonzero(test_labels == label)),
                influenced=len(np.unique(of_class)),
            )
        )
    return rows
