"""ImageNet (ILSVRC 2012): labels and ids in memory, images as a stream."""

import concurrent.futures
import hashlib
import json
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from tfmem.datasets import base, damage, tfds
from tfmem.datasets.stream import ImageStream
from tfmem.disk import npz

NAME = tfds.IMAGENET
IMAGE_SIZE = 224
_ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
_INDEX_FILE = "tfmem_index.npz"
_BATCH = 1_000
_LOG_EVERY = 100  # Batches.

# Labels, int64 [n], and ids, str [n], of train and test.
Index = dict[str, tuple[np.ndarray, np.ndarray]]


def load(data_dir: str | None, image_size: int | None = None) -> base.StreamedDataset:
    """Returns ImageNet; its test split is TFDS's `validation`.

    Examples are in the order of TFDS's files; ids are their file names, as in n01440764_10026.JPEG.
    Labels and ids take a whole pass over the files, once: they are kept in a file beside them, or
    under ~/.cache/tfmem where that cannot be written.

    Args:
      data_dir: where TFDS keeps its data; None is TFDS's own default.
      image_size: the side of the images that the stream promises; None is 224.

    Raises:
      ValueError: it is not there, nor are the archives that it is prepared from.
    """
    builder = tfds.open_builder(NAME, data_dir)
    if not builder.is_prepared():
        _require_archives(builder)
        tfds.prepare(builder)
    # TFDS has an unlabelled `test` too, where the archive of it was there.
    splits = tfds.split_names(builder, test=("validation",))
    with damage.reading(builder):
        about = _about_files(builder, splits)
        index = _cached_index(builder, splits, about)
    train, test = (base.Split(*index[name]) for name in ("train", "test"))
    ids = {"train": train.ids, "test": test.ids}
    stream = ImageStream(builder, splits, ids, image_size or IMAGE_SIZE, about)
    class_names = tuple(builder.info.features["label"].names)
    return base.StreamedDataset(NAME, train, test, class_names, pixel_max=255, stream=stream)


def _require_archives(builder: Any) -> None:
    folder = epath.Path(builder.data_dir_root) / "downloads" / "manual"
    missing = [name for name in _ARCHIVES if not (folder / name).exists()]
    if missing:
        raise ValueError(
            f"{NAME} is not in {builder.data_dir_root} and its download needs an account: "
            f"get {' and '.join(_ARCHIVES)} from https://image-net.org/download-images, put them "
            f"into {folder} (which lacks {' and '.join(missing)}) and run tfmem "
            f"train_trials again, or tfds build {NAME}; if it is prepared elsewhere, "
            "point --data_dir there"
        )


def _about_files(builder: Any, splits: dict[str, str]) -> str:
    """Returns what tells these files from others, as text: version and shards, no paths."""
    about = {"name": builder.name, "version": str(builder.version)}
    with concurrent.futures.ThreadPoolExecutor() as threads:  # A remote stat takes a while.
        for name, split_name in splits.items():
            info = builder.info.splits[split_name]
            sizes = threads.map(lambda path: epath.Path(path).stat().length, info.filepaths)
            about[name] = {
                "num_examples": info.num_examples,
                "shard_lengths": list(info.shard_lengths),
                "shard_bytes": list(sizes),
            }
    return json.dumps(about)


def _cached_index(builder: Any, splits: dict[str, str], about: str) -> Index:
    where = hashlib.sha256(str(builder.data_dir).encode()).hexdigest()[:12]
    places = (
        epath.Path(builder.data_dir) / _INDEX_FILE,
        epath.Path(f"~/.cache/tfmem/{NAME}-{builder.version}-{where}.npz").expanduser(),
    )
    for place in places:
        try:
            if place.exists():
                return _read_cache(place, about)
        except (ValueError, KeyError, OSError) as error:
            logging.warning("%s is made anew: %s", place, error)
    index, arrays = {}, {"about": np.array(about)}
    for name, split_name in splits.items():
        count = json.loads(about)[name]["num_examples"]
        index[name] = labels, ids = _read_index(builder, split_name, count)
        arrays |= {f"{name}_labels": labels, f"{name}_ids": np.char.encode(ids)}
    for place in places:
        try:
            npz.write_npz(place, arrays)
            logging.info("labels and ids of %s are in %s", NAME, place)
            break
        except OSError as error:
            logging.warning("%s cannot be written: %s", place, error)
    return index


def _read_cache(path: epath.Path, about: str) -> Index:
    with npz.open_npz(path, ("about",)) as archive:
        if str(archive["about"]) != about:
            raise ValueError("it was made of other files")
        return {
            name: (archive[f"{name}_labels"], archive[f"{name}_ids"].astype(np.str_))
            for name in ("train", "test")
        }


def _read_index(builder: Any, split_name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    logging.info("reading the labels and ids of %s %s: once, all of its files", NAME, split_name)
    examples = tfds.in_file_order(builder, split_name, ("label", "file_name")).batch(_BATCH)
    labels, ids = [], []
    for number, batch in enumerate(examples.as_numpy_iterator(), 1):
        labels.append(batch["label"])
        ids.append(batch["file_name"].astype(np.bytes_))
        if number % _LOG_EVERY == 0:
            logging.info("%s %s: %d of %d", NAME, split_name, number * _BATCH, count)
    return np.concatenate(labels), np.concatenate(ids).astype(np.str_)
