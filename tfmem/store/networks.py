"""Networks of a store's trials: STORE/networks/trial-000042.npz, plain arrays without pickles.

A network is on the disk before its trial is, and says which trial it belongs to: of two processes
that have trained the same one, each may have left a network, and the store has the trial of one.
"""

import collections
import contextlib
import dataclasses
import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator

import numpy as np
from etils import epath

from tfmem.disk import atomic, bits, npz
from tfmem.store.errors import DamagedFileError, StoreError, reason
from tfmem.store.trials import Network, Trial

_FOLDER = "networks"
_NAME = re.compile(r"trial-(\d{6,})\.npz")
_ABOUT = ("trial", "config_digest", "predictions_digest", "stacked", "jit_compile", "count")

Shapes = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Kept:
    """A network that was read and is sound, without its weights.

    Attributes:
      size: of its file, in bytes.
      shapes: of its weights, in the order of the model.
    """

    size: int
    shapes: Shapes


class Networks:
    """The networks of the trials of one store.

    Args:
      store: where the store is.
      digest: of its config and dataset; each network holds it.
    """

    def __init__(self, store: epath.Path, digest: str):
        self.folder = store / _FOLDER
        self._store = store
        self._digest = digest

    def path(self, number: int) -> epath.Path:
        """Returns where the network of a trial is, if it was kept."""
        return self.folder / f"trial-{number:06d}.npz"

    def numbers(self) -> set[int]:
        """Returns the trials whose networks are there, not verified."""
        names = map(_NAME.fullmatch, atomic.names(self.folder))
        return {int(name[1]) for name in names if name}

    def write(self, trial: Trial, network: Network) -> None:
        """Keeps the network of a trial, in place of one that may be there.

        Raises:
          OSError: it cannot be written; the error names the file.
        """
        about = {
            "trial": np.array(trial.number),
            "config_digest": np.array(self._digest),
            "predictions_digest": np.array(_digest_of(trial)),
            "stacked": np.array(network.stacked),
            "jit_compile": np.array(network.jit_compile),
            "count": np.array(len(network.weights)),
        }
        weights = ((_weight(index), array) for index, array in enumerate(network.weights))
        is_new = not self.folder.exists()
        npz.write_npz(self.path(trial.number), [*about.items(), *weights])
        if is_new:
            atomic.sync_folder(self._store)

    def read(self, trial: Trial) -> Network:
        """Returns the network of a trial that was read from the store, verified.

        Raises:
          DamagedFileError: it is damaged, or another trial's.
          StoreError: it is not there.
        """
        with self._opened(trial) as (archive, count):
            weights = [archive[_weight(index)] for index in range(count)]
            return Network(weights, bool(archive["stacked"]), bool(archive["jit_compile"]))

    def check(self, trial: Trial) -> Kept:
        """Reads the network of a trial, a weight at a time; raises as `read`."""
        with self._opened(trial) as (archive, count):
            shapes = tuple(archive[_weight(index)].shape for index in range(count))
            return Kept(atomic.size_and_time(self.path(trial.number))[0], shapes)

    def unsound(self, trials: Iterable[Trial]) -> tuple[int, dict[int, DamagedFileError]]:
        """Reads the networks of trials, which are there.

        Returns:
          How many bytes those have that are sound, and what is wrong with each other one: it is
          damaged, or its weights have other shapes than those of most trials.
        """
        found: dict[int, Kept] = {}
        damaged: dict[int, DamagedFileError] = {}
        for trial in trials:
            try:
                found[trial.number] = self.check(trial)
            except DamagedFileError as error:
                damaged[trial.number] = error
        shapes = collections.Counter(kept.shapes for kept in found.values()).most_common(1)
        for number, kept in list(found.items()):
            if kept.shapes != shapes[0][0]:
                damaged[number] = self._damaged(number, "its weights have other shapes than others")
                del found[number]
        return sum(kept.size for kept in found.values()), damaged

    @contextlib.contextmanager
    def _opened(self, trial: Trial) -> Iterator[tuple[npz.Archive, int]]:
        """Opens the network of a trial; yields its arrays, and how many weights it has.

        What is raised while it is open says that the file is damaged.
        """
        path = self.path(trial.number)
        if not path.exists():
            raise StoreError(f"{self._store} has no network of trial {trial.number}")
        try:
            with npz.open_npz(path, _ABOUT) as archive:
                self._require_of(trial, archive)
                yield archive, int(archive["count"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            why = reason(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
            raise self._damaged(trial.number, why) from error

    def _damaged(self, number: int, why: str) -> DamagedFileError:
        check = shlex.join(["tfmem", "check_store", f"--store={self._store}", "--quarantine"])
        return DamagedFileError(
            f"{self.path(number)} is damaged ({why})", f"to move it aside, run: {check}"
        )

    def _require_of(self, trial: Trial, archive: npz.Archive) -> None:
        """Raises ValueError if an archive has another network than the trial's."""
        number = archive["trial"]
        if number != trial.number:
            raise ValueError(f"it holds the network of trial {number}")
        if str(archive["config_digest"]) != self._digest:
            raise ValueError("it was made with another configuration or dataset")
        if str(archive["predictions_digest"]) != _digest_of(trial):
            raise ValueError("the predictions of its trial are another network's")


def _weight(index: int) -> str:
    return f"weight_{index}"


def _digest_of(trial: Trial) -> str:
    """Returns the SHA-256, in hexadecimal, of what a trial saw and predicts."""
    found = hashlib.sha256(bits.pack(trial.subset).tobytes())
    for split in (trial.train, trial.test):
        found.update(bits.pack(split.correct).tobytes())
        for array in (split.predicted, split.label_probability):
            found.update(b"" if array is None else array.tobytes())
    return found.hexdigest()
