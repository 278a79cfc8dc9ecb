"""Sec. 3.6 through the real program: a network, its features, linear trials on them."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from analysis.estimates import estimators
from tests.conftest import assert_refused, run_program
from tests.interrupting import kill_at_checkpoint
from tests.stores import LAST_LAYER as QUICK
from tests.trials import assert_same_trial
from tests.twins import numpy_sgd
from tfmem import config as config_lib
from tfmem import datasets, experiments, subsets
from tfmem.store import representations
from tfmem.store.store import Store
from tfmem.training.problem import Problem


def train(store, *flags, check=True):
    return run_program("launchers.train_last_layer", f"--store={store}", *flags, check=check)


@pytest.fixture(scope="module")
def store(last_layer):
    said = last_layer.said.stdout
    assert "digits_mlp on all 1,257 training examples: test accuracy 9" in said
    assert "512 features of each example" in said
    return last_layer.store


@pytest.fixture(scope="module")
def archive(store):
    with np.load(store.path / "network" / "features.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_the_features_are_the_networks_penultimate_ones(store, archive, digits):
    network = keras.saving.load_model(store.path / "network" / "network.keras")
    hidden = keras.Model(network.input, network.get_layer("hidden_1").output)
    for split in ("train", "test"):
        images = getattr(digits, split).images.astype(np.float32) / 16
        features = archive[f"{split}_features"]
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, hidden.predict(images, verbose=0), atol=1e-5)
        accuracy = network.predict(images, verbose=0).argmax(1) == getattr(digits, split).labels
        about = json.loads(str(archive["about"]))
        assert about[f"{split}_accuracy"] == pytest.approx(accuracy.mean())
    assert archive["train_features"].shape == (1257, 512)


def test_the_network_saw_the_whole_training_set(digits, tmp_path):
    """One epoch of its weights is the slow twin's: 1,257 examples in 20 batches."""
    train(tmp_path, QUICK[0], "--network_epochs=1", "--epochs=1", "--trials=0:1")
    config = experiments.resolve("digits_mlp", {"epochs": 1})
    problem = Problem(config, digits, subsets.FixedSubset(np.ones(1257, bool)))
    assert problem.steps_per_epoch == 20
    network = keras.saving.load_model(tmp_path / "network" / "network.keras")
    for ours, slow in zip(network.get_weights(), numpy_sgd(problem, 0, steps=20), strict=True):
        np.testing.assert_allclose(ours, slow, atol=2e-6)


def test_a_trial_is_a_linear_classifier_on_a_random_subset(store, archive, digits):
    config = store.config.experiment
    train_split, test_split = (
        dataclasses.replace(getattr(digits, split), images=archive[f"{split}_features"])
        for split in ("train", "test")
    )
    features = dataclasses.replace(digits, train=train_split, test=test_split, pixel_max=None)
    problem = Problem(config, features)
    weights, bias = numpy_sgd(problem, 3, steps=2 * problem.steps_per_epoch)
    trial = store.read(3)
    np.testing.assert_array_equal(trial.subset, subsets.RandomSubsets(1257, 0.7, 0).mask(3))
    for split, found in ((train_split, trial.train), (test_split, trial.test)):
        logits = split.images @ weights + bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = exponentials / exponentials.sum(axis=1, keepdims=True)
        expected = probability[np.arange(len(split)), split.labels]
        np.testing.assert_allclose(found.label_probability.astype(float), expected, atol=2e-3)
        assert (found.predicted == logits.argmax(axis=1)).mean() > 0.997


def test_the_same_command_continues(store, tmp_path):
    store = Store.open(shutil.copytree(store.path, tmp_path / "store"))
    kept = store.trial_path(1).read_bytes()
    first = store.read(2)
    features = (store.path / "network" / "features.npz").stat().mtime
    store.trial_path(2).unlink()
    said = train(store.path, *QUICK, "--trials=0:4").stdout
    assert "3 of 4 trials are already in the store" in said
    assert_same_trial(store.read(2), first)
    assert store.trial_path(1).read_bytes() == kept
    assert (store.path / "network" / "features.npz").stat().mtime == features


def test_the_network_continues_where_it_was_killed(store, archive, tmp_path):
    """Between two of its epochs: the same features, bit for bit."""
    path = tmp_path / "store"
    state = path / "network" / "checkpoints" / "trial-000000" / "state.npz"
    words = ["launchers.train_last_layer", f"--store={path}", *QUICK]
    words += ["--trials=0:1", "--checkpoint_seconds=0"]
    kill_at_checkpoint(words, 0)
    assert state.exists()
    assert not (path / "network" / "features.npz").exists()
    run_program(*words)
    with np.load(path / "network" / "features.npz") as again:
        for name in ("train_features", "test_features"):
            np.testing.assert_array_equal(again[name], archive[name])
    assert not state.exists()
    assert_same_trial(Store.open(path).read(0), store.read(0))


def test_the_store_is_read_like_any_other(store, tmp_path):
    out = tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={store.path}", f"--out={out}")
    with np.load(out) as archive:
        expected = estimators.memorization(store.load()).value
        np.testing.assert_array_equal(archive["tr_mem"], expected)
    page = tmp_path / "report.html"
    run_program("analysis.report", f"--store={store.path}", f"--out={page}")
    text = page.read_text()
    assert "There are no pictures" not in text
    assert "linear on the features of digits_mlp on digits" in text
    words = f"--store={store.path}", "--trials=0:5"  # One more than was asked for.
    done = run_program("launchers.check_store", *words, check=False)
    assert done.returncode == 1
    command = done.stdout.splitlines()[-1]
    assert "run: tfmem train_last_layer --experiment=digits_last_layer" in command
    assert "--network_epochs=6" in command
    assert "--epochs=2" in command
    assert "--trials=4:5" in command


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([*QUICK[:1], "--network_epochs=5"], "another network (given here and found there): netw"),
        ([*QUICK, "--network=digits_inception"], "network.model: 'inception' and 'mlp'"),
        ([*QUICK, "--feature_layer=flatten"], "feature_layer: 'flatten' and ''"),
        ([*QUICK, "--seed=1"], "network.seed: 1 and 0"),
        ([*QUICK[:2], "--epochs=3"], "experiment.epochs: 3 and 2"),
        (["--experiment=digits_mlp"], "digits_mlp trains whole networks: tfmem train_trials"),
        ([*QUICK, "--network=digits_last_layer"], "is itself an experiment of the last layer"),
    ],
)
def test_what_does_not_fit_the_store_is_refused(flags, words, store):
    done = train(store.path, *flags, check=False)
    assert_refused(done, words)


def test_an_unknown_layer_is_named_before_anything_is_trained(tmp_path):
    done = train(tmp_path / "store", *QUICK, "--feature_layer=hiden_1", check=False)
    assert "unknown layer 'hiden_1': did you mean 'hidden_1'?" in done.stderr
    assert not (tmp_path / "store").exists()


def test_train_trials_sends_here():
    done = run_program(
        "launchers.train_trials", "--experiment=digits_last_layer", "--store=x", check=False
    )
    assert "tfmem train_last_layer makes them" in done.stderr


def test_features_of_another_dataset_are_refused(store, digits):
    config = store.config
    assert config_lib.from_dict(config_lib.to_dict(config)) == config
    labels = digits.train.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    other = dataclasses.replace(digits, train=dataclasses.replace(digits.train, labels=labels))
    with pytest.raises(ValueError, match="the examples of digits"):
        representations.read(store.path / "network", config, other)
    assert isinstance(
        representations.read(store.path / "network", config, digits)[0], datasets.Dataset
    )
