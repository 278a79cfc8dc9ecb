"""The images of the examples that a store's trials were made on."""

import numpy as np

from tfmem import datasets
from tfmem.datasets import Dataset, ImageDataset
from tfmem.store.store import Store


def load_pictures(store: Store, data_dir: str | None) -> ImageDataset:
    """Returns the dataset of a store, with its images, or the features in their place.

    A dataset of TFDS's is looked for in `data_dir`.

    Raises:
      ValueError: it cannot be had, or what is found is another one; the message is why there are no
        pictures.
    """
    name = store.config.dataset
    if not name:
        raise ValueError("the store does not know which dataset its examples belong to")
    dataset = datasets.load_for(
        store.config, data_dir, datasets.Annotations.of(store.dataset.train)
    )
    if not _same_examples(dataset, store):
        raise ValueError(f"the {name} found here is not the one that the trials were made on")
    return dataset


def _same_examples(dataset: Dataset, store: Store) -> bool:
    """Returns whether the dataset is the one that the store's trials were made on."""
    if store.config.kind != "last_layer":
        return dataset.fingerprint == store.head.dataset_fingerprint
    # Its fingerprint is that of the features; the examples are known by their ids and labels.
    splits = (dataset.train, store.dataset.train), (dataset.test, store.dataset.test)
    return all(
        np.array_equal(found.ids, known.ids) and np.array_equal(found.labels, known.labels)
        for found, known in splits
    )
