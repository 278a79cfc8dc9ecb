"""Votes of the trials that left an example out, counted by hand."""

import dataclasses

import numpy as np
import pytest

from analysis.measures import votes
from tfmem.store.trials import Predictions, Trial

LABELS = np.array([0, 1, 2, 1])
TEST_LABELS = np.array([2, 0])
# Of each trial: who was seen, what training and what test examples are called.
TRIALS = (
    ([1, 0, 0, 0], [0, 2, 1, 1], [2, 1]),
    ([1, 0, 0, 1], [0, 2, 0, 1], [2, 1]),
    ([1, 1, 0, 0], [0, 1, 2, 0], [1, 0]),
    ([1, 0, 1, 0], [0, 1, 2, 2], [1, 1]),
)
COUNTS = [[0, 0, 0], [0, 1, 2], [1, 1, 1], [1, 1, 1]]
TEST_COUNTS = [[0, 2, 2], [1, 3, 0]]


def trials(rows=TRIALS):
    for number, (subset, train, test) in enumerate(rows):
        predicted = (np.array(train, np.uint16), LABELS), (np.array(test, np.uint16), TEST_LABELS)
        made = (Predictions(found == labels, found) for found, labels in predicted)
        yield Trial(number, 0, np.array(subset, bool), *made)


def test_who_left_an_example_out_votes():
    counts = votes.held_out_counts(trials(), 3)
    np.testing.assert_array_equal(counts, COUNTS)
    np.testing.assert_array_equal(votes.test_counts(trials(), 3), TEST_COUNTS)


def test_the_own_label_wins_among_equals_then_the_lowest():
    found = votes.held_out_votes(trials(), LABELS, 3)
    assert found.label.tolist() == [-1, 2, 2, 1]
    np.testing.assert_array_equal(found.share, [np.nan, 2 / 3, 1 / 3, 1 / 3])
    np.testing.assert_array_equal(found.of_label, [np.nan, 1 / 3, 1 / 3, 1 / 3])
    # Of two others that are equal, the lowest.
    others = votes.Votes.of(np.array([[0, 1, 3, 3], [2, 2, 0, 0]]), np.array([1, 3]))
    assert others.label.tolist() == [2, 0]
    assert others.share.tolist() == [3 / 7, 0.5]
    assert others.of_label.tolist() == [1 / 7, 0.0]


def test_of_test_examples_all_vote():
    found = votes.test_votes(trials(), TEST_LABELS, 3)
    assert found.label.tolist() == [2, 1]
    assert found.share.tolist() == [0.5, 0.75]
    assert found.of_label.tolist() == [0.5, 0.25]


def test_an_issue_is_another_label_than_its_own():
    found = votes.held_out_votes(trials(), LABELS, 3)
    assert found.issues(LABELS).tolist() == [False, True, False, False]


def test_chosen_examples_are_in_the_order_that_they_are_asked_for():
    chosen = np.array([3, 0, 1])
    some = votes.held_out_votes(trials(), LABELS, 3, chosen)
    every = votes.held_out_votes(trials(), LABELS, 3)
    for field in dataclasses.fields(votes.Votes):
        wanted = getattr(every, field.name)[chosen]
        np.testing.assert_array_equal(getattr(some, field.name), wanted)
    assert votes.test_votes(trials(), TEST_LABELS, 3, np.array([1])).label.tolist() == [1]
    assert votes.held_out_votes(trials(), LABELS, 3, np.array([], np.int64)).label.shape == (0,)


@pytest.mark.parametrize("most_counts", [1, 6, 100])
def test_votes_in_blocks_are_the_same(most_counts):
    chosen = np.array([1, 2, 3])
    read = []

    def again():
        read.append(1)
        return trials()

    found = votes.in_blocks(votes.held_out_votes, again, LABELS, 3, chosen, most_counts)
    every = votes.held_out_votes(trials(), LABELS, 3)
    for field in dataclasses.fields(votes.Votes):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(every, field.name))
    assert len(read) == {1: 3, 6: 2, 100: 1}[most_counts]
    # What reads the trials is closed where one of them ends it.
    ended = []

    def unknown():
        try:
            yield Trial(0, 0, np.zeros(4, bool), *(Predictions(np.ones(4, bool)),) * 2)
        finally:
            ended.append(1)

    with pytest.raises(votes.NoPredictionsError) as kept:
        votes.in_blocks(votes.held_out_votes, unknown, LABELS, 3, chosen)
    assert ended == [1]
    assert kept.traceback
    # For who is not chosen nobody votes.
    some = votes.in_blocks(votes.held_out_votes, again, LABELS, 3, chosen[:1], most_counts)
    assert some.label.tolist() == [-1, 2, -1, -1]
    np.testing.assert_array_equal(np.isnan(some.share), [True, False, True, True])


def test_trials_without_predictions_say_what_is_missing():
    found = next(trials())
    unknown = dataclasses.replace(found, train=Predictions(found.train.correct))
    with pytest.raises(votes.NoPredictionsError) as told:
        votes.held_out_votes([unknown], LABELS, 3)
    assert str(told.value) == (
        "trial 0 has no predicted labels, since its source kept none: suggested_label, votes, "
        "label_issue cannot be had"
    )


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match=r"^trial 0 predicts label 2, expected 0 to 1$"):
        votes.held_out_votes(trials(), LABELS, 2)
