"""Turn-over dropout through the real program and flags, on real digits."""

import dataclasses
import shlex
import shutil

import numpy as np
import pytest

from analysis.estimates import scores
from tests.conftest import assert_refused, run_program
from tests.interrupting import kill_at_checkpoint
from tests.stores import TURNOVER as FLAGS
from tests.trials import assert_same_trial
from tfmem import datasets, experiments
from tfmem.config import TurnoverConfig
from tfmem.disk import npz
from tfmem.store.artifacts import influence_path, network_path
from tfmem.store.store import Store


def train(store, *flags, check=True):
    return run_program("launchers.train_turnover", f"--store={store}", *flags, check=check)


@pytest.fixture(scope="module")
def store(turnover_models):
    return turnover_models.store


@pytest.fixture
def copied(store, tmp_path):
    return Store.open(shutil.copytree(store.path, tmp_path / "copied"))


@pytest.fixture(scope="module")
def dataset(store):
    return datasets.load_for(store.config)


def test_the_store_says_what_was_trained(store, dataset):
    overrides = {"epochs": 3, "corrupted_labels": 300}
    assert store.config == TurnoverConfig(experiments.resolve("digits_mlp", overrides))
    assert store.head.dataset_fingerprint == dataset.fingerprint
    assert store.numbers() == [0, 1]
    for number in (0, 1):
        trial = store.read(number)
        assert trial.subset.all()
        assert list(trial.epochs) == [1, 2, 3]
        assert trial.seconds > 0
    assert not (store.path / "checkpoints").exists()


def test_epochs_are_what_both_sub_networks_say(store, dataset):
    """Of the last epoch, by the saved network itself."""
    from tfmem.models import turnover
    from tfmem.store import artifacts
    from tfmem.training.turnover import losses

    trial = store.read(1)
    network = artifacts.load(network_path(store.path, 1))
    images = dataset.train.images.astype(np.float32) / dataset.pixel_max
    ids = np.arange(len(images), dtype=np.int32)
    last = trial.epochs[3]
    for mode in (turnover.UNMUTED, turnover.MUTED):
        logits = turnover.apply(network, images, ids, mode).numpy()
        expected = losses(logits, dataset.train.labels)
        np.testing.assert_allclose(last[f"{mode}_loss"], expected, rtol=1e-3, atol=1e-5)
        assert (last[f"{mode}_predicted"] == logits.argmax(axis=1)).mean() > 0.999
    np.testing.assert_array_equal(trial.train.predicted, last["unmuted_predicted"])
    test = dataset.test.images.astype(np.float32) / dataset.pixel_max
    whole = turnover.apply(network, test, np.zeros(len(test), np.int32), turnover.FULL)
    correct = whole.numpy().argmax(axis=1) == dataset.test.labels
    assert (last["test_correct"] == correct).mean() > 0.999
    np.testing.assert_array_equal(trial.test.correct, last["test_correct"])


def test_models_differ_in_weights_and_masks(store):
    from tfmem.models import turnover
    from tfmem.store import artifacts

    packed = [
        turnover.packed_masks(artifacts.load(network_path(store.path, number)), np.arange(50))
        for number in (0, 1)
    ]
    assert (packed[0] != packed[1]).any(axis=1).all()
    first, second = (scores.memorization(store.read(number).epochs[3]) for number in (0, 1))
    assert np.corrcoef(first, second)[0, 1] < 0.99


def test_labels_that_really_changed_stand_out(store):
    """Sec. 3.1: after three epochs of digits already, where chance has 0.5."""
    found = scores.from_trials([store.read(0), store.read(1)], 3, store.dataset, False)
    assert scores.auc(found.train.score, found.changed) > 0.85
    # One in ten of the replaced labels is the true one: no score finds those.
    assert scores.auc(found.train.score, found.corrupted) < scores.auc(
        found.train.score, found.changed
    )


def test_influence_is_that_of_the_highest_scores(store, dataset):
    from tfmem.store import artifacts
    from tfmem.training import turnover

    with npz.open_npz(influence_path(store.path, 0), ("tr_idx", "influence")) as archive:
        chosen, influence = archive["tr_idx"], archive["influence"]
    score = scores.memorization(store.read(0).epochs[3])
    np.testing.assert_array_equal(chosen, np.argsort(-score, kind="stable")[:3])
    assert influence.shape == (3, len(dataset.test))
    network = artifacts.load(network_path(store.path, 0))
    images = dataset.test.images[:5].astype(np.float32) / dataset.pixel_max
    again = turnover.influence(network, chosen, images, dataset.test.labels[:5])
    np.testing.assert_allclose(influence[:, :5], again, rtol=1e-3, atol=1e-5)
    assert influence_path(store.path, 1).exists()


def test_what_is_there_is_skipped_and_influence_is_added(copied):
    before = influence_path(copied.path, 0).read_bytes()
    said = train(copied.path, *FLAGS, "--trials=0:2", "--influence=3").stdout
    assert "2 of 2 trials are already in the store" in said
    assert influence_path(copied.path, 0).read_bytes() == before


def test_killed_between_epochs_it_ends_with_the_same_scores(store, tmp_path):
    path = tmp_path / "store"
    words = ["launchers.train_turnover", f"--store={path}", *FLAGS, "--checkpoint_seconds=0"]
    kill_at_checkpoint(words, 0)
    assert (path / "checkpoints" / "trial-000000" / "state.npz").exists()
    train(path, *FLAGS)
    found, expected = Store.open(path).read(0), store.read(0)
    assert_same_trial(found, dataclasses.replace(expected, seconds=found.seconds))
    for number, epoch in expected.epochs.items():
        for name, array in epoch.items():
            np.testing.assert_array_equal(found.epochs[number][name], array)
    assert not (path / "checkpoints").exists()


def test_check_store_prints_the_command_that_makes_a_lost_model_again(copied):
    copied.trial_path(0).unlink()
    done = run_program("launchers.check_store", f"--store={copied.path}", check=False)
    assert "1 of 2 are missing: 0" in done.stdout
    command = shlex.split(done.stdout.splitlines()[-1].removeprefix("to complete it, run: "))
    assert command[:2] == ["tfmem", "train_turnover"]
    assert set(command[2:-2]) == {*FLAGS, "--influence=3"}
    assert command[-2:] == [f"--store={copied.path}", "--trials=0:1"]


def test_test_examples_are_trained_on_too(tmp_path, digits):
    flags = ("--experiment=digits_mlp", "--epochs=1", "--test_examples")
    train(tmp_path, *flags)
    store = Store.open(tmp_path)
    trial = store.read(0)
    assert len(trial.epochs[1]["muted_loss"]) == 1257 + 540
    found = scores.from_trials([trial], 1, store.dataset, store.config.test_examples)
    assert len(found.train.score) == 1257
    assert len(found.test.score) == 540
    score = scores.memorization(trial.epochs[1])
    np.testing.assert_array_equal(np.concatenate([found.train.score, found.test.score]), score)
    np.testing.assert_array_equal(found.train_labels, digits.train.labels)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--experiment=digits_inception"], "model 'inception' has no turn-over layers"),
        (["--experiment=digits_mlp", "--model=linear"], "model 'linear' has no turn-over layers"),
        (
            ["--experiment=digits_mlp", '--model_options={"hidden": []}'],
            "no hidden layers for turn-over dropout to follow",
        ),
        (
            ["--experiment=digits_mlp", '--model_options={"hidden": [7]}'],
            "hidden_1_turnover has 7 units, expected an even number",
        ),
        (
            ["--experiment=digits_mlp", "--corrupted_labels=2000"],
            "corrupted_labels is 2,000, expected 0 to 1,257",
        ),
        (["--experiment=digits_last_layer"], "trains on the penultimate features of a network"),
        (["--experiment=digits_mlp", "--stack=4"], "Unknown command line flag 'stack'"),
        (["--experiment=digits_mlp", "--influence=-1"], "a non-negative integer"),
        (
            ["--experiment=digits_mlp", "--influence=1258", "--test_examples"],
            "--influence=1258: there are 1,257 training examples",
        ),
        (["--experiment=digits_mlp", "--trials=2"], "--trials=2: expected START:STOP"),
    ],
)
def test_bad_input_gets_one_line_and_no_store(flags, words, tmp_path):
    done = train(tmp_path / "store", *flags, check=False)
    assert_refused(done, words, tmp_path / "store")


def test_too_few_units_are_refused(tmp_path):
    """With 8 units there are 70 masks."""
    flags = ("--experiment=digits_mlp", '--model_options={"hidden": [8]}', "--epochs=1")
    done = train(tmp_path, *flags, check=False)
    assert done.returncode == 2
    assert "have the same mask: 8 units with turn-over dropout are too few" in done.stderr
    assert Store.open(tmp_path).numbers() == []
