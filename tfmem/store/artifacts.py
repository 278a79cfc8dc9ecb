"""Trained networks as files, on any file system that `etils.epath` knows."""

import hashlib
import tempfile
from collections.abc import Mapping

import numpy as np
from etils import epath

from tfmem.config import DynamicsConfig
from tfmem.disk import atomic, bits, npz
from tfmem.store.store import Store

_NAME = "network.keras"
SUBSETS = "subsets.npz"  # It lies in the store's folder.


def save(network, path: epath.PathLike) -> None:
    """Writes a Keras model as a .keras file, atomically."""
    with tempfile.TemporaryDirectory() as local:
        written = epath.Path(local) / _NAME
        network.save(str(written))  # Keras writes to local disks only.
        atomic.write_bytes(path, written.read_bytes())


def load(path: epath.PathLike):
    """Reads a Keras model that `save` wrote.

    Raises:
      ValueError: it is absent, or no such file.
    """
    import keras

    from tfmem import models  # Registers what the models are made of.

    del models
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist: the run that saved it makes it again")
    with tempfile.TemporaryDirectory() as local:
        copied = epath.Path(local) / _NAME
        copied.write_bytes(path.read_bytes())
        try:
            return keras.saving.load_model(str(copied))
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{path} is no network that tfmem saved ({error})") from error


def subsets_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256, in hexadecimal, of the subsets in subsets.npz: bool, by name."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name}{array.shape}".encode() + bits.pack(array).tobytes())
    return found.hexdigest()


def read_subsets(store: Store) -> dict[str, np.ndarray]:
    """Returns the easy and difficult subsets of a store's runs.

    Returns:
      `tr_easy` and `tr_difficult`, bool [n], and where test examples have scores `tt_easy` and
      `tt_difficult`, bool [n'].

    Raises:
      ValueError: STORE/subsets.npz is absent, or holds other subsets than the runs were made with.
    """
    path = store.path / SUBSETS
    if not path.exists():
        raise ValueError(
            f"{path} does not exist, and which examples are easy is in it: to make it again, run: "
            f"{store.command()}"
        )
    with npz.open_npz(path, ["tr_easy", "tr_difficult"]) as archive:
        arrays = {name: archive[name] for name in archive.files}
    config = store.config
    if not isinstance(config, DynamicsConfig) or subsets_digest(arrays) != config.subsets_digest:
        raise ValueError(
            f"{path} holds other subsets than those that the runs were made with: restore it from "
            "a copy"
        )
    return arrays


def influence_path(store: epath.PathLike, number: int) -> epath.Path:
    """Returns where a store keeps the influence that a model was estimated to have (eq. 5)."""
    return epath.Path(store) / "influence" / f"trial-{number:06d}.npz"


def read_influence(store: Store, number: int, num_train: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads what tfmem train_turnover --influence wrote of a model.

    Returns:
      int64 [k] training examples, and float32 [k, n'] their influence on the test examples, in
      nats; both empty where nothing was written.

    Raises:
      ValueError: the file is not of this store.
    """
    path = influence_path(store.path, number)
    num_test = len(store.dataset.test)
    if not path.exists():
        return np.zeros(0, np.int64), np.zeros((0, num_test), np.float32)
    with npz.open_npz(path, ("tr_idx", "influence")) as archive:
        train_index, influence = archive["tr_idx"], archive["influence"]
    expected = (len(train_index), num_test)
    if influence.shape != expected:
        raise ValueError(f"{path}: influence has shape {influence.shape}, expected {expected}")
    if np.any((train_index < 0) | (train_index >= num_train)):
        raise ValueError(f"{path}: tr_idx has numbers outside of 0 to {num_train - 1}")
    return train_index, influence


def network_path(store: epath.PathLike, trial: int) -> epath.Path:
    """Returns where the network of a trial is kept."""
    return epath.Path(store) / "networks" / f"trial-{trial:06d}.keras"
