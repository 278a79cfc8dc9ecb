"""The table of datasets, and real ones where they are."""

import re
import subprocess
import sys

import numpy as np
import pytest

from tests import slow
from tests.conftest import ROOT
from tfmem import datasets

# Every dataset's (n, n', classes, input shape). A new row of LOADERS needs one here.
SHAPES = {
    "digits": (1257, 540, 10, (8, 8, 1)),
    "mnist": (60_000, 10_000, 10, (28, 28, 1)),
    "fashion_mnist": (60_000, 10_000, 10, (28, 28, 1)),
    "cifar10": (50_000, 10_000, 10, (32, 32, 3)),
    "cifar100": (50_000, 10_000, 100, (32, 32, 3)),
    "imagenet2012": (1_281_167, 50_000, 1000, (224, 224, 3)),
}


def check_shape(dataset, name):
    n, n_test, classes, shape = SHAPES[name]
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (n, n_test, classes)
    assert dataset.input_shape == shape
    if isinstance(dataset, datasets.ArrayDataset):
        assert dataset.train.images.dtype == np.uint8
        assert dataset.train.images.max() <= dataset.pixel_max
    assert len(np.unique(np.concatenate([dataset.train.ids, dataset.test.ids]))) == n + n_test


def test_every_dataset_has_a_row():
    assert set(SHAPES) == set(datasets.LOADERS)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet2012"])
def test_rows_agree_with_the_builders(name, tmp_path):
    # What TFDS knows without data; the counts are in its descriptions, as text.
    import tensorflow_datasets as tfds

    _, _, classes, shape = SHAPES[name]
    features = tfds.builder(name, data_dir=tmp_path).info.features
    assert features["label"].num_classes == classes
    assert features["image"].shape == ((None, None, 3) if name == "imagenet2012" else shape)


def test_tensorflow_is_imported_only_when_needed():
    code = (
        "import sys; from tfmem import datasets; datasets.load('digits', image_size=4); "
        "print(*[m for m in sys.modules if m.split('.')[0].startswith('tensorflow')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_digits(digits):
    check_shape(digits, "digits")


# Stores hold these fingerprints.
FINGERPRINTS = {"mnist": "021ff89495afdac7", "fashion_mnist": "1359c8267a4f2523"}


@pytest.mark.data
@pytest.mark.parametrize("name", slow.some(FINGERPRINTS, lambda name: name != "mnist"))
def test_tfds(name, tfds_dir):
    dataset = datasets.load(name, tfds_dir)
    check_shape(dataset, name)
    assert np.bincount(dataset.test.labels).tolist()[0] in (980, 1000)
    assert dataset.train.ids[42] == "train_00042"
    assert dataset.fingerprint[:16] == FINGERPRINTS[name]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet2012"])
def test_tfds_where_it_is_prepared(name, tfds_dir):
    if datasets.needs_download(name, tfds_dir):
        pytest.skip(f"TFDS has not prepared {name}")
    check_shape(datasets.load(name, tfds_dir), name)


@pytest.mark.parametrize(
    ("name", "uses"),
    [
        ("digits", False),
        ("npz:a.npz", False),
        ("csv:a.csv", False),
        ("folder:a", False),
        ("mnist", True),
        ("imagenet2012", True),
        ("tfds:kmnist", True),
    ],
)
def test_what_tensorflow_reads(name, uses):
    assert datasets.uses_tensorflow(name) == uses


def test_unknown_dataset():
    with pytest.raises(ValueError, match=r"did you mean 'fashion_mnist'.*digits, mnist"):
        datasets.load("fashon_mnist")
    everything = ", ".join([*SHAPES, "tfds:NAME", "folder:PATH", "npz:PATH", "csv:PATH[:COLUMN]"])
    assert datasets.known() == everything
    for name in ("", "foldr:x", "digits:x", ":x"):
        with pytest.raises(ValueError, match=f"unknown dataset '{name}'.*{re.escape(everything)}$"):
            datasets.require_known(name)
    kinds = (("tfds", "NAME"), ("folder", "PATH"), ("npz", "PATH"), ("csv", "PATH[:COLUMN]"))
    for kind, which in kinds:
        datasets.require_known(f"{kind}:x")
        expected = re.escape(f"'{kind}:' lacks its {which}: expected {kind}:{which}, ")
        expected += f".*{re.escape(everything)}$"
        with pytest.raises(ValueError, match=expected):
            datasets.needs_download(f"{kind}:")


def test_short_names_are_for_titles():
    names = {
        "digits": "digits",
        "tfds:emnist/letters": "tfds:emnist/letters",
        "folder:/data/birds/": "birds",
        "npz:gs://bucket/own.npz": "own.npz",
        "csv:/data/own.csv": "own.csv",
        "csv:gs://bucket/own.csv:kind of": "own.csv",
        "": "",
    }
    assert {name: datasets.short_name(name) for name in names} == names
