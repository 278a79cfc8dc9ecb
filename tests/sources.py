"""Tiny datasets, in memory and in the files that the real ones come in."""

import io
import tarfile

import numpy as np
from PIL import Image

from tfmem import datasets


def random_image(rng, height, width, channels=3):
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def random_dataset(rng, counts, shape, name="tiny"):
    """Returns so many training and test images of three classes, in memory."""
    train, test = (
        datasets.ArraySplit(
            np.arange(count) % 3,
            datasets.numbered_ids(split, count),
            rng.integers(0, 256, (count, *shape), dtype=np.uint8),
        )
        for split, count in zip(("train", "test"), counts, strict=True)
    )
    return datasets.ArrayDataset(name, train, test, ("a", "b", "c"), pixel_max=255)


def write_tfds(folder, name, version, features, splits, shards=1):
    """Writes {split: examples} where TFDS's builder of that name and version looks for them."""
    import tensorflow_datasets as tfds

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=features,
        split_datasets={split: list(enumerate(examples)) for split, examples in splits.items()},
        data_dir=folder,
        download_config=tfds.download.DownloadConfig(num_shards=shards),
    )


def encoded_jpeg(rng, height, width):
    file = io.BytesIO()
    Image.fromarray(random_image(rng, height, width)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_imagenet_archives(folder, per_class):
    """Writes tiny archives as ImageNet's are; returns {file name: (JPEG, class)} of both splits."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    train, synsets = {}, ("n01440764", "n01443537", "n15075141")
    for synset in synsets:
        names = [f"{synset}_{number * 7 + 3}.JPEG" for number in range(per_class)]
        members = {name: encoded_jpeg(rng, *rng.integers(16, 30, 2)) for name in names}
        write_tar(folder / f"{synset}.tar", members)
        train |= {name: (content, synset) for name, content in members.items()}
    write_tar(
        folder / "ILSVRC2012_img_train.tar",
        {f"{synset}.tar": (folder / f"{synset}.tar").read_bytes() for synset in synsets},
    )
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 11)]
    validation = {name: encoded_jpeg(rng, 20, 24) for name in names}
    write_tar(folder / "ILSVRC2012_img_val.tar", validation)
    # Unlabelled, and not our test split.
    unlabelled = {
        f"ILSVRC2012_test_{index:08d}.JPEG": encoded_jpeg(rng, 9, 9) for index in range(4)
    }
    write_tar(folder / "ILSVRC2012_img_test.tar", unlabelled)
    # The classes of the first ten validation images, from the challenge's ground truth.
    truth = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
    labelled = zip(validation.items(), truth, strict=True)
    return train, {name: (content, label) for (name, content), label in labelled}


def write_picture(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    (image.convert(mode) if mode else image).save(path)


def write_cifar(folder, name, rng, count, shards=1):
    """Writes `count` training and a third as many test images as TFDS's CIFAR.

    TFDS shuffles what it writes. Returns pixels and labels by split, in their original order.
    """
    import tensorflow_datasets as tfds

    features = tfds.builder(name, data_dir=folder).info.features
    pixels = {"train": rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)}
    pixels["test"] = pixels["train"][::-3]
    labels = {split: rng.integers(0, 10, len(array)) for split, array in pixels.items()}
    coarse = {"coarse_label": 19} if name == "cifar100" else {}
    splits = {
        split: [
            {"image": image, "label": label, "id": f"{split}_{index:05d}", **coarse}
            for index, (image, label) in enumerate(zip(pixels[split], labels[split], strict=True))
        ]
        for split in pixels
    }
    write_tfds(folder, name, "3.0.2", features, splits, shards)
    return pixels, labels
