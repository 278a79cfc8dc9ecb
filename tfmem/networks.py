"""Trained networks as files, on any file system that `etils.epath` knows."""

import tempfile

from etils import epath

from tfmem import atomic

_NAME = "network.keras"


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
