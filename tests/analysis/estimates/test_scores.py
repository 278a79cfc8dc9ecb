"""Scores counted by hand, and their file read back as it was written."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.estimates import scores
from tests.trials import followed_trial
from tfmem import datasets
from tfmem.datasets import Dataset, Split

# Three training examples and two test examples of two classes; the second label was replaced by
# another one, the third by itself.
TRAIN = Split(
    [0, 1, 1],
    ["train_0", "train_1", "träin_2"],
    true_labels=np.array([0, 0, 1]),
    corrupted=np.array([False, True, True]),
)
DATASET = Dataset("", TRAIN, Split([1, 0], ["test_0", "test_1"]), ("a", "b"))


def epoch(unmuted, muted, unmuted_predicted=(0, 0, 0), muted_predicted=(1, 1, 1)):
    """Returns what is kept of an epoch, in the types of the store."""
    return {
        "unmuted_loss": np.array(unmuted, np.float32),
        "muted_loss": np.array(muted, np.float32),
        "unmuted_predicted": np.array(unmuted_predicted, np.uint16),
        "muted_predicted": np.array(muted_predicted, np.uint16),
        "test_correct": np.array([True, False]),
    }


TRIALS = [
    followed_trial(
        4, DATASET, {1: epoch([1, 1, 1], [1, 1, 1]), 2: epoch([0.5, 0, 1], [1.5, 2, 0.75])}
    ),
    followed_trial(
        7,
        DATASET,
        {2: epoch([0, 0, 0], [3, 2, 0.25], [1, 1, 1], [0, 0, 0]), 3: epoch(*[[0] * 3] * 2)},
    ),
]


def assert_same(a: scores.Scores, b: scores.Scores):
    for field in dataclasses.fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, scores.SplitScores):
            assert_same(one, other)
        elif isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


def test_a_score_is_what_the_muted_half_loses_more():
    found = scores.memorization(epoch([0.5, 2, 1], [1.5, 0.5, 1]))
    assert found.dtype == np.float64
    assert found.tolist() == [1, -1.5, 0]
    # float32 holds both losses, but not their difference.
    assert scores.memorization(epoch([0.5, 0, 0], [2**24, 0, 0]))[0] == 2**24 - 0.5


def test_common_epochs():
    assert scores.common_epochs(TRIALS) == [2]
    assert scores.common_epochs(TRIALS[:1]) == [1, 2]


def test_scores_of_two_models_by_hand():
    """Scores are 1, 2, -0.25 and 3, 2, 0.25: a standard deviation of sqrt(2), 0, sqrt(2) / 4."""
    found = scores.from_trials(TRIALS, 2, DATASET, test_examples=False)
    assert found.train.score.tolist() == [2, 2, 0]
    np.testing.assert_allclose(found.train.standard_error, [1, 0, 0.25])
    # Of the first model.
    assert found.train.unmuted_predicted.tolist() == [0, 0, 0]
    assert found.train.muted_predicted.tolist() == [1, 1, 1]
    assert found.test is None
    assert (found.epoch, found.num_models) == (2, 2)
    assert found.train_labels.tolist() == [0, 1, 1]
    assert found.test_labels.tolist() == [1, 0]
    assert found.train_ids.tolist() == ["train_0", "train_1", "träin_2"]
    assert found.test_ids.tolist() == ["test_0", "test_1"]
    assert found.corrupted.tolist() == [False, True, True]
    assert found.changed.tolist() == [False, True, False]


def test_one_model_has_no_standard_error():
    found = scores.from_trials(TRIALS[:1], 1, DATASET, test_examples=False)
    assert found.train.standard_error is None
    assert found.train.score.tolist() == [0, 0, 0]
    assert found.num_models == 1


def joined_scores():
    """Scores of a model that was trained on the test examples too."""
    splits = (
        split.with_images(np.zeros((len(split), 1, 1, 1), np.uint8))
        for split in (DATASET.train, DATASET.test)
    )
    joined = datasets.train_on_test_too(datasets.ArrayDataset("", *splits, ("a", "b")))
    kept = epoch([0] * 5, [1, 2, 3, 4, 5], [0, 1, 0, 1, 0], [5, 6, 7, 8, 9])
    trial = followed_trial(0, joined, {3: kept})
    return scores.from_trials([trial], 3, joined, test_examples=True)


def test_test_examples_that_were_trained_on_have_scores():
    found = joined_scores()
    assert found.train.score.tolist() == [1, 2, 3]
    assert found.train.unmuted_predicted.tolist() == [0, 1, 0]
    assert found.test.score.tolist() == [4, 5]
    assert found.test.muted_predicted.tolist() == [8, 9]
    assert found.train_labels.tolist() == [0, 1, 1]
    assert found.train_ids.tolist() == ["train_0", "train_1", "träin_2"]
    assert found.true_labels.tolist() == [0, 0, 1]
    assert found.corrupted.tolist() == [False, True, True]


def test_without_corruption_nothing_is_changed():
    train = dataclasses.replace(TRAIN, true_labels=None, corrupted=None)
    dataset = dataclasses.replace(DATASET, train=train)
    found = scores.from_trials(TRIALS, 2, dataset, test_examples=False)
    assert found.true_labels is None
    assert found.corrupted is None
    assert found.changed is None


def test_an_epoch_that_a_model_lacks_is_refused():
    with pytest.raises(
        ValueError, match="trial 4 has kept nothing of epoch 3: it has epochs 1 to 2"
    ):
        scores.from_trials(TRIALS, 3, DATASET, test_examples=False)


def test_auc_counts_pairs():
    """Of 2 positive and 3 negative examples: 4 of 6 pairs are in order, and one is tied."""
    score = np.array([0.9, 0.3, 0.5, 0.3, 0.1])
    assert scores.auc(score, np.array([True, True, False, False, False])) == pytest.approx(4.5 / 6)
    assert scores.auc(score, np.array([True, False, True, False, False])) == 1
    for positive in (np.ones(5, bool), np.zeros(5, bool)):
        assert math.isnan(scores.auc(score, positive))


def test_overlap_of_the_highest():
    a, b = np.array([5, 4, 3, 2, 1]), np.array([5, 1, 4, 2, 3])
    # {0}; {0, 1} and {0, 2}; {0, 1, 2} and {0, 2, 4}; all.
    found = [scores.top_overlap(a, b, share) for share in (0.01, 0.2, 0.4, 0.6, 1)]
    assert found == [(1, 1), (1, 1), (2, 1 / 2), (3, 2 / 3), (5, 1)]
    # Of equals the first come first: {0} and {1}.
    assert scores.top_overlap(np.array([1, 1, 0]), np.array([0, 1, 1]), 1 / 3) == (1, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1), st.data())
def test_overlap_is_that_of_sorted_pairs(pairs, data):
    count = data.draw(st.integers(1, len(pairs)))
    highest = [
        {index for _, index in sorted((-pair[side], i) for i, pair in enumerate(pairs))[:count]}
        for side in (0, 1)
    ]
    a, b = np.array(pairs, np.float64).T
    shared = len(highest[0] & highest[1]) / count
    assert scores.top_overlap(a, b, count / len(pairs)) == (count, shared)


@pytest.mark.parametrize(
    "make",
    [
        lambda: scores.from_trials(TRIALS, 2, DATASET, test_examples=False),
        lambda: dataclasses.replace(
            scores.from_trials(TRIALS[:1], 1, DATASET, test_examples=False),
            true_labels=None,
            corrupted=None,
        ),
        joined_scores,
    ],
    ids=["two models", "one, not corrupted", "test examples too"],
)
def test_the_file_is_read_as_it_was_written(tmp_path, make):
    found = make()
    scores.write(tmp_path / "scores.npz", found)
    assert_same(found, scores.read(tmp_path / "scores.npz"))


def test_the_names_in_the_file(tmp_path):
    scores.write(
        tmp_path / "scores.npz", scores.from_trials(TRIALS, 2, DATASET, test_examples=False)
    )
    with np.load(tmp_path / "scores.npz") as archive:  # Which loads no pickles.
        assert set(archive.files) == {
            *("tr_score", "tr_score_se", "tr_unmuted_predicted", "tr_muted_predicted"),
            *("tr_labels", "tt_labels", "tr_ids", "tt_ids", "epoch", "num_models"),
            *("tr_true_labels", "tr_corrupted"),
        }
        assert archive["tr_score"].tolist() == [2, 2, 0]
        assert archive["tr_ids"][2].decode() == "träin_2"
    scores.write(tmp_path / "scores.npz", joined_scores())
    with np.load(tmp_path / "scores.npz") as archive:
        assert archive["tt_score"].tolist() == [4, 5]
        assert archive["tt_muted_predicted"].tolist() == [8, 9]
        assert "tr_score_se" not in archive.files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tr_score": None, "epoch": None},
            r"is not a scores file \(tfmem turnover makes one\): it lacks tr_score, epoch",
        ),
        ({"tr_score": np.zeros(2)}, r"tr_score has shape \(2,\), expected \(3,\)"),
        ({"tr_corrupted": np.zeros((3, 1))}, r"tr_corrupted has shape \(3, 1\), expected \(3,\)"),
        ({"tt_score": np.zeros(3)}, r"tt_score has shape \(3,\), expected \(2,\)"),
    ],
)
def test_what_is_no_scores_file_is_refused(tmp_path, changes, message):
    path = tmp_path / "scores.npz"
    scores.write(path, scores.from_trials(TRIALS, 2, DATASET, test_examples=False))
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message):
        scores.read(path)


def test_a_file_that_is_absent_or_no_npz_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"scores\.npz does not exist"):
        scores.read(tmp_path / "scores.npz")
    (tmp_path / "scores.npz").write_text("score")
    with pytest.raises(ValueError, match="is not an npz file"):
        scores.read(tmp_path / "scores.npz")
