"""experiment.json: what the trials of a store are, and what else a store has to hold.

It is written first, and carries its own digest and that of `dataset.tfrecord`. So a change of
either is told from damage of the trials.
"""

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Sequence
from typing import Any

from etils import epath

from tfmem.config import Config, differences, digest, from_dict, to_dict
from tfmem.datasets import Dataset
from tfmem.disk import atomic, small_json
from tfmem.store import asked, records
from tfmem.store.errors import DamagedFileError, StoreError, reason

NAME = "experiment.json"
_MAX_BYTES = 2**24
KEEP_NETWORKS = "keep_networks"  # The flag by which a launch keeps the networks of its trials.
_FORMAT = 3  # Raised when the same config trains another trial, or when records change.


@dataclasses.dataclass(frozen=True)
class Head:
    """What experiment.json says.

    Attributes:
      config: what the trials are.
      dataset_fingerprint: of the dataset that they were trained on.
      labels_fingerprint: of what `dataset.tfrecord` keeps of it, which has no images.
      versions: of Python and libraries, with which the store was made.
      command: the program that made it and its flags, without that of the store and --trials.
      asked: which trials launches have asked for so far.
    """

    config: Config
    dataset_fingerprint: str
    labels_fingerprint: str
    versions: dict[str, str]
    command: Sequence[str]
    asked: Sequence[range]

    @classmethod
    def of(cls, config: Config, dataset: Dataset, command: Sequence[str], trials: range) -> "Head":
        """Returns that of a new store for a dataset, which is asked for some trials."""
        return cls(
            config=config,
            dataset_fingerprint=dataset.fingerprint,
            labels_fingerprint=dataset.without_images().fingerprint,
            versions=records.versions(),
            command=list(command),
            asked=asked.union([trials]),
        )

    @property
    def flag(self) -> str:
        """The flag by which the program that made the store is told where it is."""
        return "out_store" if self.config.kind == "evaluation" else "store"

    @property
    def keeps_networks(self) -> bool:
        """Whether trials that complete the store have their networks kept."""
        return f"--{KEEP_NETWORKS}" in self.command

    def keeping_networks(self, keeps: bool) -> "Head":
        """Returns the same of a store whose launches keep networks, or do not."""
        flags = f"--{KEEP_NETWORKS}", f"--no{KEEP_NETWORKS}"
        others = [word for word in self.command if word not in flags]
        chosen = [f"--{KEEP_NETWORKS}"] if keeps and others else []
        return dataclasses.replace(self, command=[*others, *chosen])

    @property
    def digest(self) -> str:
        """Of the config and the dataset: every trial holds it."""
        return digest(self.config, self.dataset_fingerprint)

    def to_complete(self, store: epath.Path, start: int, stop: int) -> str:
        """Returns the shell command that makes trials start..stop-1 of the store, where it is now.

        Of a store that was made by a call of the library, it says so in words.
        """
        if not self.command:
            return f"what made it (Python that called Store.create), for trials {start}:{stop}"
        # An import always imports all trials.
        trials = [] if self.config.kind == "import" else [f"--trials={start}:{stop}"]
        return shlex.join(["tfmem", *self.command, f"--{self.flag}={store}", *trials])

    def to_make_again(self, store: epath.Path) -> str:
        """Returns the shell commands that ask for the same trials again."""
        parts = self.asked or [range(self.config.num_trials)]
        commands = (self.to_complete(store, part.start, part.stop) for part in parts)
        return " && ".join(dict.fromkeys(commands))


def different(a: Head, b: Head) -> list[str]:
    """Returns one line per field of the config or dataset in which two differ."""
    lines = differences(a.config, b.config)
    if a.dataset_fingerprint != b.dataset_fingerprint:
        lines.append(
            f"dataset fingerprint: {a.dataset_fingerprint[:12]} and {b.dataset_fingerprint[:12]}"
        )
    return lines


def write(store: epath.Path, head: Head) -> None:
    """Writes the head file of a store, in place of one that may be there."""
    about = {
        "format": _FORMAT,
        "config": to_dict(head.config),
        "dataset_fingerprint": head.dataset_fingerprint,
        "labels_fingerprint": head.labels_fingerprint,
        "versions": head.versions,
        "command": list(head.command),
        "asked": asked.encode(head.asked),
    }
    about["digest"] = _digest(about)
    atomic.write_bytes(store / NAME, (json.dumps(about, indent=2) + "\n").encode())


def read(store: epath.Path) -> Head:
    """Reads the head file of a store.

    Raises:
      DamagedFileError: it is not as `write` wrote it; it says how it is made again.
      StoreError: another tfmem wrote it.
      OSError: it cannot be read, or is not there.
    """
    path = store / NAME
    mend = (
        "undo that or restore it from a copy; or move it aside, and what made the store makes it "
        "again, and keeps the trials beside it"
    )
    try:
        about = small_json.read(path, _MAX_BYTES)
        version, is_whole = about["format"], about.get("digest") == _digest(about)
        if version == _FORMAT and is_whole:
            return _decode(about)
        if version == _FORMAT or ("digest" in about and not is_whole):
            mend += f"; as far as it can be believed, run: {_decode(about).to_make_again(store)}"
            raise ValueError("it was changed after it was written: its digest is another")
    except (ValueError, KeyError, TypeError) as error:
        why = error.reason if isinstance(error, small_json.BadJsonError) else reason(error)
        raise DamagedFileError(f"{path} cannot be read ({why})", mend) from error
    raise StoreError(
        f"{path} has format {version}, and this tfmem reads format {_FORMAT}",
        "give another --store, or use the tfmem that made this one",
    )


def _decode(about: dict[str, Any]) -> Head:
    for field, kind in (
        ("dataset_fingerprint", str),
        ("labels_fingerprint", str),
        ("versions", dict),
        ("command", list),
    ):
        if not isinstance(about[field], kind):
            raise ValueError(f"{field} is {about[field]!r}")
    if not all(isinstance(word, str) for word in about["command"]):
        raise ValueError(f"command is {about['command']!r}")
    return Head(
        config=from_dict(about["config"]),
        dataset_fingerprint=about["dataset_fingerprint"],
        labels_fingerprint=about["labels_fingerprint"],
        versions=about["versions"],
        command=about["command"],
        asked=asked.decode(about["asked"]),
    )


def _digest(about: dict[str, Any]) -> str:
    """Returns the SHA-256 of what a head file says; how it is spaced does not count."""
    content = {name: value for name, value in about.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
