"""The datasets that an experiment can name. Adding one is a file, or a row of `_TFDS`."""

import functools
from collections.abc import Callable, Mapping

from tfmem import tables
from tfmem.datasets import digits, tfds
from tfmem.datasets.base import Dataset, Split, numbered_ids, require_same_labels

__all__ = ["LOADERS", "Dataset", "Split", "load", "needs_download", "numbered_ids"]
__all__ += ["require_known", "require_same_labels"]

_TFDS = ("mnist", "fashion_mnist")

LOADERS: Mapping[str, Callable[[str | None], Dataset]] = {
    "digits": lambda data_dir: digits.load(),
    **{name: functools.partial(tfds.load, name) for name in _TFDS},
}


def require_known(name: str) -> None:
    """Raises ValueError, listing the known ones, when no dataset has that name."""
    tables.lookup(LOADERS, name, "dataset")


def needs_download(name: str, data_dir: str | None = None) -> bool:
    """Returns whether `load` would have to download the dataset first."""
    require_known(name)
    return name in _TFDS and not tfds.is_prepared(name, data_dir)


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Returns the dataset of that name.

    Args:
      name: a key of `LOADERS`.
      data_dir: where TFDS keeps its data, for the datasets that come from there.

    Raises:
      ValueError: no such dataset, or its data is missing.
    """
    return tables.lookup(LOADERS, name, "dataset")(data_dir)
