"""What several test modules need: tiny datasets, random trials, real data when it is there."""

import dataclasses
import os
import pathlib
import signal

import hypothesis
import numpy as np
import pytest

from tests import memory, stores
from tests.programs import ROOT, run_program
from tests.stores import Made

__all__ = ["ROOT", "run_program"]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests never depend on time: a loaded machine is slow.
hypothesis.settings.register_profile("tfmem", deadline=None)
hypothesis.settings.load_profile("tfmem")

# By the time they take, the longest first, so that all workers end together; others follow them.
_LONG_FILES = (
    "test_programs",
    "test_replicas",
    "test_models",
    "test_training",
    "test_cluster",
    "test_evaluate",
    "test_figures",
    "test_page",
    "test_recipes",
    "test_advice",
    "test_demo",
    "test_annotations",
    "test_kernels",
    "test_parameters",
    "test_search",
    "test_train_last_layer",
    "test_imagenet",
    "test_train_trials",
    "test_custom",
    "test_optimizers",
)


def pytest_configure():
    """Sets up the process; programs that tests start hear all signals, also if it ignores some.

    Under nohup and in the background it does. What is handled here is at its default in them.
    """
    memory.look_less_often()
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(_LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish():
    memory.keep_what_is_imported()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    from tfmem import datasets

    return datasets.load("digits")


@pytest.fixture(scope="session")
def tiny():
    """A dataset of 21 training and 9 test images of 4x4 pixels in 3 classes."""
    from tests.sources import random_dataset

    return random_dataset(np.random.default_rng(7), (21, 9), (4, 4, 1))


@pytest.fixture(scope="session")
def tiny_config():
    from tfmem import experiments

    return dataclasses.replace(
        experiments.get("digits_mlp"),
        dataset="tiny",
        model_options={"hidden": [8]},
        epochs=3,
        batch_size=4,
    )


@pytest.fixture(scope="session")
def tfds_dir():
    """Where TFDS keeps real datasets; skips the test when MNIST is not there."""
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no MNIST in {folder}: set TFDS_DATA_DIR to where TFDS prepared it")
    return str(folder)


def assert_refused(done, words, store=None):
    """Asserts that a program ended with one line that has the words, and that it left no store."""
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert store is None or not store.exists()


@pytest.fixture(scope="session")
def published_dir():
    """Where the files that the paper's authors publish are; skips the test when they are not."""
    folder = os.environ.get("TFMEM_PUBLISHED_DIR")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("no published files: set TFMEM_PUBLISHED_DIR to where they are")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def random_subsets(tmp_path_factory) -> Made:
    """12 trials on random subsets; only to be read, like all that follow."""
    return stores.made(tmp_path_factory, "random_subsets")


@pytest.fixture(scope="session")
def last_layer(tmp_path_factory) -> Made:
    """4 linear trials on the features of a network."""
    return stores.made(tmp_path_factory, "last_layer")


@pytest.fixture(scope="session")
def removal_runs(tmp_path_factory) -> Made:
    """2 runs of each of 6 conditions, whose weights stay what they are in the beginning."""
    return stores.made(tmp_path_factory, "removal")


@pytest.fixture(scope="session")
def turnover_models(tmp_path_factory) -> Made:
    """2 models with turn-over dropout on digits with 300 labels replaced, and influence of 3."""
    return stores.made(tmp_path_factory, "turnover")


@pytest.fixture(scope="session")
def followed_runs(tmp_path_factory) -> Made:
    """2 runs on everything and 2 on the easy subset of digits with 400 labels replaced."""
    return stores.made(tmp_path_factory, "dynamics")


@pytest.fixture(scope="session")
def imported(tmp_path_factory) -> Made:
    """6 trials of 10 training and 4 test examples in 2 classes that somebody else made."""
    return stores.made(tmp_path_factory, "imported")
