"""Penultimate features of a network in place of images (Sec. 3.6).

STORE/network/network.keras    the network, trained once on all training examples
STORE/network/features.npz     `train_features` and `test_features`, float32 [n, d] and [n', d];
                               `about`, JSON: what made them
"""

import dataclasses
import itertools
import json

import numpy as np
from etils import epath

from tfmem.config import LastLayerConfig, differences, from_dict, to_dict
from tfmem.datasets import ArrayDataset, Dataset
from tfmem.disk import npz
from tfmem.recipe import ExperimentConfig
from tfmem.store import artifacts
from tfmem.store.trials import Trial

FOLDER = "network"  # It lies in the store of the trials that are trained on them.
_ARRAYS = {"train": "train_features", "test": "test_features"}


@dataclasses.dataclass(frozen=True)
class About:
    """What made the features.

    Attributes:
      network: the config, as `config.to_dict` gives it.
      feature_layer: the layer whose output they are; "" is the penultimate one.
      dataset_fingerprint: of the images.
      train_accuracy: of the network, on all training examples.
      test_accuracy: of the network.
      seconds: what training it cost, or None when that is not known.
    """

    network: dict
    feature_layer: str
    dataset_fingerprint: str
    train_accuracy: float
    test_accuracy: float
    seconds: float | None


def exist(folder: epath.PathLike) -> bool:
    """Returns whether the features are in the folder."""
    return _path(folder).exists()


def write(
    folder: epath.PathLike, config: LastLayerConfig, dataset: Dataset, trainer, trial: Trial
) -> None:
    """Writes a trained network and, when it is there, its features.

    Args:
      folder: where; made if it is not there.
      config: what the network and the layer are.
      dataset: what it was trained on.
      trainer: the `FitTrainer` that trained it last.
      trial: what came of it.
    """
    layer = config.feature_layer
    artifacts.save(trainer.network, epath.Path(folder) / "network.keras")
    accuracies = trial.subset_accuracy, trial.test_accuracy
    about = About(to_dict(config.network), layer, dataset.fingerprint, *accuracies, trial.seconds)
    blocks = {}
    for split, name in _ARRAYS.items():
        rows = trainer.features(split, layer or None)
        first = next(rows)
        shape = (len(getattr(dataset, split)), first.shape[1])
        blocks[name] = (shape, itertools.chain([first], rows))
    npz.write_npz(_path(folder), {"about": np.array(json.dumps(dataclasses.asdict(about)))}, blocks)


def read_about(folder: epath.PathLike) -> About:
    """Returns what made the features in the folder; ValueError if they are not there."""
    with npz.open_npz(_path(folder), ("about",)) as archive:
        return About(**json.loads(str(archive["about"])))


def read(
    folder: epath.PathLike, config: LastLayerConfig, dataset: Dataset
) -> tuple[ArrayDataset, About]:
    """Reads the features that `write` wrote.

    Returns:
      The dataset, with float32 [n, d] features in place of its images, and what made them.

    Raises:
      ValueError: they are of another network, layer or dataset (the message names what differs), or
        the file is damaged.
    """
    path = _path(folder)
    about = read_about(folder)
    with npz.open_npz(path, _ARRAYS.values()) as archive:
        network = from_dict(about.network)
        if not isinstance(network, ExperimentConfig):
            raise ValueError(f"{path}: its network is of kind {network.kind}, not an experiment")
        found = dataclasses.replace(config, network=network, feature_layer=about.feature_layer)
        different = differences(config, found)
        if about.dataset_fingerprint != dataset.fingerprint:
            different.append(f"the examples of {dataset.name}")
        if different:
            raise ValueError(
                f"{path} holds the features of another network (given here and found there): "
                f"{'; '.join(different)}; give another --store, or the flags it was made with"
            )
        train = dataset.train.with_images(archive[_ARRAYS["train"]])
        test = dataset.test.with_images(archive[_ARRAYS["test"]])
    return ArrayDataset(dataset.name, train, test, dataset.class_names), about


def _path(folder: epath.PathLike) -> epath.Path:
    return epath.Path(folder) / "features.npz"
