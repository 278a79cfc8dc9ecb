"""Which examples figures and the report show: chosen by rules, none picked by hand."""

import numpy as np

from analysis.estimators import ClassInfluence
from analysis.pairs import Pairs
from tfmem import experiments

EXAMPLES = 4  # Of one class, around one level.
WINDOW = 0.15  # How far from the level an example may be.
CLASSES = 20


def nearest_examples(
    memorization: np.ndarray, labels: np.ndarray, label: int, level: float
) -> np.ndarray:
    """Returns the indices of up to 4 examples of a class nearest to a level, the nearest first.

    None is further away than `WINDOW`; of equally near ones the first come first.
    """
    index = np.flatnonzero(labels == label)
    # Rounded, so that examples at the same distance on either side stay in their order.
    distance = np.round(np.abs(memorization[index] - level), 12)
    nearest = index[np.argsort(distance, kind="stable")]
    return nearest[: np.count_nonzero(distance <= WINDOW)][:EXAMPLES]


def shown_classes(
    memorization: np.ndarray, labels: np.ndarray, num_classes: int, threshold: float
) -> np.ndarray:
    """Returns the labels to show, ascending: all, or the 20 with the most memorized examples."""
    memorized = np.bincount(labels[memorization >= threshold], minlength=num_classes)
    return np.sort(np.argsort(-memorized, kind="stable")[:CLASSES])


def most_influenced(block: ClassInfluence, row: int) -> np.ndarray:
    """Returns the columns of the 4 test examples that a row influences most, descending."""
    return np.argsort(-block.value[row], kind="stable")[: experiments.PANEL_TEST_EXAMPLES]


def panel_training_examples(pairs: Pairs) -> np.ndarray:
    """Chooses the training examples of Figs. 4 to 6, by the procedure of Sec. C.

    Training examples are sorted by the highest influence they have on a test example; 3
    consecutive sets of 5, spread evenly over that order, are shown. With fewer than 7 different
    training examples the sets would repeat, and all are shown once.

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
