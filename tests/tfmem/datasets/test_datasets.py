import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.sources import (
    random_image,
    write_cifar,
    write_imagenet_archives,
    write_picture,
    write_tfds,
)
from tfmem import datasets
from tfmem.datasets import Dataset, Split, images

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
    if dataset.stream is None:
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
    # For ever the same split: stores hold this fingerprint.
    assert digits.fingerprint[:16] == "3f58756f8a2dd6b4"
    # Stratified: 30.05% of each class of 174 to 183 images, to the nearest image or two.
    share = np.bincount(digits.test.labels) / (
        np.bincount(digits.train.labels) + np.bincount(digits.test.labels)
    )
    assert np.abs(share - 540 / 1797).max() < 0.01


def test_digits_ids_are_positions_in_the_original(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    for split in (digits.train, digits.test):
        index = np.array([int(name.removeprefix("digits_")) for name in split.ids])
        assert (np.diff(index) > 0).all()
        np.testing.assert_array_equal(split.labels, original.target[index])
        np.testing.assert_array_equal(split.images[..., 0], original.images[index])


# Stores hold these fingerprints.
FINGERPRINTS = {"mnist": "021ff89495afdac7", "fashion_mnist": "1359c8267a4f2523"}


@pytest.mark.data
@pytest.mark.parametrize("name", FINGERPRINTS)
def test_tfds(name, tfds_dir):
    dataset = datasets.load(name, tfds_dir)
    check_shape(dataset, name)
    assert np.bincount(dataset.test.labels).tolist()[0] in (980, 1000)
    assert dataset.train.ids[42] == "train_00042"
    assert dataset.fingerprint[:16] == FINGERPRINTS[name]


@pytest.mark.data
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet2012"])
def test_tfds_where_it_is_prepared(name, tfds_dir):
    if datasets.needs_download(name, tfds_dir):
        pytest.skip(f"TFDS has not prepared {name}")
    check_shape(datasets.load(name, tfds_dir), name)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_in_its_original_order(name, tmp_path, rng):
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
    assert dataset.num_classes == SHAPES[name][2]
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:cifarr", r"^TFDS has no dataset 'cifarr' \(Dataset cifarr not found.*tfds:kmnist"),
        ("tfds:emnist/leters", "^TFDS has no dataset 'emnist/leters' .*leters not found"),
        ("tfds:mnist:9.9.9", "^TFDS has no dataset 'mnist:9.9.9' .*only: 3.0.1"),
        ("tfds:glue", "^TFDS's glue is no image classification: expected .* has sentence"),
        ("tfds:coco", "^TFDS's coco is no image classification: expected .*image/filename"),
        ("tfds:imagenet2012", "^tfds:imagenet2012 does not fit into memory: give imagenet2012"),
        ("tfds:one_split", "^TFDS's one_split has the splits train, expected .* test or valid"),
    ],
)
def test_tfds_that_will_not_do(tmp_path, rng, name, message):
    examples = [{"image": random_image(rng, 4, 6), "label": 1}]
    write_tfds(tmp_path, "one_split", "1.0.0", classification_features(), {"train": examples})
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(name, str(tmp_path))
    assert "\n" not in str(caught.value)


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
    assert dataset.train.images is None
    assert dataset.test.images is None
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
    assert len({read(dataset, seed=seed)[0] for seed in range(8)}) > 1
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


def test_the_same_ids(tiny):
    train, test = tiny.train.ids, tiny.test.ids
    datasets.require_same_ids(tiny, train, test, "e.npz")
    datasets.require_same_ids(tiny, None, test, "e.npz")
    other = test.copy()
    other[[4, 7]] = "x"
    message = r"^e.npz calls test example 4 x, tiny calls it test_00004 \(2 ids differ\): another"
    with pytest.raises(ValueError, match=message):
        datasets.require_same_ids(tiny, train, other, "e.npz")
    with pytest.raises(ValueError, match=r"^e.npz has ids of 20 training examples, tiny has 21"):
        datasets.require_same_ids(tiny, train[:20], test, "e.npz")


@pytest.mark.parametrize(
    ("name", "uses"),
    [
        ("digits", False),
        ("npz:a.npz", False),
        ("folder:a", False),
        ("mnist", True),
        ("imagenet2012", True),
        ("tfds:kmnist", True),
    ],
)
def test_what_tensorflow_reads(name, uses):
    assert datasets.uses_tensorflow(name) == uses


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
    assert dataset.fingerprint != dataclasses.replace(dataset, stream=None).fingerprint


def test_imagenet_prepares_itself_from_the_archives(tmp_path):
    message = (
        r"imagenet2012 is not in .*ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar .* into "
        r".*downloads/manual \(which lacks ILSVRC2012_img_val.tar\).*launchers.train_trials.*"
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


@pytest.fixture
def pictures(tmp_path, rng):
    """(folder, {id: pixels}) of 2 classes, grey, 4x6; the test split has one class."""
    written = {
        name: random_image(rng, 4, 6, 1)
        for name in (
            "train/cat/b.png",
            "train/cat/a.PNG",
            "train/ant/z.bmp",
            "train/ant/10.png",
            "test/cat/c.png",
        )
    }
    for name, pixels in written.items():
        write_picture(tmp_path / name, pixels)
    (tmp_path / "train/cat/notes.txt").write_text("not an image")
    (tmp_path / "train/cat/.hidden.png").write_text("not an image")
    (tmp_path / "train/.cache").mkdir()
    return tmp_path, written


def test_folder(pictures):
    folder, written = pictures
    dataset = datasets.load(f"folder:{folder}")
    assert dataset.name == f"folder:{folder}"
    assert not datasets.needs_download(dataset.name)
    assert dataset.class_names == ("ant", "cat")
    assert dataset.pixel_max == 255
    assert dataset.input_shape == (4, 6, 1)
    assert dataset.train.ids.tolist() == [
        *("train/ant/10.png", "train/ant/z.bmp"),
        *("train/cat/a.PNG", "train/cat/b.png"),
    ]
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.ids.tolist() == ["test/cat/c.png"]
    assert dataset.test.labels.tolist() == [1]
    for split in (dataset.train, dataset.test):
        np.testing.assert_array_equal(split.images, [written[name] for name in split.ids])


def test_folder_fingerprint_does_not_depend_on_the_place(pictures):
    folder, _ = pictures
    before = datasets.load(f"folder:{folder}").fingerprint
    moved = folder.rename(folder.with_name(folder.name + "_moved"))
    assert datasets.load(f"folder:{moved}").fingerprint == before


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_one_colour_image_makes_all_colour(pictures, mode):
    folder, written = pictures
    red = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    write_picture(folder / "test/ant/red.png", red, mode)
    dataset = datasets.load(f"folder:{folder}")
    assert dataset.input_shape == (4, 6, 3)
    np.testing.assert_array_equal(dataset.test.images[0], red)
    np.testing.assert_array_equal(
        dataset.train.images, [np.repeat(written[name], 3, axis=-1) for name in dataset.train.ids]
    )


def test_alpha_is_dropped(pictures):
    folder, written = pictures
    grey = written["train/cat/b.png"]
    faint = np.concatenate([grey, np.full_like(grey, 3)], axis=-1)
    Image.fromarray(faint, "LA").save(folder / "train/cat/b.png")
    dataset = datasets.load(f"folder:{folder}")
    np.testing.assert_array_equal(dataset.train.images[3], grey)


def test_folder_with_image_size(pictures, rng):
    folder, written = pictures
    large = random_image(rng, 9, 5, 1)
    write_picture(folder / "test/ant/large.png", large)
    dataset = datasets.load(f"folder:{folder}", image_size=4)
    assert dataset.input_shape == (4, 4, 1)
    np.testing.assert_array_equal(dataset.train.images[2], written["train/cat/a.PNG"][:, 1:5])
    np.testing.assert_array_equal(dataset.test.images[0], images.square(large[2:7], 4))


def remove(path):
    for below in sorted(path.rglob("*"), reverse=True):
        below.rmdir() if below.is_dir() else below.unlink()
    path.rmdir()


def only_text(folder):
    for path in folder.iterdir():
        path.unlink()
    (folder / "a.txt").touch()


FOLDER_ERRORS = {
    "absent": (remove, "is not a folder; expected .*/train/CLASS/IMAGE"),
    "no train": (
        lambda f: remove(f / "train"),
        "has no folder train; expected .*train/CLASS/IM",
    ),
    "no test": (lambda f: remove(f / "test"), "has no folder test; expected .*test/CLASS/IMAGE"),
    "no classes": (
        lambda f: (remove(f / "train/ant"), remove(f / "train/cat")),
        "train has no classes; expected one folder of images a class",
    ),
    "new class": (
        lambda f: (f / "test/dog").mkdir(),
        "test has the class 'dog', which .*train lacks",
    ),
    "empty class": (lambda f: (f / "train/dog").mkdir(), "train/dog has no images; expected files"),
    "no images": (lambda f: only_text(f / "test/cat"), "test/cat has no images; expected files"),
    "no image": (
        lambda f: (f / "train/cat/a.PNG").write_text("no"),
        "train/cat/a.PNG cannot be read as an image",
    ),
    "half an image": (
        lambda f: (f / "test/cat/c.png").write_bytes((f / "test/cat/c.png").read_bytes()[:60]),
        "test/cat/c.png cannot be read as an image",
    ),
    "16 bits": (
        lambda f: Image.fromarray(np.zeros((4, 6), np.uint16)).save(f / "train/ant/10.png"),
        r"10.png has more than 8 bits a channel \(Pillow mode I;16\): convert it",
    ),
    "sizes": (
        lambda f: Image.fromarray(np.zeros((3, 5), np.uint8)).save(f / "test/cat/d.png"),
        "train/ant/10.png is 4 x 6 .*test/cat/d.png is 3 x 5: give --image_size",
    ),
}


@pytest.mark.parametrize("case", FOLDER_ERRORS)
def test_folder_that_will_not_do(pictures, case):
    spoil, message = FOLDER_ERRORS[case]
    spoil(pictures[0])
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(f"folder:{pictures[0]}")
    assert "\n" not in str(caught.value)


@pytest.fixture
def arrays(rng):
    return {
        "x_train": rng.integers(0, 256, (5, 4, 6), dtype=np.uint8),
        "y_train": np.array([0, 2, 1, 2, 0], np.uint8),
        "x_test": rng.integers(0, 256, (2, 4, 6), dtype=np.uint8),
        "y_test": np.array([1, 0], np.uint8),
    }


def test_npz_as_keras_has_it(arrays, tmp_path):
    np.savez(tmp_path / "keras.npz", **arrays)
    dataset = datasets.load(f"npz:{tmp_path}/keras.npz")
    assert dataset.name == f"npz:{tmp_path}/keras.npz"
    assert not datasets.needs_download(dataset.name)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.pixel_max == 255
    np.testing.assert_array_equal(dataset.train.images, arrays["x_train"][..., None])
    np.testing.assert_array_equal(dataset.train.labels, arrays["y_train"])
    np.testing.assert_array_equal(dataset.test.images, arrays["x_test"][..., None])
    np.testing.assert_array_equal(dataset.test.labels, [1, 0])
    assert dataset.train.ids[4] == "train_00004"
    assert dataset.test.ids[1] == "test_00001"
    (tmp_path / "keras.npz").rename(tmp_path / "moved.npz")
    moved = datasets.load(f"npz:{tmp_path}/moved.npz")
    assert moved.fingerprint == dataset.fingerprint
    small = datasets.load(f"npz:{tmp_path}/moved.npz", image_size=4)
    np.testing.assert_array_equal(small.test.images, arrays["x_test"][:, :, 1:5, None])


def test_npz_as_medmnist_has_it(rng, tmp_path):
    written = {
        f"{split}_{kind}": array
        for split, count in (("train", 6), ("val", 2), ("test", 3))
        for kind, array in (
            ("images", rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)),
            ("labels", np.arange(count, dtype=np.int32)[:, None] % 2),
        )
    }
    more = {
        "class_names": ["benign", "malignant"],
        "train_ids": np.array([b"a", b"b", b"c", b"d", b"e", "f\u00e9".encode()]),
        "test_ids": np.array([7, 5, 3]),
    }
    np.savez_compressed(tmp_path / "med.npz", **written, **more)
    dataset = datasets.load(f"npz:{tmp_path}/med.npz")
    assert dataset.class_names == ("benign", "malignant")
    assert dataset.train.ids.tolist() == ["a", "b", "c", "d", "e", "f\u00e9"]
    assert dataset.test.ids.tolist() == ["7", "5", "3"]
    np.testing.assert_array_equal(dataset.train.images, written["train_images"])
    np.testing.assert_array_equal(dataset.test.labels, [0, 1, 0])


NPZ_ERRORS = {
    "missing": (
        {"y_test": None},
        "lacks y_test; it has x_train, y_train, x_test; expected x_train, .*or train_images, ",
    ),
    "float pixels": (
        {"x_train": np.zeros((5, 4, 6))},
        "x_train is float64, expected uint8 pixels from 0 to 255",
    ),
    "flat": ({"x_test": np.zeros((2, 24), np.uint8)}, r"x_test has shape \(2, 24\), expected \[n"),
    "float labels": ({"y_test": np.zeros(2)}, "y_test is float64, expected integer labels"),
    "many labels": (
        {"y_test": np.zeros((2, 3), int)},
        r"y_test has shape \(2, 3\), expected \[n\] or \[n, 1\]",
    ),
    "negative": ({"y_test": np.array([0, -1])}, "y_test has label -1 at 1, expected 0 or more"),
    "huge": ({"y_test": np.array([0, 65_536])}, "has label 65536, expected at most 65535"),
    "lengths": ({"y_test": np.zeros(3, int)}, "lengths differ: x_test has 2, y_test has 3"),
    "ids": (
        {"train_ids": np.arange(4)},
        "lengths differ: x_train has 5, y_train has 5, train_ids has 4",
    ),
    "same ids": ({"test_ids": np.array(["a", "a"])}, "wrong.npz: example ids repeat"),
    "names": ({"class_names": np.array(["a", "b"])}, "example 1 has label 2, expected 0 to 1"),
    "no names": ({"class_names": np.zeros(3)}, r"class_names is float64 of shape \(3,\), expected"),
    "objects": ({"y_test": np.array([1, {}])}, "y_test cannot be read .*allow_pickle"),
    "shapes": (
        {"x_test": np.zeros((2, 4, 5), np.uint8)},
        r"training images are uint8 \(4, 6, 1\), test images uint8 \(4, 5, 1\); expected the same",
    ),
    "empty": (
        {"x_test": np.zeros((0, 4, 6), np.uint8), "y_test": np.zeros(0, int)},
        "the test split is empty",
    ),
}


@pytest.mark.parametrize("case", NPZ_ERRORS)
def test_npz_that_will_not_do(arrays, tmp_path, case):
    changes, message = NPZ_ERRORS[case]
    changed = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    np.savez(tmp_path / "wrong.npz", **changed)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(f"npz:{tmp_path}/wrong.npz")
    assert "wrong.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_npz_that_is_no_npz(tmp_path):
    with pytest.raises(ValueError, match=r"absent.npz does not exist"):
        datasets.load(f"npz:{tmp_path}/absent.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(ValueError, match=r"text.npz is not an npz file"):
        datasets.load(f"npz:{tmp_path}/text.npz")


def test_resizing():
    # A constant stays, and so does an image that has the size already.
    constant = np.full((7, 11, 3), 93, np.uint8)
    assert (images.square(constant, 5) == 93).all()
    assert images.square(constant, 5).shape == (5, 5, 3)
    rng = np.random.default_rng(1)
    image = random_image(rng, 8, 8)
    np.testing.assert_array_equal(images.square(image, 8), image)
    # The centre of what is not square.
    np.testing.assert_array_equal(images.square(np.pad(image, [(0, 0), (3, 3), (0, 0)]), 8), image)
    np.testing.assert_array_equal(images.square(np.pad(image, [(2, 3), (0, 0), (0, 0)]), 8), image)
    # Against the bicubic kernel (a = -0.5), written out. Antialiased: stretched over two pixels.
    expected = np.einsum("ih,jw,hwc->ijc", *[bicubic_weights(8, 4)] * 2, image.astype(float))
    found = images.square(image, 4).astype(float)
    assert np.abs(found - expected.clip(0, 255)).max() <= 1.5


def bicubic_weights(size, smaller):
    """[smaller, size]: what each pixel of a smaller row takes of each of the row."""
    scale = size / smaller
    centres = (np.arange(smaller) + 0.5) * scale - 0.5
    x = np.abs(np.arange(size) - centres[:, None]) / scale
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


def test_image_size_of_embedded_digits(digits):
    large = datasets.load("digits", image_size=12)
    assert large.input_shape == (12, 12, 1)
    assert large.train.images.max() <= large.pixel_max == 16
    np.testing.assert_array_equal(large.train.ids, digits.train.ids)
    assert large.fingerprint != digits.fingerprint
    assert datasets.load("digits", image_size=8).fingerprint == digits.fingerprint
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"image_size is {size}, expected 1 pixel or more"):
            datasets.load("digits", image_size=size)


def test_missing_data_says_what_to_do(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def offline(self, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    assert datasets.needs_download("mnist", str(tmp_path))
    assert not datasets.needs_download("digits")
    with pytest.raises(ValueError, match=r"mnist is not in .*no route to host.*--data_dir"):
        datasets.load("mnist", str(tmp_path))


def test_unknown_dataset():
    with pytest.raises(ValueError, match=r"did you mean 'fashion_mnist'.*digits, mnist"):
        datasets.load("fashon_mnist")
    everything = (
        "digits, mnist, fashion_mnist, cifar10, cifar100, imagenet2012, tfds:NAME, folder:PATH, "
        "npz:PATH"
    )
    assert datasets.known() == everything
    for name in ("", "foldr:x", "digits:x", ":x"):
        with pytest.raises(ValueError, match=f"unknown dataset '{name}'.*{everything}$"):
            datasets.require_known(name)
    for kind, which in (("tfds", "NAME"), ("folder", "PATH"), ("npz", "PATH")):
        datasets.require_known(f"{kind}:x")
        expected = f"'{kind}:' lacks its {which}: expected {kind}:{which}, .*{everything}$"
        with pytest.raises(ValueError, match=expected):
            datasets.needs_download(f"{kind}:")


def test_fingerprint_sees_everything(tiny):
    changed_image = tiny.train.images.copy()
    changed_image[3, 1, 1] ^= 1
    labels = tiny.test.labels.copy()
    labels[0] = 1
    ids = tiny.test.ids.copy()
    ids[0] = "other"
    variants = [
        tiny,
        dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, images=changed_image)),
        dataclasses.replace(tiny, test=dataclasses.replace(tiny.test, labels=labels)),
        dataclasses.replace(tiny, test=dataclasses.replace(tiny.test, ids=ids)),
        dataclasses.replace(tiny, class_names=("a", "b", "d")),
        dataclasses.replace(tiny, pixel_max=254),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_bad_splits_are_refused():
    good = Split([0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="ids repeat"):
        Split([0, 1], ["a", "a"])
    with pytest.raises(ValueError, match="1 ids for 2 labels"):
        Split([0, 1], ["a"])
    with pytest.raises(ValueError, match="3 images for 2 labels"):
        Split([0, 1], ["a", "b"], np.zeros((3, 1, 1, 1), np.uint8))
    with pytest.raises(ValueError, match="train example 1 has label 2, expected 0 to 1"):
        Dataset("", Split([0, 2], ["a", "b"]), good, ("x", "y"))
    with pytest.raises(ValueError, match="the test split is empty"):
        Dataset("", good, Split([], []), ("x", "y"))


def test_representations(tiny):
    def vectors(dtype, width=5):
        return [
            dataclasses.replace(split, images=np.ones((len(split), width), dtype))
            for split in (tiny.train, tiny.test)
        ]

    train, test = vectors(np.float32)
    dataset = Dataset("", train, test, tiny.class_names)
    assert dataset.input_shape == (5,)
    assert dataset.pixel_max is None
    # The same bytes in the same shape, as pixels.
    pixels = [
        dataclasses.replace(split, images=split.images.view(np.uint8).reshape(-1, 5, 4, 1))
        for split in (train, test)
    ]
    assert dataset.fingerprint != Dataset("", *pixels, tiny.class_names).fingerprint
    with pytest.raises(ValueError, match=r"images are float64 of shape \(21, 5\), expected uint8"):
        vectors(np.float64)
    with pytest.raises(ValueError, match=r"training images are float32 \(5,\), test images uint8"):
        Dataset("", train, tiny.test, tiny.class_names)
    unknown = [dataclasses.replace(split, images=None) for split in (train, test)]
    with pytest.raises(ValueError, match="tiny has labels and ids, but no images"):
        _ = Dataset("tiny", *unknown, tiny.class_names).input_shape


def test_labels_fit_into_what_a_store_keeps(tiny):
    names = tuple(map(str, range(65_536)))
    assert dataclasses.replace(tiny, class_names=names).num_classes == 65_536
    with pytest.raises(ValueError, match="65,537 classes, expected at most 65,536"):
        dataclasses.replace(tiny, class_names=(*names, "one more"))


def test_same_labels_are_required(tiny):
    train, test = tiny.train.labels, tiny.test.labels
    datasets.require_same_labels(tiny, train, test, "the file")
    with pytest.raises(ValueError, match="the file has 20 training examples, tiny has 21"):
        datasets.require_same_labels(tiny, train[:20], test, "the file")
    other = test.copy()
    other[[2, 5]] = 0
    with pytest.raises(ValueError, match=r"labels test example 2 0, tiny labels it 2 \(2 labels"):
        datasets.require_same_labels(tiny, train, other, "the file")


def test_numbered_ids_keep_order_as_text():
    ids = datasets.numbered_ids("x", 100_001)
    assert ids[7] == "x_000007"
    assert sorted(ids) == list(ids)
