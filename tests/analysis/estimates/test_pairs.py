import numpy as np

from analysis.estimates import pairs
from analysis.estimates.values import ClassInfluence


def block(train_index, test_index, value):
    return ClassInfluence(np.array(train_index), np.array(test_index), np.array(value), None)


MEMORIZATION = np.array([0.9, 0.25, 0.1, 0.5])
INFLUENCES = [
    block([0, 2], [0, 2], [[0.2, 0.149], [0.9, 0.9]]),
    block([1, 3], [1, 3], [[0.15, 0.3], [0.0, 0.3]]),
]


def test_selection_by_hand():
    """Thresholds are inclusive; training example 2 is not memorized; 0 and 1 share no class."""
    found = pairs.select(MEMORIZATION, INFLUENCES, 0.25, 0.15)
    assert found.train_index.tolist() == [1, 3, 0, 1]
    assert found.test_index.tolist() == [3, 3, 0, 1]
    assert found.influence.tolist() == [0.3, 0.3, 0.2, 0.15]
    assert found.memorization.tolist() == [0.25, 0.5, 0.9, 0.25]


def test_counts_by_hand():
    counts = pairs.count(pairs.select(MEMORIZATION, INFLUENCES, 0.25, 0.15))
    assert (counts.pairs, counts.train_examples, counts.test_examples) == (4, 3, 3)
    assert counts.test_examples_by_influencers == (0, 2, 1)


def test_influencer_rows_stay_few():
    counts = pairs.PairCounts(0, 0, 0, (0, 5, 0, 2, *[0] * 5, 3, 4))
    assert counts.influencer_rows() == [
        ("a single training example", 5),
        ("3 training examples", 2),
        ("more than 8 training examples", 7),
    ]
    assert pairs.PairCounts(0, 0, 0, (0,)).influencer_rows() == []


def test_no_pairs():
    found = pairs.select(MEMORIZATION, INFLUENCES, 0.95, 0.15)
    assert len(found) == 0
    assert pairs.count(found) == pairs.PairCounts(0, 0, 0, (0,))
