"""Image classification datasets that TFDS prepares and that fit into memory."""

import io
import json
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from tfmem import quiet
from tfmem.datasets import base, damage, download, images, variants

# Their examples carry the position in the original files, which TFDS shuffles.
_ORIGINAL_ORDER = ("cifar10", "cifar100")
_AT_ONCE = 256  # Images that are read, or bytes of all images that are put into order.
# Does not fit into memory: `tfmem.datasets.imagenet` streams it.
IMAGENET = "imagenet2012"


def open_builder(name: str, data_dir: str | None) -> Any:
    """Returns the TFDS builder of that name; nothing is downloaded.

    Raises:
      ValueError: TFDS knows no such dataset.
    """
    quiet.import_tensorflow()
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    try:
        return tfds.builder(name, data_dir=data_dir)
    except (OSError, json.JSONDecodeError, json_format.ParseError) as error:
        # It has this one, in files that are not as it wrote them.
        raise damage.unreadable(f"TFDS's files of {name}", error) from error
    except Exception as error:  # ValueError, AssertionError, ...: each part of a name has its own.
        raise ValueError(
            f"TFDS has no dataset {name!r} ({damage.first_line(error)}): tfds:NAME takes NAME, "
            "NAME/CONFIG or NAME:VERSION, as in tfds:kmnist or tfds:emnist/letters"
        ) from error


def is_prepared(name: str, data_dir: str | None) -> bool:
    """Returns whether a TFDS dataset is there, so that `load` needs no network."""
    return open_builder(name, data_dir).is_prepared()


def prepare(builder: Any) -> None:
    """Downloads a dataset and writes it as TFDS does, if it is not there.

    Raises:
      ValueError: it could not be downloaded.
    """
    if builder.is_prepared():
        return
    root = epath.Path(builder.data_dir_root)
    logging.warning("%s is not in %s: preparing it", builder.name, root)
    try:
        download.download_and_prepare(builder)
    except download.DownloadError as error:
        raise ValueError(
            f"{builder.name} is not in {root} and could not be downloaded ({error}): run once with "
            "a network, or point --data_dir at a directory where TFDS prepared it"
        ) from error
    builder.info.read_from_directory(builder.data_dir)  # Another process has written it.


def split_names(
    builder: Any, test: tuple[str, ...] = ("test", "validation"), alone: bool = False
) -> dict[str, str]:
    """Returns TFDS's names of the splits `train` and `test` of a prepared dataset.

    Args:
      builder: of the dataset.
      test: what can be its test split; the first that is there is.
      alone: whether one of the two may lack.

    Raises:
      ValueError: it lacks one of the two, or both.
    """
    there = list(builder.info.splits)
    found = next((name for name in test if name in there), None)
    names = {"train": "train" if "train" in there else None, "test": found}
    has = {split: name for split, name in names.items() if name is not None}
    if len(has) < (1 if alone else 2):
        raise ValueError(
            f"TFDS's {builder.name} has the splits {', '.join(there) or 'none'}, expected train, "
            f"and {' or '.join(test)}, or --test_share=0.2, which holds out a fifth of each class "
            "of train"
        )
    return has


def _require_one_split(builder: Any, test_share: float) -> None:
    there = list(builder.info.splits)
    second = [name for name in there if name in base.TEST_NAMES]
    if "train" not in there or second:
        raise ValueError(
            f"TFDS's {builder.name} has the splits {', '.join(there) or 'none'}: "
            f"--test_share={test_share:g} is for datasets with train alone"
        )


def in_file_order(
    builder: Any,
    split_name: str,
    features: tuple[str, ...],
    decoders: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Returns the named features of a split's examples, in the order of its files."""
    import tensorflow_datasets as tfds

    return builder.as_dataset(
        split=split_name,
        shuffle_files=False,
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        decoders=tfds.decode.PartialDecoding(dict.fromkeys(features, True), decoders),
        **kwargs,
    )


def load(
    name: str,
    data_dir: str | None,
    image_size: int | None = None,
    test_share: float = 0.0,
    given: str | None = None,
    alone: bool = False,
) -> base.ArrayDataset:
    """Returns a TFDS dataset.

    Examples are in the order of TFDS's files and have their split and position as id, as in
    `train_00042`; where TFDS knows a unique `id` of each, that is the id. CIFAR-10 and CIFAR-100
    are in their original order, which these ids number. Images that may differ in size are files of
    people's, and are read as those of a folder are (`images.decode`).

    Args:
      name: a TFDS dataset with the features `image` and `label`, and the splits train, and test or
        validation.
      data_dir: where TFDS keeps its data; None is TFDS's own default.
      image_size: the side to which images are resized, or None.
      test_share: of each class's examples that are held out of train, in [0, 1), where there is no
        second split; see `variants.hold_out`.
      given: the name of the result, if it is another one.
      alone: whether a split that is alone stands for both.

    Raises:
      ValueError: TFDS has no such dataset, it is no image classification, the data is not there
        and cannot be downloaded, or its images differ in size and there is no image_size.
    """
    builder = open_builder(name, data_dir)
    if builder.name == IMAGENET:
        raise ValueError(
            f"{given or name} does not fit into memory: give {IMAGENET}, which is streamed"
        )
    _require_image_classification(builder)
    prepare(builder)
    if test_share:
        _require_one_split(builder, test_share)
    names = {"train": "train"} if test_share else split_names(builder, alone=alone)
    with damage.reading(builder):
        parts = [_read(builder, name, image_size) for name in names.values()]
    first, last = parts[0], parts[-1]
    train, test = variants.hold_out(first, test_share) if test_share else (first, last)
    class_names = tuple(builder.info.features["label"].names)
    return base.ArrayDataset(given or name, train, test, class_names, pixel_max=255)


def _require_image_classification(builder: Any) -> None:
    import tensorflow_datasets as tfds

    features = builder.info.features
    named = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    image, label = named.get("image"), named.get("label")
    if (
        not isinstance(image, tfds.features.Image)
        or np.dtype(image.np_dtype) != np.uint8
        or len(image.shape) != 3
        or not isinstance(label, tfds.features.ClassLabel)
    ):
        found = ", ".join(features) if hasattr(features, "keys") else type(features).__name__
        raise ValueError(
            f"TFDS's {builder.name} is no image classification: expected the features image (uint8 "
            f"pixels) and label (a class), it has {found}"
        )


def _read(builder: Any, split_name: str, image_size: int | None) -> base.ArraySplit:
    import tensorflow_datasets as tfds

    features = builder.info.features
    has_id = "id" in features and features["id"].shape == ()
    wanted = ("image", "label", *(["id"] if has_id else []))
    if None in features["image"].shape:
        numbers: list[int] = []
        keys = []
        encoded = {"image": tfds.decode.SkipDecoding()}
        mode = "L" if features["image"].shape[-1] == 1 else "RGB"

        def examples():
            for example in tfds.as_numpy(in_file_order(builder, split_name, wanted, encoded)):
                what = f"{split_name} example {len(numbers)}"
                numbers.append(example["label"])
                keys.append(example.get("id"))
                try:
                    yield what, images.decode(io.BytesIO(example["image"]), mode)
                except ValueError as error:
                    raise ValueError(f"TFDS's {builder.name}: {what} {error}") from error

        pixels = images.stack(examples(), image_size, f"TFDS's {builder.name}")
        labels = np.array(numbers)
    else:
        pixels, labels, keys = _of_one_size(builder, split_name, wanted, image_size)
    ids = base.numbered_ids(split_name, len(labels))
    if has_id:
        own = np.array([key.decode() if isinstance(key, bytes) else str(key) for key in keys])
        if builder.name in _ORIGINAL_ORDER:
            order = _original_order(own, f"{builder.name} {split_name}")
            columns = pixels.reshape(len(order), -1)
            for first in range(0, columns.shape[1], _AT_ONCE):  # Without a second copy of all.
                part = columns[:, first : first + _AT_ONCE]
                part[:] = part[order]
            return base.ArraySplit(labels[order], own[order], pixels)
        if len(np.unique(own)) == len(own):
            ids = own
    return base.ArraySplit(labels, ids, pixels)


def _of_one_size(
    builder: Any, split_name: str, wanted: tuple[str, ...], image_size: int | None
) -> tuple[np.ndarray, np.ndarray, list]:
    """Reads images of one size, their labels, and their ids if these are wanted.

    They are read some at a time: all at once, TFDS takes three times the memory of the images.
    """
    import tensorflow_datasets as tfds

    *sides, channels = builder.info.features["image"].shape
    sides = sides if image_size is None else [image_size, image_size]
    count = builder.info.splits[split_name].num_examples
    pixels = np.empty((count, *sides, channels), np.uint8)
    labels: list[np.ndarray] = []
    ids: list[bytes] = []
    start = 0
    batches = in_file_order(builder, split_name, wanted, batch_size=_AT_ONCE)
    for batch in tfds.as_numpy(batches):
        stop = start + len(batch["label"])
        pixels[start:stop] = images.resize(batch["image"], image_size)
        labels.append(batch["label"])
        ids.extend(batch.get("id", ()))
        start = stop
    return pixels[:start], np.concatenate(labels), ids


def _original_order(ids: np.ndarray, what: str) -> np.ndarray:
    """Returns the order in which the numbers that ids end with are 0, 1, 2, ..."""
    ends = [name.rpartition("_")[2] for name in ids]
    numbers = np.array([int(end) if end.isdecimal() else -1 for end in ends])
    if not np.array_equal(np.sort(numbers), np.arange(len(ids))):
        raise ValueError(
            f"{what}: ids do not number its {len(ids)} examples from 0 in their original order, "
            f"found {', '.join(ids[:3])}, ...: let TFDS prepare it again"
        )
    return np.argsort(numbers)
