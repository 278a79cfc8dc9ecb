"""ImageNet and its stream of images, on files that TFDS prepares from tiny archives."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.sources import write_imagenet_archives
from tfmem import datasets
from tfmem.datasets import ArraySplit, Dataset, StreamedDataset


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """(data_dir, what the training archive holds, what the validation archive holds)."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("imagenet")
    train, validation = write_imagenet_archives(folder / "downloads" / "manual", per_class=25)
    tfds.builder("imagenet2012", data_dir=folder).download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=4)
    )
    return folder, train, validation


def read(dataset, split="train", **kwargs):
    return [(int(i), bytes(b)) for i, b in dataset.stream.read(split, **kwargs).as_numpy_iterator()]


def test_imagenet_in_order(imagenet):
    folder, train, validation = imagenet
    dataset = datasets.load("imagenet2012", str(folder))
    assert dataset.num_classes == 1000
    assert dataset.input_shape == (224, 224, 3)
    assert isinstance(dataset, StreamedDataset)
    assert not isinstance(dataset.train, ArraySplit)
    assert not isinstance(dataset.test, ArraySplit)
    assert datasets.load("imagenet2012", str(folder), image_size=64).input_shape == (64, 64, 3)
    assert set(dataset.train.ids) == set(train)
    assert set(dataset.test.ids) == set(validation)
    index, encoded = dataset.stream.read("test").element_spec
    assert (index.dtype.name, index.shape) == ("int64", ())
    assert (encoded.dtype.name, encoded.shape) == ("string", ())
    for split, written in ((dataset.train, train), (dataset.test, validation)):
        found = read(dataset, "train" if split is dataset.train else "test")
        assert [index for index, _ in found] == list(range(len(written)))
        assert [content for _, content in found] == [written[name][0] for name in split.ids]
    # Synsets are in the order of their names: the first, the second and the last of 1000.
    synsets = {"n01440764": 0, "n01443537": 1, "n15075141": 999}
    assert dataset.train.labels.tolist() == [synsets[train[name][1]] for name in dataset.train.ids]
    assert dataset.test.labels.tolist() == [validation[name][1] for name in dataset.test.ids]


def test_imagenet_shuffled(imagenet, monkeypatch):
    import tensorflow as tf

    # Smaller than the split, so that the order of the files matters as well.
    monkeypatch.setattr("tfmem.datasets.stream.SHUFFLE_BUFFER", 16)
    dataset = datasets.load("imagenet2012", str(imagenet[0]))
    ordered = dict(read(dataset))
    first = read(dataset, seed=5)
    assert [index for index, _ in first] != list(ordered)
    assert dict(first) == ordered
    assert len(first) == len(ordered)
    assert read(dataset, seed=6) != first
    # The buffer mixes neighbours; without it only the files are in another order.
    order = [index for index, _ in first]
    assert (np.diff(order) == 1).sum() < len(order) / 4
    monkeypatch.setattr("tfmem.datasets.stream.SHUFFLE_BUFFER", 1)
    firsts = (next(dataset.stream.read("train", seed).as_numpy_iterator()) for seed in range(8))
    of_seed_0 = next(firsts)
    assert any(first != of_seed_0 for first in firsts)
    assert (np.diff([index for index, _ in read(dataset, seed=5)]) == 1).sum() > len(order) / 2
    monkeypatch.setattr("tfmem.datasets.stream.SHUFFLE_BUFFER", 16)
    # Neither another object, nor the global seed, nor the number of threads changes the order.
    again = datasets.load("imagenet2012", str(imagenet[0]))
    tf.random.set_seed(1)
    assert read(again, seed=5) == first
    tf.random.set_seed(2)
    for threads in (1, 5):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        examples = again.stream.read("train", seed=5).with_options(options)
        for _ in range(2):
            assert [int(index) for index, _ in examples] == [index for index, _ in first]


@pytest.mark.parametrize("seed", [None, 5])
def test_imagenet_keeps_a_subset(imagenet, rng, seed):
    dataset = datasets.load("imagenet2012", str(imagenet[0]))
    keep = rng.random(len(dataset.train)) < 0.4
    examples = dataset.stream.read("train", seed=seed, keep=keep)
    found = [int(index) for index, _ in examples]
    assert len(examples) == len(found) == keep.sum()
    assert sorted(found) == np.flatnonzero(keep).tolist()
    assert (found == sorted(found)) == (seed is None)


def test_imagenet_pictures_by_index(imagenet):
    folder, train, validation = imagenet
    dataset = datasets.load("imagenet2012", str(folder), image_size=12)
    files = list((folder / "imagenet2012").glob("*/imagenet2012-train*"))
    assert len(files) > 1
    for split, written, index in (
        (dataset.train, train, [74, 0, 40, 41, 42, 13, 0]),
        (dataset.test, validation, [9]),
        (dataset.test, validation, []),
    ):
        found = list(dataset.stream.pictures("train" if split is dataset.train else "test", index))
        assert sorted(number for number, _ in found) == sorted(set(index))
        for number, pixels in found:
            encoded = written[split.ids[number]][0]
            picture = np.asarray(Image.open(io.BytesIO(encoded)))
            side = min(picture.shape[:2])
            top, left = ((extent - side) // 2 for extent in picture.shape[:2])
            square = Image.fromarray(picture[top : top + side, left : left + side])
            expected = np.asarray(square.resize((12, 12), Image.Resampling.BICUBIC))
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("split", "index", "message"),
    [
        ("validation", [0], "split 'validation': expected train or test"),
        ("train", [3, 75], "train has no example 75: expected 0 to 74"),
        ("test", [-1], "test has no example -1: expected 0 to 9"),
    ],
)
def test_pictures_that_are_not_there(imagenet, split, index, message):
    dataset = datasets.load("imagenet2012", str(imagenet[0]))
    with pytest.raises(ValueError, match=message):
        list(dataset.stream.pictures(split, index))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "validation"}, "split 'validation': expected train or test"),
        ({"split": "train", "seed": -1}, "seed -1: expected 0 or more"),
        ({"split": "train", "keep": np.ones(3, bool)}, r"keep has shape \(3,\), expected \(75,\)"),
    ],
)
def test_streams_refuse(imagenet, arguments, message):
    dataset = datasets.load("imagenet2012", str(imagenet[0]))
    with pytest.raises(ValueError, match=message):
        dataset.stream.read(**arguments)


def test_streams_refuse_records_that_are_not_in_the_index(imagenet):
    import tensorflow as tf

    from tfmem.datasets.stream import ImageStream

    stream = datasets.load("imagenet2012", str(imagenet[0])).stream
    ids = {"train": np.array(["other.JPEG"]), "test": np.array(["other.JPEG"])}
    broken = ImageStream(stream._builder, {"test": "validation"}, ids, 8, "")
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in the index of its ids"):
        list(broken.read("test"))


def test_imagenet_index_is_read_once(imagenet, tmp_path, monkeypatch):
    from tfmem.datasets import imagenet as module

    folder, *_ = imagenet
    cache = next(folder.glob("imagenet2012/*/tfmem_index.npz"), None)
    if cache:
        cache.unlink()
    calls, whole_pass = [], module._read_index
    monkeypatch.setattr(
        module, "_read_index", lambda *args: calls.append(args[1]) or whole_pass(*args)
    )

    def passes():
        calls.clear()
        fingerprints.add(datasets.load("imagenet2012", str(folder)).fingerprint)
        return calls

    fingerprints = set()
    both = ["train", "validation"]
    assert passes() == both
    assert passes() == []
    cache = next(folder.glob("imagenet2012/*/tfmem_index.npz"))
    content = cache.read_bytes()
    for damage in (content[: len(content) // 2], b"", content.replace(b"n01440764_3.", b"n9")):
        cache.write_bytes(damage)
        assert passes() == both
        assert passes() == []
    # Made of other files: another version, or shards of other sizes.
    with np.load(cache) as arrays:
        stale = {**arrays, "about": np.array(str(arrays["about"]).replace("5.1.0", "5.0.0"))}
    np.savez(cache, **stale)
    assert passes() == both
    # Where it cannot be written beside the data, it is under the home directory.
    monkeypatch.setenv("HOME", str(tmp_path))
    cache.unlink()
    cache.mkdir()
    assert passes() == both
    assert len(list((tmp_path / ".cache" / "tfmem").glob("imagenet2012-5.1.0-*.npz"))) == 1
    assert passes() == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert passes() == both
    cache.rmdir()
    assert len(fingerprints) == 1


def test_imagenet_fingerprint_sees_files_and_size(imagenet):
    dataset = datasets.load("imagenet2012", str(imagenet[0]))
    smaller = datasets.load("imagenet2012", str(imagenet[0]), image_size=32)
    stream = dataset.stream
    assert "shard_bytes" in stream.identity
    assert "5.1.0" in stream.identity
    assert str(imagenet[0]) not in stream.identity
    assert dataset.fingerprint != smaller.fingerprint
    labels = Dataset(dataset.name, dataset.train, dataset.test, dataset.class_names, 255)
    assert dataset.fingerprint != labels.fingerprint


def test_imagenet_prepares_itself_from_the_archives(tmp_path):
    message = (
        r"imagenet2012 is not in .*ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar .* into "
        r".*downloads/manual \(which lacks ILSVRC2012_img_val.tar\).*tfmem train_trials.*"
        "tfds build imagenet2012"
    )
    train, _ = write_imagenet_archives(tmp_path / "downloads" / "manual", per_class=1)
    archive = tmp_path / "downloads" / "manual" / "ILSVRC2012_img_val.tar"
    archive.rename(tmp_path / "later")
    assert datasets.needs_download("imagenet2012", str(tmp_path))
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load("imagenet2012", str(tmp_path))
    assert "\n" not in str(caught.value)
    (tmp_path / "later").rename(archive)
    assert set(datasets.load("imagenet2012", str(tmp_path)).train.ids) == set(train)
    assert not datasets.needs_download("imagenet2012", str(tmp_path))
