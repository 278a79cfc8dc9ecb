"""Sets, ranks and differences counted by hand and by an obvious slow twin."""

import dataclasses
import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.estimates.values import ClassInfluence, Estimates
from analysis.measures import agreement
from analysis.measures.agreement import Agreement

# Training examples 0 to 2 are of class 0, 3 of class 1; test examples 0 and 1 and 2 likewise.
LABELS, TEST_LABELS = np.array([0, 0, 0, 1]), np.array([0, 0, 1])


def estimates(memorization, influence, labels=LABELS, test_labels=TEST_LABELS, **more):
    """Returns estimates of a full matrix of influence, of which the classes' blocks are taken."""
    blocks = []
    for label in range(1 + int(labels.max())):
        rows, columns = np.flatnonzero(labels == label), np.flatnonzero(test_labels == label)
        value = np.asarray(influence, float)[np.ix_(rows, columns)]
        blocks.append(ClassInfluence(rows, columns, value, None))
    return Estimates(np.asarray(memorization, float), labels, test_labels, tuple(blocks), **more)


# What is 9 is influence between classes, which nothing may look at.
A_INFLUENCE = [[0.5, 0.2, 9], [0.15, 0.1, 9], [0.8, 0.8, 9], [9, 9, 0.3]]
B_INFLUENCE = [[0.4, 0.1, 9], [0.7, 0.6, 9], [0.2, 0.0, 9], [9, 9, 0.1]]
A = estimates([0.9, 0.3, 0.2, 0.5], A_INFLUENCE)
B = estimates([0.8, 0.2, 0.3, 0.6], B_INFLUENCE)


def test_agreement_by_hand():
    a = np.array([0.9, 0.5, 0.3, 0.1])
    b = np.array([0.8, 0.2, 0.4, 0.0])
    jaccard, difference = agreement.compare(a, b, a >= 0.3, b >= 0.3)
    assert jaccard == pytest.approx(2 / 3)  # {0, 2} of {0, 1, 2}
    assert difference == pytest.approx((0.1 + 0.3 + 0.1) / 3)
    assert all(map(math.isnan, agreement.compare(a, b, a > 1, b > 1)))


def test_rank_correlation_in_closed_form():
    """Without ties 1 - 6 sum d^2 / (n (n^2 - 1)): d = 0, 1, -2, 1, 0 gives 1 - 36 / 120."""
    a, b = np.array([1, 2, 3, 4, 5.0]), np.array([0.1, 0.4, 0.2, 0.3, 0.9])
    d = np.argsort(np.argsort(b)) - np.arange(5)
    assert sorted(d.tolist()) == [-1, -1, 0, 0, 2]
    assert agreement.rank_correlation(a, b) == pytest.approx(1 - 6 * 6 / (5 * 24))
    assert agreement.rank_correlation(a, np.exp(b)) == pytest.approx(0.7)
    assert agreement.rank_correlation(a, -a) == pytest.approx(-1)
    for constant in (np.zeros(5), np.zeros(1), np.zeros(0)):
        assert math.isnan(agreement.rank_correlation(a[: len(constant)], constant))


def test_equal_values_share_their_mean_rank():
    """Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5."""
    found = agreement.rank_correlation(np.array([0, 0, 1, 2.0]), np.array([0, 1, 2, 3.0]))
    assert found == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_memorization_by_hand():
    """At 0.3 a has {0, 1, 3} and b {0, 2, 3}; at 0.9 only a has one; at 1 neither."""
    curve = agreement.memorization_curve(A, B, [0.0, 0.3, 0.9, 1.0])
    assert curve.size_a.tolist() == [4, 3, 1, 0]
    assert curve.size_b.tolist() == [4, 3, 0, 0]
    assert curve.size_both.tolist() == [4, 2, 0, 0]
    np.testing.assert_array_equal(curve.jaccard, [1, 0.5, 0, np.nan])
    np.testing.assert_allclose(curve.difference, [0.1, 0.1, 0.1, np.nan], atol=1e-15)


def test_influence_of_memorized_examples_by_hand():
    """a's pairs have i in {0, 1, 3}, b's i in {0, 2, 3} (mem >= 0.25).

    At 0.15 a selects (0, 0), (0, 1), (1, 0), (3, 2) and b (0, 0), (2, 0): (2, 0) is not a's though
    its influence is 0.8, nor is (1, 0) b's with 0.7. At 0.9 there are none.
    """
    curve = agreement.influence_curve(A, B, np.array([0.15, 0.4, 0.9]), 0.25)
    assert curve.size_a.tolist() == [4, 1, 0]
    assert curve.size_b.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(curve.jaccard, [1 / 5, 1, np.nan])
    difference = (0.1 + 0.1 + 0.55 + 0.2 + 0.6) / 5
    np.testing.assert_allclose(curve.difference, [difference, 0.1, np.nan])


def test_influence_whatever_is_memorized_by_hand():
    """At 0.15 a adds (2, 0) and (2, 1), b adds (1, 0) and (1, 1)."""
    found = agreement.influence_curve(A, B, [0.15]).at(0.15)
    assert found[2:] == (6, 4, 3)
    assert found.jaccard == 3 / 7
    gaps = 0.1 + 0.1 + 0.55 + 0.5 + 0.6 + 0.8 + 0.2
    assert found.difference == pytest.approx(gaps / 7)
    assert (found.share_of_a, found.share_of_b) == (3 / 6, 3 / 4)


def test_what_one_of_two_has_no_estimate_of_is_not_compared():
    """Without examples 0 and 3 there is (1, 0) of a and (2, 0) of b, and no example of both."""
    a = estimates([math.nan, 0.3, 0.2, 0.5], [[math.nan] * 3, *A_INFLUENCE[1:]])
    b = estimates([0.8, 0.2, 0.3, math.nan], [*B_INFLUENCE[:3], [math.nan] * 3])
    found = agreement.memorization_curve(a, b, [0.3]).at(0.3)
    assert found == Agreement(0, pytest.approx(0.1), 1, 1, 0)
    found = agreement.influence_curve(a, b, [0.15], 0.25).at(0.15)
    assert found == Agreement(0, pytest.approx((0.55 + 0.6) / 2), 1, 1, 0)
    found = agreement.influence_curve(a, b, [0.15]).at(0.15)
    assert found[2:] == (3, 3, 2)  # (1, 0), (2, 0), (2, 1) of a; (1, 0), (1, 1), (2, 0) of b.


def test_a_point_of_the_curve():
    curve = agreement.memorization_curve(A, B)
    assert curve.at(0.3) == Agreement(0.5, pytest.approx(0.1), 3, 3, 2)
    nothing = curve.at(0.95)
    assert nothing[2:] == (0, 0, 0)
    assert math.isnan(nothing.share_of_a)
    with pytest.raises(ValueError, match=r"the curve has no threshold 0\.33"):
        curve.at(0.33)


def test_the_papers_thresholds_are_among_the_curves():
    """As the very floats that they are read as: sets are inclusive."""
    assert {0.15, 0.25, 0.1, 0.4} <= set(agreement.THRESHOLDS.tolist())
    assert len(agreement.THRESHOLDS) == 21


def slow_curve(elements, thresholds):
    """`elements` lists (value of a, value of b, may be in a's set, may be in b's set)."""
    rows = []
    for threshold in thresholds:
        known = {k for k, (x, y, _, _) in enumerate(elements) if x == x and y == y}
        in_a = {k for k in known if elements[k][2] and elements[k][0] >= threshold}
        in_b = {k for k in known if elements[k][3] and elements[k][1] >= threshold}
        either = in_a | in_b
        gaps = [abs(elements[k][0] - elements[k][1]) for k in either]
        rows.append(
            (
                len(in_a & in_b) / len(either) if either else math.nan,
                sum(gaps) / len(either) if either else math.nan,
                len(in_a),
                len(in_b),
                len(in_a & in_b),
            )
        )
    return rows


# Multiples of 1/20, so that many values are a threshold exactly.
VALUES = st.integers(-20, 20).map(lambda k: k / 20)
ESTIMATES = st.one_of(VALUES, VALUES, VALUES, st.just(math.nan))
TWIN_LABELS, TWIN_TEST_LABELS = np.array([0, 2, 1, 0, 0, 2]), np.array([2, 0, 0, 2, 0])
SIDE = st.tuples(
    arrays.arrays(float, 6, elements=ESTIMATES), arrays.arrays(float, (6, 5), elements=ESTIMATES)
)


@given(
    SIDE,
    SIDE,
    st.sets(VALUES, min_size=1, max_size=8).map(sorted),
    st.one_of(st.none(), VALUES),
)
def test_curves_are_those_of_the_slow_twin(side_a, side_b, thresholds, mem_threshold):
    """Class 1 has a training but no test example; some estimates are nan."""
    a, b = (estimates(*side, TWIN_LABELS, TWIN_TEST_LABELS) for side in (side_a, side_b))
    (mem_a, infl_a), (mem_b, infl_b) = side_a, side_b
    examples = [(x, y, True, True) for x, y in zip(mem_a, mem_b, strict=True)]
    low = -math.inf if mem_threshold is None else mem_threshold
    pairs = [
        (infl_a[i, j], infl_b[i, j], mem_a[i] >= low, mem_b[i] >= low)
        for i in range(6)
        for j in range(5)
        if TWIN_LABELS[i] == TWIN_TEST_LABELS[j] and not math.isnan(mem_a[i] + mem_b[i])
    ]
    for curve, elements in (
        (agreement.memorization_curve(a, b, thresholds), examples),
        (agreement.influence_curve(a, b, thresholds, mem_threshold), pairs),
    ):
        expected = slow_curve(elements, thresholds)
        for threshold, row in zip(thresholds, expected, strict=True):
            found = curve.at(threshold)
            assert found[2:] == row[2:]
            np.testing.assert_allclose(found[:2], row[:2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("thresholds", [[], [0.2, 0.1], [0.1, 0.1], 0.1, [[0.1]]])
def test_thresholds_ascend(thresholds):
    with pytest.raises(ValueError, match="expected an ascending list"):
        agreement.memorization_curve(A, B, thresholds)


def test_inputs_stay_as_they_are():
    before = [block.value.copy() for block in A.influences]
    agreement.influence_curve(A, B, [0.1, 0.2], 0.25)
    for block, value in zip(A.influences, before, strict=True):
        np.testing.assert_array_equal(block.value, value)


IDS = {"train_ids": np.array(["a", "b", "c", "d"]), "test_ids": np.array(["x", "y", "z"])}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": LABELS[:3]}, "one has 4 training examples and two 3"),
        ({"test_labels": TEST_LABELS[:1]}, "one has 3 test examples and two 1"),
        (
            {"train_labels": np.array([0, 1, 0, 0])},
            "training example 1 has the label 0 in one and 1",
        ),
        (
            {"test_labels": np.array([0, 0, 0])},
            "test example 2 has the label 1 in one and 0 in two",
        ),
        (
            {"train_ids": np.array(["a", "b", "d", "c"])},
            "training example 2 has the id c in one and",
        ),
        (
            {"test_ids": np.array(["x", "y", "w"])},
            "test example 2 has the id z in one and w in two",
        ),
    ],
)
def test_other_examples_are_refused(changes, words):
    a = dataclasses.replace(A, **IDS)
    with pytest.raises(ValueError, match=words) as error:
        agreement.require_same_examples(a, dataclasses.replace(a, **changes), "one", "two")
    assert "not of one dataset" in str(error.value)


def test_the_same_examples_pass_with_and_without_ids():
    named = dataclasses.replace(A, **IDS)
    for a, b in ((A, B), (A, named), (named, B), (named, named)):
        agreement.require_same_examples(a, b, "one", "two")


def test_influence_of_every_class_is_required():
    A.require_influences("one")
    for there in (0, 1):
        part = dataclasses.replace(A, influences=A.influences[:there])
        with pytest.raises(ValueError, match=f"one has the influence of {there} of 2 classes"):
            part.require_influences("one")


def test_blocks_of_other_examples_are_refused():
    block = dataclasses.replace(B.influences[0], train_index=np.array([0, 2, 1]))
    other = dataclasses.replace(B, influences=(block, B.influences[1]))
    with pytest.raises(ValueError, match="influence on different examples"):
        agreement.influence_curve(A, other, [0.1])
