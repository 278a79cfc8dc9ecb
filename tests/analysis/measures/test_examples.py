"""What figures and the report show, chosen by hand."""

import math

import numpy as np
import pytest

from analysis.estimates import pairs
from analysis.estimates.values import ClassInfluence, Estimates, Pairs
from analysis.measures import examples


def test_gallery_shows_the_nearest_within_the_window():
    memorization = np.array([0.66, 0.4, 0.6, 0.5, 0.36, 0.51, 0.5, 0.45])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 0])
    # Distances of class 0: .16 .1 .1 0 .14 .01 - .05; the first is outside of 0.15.
    assert examples.nearest_examples(memorization, labels, 0, 0.5).tolist() == [3, 5, 7, 1]
    assert examples.nearest_examples(memorization, labels, 1, 0.5).tolist() == [6]
    assert examples.nearest_examples(memorization, labels, 1, 1.0).tolist() == []
    # The window's border belongs to it.
    assert examples.nearest_examples(np.array([0.65]), np.array([0]), 0, 0.5).tolist() == [0]
    # What is unknown is near nothing.
    unknown = np.array([math.nan, 0.4, math.nan])
    assert examples.nearest_examples(unknown, np.zeros(3, int), 0, 0.5).tolist() == [1]


def test_gallery_keeps_the_classes_with_the_most_memorized_examples(monkeypatch):
    monkeypatch.setattr(examples, "CLASSES", 2)
    labels = np.array([0, 1, 1, 2, 2, 2])
    memorization = np.array([0.1, 0.3, 0.1, 0.3, 0.3, 0.3])
    assert examples.shown_classes(memorization, labels, 3, 0.25).tolist() == [1, 2]
    assert examples.shown_classes(memorization, labels, 3, 0.25, most=1).tolist() == [2]
    assert examples.shown_classes(memorization, labels, 4, 0.25, most=9).tolist() == [0, 1, 2, 3]


def test_the_lowest_and_the_highest_scores_of_a_class():
    score = np.array([0.5, 9.0, 0.1, 0.5, -0.2, 3.0])
    labels = np.array([0, 1, 0, 0, 0, 0])
    # Of equals, 0 and 3, the first come first on both ends.
    assert examples.extreme_examples(score, labels, 0, 4, highest=False).tolist() == [4, 2, 0, 3]
    assert examples.extreme_examples(score, labels, 0, 3, highest=True).tolist() == [5, 0, 3]
    assert examples.extreme_examples(score, labels, 1, 3, highest=True).tolist() == [1]
    assert examples.extreme_examples(score, labels, 2, 3, highest=False).tolist() == []


def test_the_classes_with_the_highest_mean_scores():
    """Means are 1, 2, 1, none and -1."""
    score, labels = np.array([0.5, 1.5, 2.0, 1.0, -1.0]), np.array([0, 0, 1, 2, 4])
    shown = [examples.highest_classes(score, labels, 5, most).tolist() for most in (1, 2, 4, 9)]
    assert shown == [[1], [0, 1], [0, 1, 2, 4], [0, 1, 2, 3, 4]]


def test_classes_are_named_or_numbered():
    names = ("2", "bee", "crane", "bee", "crane")
    assert examples.named_classes(["bee", "3", "crane", "1"], names).tolist() == [1, 3, 2]
    assert examples.named_classes(["2"], names).tolist() == [0]  # A name before a number.
    with pytest.raises(ValueError, match=r"unknown class 'beer': did you mean 'bee'\? the known"):
        examples.named_classes(["beer"], names)
    with pytest.raises(ValueError, match=r"unknown class '5': .*known ones are 2, bee, crane$"):
        examples.named_classes(["5"], names)


def many(count):
    """Training example k has its highest influence, 1 - k / 1000, on test example k."""
    index = np.arange(count)
    influence = 1 - index / 1000
    return Pairs(
        np.concatenate([index, index])[::-1],
        np.concatenate([index, index + count])[::-1],
        np.concatenate([influence, influence / 2])[::-1],
        np.ones(2 * count),
    )


def test_panels_without_pairs():
    assert examples.panel_training_examples(many(0)).shape == (1, 0)


def test_panels_follow_the_selection_procedure():
    """App. C: linspace(0, 100 - 3, 5) = 0, 24.25, 48.5, 72.75, 97, cut to integers."""
    assert examples.panel_training_examples(many(100)).tolist() == [
        [0, 24, 48, 72, 97],
        [1, 25, 49, 73, 98],
        [2, 26, 50, 74, 99],
    ]


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (6, (1, 6)), (7, (3, 5))])
def test_panels_of_few_examples_do_not_repeat(count, shape):
    chosen = examples.panel_training_examples(many(count))
    assert chosen.shape == shape
    assert len(np.unique(chosen)) == min(count, 15)
    assert chosen[0, 0] == 0


def code_of_the_paper(max_infl_of_train_selected, idx_train_selected):
    """Sec. C, as printed, but for `visualize_tr_examples_and_influence` and np.int."""
    n_copies = 3
    n_egs = 5
    shown = []
    idx_sort_selected = np.argsort(-max_infl_of_train_selected)
    base_idxs = np.linspace(0, len(idx_train_selected) - n_copies, n_egs).astype(int)
    for i_copy in range(n_copies):
        idxs_to_depict = [idx_train_selected[idx_sort_selected[x + i_copy]] for x in base_idxs]
        shown.append(idxs_to_depict)
    return shown


@pytest.mark.parametrize("count", [7, 8, 13, 33, 100, 1015])
def test_panels_are_those_of_the_papers_code(rng, count):
    train = rng.permutation(3 * count)[:count]
    highest = rng.permutation(np.linspace(0.2, 1, count))
    # Each has one to three pairs, in any order.
    repeat = rng.integers(1, 4, count)
    index = np.repeat(np.arange(count), repeat)
    influence = rng.uniform(0.15, 0.2, len(index))
    influence[np.cumsum(repeat) - 1] = highest
    found = Pairs(train[index], np.arange(len(index)), influence, np.ones(len(index)))
    shuffled = found.take(rng.permutation(len(index)))
    expected = code_of_the_paper(highest, train)
    assert examples.panel_training_examples(shuffled).tolist() == expected


def test_panels_have_the_test_examples_that_are_influenced_most():
    """Of the training example's class, whether or not they are in a pair; of equals the first."""
    train_labels = np.array([1, 0, 1])
    influences = (
        ClassInfluence(np.array([1]), np.array([2, 5]), np.array([[0.1, 0.2]]), None),
        ClassInfluence(
            np.array([0, 2]),
            np.array([0, 1, 3, 4, 6, 7]),
            np.array([[0.0, 0.3, -0.1, 0.3, 0.1, 0.0], [0.0, 0.5, math.nan, 0.2, -0.1, -0.2]]),
            None,
        ),
    )
    estimates = Estimates(np.array([0.3, 0.6, 0.9]), train_labels, np.zeros(8, int), influences)
    found = pairs.select(estimates.memorization, influences)
    (rows,) = examples.panels(estimates, found, ("a", "b"))
    assert [(row.name, *row.train) for row in rows] == [("b", 2, 0.9), ("b", 0, 0.3), ("a", 1, 0.6)]
    assert [list(row.tests) for row in rows] == [
        [(1, 0.5), (4, 0.2), (0, 0.0), (6, -0.1)],
        [(1, 0.3), (4, 0.3), (6, 0.1), (0, 0.0)],
        [(5, 0.2), (2, 0.1)],
    ]
    assert examples.panels(estimates, many(0), ("a", "b")) == []
