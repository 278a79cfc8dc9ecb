"""Training that is followed, through the real program and flags, on real digits."""

import shutil

import numpy as np
import pytest

from analysis.estimates import scores
from tests.conftest import assert_refused, run_program
from tests.interrupting import kill_at_checkpoint
from tests.stores import DYNAMICS as FLAGS
from tests.trials import assert_same_trial
from tfmem import config as config_lib
from tfmem import datasets, experiments, subsets
from tfmem.config import DynamicsConfig
from tfmem.store import artifacts
from tfmem.store.store import Store

CORRUPTED = ("--experiment=digits_mlp", "--epochs=3", "--corrupted_labels=400")


def train(store, *flags, check=True):
    return run_program("launchers.train_dynamics", f"--store={store}", *flags, check=check)


@pytest.fixture(scope="module")
def said_and_store(followed_runs):
    # One line for all conditions.
    assert "4 of 4 done, 0 running, 0 failed" in followed_runs.said.stderr
    return followed_runs.said.stdout, followed_runs.store


@pytest.fixture(scope="module")
def store(said_and_store):
    return said_and_store[1]


def test_the_store_says_what_was_followed(said_and_store):
    said, store = said_and_store
    overrides = {"epochs": 3, "corrupted_labels": 400}
    subsets = artifacts.read_subsets(store)
    assert store.config == DynamicsConfig(
        experiments.resolve("digits_mlp", overrides),
        conditions=("everything", "easy"),
        runs=2,
        subset_size=210,  # One in six of 1,257, rounded.
        gradient_batches=3,
        scores="",
        subsets_digest=artifacts.subsets_digest(subsets),
    )
    assert "everything  trains on 1,257  of 1,257 examples" in said
    assert "easy          trains on 210  of 1,257 examples" in said
    assert store.numbers() == [0, 1, 2, 3]
    for number in range(4):
        trial = store.read(number)
        expected = np.ones(1257, bool) if number < 2 else subsets["tr_easy"]
        np.testing.assert_array_equal(trial.subset, expected)
        assert list(trial.epochs) == [0, 1, 2, 3]


def test_easy_labels_are_real_and_difficult_ones_replaced(store):
    subsets, train_split = artifacts.read_subsets(store), store.dataset.train
    assert subsets["tr_easy"].sum() == subsets["tr_difficult"].sum() == 210
    assert not train_split.corrupted[subsets["tr_easy"]].any()
    assert train_split.corrupted[subsets["tr_difficult"]].all()


def test_the_last_epoch_is_the_finished_trial(store):
    for number in range(4):
        trial = store.read(number)
        np.testing.assert_array_equal(trial.epochs[3]["train_correct"], trial.train.correct)
        np.testing.assert_array_equal(trial.epochs[3]["test_correct"], trial.test.correct)


def test_runs_share_initial_weights_over_conditions(store):
    before = [store.read(number).epochs[0]["train_correct"] for number in range(4)]
    np.testing.assert_array_equal(before[0], before[2])
    np.testing.assert_array_equal(before[1], before[3])
    assert (before[0] != before[1]).any()


def test_gradients_are_those_of_the_network_before_training(store):
    """Epoch 0, whose weights are the initial ones, against gradients of these."""
    from tfmem import seeds
    from tfmem.models import initializers
    from tfmem.training import gradients, trainers

    config = store.config.experiment
    dataset = datasets.load_for(config)
    subsets = artifacts.read_subsets(store)
    easy, difficult = subsets["tr_easy"], subsets["tr_difficult"]
    trainer = trainers.make_dynamics_trainer(store.config, dataset, subsets)
    network = trainer.network
    network.set_weights(initializers.initial_weights(network, config.seed, 1))
    order = seeds.generator(config.seed, 1, "gradient_batches", 0).permutation(1257)
    groups = np.stack([np.ones(1257, bool), easy, difficult])
    batches = []
    for start in (0, 64, 128):
        index = order[start : start + 64]
        images = dataset.train.images[index].astype(np.float32) / dataset.pixel_max
        batches.append(gradients.MiniBatch(images, dataset.train.labels[index], groups[:, index]))
    expected = gradients.Measurement(network, dense=False)(batches, 3)
    found = store.read(1).epochs[0]
    np.testing.assert_allclose(found["similarity"], expected.similarity, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["contribution"], expected.contribution, rtol=1e-3)
    np.testing.assert_array_equal(found["gradients"], expected.gradients)
    assert found["gradients"][0] == 192


@pytest.mark.slow
def test_killed_between_epochs_it_ends_the_same(store, tmp_path):
    path = tmp_path / "store"
    words = ["launchers.train_dynamics", f"--store={path}", *FLAGS, "--checkpoint_seconds=0"]
    kill_at_checkpoint(words, 1)
    assert (path / "checkpoints" / "trial-000001" / "state.npz").exists()
    said = train(path, *FLAGS).stdout
    assert "1 of 4 trials are already in the store" in said
    other = Store.open(path)
    for number in range(4):
        found, expected = other.read(number), store.read(number)
        assert_same_trial(found, expected)
        assert list(found.epochs) == [0, 1, 2, 3]
        for epoch, kept in expected.epochs.items():
            for name, array in kept.items():
                np.testing.assert_array_equal(found.epochs[epoch][name], array)


def test_lost_subsets_are_written_again(store, tmp_path):
    store = Store.open(shutil.copytree(store.path, tmp_path / "store"))
    path = store.path / artifacts.SUBSETS
    before = artifacts.read_subsets(store)
    path.unlink()
    train(store.path, *FLAGS)
    for name, subset in artifacts.read_subsets(store).items():
        np.testing.assert_array_equal(subset, before[name])


def write_scores(path, dataset, with_test=True):
    """Scores of an example are its index."""

    def split(labels):
        count = len(labels)
        return scores.SplitScores(np.arange(count) / 9, *np.zeros((2, count), np.uint16))

    scores.write(
        path,
        scores.Scores(
            train=split(dataset.train.labels),
            test=split(dataset.test.labels) if with_test else None,
            train_labels=dataset.train.labels,
            test_labels=dataset.test.labels,
            train_ids=dataset.train.ids,
            test_ids=dataset.test.ids,
            epoch=3,
            num_models=1,
        ),
    )


def test_scores_tell_easy_from_difficult(digits, tmp_path):
    write_scores(tmp_path / "scores.npz", digits)
    path = tmp_path / "store"
    flags = ("--experiment=digits_mlp", "--epochs=1", f"--scores={tmp_path}/scores.npz")
    train(path, *flags, "--subset_size=100", "--conditions=without_difficult,difficult")
    store = Store.open(path)
    subsets = artifacts.read_subsets(store)
    np.testing.assert_array_equal(np.flatnonzero(subsets["tr_easy"]), np.arange(100))
    np.testing.assert_array_equal(np.flatnonzero(subsets["tr_difficult"]), np.arange(1157, 1257))
    # As large a share of the 540 test examples: 42.96.
    np.testing.assert_array_equal(np.flatnonzero(subsets["tt_easy"]), np.arange(43))
    np.testing.assert_array_equal(np.flatnonzero(subsets["tt_difficult"]), np.arange(497, 540))
    np.testing.assert_array_equal(store.read(0).subset, ~subsets["tr_difficult"])
    np.testing.assert_array_equal(store.read(1).subset, subsets["tr_difficult"])
    assert "similarity" not in store.read(0).epochs[1]


def test_subsets_by_hand():
    easy, difficult = subsets.by_score(np.array([3, 1, 2, 1, 5, 5.0]), 2)
    assert np.flatnonzero(easy).tolist() == [1, 3]
    assert np.flatnonzero(difficult).tolist() == [4, 5]
    corrupted = np.array([1, 1, 0, 0, 0, 1], bool)
    chosen = subsets.by_corruption(corrupted, 3, base_seed=0)
    np.testing.assert_array_equal(chosen["tr_easy"], ~corrupted)
    np.testing.assert_array_equal(chosen["tr_difficult"], corrupted)
    for name in config_lib.FOLLOWED:
        kept = subsets.of_condition(name, chosen).mask(0)
        expected = {"everything": 6, "without_difficult": 3, "easy": 3, "difficult": 3}[name]
        assert kept.sum() == expected
        assert (kept & corrupted).any() == (name in ("everything", "difficult"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--experiment=digits_mlp"],
            "nothing tells easy examples from difficult ones: give --sco",
        ),
        ([*CORRUPTED, "--subset_size=401"], "there are 400 training examples with replaced labels"),
        ([*CORRUPTED, "--subset_size=900"], "there are 857 training examples with real labels"),
        ([*CORRUPTED, "--conditions=hard"], "expected different ones of everything, without_diff"),
        ([*CORRUPTED, "--runs=2", "--trials=0:3"], "2 runs of 1 conditions are trials 0:2"),
        ([*CORRUPTED, "--scores=absent.npz"], "absent.npz does not exist"),
        ([*CORRUPTED, "--gradient_batches=-1"], "a non-negative integer"),
    ],
)
def test_bad_input_gets_one_line_and_no_store(flags, words, tmp_path):
    done = train(tmp_path / "store", *flags, check=False)
    assert_refused(done, words, tmp_path / "store")


def test_scores_that_do_not_fit_are_refused(digits, tiny, tmp_path):
    path, flags = tmp_path / "scores.npz", ("--experiment=digits_mlp", "--epochs=1")
    write_scores(path, tiny)
    done = train(tmp_path / "store", *flags, f"--scores={path}", check=False)
    assert "scores.npz has 21 training examples, digits has 1257: another dataset?" in done.stderr
    write_scores(path, digits, with_test=False)
    words = (*flags, f"--scores={path}", "--subset_size=629")
    done = train(tmp_path / "store", *words, check=False)
    assert "the easy and the difficult subset of 1,257 examples would overlap" in done.stderr
