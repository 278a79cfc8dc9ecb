"""Image classification datasets that TFDS prepares and that fit into memory."""

import numpy as np
from absl import logging

from tfmem.datasets import base


def is_prepared(name: str, data_dir: str | None) -> bool:
    """Returns whether a TFDS dataset is there, so that `load` needs no network."""
    import tensorflow_datasets as tfds

    return tfds.builder(name, data_dir=data_dir).is_prepared()


def load(name: str, data_dir: str | None) -> base.Dataset:
    """Returns a TFDS dataset in the order of its files (`shuffle_files=False`).

    An example's id is its split and its position in that order: MNIST and Fashion-MNIST carry none.

    Args:
      name: a TFDS dataset with the features `image` and `label` and the splits train and test.
      data_dir: where TFDS keeps its data; None is TFDS's own default.

    Raises:
      ValueError: the data is not there and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
        if not builder.is_prepared():
            logging.warning("%s is not in %s: downloading it", name, builder.data_dir)
            builder.download_and_prepare()
    except Exception as error:  # TFDS raises whatever the network or the disk raised.
        raise ValueError(
            f"{name} is not in {data_dir or 'the TFDS data directory'} and could not be "
            f"downloaded ({type(error).__name__}: {str(error).splitlines()[0]}): run once with a "
            "network, or point --data_dir at a directory where TFDS prepared it"
        ) from error

    def split(split_name: str) -> base.Split:
        arrays = tfds.as_numpy(
            builder.as_dataset(split=split_name, batch_size=-1, shuffle_files=False)
        )
        return base.Split(
            labels=arrays["label"],
            ids=base.numbered_ids(split_name, len(arrays["label"])),
            images=arrays["image"],
        )

    return base.Dataset(
        name=name,
        train=split("train"),
        test=split("test"),
        class_names=tuple(builder.info.features["label"].names),
        pixel_max=np.iinfo(np.uint8).max,
    )
