"""Datasets of TFDS that fit into memory, on files that TFDS wrote."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.sources import random_image, write_cifar, write_tfds
from tfmem import datasets
from tfmem.datasets import download


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_in_its_original_order(name, classes, tmp_path, rng):
    # Files that TFDS wrote, and so shuffled, in three shards.
    import tensorflow_datasets as tfds

    assert datasets.needs_download(name, str(tmp_path))
    pixels, labels = write_cifar(tmp_path, name, rng, count=60, shards=3)
    in_files = tfds.as_numpy(tfds.builder(name, data_dir=tmp_path).as_dataset(split="train"))
    ids = [f"train_{index:05d}" for index in range(60)]
    assert [example["id"].decode() for example in in_files] != ids

    assert not datasets.needs_download(name, str(tmp_path))
    dataset = datasets.load(name, str(tmp_path))
    assert dataset.name == name
    assert dataset.num_classes == classes
    for split_name in ("train", "test"):
        split = getattr(dataset, split_name)
        np.testing.assert_array_equal(split.images, pixels[split_name])
        np.testing.assert_array_equal(split.labels, labels[split_name])
    assert dataset.train.ids.tolist() == ids
    assert dataset.test.ids.tolist() == [f"test_{index:05d}" for index in range(20)]
    assert datasets.load(f"tfds:{name}", str(tmp_path)).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("wrong", ["train_00003", "test", "train_-0001"])
def test_cifar_ids_must_number_the_examples(tmp_path, wrong, rng):
    import tensorflow_datasets as tfds

    features = tfds.builder("cifar10", data_dir=tmp_path).info.features
    ids = ["train_00000", wrong, "train_00002"]
    examples = [{"image": random_image(rng, 32, 32), "label": 0, "id": key} for key in ids]
    write_tfds(tmp_path, "cifar10", "3.0.2", features, {"train": examples, "test": examples})
    message = "cifar10 train: ids do not number its 3 examples from 0 .*prepare it again"
    with pytest.raises(ValueError, match=message):
        datasets.load("cifar10", str(tmp_path))


def classification_features(**changes):
    import tensorflow_datasets as tfds

    known = {
        "image": tfds.features.Image(shape=(4, 6, 3)),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }
    return tfds.features.FeaturesDict({**known, **changes})


def test_any_tfds_classification(tmp_path, rng):
    # No test split: validation is. Three shards: in the order of the files.
    pixels = rng.integers(0, 256, (40, 4, 6, 3), dtype=np.uint8)
    examples = [{"image": image, "label": index % 2} for index, image in enumerate(pixels)]
    splits = {"train": examples, "validation": examples[:5]}
    write_tfds(tmp_path, "pets", "1.0.0", classification_features(), splits, shards=3)
    dataset = datasets.load("tfds:pets", str(tmp_path))
    assert dataset.name == "tfds:pets"
    assert dataset.class_names == ("cat", "dog")
    assert dataset.input_shape == (4, 6, 3)
    assert dataset.train.ids[[0, 39]].tolist() == ["train_00000", "train_00039"]
    assert dataset.test.ids[4] == "validation_00004"
    order = [np.flatnonzero((pixels == image).all((1, 2, 3)))[0] for image in dataset.train.images]
    assert sorted(order) == list(range(40))
    np.testing.assert_array_equal(dataset.train.labels, np.array(order) % 2)
    shards = []
    for shard in sorted((tmp_path / "pets" / "1.0.0").glob("pets-train*")):
        import tensorflow as tf

        for record in tf.data.TFRecordDataset(str(shard)):
            encoded = tf.train.Example.FromString(record.numpy()).features.feature["image"]
            shards.append(np.asarray(Image.open(io.BytesIO(encoded.bytes_list.value[0]))))
    np.testing.assert_array_equal(dataset.train.images, shards)


@pytest.mark.parametrize(("ids", "kept"), [("abc", True), ("aba", False)])
def test_unique_tfds_ids_are_kept(tmp_path, rng, ids, kept):
    import tensorflow_datasets as tfds

    features = classification_features(id=tfds.features.Text())
    examples = [{"image": random_image(rng, 4, 6), "label": 1, "id": key} for key in ids]
    write_tfds(tmp_path, "pets", "1.0.0", features, {"train": examples, "test": examples})
    found = datasets.load("tfds:pets", str(tmp_path)).train.ids
    expected = list(ids) if kept else ["train_00000", "train_00001", "train_00002"]
    assert sorted(found) == expected


def test_tfds_images_of_varying_sizes(tmp_path, rng):
    import tensorflow_datasets as tfds

    features = classification_features(image=tfds.features.Image(shape=(None, None, 3)))
    examples = [{"image": random_image(rng, 5, width), "label": 0} for width in (5, 7, 9)]
    write_tfds(tmp_path, "pets", "1.0.0", features, {"train": examples, "test": examples[:1]})
    with pytest.raises(ValueError, match=r"train example . is 5 x . x 3 .*--image_size"):
        datasets.load("tfds:pets", str(tmp_path))
    dataset = datasets.load("tfds:pets", str(tmp_path), image_size=5)
    assert dataset.input_shape == (5, 5, 3)
    # The sides are as they were: the central squares, in the order of the files.
    squares = {
        example["image"][:, example["image"].shape[1] // 2 - 2 :][:, :5].tobytes()
        for example in examples
    }
    assert {image.tobytes() for image in dataset.train.images} == squares
    np.testing.assert_array_equal(dataset.test.images[0], examples[0]["image"])


def test_tfds_files_are_upright_and_on_white(tmp_path):
    # Files as TFDS keeps those that people took: it copies their bytes.
    import tensorflow_datasets as tfds

    icon = np.zeros((4, 6, 4), np.uint8)
    icon[:, 2, 3] = 255
    seen = np.full((4, 6, 3), 255)
    seen[:, 2] = 0
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(icon).save(tmp_path / "icon.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(icon))).save(tmp_path / "lying.png", exif=exif)
    features = classification_features(image=tfds.features.Image(shape=(None, None, 3)))
    examples = [{"image": str(tmp_path / name), "label": 0} for name in ("icon.png", "lying.png")]
    write_tfds(tmp_path, "icons", "1.0.0", features, {"train": examples, "test": examples})
    dataset = datasets.load("tfds:icons", str(tmp_path))
    np.testing.assert_array_equal(dataset.train.images, [seen, seen])


def test_a_tfds_dataset_with_train_alone(tmp_path, rng):
    examples = [{"image": random_image(rng, 4, 6), "label": index % 2} for index in range(20)]
    write_tfds(tmp_path, "alone", "1.0.0", classification_features(), {"train": examples})
    dataset = datasets.load("tfds:alone", str(tmp_path), test_share=0.3)
    assert np.bincount(dataset.test.labels).tolist() == [3, 3]
    ids = sorted([*dataset.train.ids, *dataset.test.ids])
    assert ids == [f"train_{index:05d}" for index in range(20)]
    write_tfds(
        tmp_path,
        "both",
        "1.0.0",
        classification_features(),
        dict.fromkeys(("train", "validation"), examples),
    )
    with pytest.raises(ValueError, match=r"train, validation: --test_share=0.3 is for datasets"):
        datasets.load("tfds:both", str(tmp_path), test_share=0.3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:cifarr", r"^TFDS has no dataset 'cifarr' \(Dataset cifarr not found.*tfds:kmnist"),
        ("tfds:emnist/leters", "^TFDS has no dataset 'emnist/leters' .*leters not found"),
        ("tfds:mnist:9.9.9", "^TFDS has no dataset 'mnist:9.9.9' .*only: 3.0.1"),
        ("tfds:glue", "^TFDS's glue is no image classification: expected .* has sentence"),
        ("tfds:coco", "^TFDS's coco is no image classification: expected .*image/filename"),
        ("tfds:imagenet2012", "^tfds:imagenet2012 does not fit into memory: give imagenet2012"),
        (
            "tfds:one_split",
            "^TFDS's one_split has the splits train, expected .* test or validation, or --test",
        ),
    ],
)
def test_tfds_that_will_not_do(tmp_path, rng, name, message):
    examples = [{"image": random_image(rng, 4, 6), "label": 1}]
    write_tfds(tmp_path, "one_split", "1.0.0", classification_features(), {"train": examples})
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(name, str(tmp_path))
    assert "\n" not in str(caught.value)


def test_missing_data_says_what_to_do(tmp_path, monkeypatch):
    def offline(builder):
        raise download.DownloadError("ConnectionError: no route to host")

    monkeypatch.setattr(download, "download_and_prepare", offline)
    assert datasets.needs_download("mnist", str(tmp_path))
    assert not datasets.needs_download("digits")
    with pytest.raises(ValueError, match=r"mnist is not in .*no route to host.*--data_dir"):
        datasets.load("mnist", str(tmp_path))


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "name", "said"),
    [
        (change_a_byte, "pets-test.tfrecord-00000-of-00001", "corrupted record"),
        (cut, "pets-train.tfrecord-00000-of-00001", "truncated record"),
        (lambda path: path.unlink(), "pets-train.tfrecord-00000-of-00001", "No such file"),
        (cut, "dataset_info.json", "Failed to load JSON"),
        (cut, "features.json", "Unterminated string"),
    ],
)
def test_files_that_cannot_be_read_are_one_line_that_says_what_mends_it(harm, name, said, tmp_path):
    pixels = np.zeros((4, 4, 6, 3), np.uint8)
    examples = [{"image": image, "label": index % 2} for index, image in enumerate(pixels)]
    splits = {"train": examples, "test": examples}
    write_tfds(tmp_path, "pets", "1.0.0", classification_features(), splits)
    harm(tmp_path / "pets" / "1.0.0" / name)
    with pytest.raises(ValueError, match="pets") as caught:
        datasets.load("tfds:pets", str(tmp_path))
    message = str(caught.value)
    assert said in message
    assert "cannot be read" in message
    assert "delete the folder of that version" in message
    assert "function_node" not in message
