"""Which examples figures and the report show: chosen by rules, none picked by hand."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from analysis.estimates.values import ClassInfluence, Estimates, Pairs, influences_of
from tfmem import experiments, words

T = TypeVar("T")
U = TypeVar("U")
EXAMPLES = 4  # Examples of one class around one level.
WINDOW = 0.15  # How far from the level an example may be.
CLASSES = 20


def nearest_examples(
    memorization: np.ndarray, labels: np.ndarray, label: int, level: float
) -> np.ndarray:
    """Returns the indices of up to 4 examples of a class nearest to a level, the nearest first.

    None is further away than `WINDOW`; of equally near ones the first come first.
    """
    index = np.flatnonzero(labels == label)
    # Distances are rounded, so that equal ones on either side stay in the order of examples.
    distance = np.round(np.abs(memorization[index] - level), 12)
    nearest = index[np.argsort(distance, kind="stable")]
    return nearest[: np.count_nonzero(distance <= WINDOW)][:EXAMPLES]


def shown_classes(
    memorization: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    threshold: float,
    most: int | None = None,
) -> np.ndarray:
    """Returns the labels to show, ascending: all, or those with the most memorized examples.

    Args:
      memorization: float [n].
      labels: int [n].
      num_classes: how many classes there are.
      threshold: theta_mem, inclusive.
      most: how many labels to return; None is 20.
    """
    memorized = np.bincount(labels[memorization >= threshold], minlength=num_classes)
    return np.sort(np.argsort(-memorized, kind="stable")[: CLASSES if most is None else most])


class Estimated(NamedTuple):
    """An example by its index, and an estimate of it: its memorization, or the influence on it."""

    example: int
    value: float


@dataclasses.dataclass(frozen=True)
class GalleryRow(Generic[T]):
    """Examples of one class around each of `experiments.GALLERY_LEVELS` (Fig. 1).

    Attributes:
      name: of the class.
      levels: the examples around each level, as those who show them need them.
    """

    name: str
    levels: tuple[tuple[T, ...], ...]

    def shown(self, show: Callable[[T], U]) -> "GalleryRow[U]":
        """Returns the row with each example as `show` turns it out."""
        return GalleryRow(self.name, tuple(tuple(map(show, level)) for level in self.levels))


def gallery(
    memorization: np.ndarray, labels: np.ndarray, shown: Sequence[int], class_names: Sequence[str]
) -> list[GalleryRow[Estimated]]:
    """Returns a row of `nearest_examples` for each of some classes.

    Args:
      memorization: float [n].
      labels: int [n].
      shown: the labels of these classes.
      class_names: in label order.
    """
    rows = []
    for label in shown:
        levels = []
        for level in experiments.GALLERY_LEVELS:
            index = nearest_examples(memorization, labels, label, level)
            levels.append(tuple(map(Estimated, index.tolist(), memorization[index].tolist())))
        rows.append(GalleryRow(class_names[label], tuple(levels)))
    return rows


def extreme_examples(
    score: np.ndarray, labels: np.ndarray, label: int, count: int, highest: bool
) -> np.ndarray:
    """Returns the indices of a class's examples with the lowest or highest scores, those first.

    Args:
      score: float [n].
      labels: int [n].
      label: of the class.
      count: how many, or all if there are fewer; of equals the first come first.
      highest: rather than lowest (Liu et al., 2021, Figs. 7 and 8).
    """
    index = np.flatnonzero(labels == label)
    order = np.argsort(-score[index] if highest else score[index], kind="stable")
    return index[order[:count]]


def highest_classes(
    score: np.ndarray, labels: np.ndarray, num_classes: int, most: int
) -> np.ndarray:
    """Returns the labels to show, ascending: all, or the `most` with the highest mean scores.

    Args:
      score: float [n].
      labels: int [n].
      num_classes: how many classes there are; one without examples comes last.
      most: how many labels to return; of equals the first are chosen.
    """
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, score, num_classes)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)
    return np.sort(np.argsort(-means, kind="stable")[:most])


def named_classes(given: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
    """Returns the labels of classes that are given by name or, if no class is named so, by number.

    Returns:
      int64 [k] in the given order, each label once.

    Raises:
      ValueError: there is no such class.
    """
    numbered: dict[str, int] = {}
    for label, name in enumerate(class_names):
        numbered.setdefault(name, label)
    labels = [
        int(name)
        if name not in numbered and name.isdecimal() and int(name) < len(class_names)
        else words.lookup(numbered, name, "class")
        for name in given
    ]
    return np.array(list(dict.fromkeys(labels)), np.int64)


def most_influenced(block: ClassInfluence, row: int) -> np.ndarray:
    """Returns the columns of the 4 test examples that a row influences most, descending."""
    return np.argsort(-block.value[row], kind="stable")[: experiments.PANEL_TEST_EXAMPLES]


def panel_training_examples(pairs: Pairs) -> np.ndarray:
    """Chooses the training examples of Figs. 4 to 6, by the procedure of Sec. C.

    The different training examples of the pairs are sorted by the highest influence they have on a
    test example, descending; 3 consecutive sets of 5, spread evenly over that order, are shown.
    Equals are in the order of their index, where the paper's code leaves it to its sorting. With
    fewer than 7 training examples a set would repeat some, and all are shown once.

    Returns:
      int64 [sets, examples]: the paper's order, set by set.
    """
    copies, examples = experiments.PANEL_COPIES, experiments.PANEL_EXAMPLES
    train_index, inverse = np.unique(pairs.train_index, return_inverse=True)
    highest = np.full(len(train_index), -np.inf)
    np.maximum.at(highest, inverse, pairs.influence)
    ordered = train_index[np.argsort(-highest, kind="stable")]
    if len(ordered) < copies + examples - 1:
        return ordered[None, :]
    bases = np.linspace(0, len(ordered) - copies, examples).astype(int)
    return np.stack([ordered[bases + copy] for copy in range(copies)])


@dataclasses.dataclass(frozen=True)
class PanelRow(Generic[T]):
    """A training example of Figs. 4 to 6 and the test examples beside it.

    Attributes:
      name: of their class.
      train: the training example, as those who show it need it.
      tests: the test examples of its class that it influences most, descending.
    """

    name: str
    train: T
    tests: tuple[T, ...]


def panels(
    estimates: Estimates, pairs: Pairs, class_names: Sequence[str]
) -> list[list[PanelRow[Estimated]]]:
    """Returns the sets of rows of Figs. 4 to 6, chosen by the procedure of Sec. C.

    Args:
      estimates: with the influence of every class.
      pairs: the high-influence pairs.
      class_names: in label order.

    Returns:
      3 sets of 5 rows, or one with fewer than 7, or none without pairs.
    """
    chosen = panel_training_examples(pairs)
    if not chosen.size:
        return []
    rows, among = {}, np.zeros(len(estimates.train_labels), bool)
    among[chosen.ravel()] = True
    # They may be read from a file, so once.
    for label, block in enumerate(influences_of(estimates.influences, among)):
        for index in set(chosen[estimates.train_labels[chosen] == label].tolist()):
            row = int(np.flatnonzero(block.train_index == index)[0])
            columns = most_influenced(block, row)
            tests, influence = block.test_index[columns], block.value[row, columns]
            rows[index] = PanelRow(
                class_names[label],
                Estimated(index, float(estimates.memorization[index])),
                tuple(map(Estimated, tests.tolist(), influence.tolist())),
            )
    return [[rows[index] for index in indices] for indices in chosen.tolist()]
