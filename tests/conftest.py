"""What several test modules need: tiny datasets, random trials, real data when it is there."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import hypothesis
import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests never depend on time: a loaded machine is slow.
hypothesis.settings.register_profile("tfmem", deadline=None)
hypothesis.settings.load_profile("tfmem")
ROOT = pathlib.Path(__file__).parent.parent


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
    from tfmem import datasets

    rng = np.random.default_rng(7)
    train, test = (
        datasets.ArraySplit(
            np.arange(count) % 3,
            datasets.numbered_ids(name, count),
            rng.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8),
        )
        for name, count in (("train", 21), ("test", 9))
    )
    return datasets.ArrayDataset("tiny", train, test, ("a", "b", "c"), pixel_max=255)


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


def run_program(*words, check=True):
    """Runs `python -m` with the words in a process of its own; returns the finished process."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


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
