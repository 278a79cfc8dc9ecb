"""The datasets that an experiment can name. Adding one is a file, or a row of `_TFDS`."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tfmem import words
from tfmem.config import Config, EvaluationConfig, LastLayerConfig
from tfmem.datasets import annotations, arrays, digits, features, folder, imagenet, tables, tfds
from tfmem.datasets.annotations import Annotations
from tfmem.datasets.base import (
    ArrayDataset,
    ArraySplit,
    Dataset,
    ImageDataset,
    Split,
    StreamedDataset,
    numbered_ids,
    require_in_memory,
    require_same_ids,
    require_same_labels,
)
from tfmem.datasets.variants import (
    corrupt_labels,
    limit_candidates,
    replace_labels,
    train_on_test_too,
    with_test_split_of,
)
from tfmem.disk import atomic

__all__ = ["LOADERS", "SOURCES", "ArrayDataset", "ArraySplit", "Dataset", "ImageDataset"]
__all__ += ["Annotations", "Source", "Split", "StreamedDataset", "corrupt_labels", "known", "load"]
__all__ += ["load_for", "located", "needs_download", "numbered_ids", "require_in_memory"]
__all__ += ["require_known", "require_same_ids", "require_same_labels", "short_name"]
__all__ += ["train_on_test_too"]
__all__ += ["uses_tensorflow", "with_test_split_of"]

_TFDS = ("mnist", "fashion_mnist", "cifar10", "cifar100")

# Each takes data_dir and image_size.
LOADERS: Mapping[str, Callable[[str | None, int | None], ImageDataset]] = {
    "digits": lambda data_dir, image_size: digits.load(image_size),
    **{name: functools.partial(tfds.load, name) for name in _TFDS},
    imagenet.NAME: imagenet.load,
}


class Source(NamedTuple):
    """A kind of dataset of which there are many, each named KIND:WHICH.

    Attributes:
      which: what follows the colon, as help texts call it.
      what: what that is, in one line.
      load: takes it, data_dir, image_size, test_share, and whether a split that is alone stands for
        both.
    """

    which: str
    what: str
    load: Callable[[str, str | None, int | None, float, bool], ImageDataset]


SOURCES: Mapping[str, Source] = {
    "tfds": Source(
        "NAME",
        "any TFDS dataset with an image and a label, such as tfds:emnist/letters",
        lambda which, data_dir, size, share, alone: tfds.load(
            which, data_dir, size, share, f"tfds:{which}", alone
        ),
    ),
    "folder": Source(
        "PATH",
        "images in PATH/train/CLASS and PATH/test/CLASS",
        lambda which, data_dir, size, share, alone: folder.load(which, size, share, alone),
    ),
    "npz": Source(
        "PATH",
        "a file with x_train, y_train, x_test and y_test, or MedMNIST's names",
        lambda which, data_dir, size, share, alone: arrays.load(which, size, share, alone),
    ),
    "csv": Source(
        "PATH[:COLUMN]",
        "a table of numbers with a column of labels: label, or COLUMN",
        lambda which, data_dir, size, share, alone: tables.load(which, share, alone),
    ),
}


def known() -> str:
    """Returns what can be given as a dataset, for help texts: names, then kinds."""
    return ", ".join([*LOADERS, *(f"{kind}:{source.which}" for kind, source in SOURCES.items())])


def require_known(name: str) -> None:
    """Raises ValueError, listing the known ones, when `name` can be no dataset."""
    kind, _, which = name.partition(":")
    if kind not in SOURCES:
        syntaxes = {f"{kind}:{source.which}": None for kind, source in SOURCES.items()}
        words.lookup({**LOADERS, **syntaxes}, name, "dataset")
    elif not which:
        source = SOURCES[kind]
        raise ValueError(
            f"dataset {name!r} lacks its {source.which}: expected {kind}:{source.which}, "
            f"{source.what}; the known ones are {known()}"
        )


def located(name: str) -> str:
    """Returns the name of a dataset with its path absolute, if it has one (folder:, npz:, csv:)."""
    kind, _, which = name.partition(":")
    is_path = kind in SOURCES and SOURCES[kind].which.startswith("PATH") and which
    return f"{kind}:{atomic.absolute(which)}" if is_path else name


def short_name(name: str) -> str:
    """Returns the name of a dataset for titles: the last part of its path, if it has one."""
    kind, _, which = name.partition(":")
    if kind not in SOURCES or not SOURCES[kind].which.startswith("PATH"):
        return name
    path = tables.path_and_label(which)[0] if kind == "csv" else which
    return path.rstrip("/").rpartition("/")[2]


def uses_tensorflow(name: str) -> bool:
    """Returns whether `load` needs TensorFlow, to read what TFDS keeps.

    Raises:
      ValueError: no such dataset.
    """
    require_known(name)
    return name.startswith("tfds:") or name in (*_TFDS, imagenet.NAME)


def needs_download(name: str, data_dir: str | None = None) -> bool:
    """Returns whether `load` would have to download or prepare the dataset first.

    Raises:
      ValueError: no such dataset.
    """
    return uses_tensorflow(name) and not tfds.is_prepared(name.removeprefix("tfds:"), data_dir)


def load(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    test_share: float = 0.0,
    standardize: bool = False,
) -> ImageDataset:
    """Returns the dataset of that name.

    Args:
      name: a key of `LOADERS`, or KIND:WHICH with a kind of `SOURCES`.
      data_dir: where TFDS keeps its data, for the datasets that come from there.
      image_size: side in pixels. Images become their largest central square, resized (Pillow's
        bicubic filter, antialiased); a streamed dataset leaves that to whoever decodes its images.
        None keeps the images as they are; ImageNet's are 224.
      test_share: of each class's examples that are held out as test examples, in [0, 1), where a
        KIND:WHICH has no second split; see `variants.hold_out`.
      standardize: whether features are standardized by the training set; see `features.ready`.

    Raises:
      ValueError: no such dataset, its data is missing or is not as it should be, image_size is
        less than 1 or for features, standardize is for images, or the dataset has a second split
        and there is a test_share.
    """
    return features.ready(_read(name, data_dir, image_size, test_share), standardize)


def _read(
    name: str,
    data_dir: str | None,
    image_size: int | None,
    test_share: float = 0.0,
    alone: bool = False,
) -> ImageDataset:
    """Returns the dataset of that name as it is, but for the size of its images; see `load`.

    If `alone`, a dataset may have one split, which stands for both.
    """
    require_known(name)
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size is {image_size}, expected 1 pixel or more")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share is {test_share:g}, expected a share in [0, 1)")
    if name in LOADERS:
        if test_share:
            raise ValueError(
                f"{name} has a test split: --test_share={test_share:g} is for datasets without one"
            )
        found = LOADERS[name](data_dir, image_size)
    else:
        kind, _, which = name.partition(":")
        found = SOURCES[kind].load(which, data_dir, image_size, test_share, alone)
    if image_size is not None and not found.has_images:
        raise ValueError(f"--image_size={image_size} is for images, and {name} has features")
    return found


def load_for(
    config: Config, data_dir: str | None = None, given: Annotations | None = None
) -> ImageDataset:
    """Returns the dataset of a config: its labels replaced, its splits joined as it says.

    Args:
      config: of a store, or an experiment.
      data_dir: where TFDS keeps its data, for the datasets that come from there.
      given: what the files of labels and candidates say, of a dataset that was loaded before, such
        as a store's. None: the files that the config names are read.

    Raises:
      ValueError: as `load`, `corrupt_labels`, `train_on_test_too`, `annotations.read_labels` and
        `annotations.read_candidates`, or images of features are to be cropped or flipped. Or, where
        the test split is another dataset's, as `with_test_split_of`.
    """
    dataset = _read(config.dataset, data_dir, config.image_size, config.test_share)
    if isinstance(config, EvaluationConfig):
        tables.require_same_columns(config.dataset, config.test_dataset)
        other = _read(config.test_dataset, data_dir, config.image_size, alone=True)
        dataset = with_test_split_of(other, dataset)
    dataset = features.ready(dataset, config.standardize)
    if config.kind == "import":
        return dataset
    trained = config.network if isinstance(config, LastLayerConfig) else config.experiment
    features.require_suited(trained, dataset)
    experiment = config.experiment
    dataset = corrupt_labels(dataset, experiment.corrupted_labels, experiment.seed)
    given = given or annotations.read(experiment, dataset)
    if given.labels is not None and experiment.labels:
        dataset = replace_labels(dataset, given.labels[: len(dataset.train)])
    if given.candidates is not None and experiment.candidates:
        dataset = limit_candidates(dataset, given.candidates[: len(dataset.train)])
    joined = config.kind == "turnover" and config.test_examples
    return train_on_test_too(dataset) if joined else dataset
