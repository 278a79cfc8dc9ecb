"""A dataset with the test split of another one, which may be alone."""

import dataclasses
import logging

import numpy as np
import pytest
from PIL import Image

from tfmem import datasets, experiments
from tfmem.config import EvaluationConfig


def write_npz(path, rng, splits, classes=3):
    """Writes 6 images of each split that is named."""
    arrays = {}
    for split in splits:
        arrays[f"x_{split}"] = rng.integers(0, 256, (6, 4, 4), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(6) % classes
    np.savez(path, **arrays)
    return arrays


def joined(dataset, other, **changes):
    changes = {"dataset": dataset, **changes}
    experiment = dataclasses.replace(experiments.get("digits_mlp"), **changes)
    return datasets.load_for(EvaluationConfig(experiment, other))


@pytest.mark.parametrize("split", ["test", "val", "train"])
def test_a_split_alone_in_an_npz_file(split, rng, tmp_path):
    write_npz(tmp_path / "a.npz", rng, ("train", "test"))
    arrays = write_npz(tmp_path / "b.npz", rng, [split])
    found = joined(f"npz:{tmp_path}/a.npz", f"npz:{tmp_path}/b.npz")
    np.testing.assert_array_equal(found.test.images[..., 0], arrays[f"x_{split}"])
    np.testing.assert_array_equal(found.test.labels, arrays[f"y_{split}"])
    mine = datasets.load(f"npz:{tmp_path}/a.npz")
    np.testing.assert_array_equal(found.train.images, mine.train.images)
    assert found.name == mine.name
    with pytest.raises(ValueError, match=r"b.npz lacks"):
        datasets.load(f"npz:{tmp_path}/b.npz")


def test_a_split_alone_may_lack_classes(rng, tmp_path, caplog):
    write_npz(tmp_path / "a.npz", rng, ("train", "test"))
    write_npz(tmp_path / "b.npz", rng, ["test"], classes=2)
    with caplog.at_level(logging.WARNING):
        found = joined(f"npz:{tmp_path}/a.npz", f"npz:{tmp_path}/b.npz")
    assert found.num_classes == 3
    assert f"b.npz has examples of 2 of the 3 classes of npz:{tmp_path}/a.npz" in caplog.text
    write_npz(tmp_path / "b.npz", rng, ("train", "test"), classes=2)
    with pytest.raises(ValueError, match=r"has 2 classes, and .* has 3 classes, '2' alone: expec"):
        joined(f"npz:{tmp_path}/a.npz", f"npz:{tmp_path}/b.npz")


@pytest.mark.parametrize("place", ["test/", "train/", ""])
def test_a_split_alone_in_a_folder(place, rng, tmp_path):
    for name in ("a/train/cat", "a/train/dog", "a/test/cat", f"b/{place}cat", f"b/{place}dog"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for index in range(2):
            pixels = rng.integers(0, 256, (5, 5), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    found = joined(f"folder:{tmp_path}/a", f"folder:{tmp_path}/b", image_size=4)
    assert found.test.images.shape == (4, 4, 4, 1)
    assert found.test.labels.tolist() == [0, 0, 1, 1]
    assert found.test.ids[3] == f"{place}dog/1.png"


@pytest.mark.parametrize("split", ["", ",test", ",train"])
def test_a_split_alone_in_a_table(split, tmp_path):
    (tmp_path / "a.csv").write_text("x,label,split\n0,no,train\n4,yes,train\n2,no,test\n")
    rows = "\n".join(f"{x},{label}{split}" for x, label in ((2, "yes"), (6, "no"), (0, "no")))
    (tmp_path / "b.csv").write_text(f"x,label{',split' * bool(split)}\n{rows}\n")
    found = joined(f"csv:{tmp_path}/a.csv", f"csv:{tmp_path}/b.csv", standardize=True)
    # By the mean 2 and the deviation 2 of the training rows.
    np.testing.assert_array_equal(found.train.images, [[-1], [1]])
    np.testing.assert_array_equal(found.test.images, [[0], [2], [-1]])
    assert found.test.labels.tolist() == [1, 0, 0]


def test_classes_go_by_their_names(rng, tmp_path):
    """Labels of another order are turned."""
    images = rng.integers(0, 256, (3, 4, 4), dtype=np.uint8)
    names = {"a": ["cat", "dog", "emu"], "b": ["emu", "cat", "dog"]}
    for name, classes in names.items():
        arrays = {"x_train": images, "x_test": images, "class_names": classes}
        arrays |= {"y_train": np.arange(3), "y_test": np.arange(3)}
        np.savez(tmp_path / f"{name}.npz", **arrays)
    found = joined(f"npz:{tmp_path}/a.npz", f"npz:{tmp_path}/b.npz")
    assert found.class_names == ("cat", "dog", "emu")
    assert found.test.labels.tolist() == [2, 0, 1]
