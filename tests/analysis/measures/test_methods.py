"""Two methods on examples whose ranks, overlaps and areas are counted by hand."""

import dataclasses
import math

import numpy as np
import pytest

from analysis.estimates import scores
from analysis.estimates.values import Estimates, Memorization
from analysis.measures import methods
from analysis.measures.methods import Values
from analysis.plots.comparison import methods_figure
from tests.analysis.test_consistency import squeezed
from tfmem import datasets

# Memorization falls from example 0 to 39; by score the first six are in another order. Of example
# 40 all trials saw everything, so that its highest memorization means nothing.
MEMORIZATION = np.append(np.arange(40, 0, -1) / 40, 1.0)
SCORE = np.append(np.argsort([1, 0, 5, 2, 3, 4, *range(6, 40)]) * -0.1 + 3, -1.5)
LABELS, TEST_LABELS = np.arange(41) % 3, np.arange(4) % 3
REPLACED = np.isin(np.arange(41), [0, 1, 2, 5])
CHANGED = np.isin(np.arange(41), [0, 2, 5])
IDS = datasets.numbered_ids("train", 41), datasets.numbered_ids("test", 4)


def details():
    count = len(MEMORIZATION)
    num_out = np.where(np.arange(count) == 40, 0, 3)
    return Memorization(
        MEMORIZATION, np.full(count, 0.1), np.zeros(count), np.full(count, 7), num_out
    )


def turnover_scores(**changes):
    """Returns what analysis.turnover writes of these examples."""
    predicted = LABELS.astype(np.uint16)
    found = scores.Scores(
        train=scores.SplitScores(SCORE, predicted, predicted),
        test=None,
        train_labels=LABELS,
        test_labels=TEST_LABELS,
        train_ids=IDS[0],
        test_ids=IDS[1],
        epoch=30,
        num_models=1,
        true_labels=np.where(CHANGED, (LABELS + 1) % 3, LABELS),
        corrupted=REPLACED,
    )
    return dataclasses.replace(found, **changes)


def estimates(**changes):
    found = Estimates(
        MEMORIZATION, LABELS, TEST_LABELS, (), details(), 10, train_ids=IDS[0], test_ids=IDS[1]
    )
    return dataclasses.replace(found, **changes)


def values(**changes):
    return methods.align(estimates(), turnover_scores(**changes), "a", "scores")


def test_examples_of_which_a_method_knows_nothing_are_left_out():
    found = values()
    assert found.memorization.tolist() == MEMORIZATION[:40].tolist()
    assert found.score[:6].tolist() == pytest.approx([2.9, 3.0, 2.7, 2.6, 2.5, 2.8])
    assert np.flatnonzero(found.changed).tolist() == [0, 2, 5]
    assert np.flatnonzero(found.replaced).tolist() == [0, 1, 2, 5]
    score = SCORE.copy()
    score[3] = np.nan
    train = dataclasses.replace(turnover_scores().train, score=score)
    assert len(values(train=train)) == 39
    published = estimates(details=None, num_trials=None, train_ids=None, test_ids=None)
    assert len(methods.align(published, turnover_scores(), "a", "scores")) == 41


def test_other_labels_and_ids_are_refused():
    labels = LABELS.copy()
    labels[7] = 0
    with pytest.raises(ValueError, match="training example 7 has the label 1 in a and 0 in scores"):
        values(train_labels=labels)
    with pytest.raises(ValueError, match="training example 0 has the id train_00000 in a and"):
        values(train_ids=IDS[0][::-1])


def test_overlaps_by_hand():
    """The highest: {0} and {1}; {0, 1} and {1, 0}; {0, 1, 2, 3} and {1, 0, 5, 2}."""
    assert methods.overlaps(values()) == {0.01: (1, 0.0), 0.05: (2, 1.0), 0.1: (4, 0.75)}


def test_detection_by_hand():
    """Pairs of a corrupted and another label in the right order.

    By memorization the three changed ones are above 37, 36 and 34 of 37 others, by score above 36
    each. The four replaced ones are above 36, 36, 36 and 34 of 36; by score they are the highest.
    """
    found = values()
    assert methods.detection(found, found.changed) == pytest.approx(
        {"memorization": 107 / 111, "turn-over score": 108 / 111}
    )
    assert methods.detection(found, found.replaced) == pytest.approx(
        {"memorization": 142 / 144, "turn-over score": 1}
    )
    assert all(map(math.isnan, methods.detection(found, np.zeros(40, bool)).values()))


def test_the_roc_curve_by_hand():
    """Descending: a positive, another, a positive, another."""
    others, found = methods.roc(np.array([3, 2, 1, 0.0]), np.array([True, False, True, False]))
    assert others.tolist() == [0, 0, 0.5, 0.5, 1]
    assert found.tolist() == [0, 0.5, 0.5, 1, 1]


def test_the_report_by_hand():
    """Ranks differ by 1 five times and by 3 once: 1 - 6 * 14 / (40 * 1599) = 0.9987."""
    assert squeezed(methods.report(values())) == [
        "memorization and turn-over score: rank correlation 0.999 over 40 examples",
        "highest by both: 0.0% of the top 1% (1 example), 100.0% of the top 5% (2 examples), "
        "75.0% of the top 10% (4 examples)",
        "AUC of finding the 3 labels that were changed: memorization 0.9640, turn-over score "
        "0.9730",
        "AUC of finding the 4 labels that were replaced, some by themselves: memorization 0.9861, "
        "turn-over score 1.0000",
    ]
    assert len(methods.report(values(true_labels=None, corrupted=None)).splitlines()) == 2


def test_the_costs():
    said = (
        "cost: 10 trials on 70% of the training examples for memorization, 3 models on everything"
    )
    assert methods.cost_sentence(estimates(), turnover_scores(num_models=3)).startswith(said)
    unknown = methods.cost_sentence(estimates(num_trials=None), turnover_scores())
    assert "an unknown number of trials on random subsets" in unknown
    assert unknown.endswith("1 model on everything, after epoch 30, for turn-over scores")


COSTS = {"memorization": "10 trials", "turn-over score": "1 model"}


def test_the_figure_draws_examples_and_curves():
    found = values()
    density, roc = methods_figure(found, ("mnist", "scores"), COSTS).axes
    (cells,) = density.collections
    assert cells.get_array().sum() == 40
    assert density.get_xlabel() == "memorization, mnist"
    assert density.get_ylabel() == "turn-over score in nats, scores"
    bottom, top = density.get_ylim()
    assert bottom < found.score.min() < 0
    assert top > 3
    labels = [text.get_text() for text in roc.get_legend().get_texts()]
    assert labels == ["memorization: AUC 0.964\n10 trials", "turn-over score: AUC 0.973\n1 model"]
    _, memorization, score = roc.lines
    others, positive = methods.roc(found.memorization, found.changed)
    np.testing.assert_array_equal(memorization.get_data(), [others, positive])
    # The first positive by score comes after one other.
    assert [score.get_xdata()[1], score.get_ydata()[1]] == [1 / 37, 0]


def test_the_figure_without_corrupted_labels_has_one_panel():
    found = Values(np.array([0.0, 1.0]), np.array([0.0, 12.5]), None, None)
    (density,) = methods_figure(found, ("a", "b"), COSTS).axes
    assert density.get_ylim()[1] > 12.5
    assert density.get_xlim() == pytest.approx((-0.02, 1.02))
    same = dataclasses.replace(found, score=np.zeros(2), changed=np.zeros(2, bool))
    assert len(methods_figure(same, ("a", "b"), COSTS).axes) == 1
