"""A trial in training, saved at the end of an epoch, so that it can be continued.

CHECKPOINTS/trial-000042/state.npz             weights, optimizer, random state
CHECKPOINTS/trial-000042/epoch-0007.tfrecord   what is kept of an epoch of a run that is followed
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping

import numpy as np
from absl import logging
from etils import epath

from tfmem.disk import atomic, npz, tfrecord
from tfmem.store import epochs
from tfmem.store.epochs import Epoch


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A trial between two epochs.

    Attributes:
      epoch: epochs that are finished.
      seconds: what they cost.
      weights: of the model, in its order.
      optimizer: variables of the optimizer, in its order.
      random: states of the seed generators that layers draw from, as `models.random_state`.
      epochs: what is kept of each epoch of a run that is followed, by its number.
    """

    epoch: int
    seconds: float
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    random: list[np.ndarray]
    epochs: Mapping[int, Epoch] = dataclasses.field(default_factory=dict)


_LISTS = ("weights", "optimizer", "random")  # Fields of arrays, each in the file by its index.


class Checkpoints:
    """The checkpoints of the trials of one store.

    Args:
      folder: where they are; made when the first is written.
      digest: of the trials' config: a checkpoint of another one is not used.
      every_seconds: how much time has to pass between two checkpoints of a trial, so that short
        epochs do not spend it on writing.
      first: the number in the store of the trainer's trial 0.
    """

    def __init__(
        self, folder: epath.PathLike, digest: str, every_seconds: float = 60.0, first: int = 0
    ):
        self._folder = epath.Path(folder)
        self._digest = digest
        self._every_seconds = every_seconds
        self._first = first
        self._last: dict[int, float] = {}
        self._written: set[tuple[int, int]] = set()  # (trial, epoch) that is followed.

    def path(self, trial: int) -> epath.Path:
        return self._folder / _name(self._first + trial) / "state.npz"

    def begin(self, trial: int) -> Checkpoint | None:
        """Returns where the trial was left, or None if it begins; damaged ones begin anew."""
        self._last[trial] = time.monotonic()
        path = self.path(trial)
        atomic.remove_abandoned(path.parent)
        if not path.exists():
            return None
        try:
            names = ("digest", "epoch", "seconds", "counts", "followed")
            with npz.open_npz(path, names) as archive:
                if str(archive["digest"]) != self._digest:
                    raise ValueError("it is of another configuration")
                lists = {
                    name: [archive[f"{name}_{index}"] for index in range(count)]
                    for name, count in zip(_LISTS, archive["counts"].tolist(), strict=True)
                }
                numbers = archive["followed"].tolist()
                followed = {number: self._read_epoch(trial, number) for number in numbers}
                self._written |= {(trial, number) for number in numbers}
                epoch, seconds = int(archive["epoch"]), float(archive["seconds"])
                return Checkpoint(epoch, seconds, epochs=followed, **lists)
        except (ValueError, KeyError, OSError) as error:
            logging.warning("trial %d begins anew, its checkpoint is no use: %s", trial, error)
            return None

    def is_due(self, trial: int) -> bool:
        """Returns whether enough time has passed since the trial's last checkpoint."""
        return time.monotonic() - self._last[trial] >= self._every_seconds

    def save(self, trial: int, checkpoint: Checkpoint) -> None:
        """Replaces the trial's checkpoint, atomically.

        One that cannot be written is no reason to give up the trial: it is said, and it goes on.
        """
        try:
            self._write(trial, checkpoint)
        except OSError as error:
            logging.warning("trial %d is not saved, and goes on: %s", trial, error)
        self._last[trial] = time.monotonic()

    def _write(self, trial: int, checkpoint: Checkpoint) -> None:
        arrays = {
            "digest": np.array(self._digest),
            "epoch": np.array(checkpoint.epoch),
            "seconds": np.array(checkpoint.seconds),
            "counts": np.array([len(getattr(checkpoint, name)) for name in _LISTS]),
            "followed": np.array(list(checkpoint.epochs), np.int64),
        }
        for name in _LISTS:
            for index, array in enumerate(getattr(checkpoint, name)):
                arrays[f"{name}_{index}"] = array
        # Each epoch once: together they may be large, and the state says which there are.
        for number, epoch in checkpoint.epochs.items():
            if (trial, number) not in self._written:
                content = tfrecord.encode([epochs.encode(trial, number, epoch)])
                atomic.write_bytes(self._epoch_path(trial, number), content)
                self._written.add((trial, number))
        npz.write_npz(self.path(trial), arrays)

    def _epoch_path(self, trial: int, number: int) -> epath.Path:
        return self.path(trial).parent / f"epoch-{number:04d}.tfrecord"

    def _read_epoch(self, trial: int, number: int) -> Epoch:
        (record,) = tfrecord.decode(self._epoch_path(trial, number).read_bytes())
        return epochs.decode(tfrecord.decode_example(record))[1]

    def remove(self, trial: int) -> None:
        """Removes the checkpoint of a trial that is stored."""
        self._remove(self.path(trial).parent)

    def remove_finished(self, stored: Iterable[int]) -> None:
        """Removes what is left of trials that are stored, by their numbers in the store."""
        finished = {_name(number) for number in stored}
        for folder in list(self._folder.iterdir()) if self._folder.exists() else ():
            if folder.name in finished:
                self._remove(folder)

    def _remove(self, folder: epath.Path) -> None:
        # Other launches on the store remove and make folders here at the same time: what is gone is
        # gone, and what is not empty any more stays. Each file system has its own errors for that.
        with contextlib.suppress(Exception):
            folder.rmtree(missing_ok=True)
            if not any(self._folder.iterdir()):
                self._folder.rmdir()


def _name(number: int) -> str:
    return f"trial-{number:06d}"
