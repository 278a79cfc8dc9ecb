import numpy as np
import pytest

from tfmem.training import batches


def test_batch_order_is_a_permutation_of_the_subset(tiny_config):
    subset = np.zeros(21, bool)
    subset[[2, 3, 5, 7, 11, 13, 17, 19]] = True
    orders = [batches.batch_order(tiny_config, subset, 4, epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == [2, 3, 5, 7, 11, 13, 17, 19]
    assert len({tuple(order) for order in orders}) == 3
    again = batches.batch_order(tiny_config, subset, 4, 1)
    np.testing.assert_array_equal(again, orders[1])
    other = batches.batch_order(tiny_config, subset, 5, 1)
    assert tuple(other) != tuple(orders[1])


def test_steps_per_epoch_counts_the_short_batch(tiny_config):
    assert [batches.steps_per_epoch(tiny_config, m) for m in (1, 4, 5, 8)] == [1, 1, 2, 2]


def test_padded_batches_are_full_and_miss_nobody():
    assert batches.padded_batches(5, 3).tolist() == [[0, 1, 2], [3, 4, 4]]
    assert batches.padded_batches(4, 2).tolist() == [[0, 1], [2, 3]]
    assert batches.padded_batches(1, 4).tolist() == [[0, 0, 0, 0]]


def test_spread_by_hand():
    """5 examples, batch 8, 4 replicas of 2: two, one, one and one example."""
    slots, weights = batches.spread(5, 8, 4)
    assert slots.tolist() == [0, 1, 2, 2, 3, 3, 4, 4]
    assert weights.tolist() == pytest.approx([0.2, 0.2, 0.2, 0, 0.2, 0, 0.2, 0])
    slots, weights = batches.spread(1, 4, 2)
    assert slots.tolist() == [0, 0, 0, 0]
    assert weights.tolist() == [1, 0, 0, 0]


def test_slots_by_hand():
    """Three whole batches of 4, or two and a short one, on one replica and on two."""
    positions, weights = batches.slots(12, 4, replicas=2)
    assert positions.tolist() == list(range(12))
    assert weights.tolist() == [0.25] * 12
    positions, weights = batches.slots(11, 4, replicas=1)
    assert positions.tolist() == list(range(11))
    assert weights.tolist() == pytest.approx([0.25] * 8 + [1 / 3] * 3)
    positions, weights = batches.slots(11, 4, replicas=2)
    assert positions.tolist() == [*range(8), 8, 9, 10, 10]
    assert weights.tolist() == pytest.approx([0.25] * 8 + [1 / 3] * 3 + [0])
    assert weights.dtype == np.float32
    positions, weights = batches.slots(1, 4, replicas=2)
    assert positions.tolist() == [0, 0, 0, 0]
    assert weights.tolist() == [1, 0, 0, 0]


def test_evaluate_by_hand():
    """Softmax of (0, ln 3) is (1/4, 3/4); of equals, the first is predicted."""
    logits = np.array([[0, np.log(3)], [np.log(3), 0], [2, 2], [1000, 0]], np.float32)
    predicted, probability = batches.evaluate(logits, np.array([1, 1, 0, 0]))
    assert predicted.tolist() == [1, 0, 0, 0]
    assert predicted.dtype == np.uint16
    assert probability.dtype == np.float16
    assert probability.tolist() == pytest.approx([0.75, 0.25, 0.5, 1.0], abs=1e-3)
