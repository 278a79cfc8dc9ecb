"""The store of finished trials: the only reader and writer of its files (docs/formats.md).

A trial's file appears by rename, so it is whole or it is absent, and checksums are verified on
every read. `tfmem.store.places` says which file is read.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfmem.config import Config, differences, digest, from_dict, to_dict
from tfmem.datasets import Dataset
from tfmem.disk import atomic, bits
from tfmem.disk.bits import BitMatrix
from tfmem.store import asked, records
from tfmem.store.archives import Reader
from tfmem.store.errors import DamagedFileError, StoreError
from tfmem.store.places import Places
from tfmem.store.trials import Trial, TrialSet

_FORMAT = 2  # Raised when the same config trains another trial, as when padding changed.


class Store:
    """A store on any file system that `etils.epath` knows."""

    def __init__(self, path: epath.Path, config: Config, dataset: Dataset, about: dict):
        self.path = path
        self.places = Places(path)
        self.config = config
        self.dataset = dataset  # It has no images.
        self.fingerprint: str = about["dataset_fingerprint"]
        self.versions: dict[str, str] = about["versions"]  # The store was made with these.
        self._command: list[str] = about["command"]
        self.asked = asked.decode(about["asked"])  # Which trials launches have asked for so far.
        self.digest = digest(config, self.fingerprint)
        self._made_for = records.MadeFor(self.digest, dataset)

    @staticmethod
    def exists(path: epath.PathLike) -> bool:
        """Returns whether there is a store at `path`, whatever it holds."""
        return (epath.Path(path) / "experiment.json").exists()

    @classmethod
    def create(
        cls,
        path: epath.PathLike,
        config: Config,
        dataset: Dataset,
        command: Sequence[str] = (),
        trials: range | None = None,
    ) -> "Store":
        """Opens the store at `path` for writing, making it if it is not there.

        Args:
          path: where it is, or will be.
          config: what its trials are.
          dataset: what they are trained on.
          command: the program that makes it and its flags, without --store and --trials:
            `command` says how the store is completed. It is no part of what tells stores apart.
          trials: which ones a new store is made for; all by default. `ask_for` adds to them.

        Raises:
          StoreError: a store of another config or dataset is there; the message names the fields
            that differ.
        """
        path = epath.Path(path)
        about_path = path / "experiment.json"
        if cls.exists(path):
            found, about = _read_about(about_path)
            different = differences(config, found)
            if about["dataset_fingerprint"] != dataset.fingerprint:
                different.append(
                    "dataset fingerprint: "
                    f"{dataset.fingerprint[:12]} and {about['dataset_fingerprint'][:12]}"
                )
            if different:
                raise StoreError(
                    f"{path} holds trials of another configuration (given here and stored there): "
                    f"{'; '.join(different)}; give another --store, or the flags it was made with"
                )
        else:
            about = {
                "format": _FORMAT,
                "config": to_dict(config),
                "dataset_fingerprint": dataset.fingerprint,
                "versions": records.versions(),
                "command": list(command),
                "asked": asked.encode([trials or range(config.num_trials)]),
            }
            _write_about(about_path, about)
        (path / "trials").mkdir(parents=True, exist_ok=True)
        if not (path / "dataset.tfrecord").exists():
            atomic.write_bytes(path / "dataset.tfrecord", records.encode_dataset(dataset))
        store = cls.open(path)
        store.remove_abandoned()
        return store

    @classmethod
    def open(cls, path: epath.PathLike) -> "Store":
        """Opens the store at `path` for reading.

        Raises:
          StoreError: there is no store there.
          DamagedFileError: one of its two head files is damaged.
        """
        path = epath.Path(path)
        if not cls.exists(path):
            raise StoreError(
                f"{path} is not a store: it has no experiment.json",
                "tfmem train_trials or tfmem import_trials makes one",
            )
        config, about = _read_about(path / "experiment.json")
        dataset_path = path / "dataset.tfrecord"
        try:
            dataset = records.decode_dataset(dataset_path.read_bytes(), config.dataset)
        except (ValueError, KeyError, OSError) as error:
            command = _to_complete(about["command"], path, config, 0, 1)
            raise DamagedFileError(
                f"{dataset_path} is damaged ({_reason(error)})", f"remove it and run: {command}"
            ) from error
        return cls(path, config, dataset, about)

    def trial_path(self, number: int) -> epath.Path:
        """Returns where a trial's own file is, if it has one."""
        return self.places.trial_path(number)

    @property
    def archive_folder(self) -> epath.Path:
        """Where archives are; it need not be there."""
        return self.places.archive_folder

    def remove_abandoned(self) -> None:
        """Removes temporary files of processes that are no longer running."""
        for folder in (self.path, self.places.trial_folder, self.archive_folder):
            atomic.remove_abandoned(folder)

    def ask_for(self, trials: range) -> None:
        """Notes that a launch asks for trials: to be complete, the store has to have them.

        If two ask for new ones in the same moment, one may be lost; so a launch asks when it begins
        and when it ends.
        """
        path = self.path / "experiment.json"
        _, about = _read_about(path)
        found = asked.decode(about["asked"])
        self.asked = asked.union([*found, trials])
        if self.asked != found:
            _write_about(path, {**about, "asked": asked.encode(self.asked)})

    def numbers(self) -> list[int]:
        """Returns the trials that are there, ascending; their content is not verified."""
        return self.places.look()

    def damaged_archives(self) -> list[DamagedFileError]:
        """Returns what is wrong with archives as files, and the command that mends them.

        What is wrong with single trials in archives is `damaged`'s to say.
        """
        self.places.look_for_archives()
        command = shlex.join(["tfmem", "check_store", f"--store={self.path}", "--quarantine"])
        return [
            DamagedFileError(archive.damage(), f"to keep these and move it aside, run: {command}")
            for archive in self.places.archives.values()
            if archive.problem
        ]

    def write(self, trial: Trial) -> bool:
        """Stores a finished trial: its file is complete before it has its name.

        Of several processes that store the same trial the first one does. A damaged file is
        replaced; what is damaged in an archive gets a file of its own.

        Returns:
          Whether it was stored; False if a sound one was there.

        Raises:
          ValueError: an array has the wrong length.
          OSError: the file cannot be written; the error names it.
        """
        content, path = records.encode_trial(self._made_for, trial), self.trial_path(trial.number)
        if self.has(trial.number):
            return False
        if not atomic.create_bytes(path, content):
            # It is damaged, or somebody else has just stored it.
            if self.has(trial.number):
                return False
            atomic.write_bytes(path, content)
        return True

    def has(self, number: int) -> bool:
        """Returns whether a trial is there and sound."""
        try:
            with Reader() as reader:
                self._read(number, records.verify, reader)
        except StoreError:
            return False
        return True

    def read(self, number: int) -> Trial:
        """Returns a trial, verified.

        Raises:
          DamagedFileError: the file is not one that `write` made for this store; it says by which
            command the trial is made again.
          StoreError: the trial is not in the store.
        """
        with Reader() as reader:
            return self._read(number, records.decode_trial, reader)

    def verify(self, number: int, content: bytes, path: epath.Path) -> None:
        """Raises DamagedFileError, as `read`, if what `path` holds is not that trial's content."""
        self._decoded(records.verify, number, content, path)

    def load(
        self,
        numbers: Sequence[int] | None = None,
        on_trial: Callable[[int], None] = lambda number: None,
        probabilities: bool = False,
    ) -> TrialSet:
        """Reads what the estimators need of many trials: 3 bits per example and trial.

        Args:
          numbers: which trials; all that are there by default.
          on_trial: called after each trial is read, for a progress bar.
          probabilities: whether also the probabilities of the true labels, 2 bytes per example and
            trial.

        Raises:
          StoreError: no trials, a trial that is not there, or (DamagedFileError) a damaged file; a
            trial without probabilities where they are asked for.
        """
        numbers = self.numbers() if numbers is None else list(numbers)
        if not numbers:
            raise StoreError(f"{self.path} has no finished trials yet", f"run: {self.command()}")
        n, n_test = len(self.dataset.train), len(self.dataset.test)
        subset = np.empty((len(numbers), bits.packed_length(n)), np.uint8)
        train_correct = np.empty_like(subset)
        test_correct = np.empty((len(numbers), bits.packed_length(n_test)), np.uint8)
        train_probability, test_probability = (
            np.empty((len(numbers), size), np.float16) if probabilities else None
            for size in (n, n_test)
        )
        with Reader() as reader:
            for row, number in enumerate(numbers):
                _, train, test, *_ = self._read(number, records.decode_records, reader)
                subset[row] = np.frombuffer(train["subset"][0], np.uint8)
                train_correct[row] = np.frombuffer(train["correct"][0], np.uint8)
                test_correct[row] = np.frombuffer(test["correct"][0], np.uint8)
                for array, record in ((train_probability, train), (test_probability, test)):
                    if array is None:
                        continue
                    if records.PROBABILITY not in record:
                        raise StoreError(
                            f"trial {number} of {self.path} has no probabilities of the true "
                            "labels: its source did not know them"
                        )
                    dtype = records.OPTIONAL[records.PROBABILITY]
                    array[row] = np.frombuffer(record[records.PROBABILITY][0], dtype)
                on_trial(number)
        return TrialSet(
            numbers=np.array(numbers, np.int64),
            subset=BitMatrix(subset, n),
            train_correct=BitMatrix(train_correct, n),
            test_correct=BitMatrix(test_correct, n_test),
            train_labels=self.dataset.train.labels,
            test_labels=self.dataset.test.labels,
            train_probability=train_probability,
            test_probability=test_probability,
        )

    def damaged(
        self, numbers: Iterable[int], on_trial: Callable[[int], None] = lambda number: None
    ) -> dict[int, DamagedFileError]:
        """Reads the given trials and returns the damaged ones, each with what is wrong."""
        found = {}
        with Reader() as reader:
            for number in numbers:
                try:
                    self._read(number, records.verify, reader)
                except DamagedFileError as error:
                    found[number] = error
                on_trial(number)
        return found

    def missing_trials(self, trials: range) -> tuple[list[int], dict[int, DamagedFileError]]:
        """Returns those of the trials that have to be trained, and the damaged ones among them."""
        there = set(self.numbers())
        damaged = self.damaged(number for number in trials if number in there)
        return [number for number in trials if number not in there or number in damaged], damaged

    def command(self, start: int = 0, stop: int | None = None) -> str:
        """Returns the shell command that makes trials start..stop-1; all by default.

        Of a store that was made by a call of the library, it says so in words.
        """
        stop = self.config.num_trials if stop is None else stop
        return _to_complete(self._command, self.path, self.config, start, stop)

    def _read(self, number: int, decode: Callable[..., Any], reader: Reader) -> Any:
        """Returns the first version of a trial that is sound; one in its own file is the only one.

        Raises:
          StoreError: as `read`.
        """
        damaged = None
        for path, content in self.places.versions(number, reader):
            try:
                return self._decoded(decode, number, content, path)
            except DamagedFileError as error:
                damaged = damaged if damaged and path != self.trial_path(number) else error
        mend = f"run: {self.command(number, number + 1)}"
        raise damaged or StoreError(f"trial {number} is not in {self.path}", mend)

    def _decoded(
        self, decode: Callable[..., Any], number: int, content: bytes, path: epath.Path
    ) -> Any:
        try:
            return decode(self._made_for, number, content)
        except (ValueError, KeyError, IndexError) as error:
            what = path if path == self.trial_path(number) else f"trial {number} in {path}"
            command = self.command(number, number + 1)
            raise DamagedFileError(
                f"{what} is damaged ({_reason(error)})", f"to make it again, run: {command}"
            ) from error


def _reason(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else str(error)


def _to_complete(
    command: Sequence[str], store: epath.Path, config: Config, start: int, stop: int
) -> str:
    """Returns the shell command that makes trials start..stop-1 of a store, where it is now."""
    if not command:
        return f"what made it (Python that called Store.create), for trials {start}:{stop}"
    # An import always imports all trials.
    trials = [] if config.kind == "import" else [f"--trials={start}:{stop}"]
    return shlex.join(["tfmem", *command, f"--store={store}", *trials])


def _write_about(path: epath.Path, about: dict[str, Any]) -> None:
    atomic.write_bytes(path, (json.dumps(about, indent=2) + "\n").encode())


def _read_about(path: epath.Path) -> tuple[Config, dict[str, Any]]:
    try:
        about = json.loads(path.read_text())
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}, this tfmem reads {_FORMAT}")
        for field, kind in (("dataset_fingerprint", str), ("versions", dict), ("command", list)):
            if not isinstance(about[field], kind):
                raise ValueError(f"{field} is {about[field]!r}")
        if not all(isinstance(word, str) for word in about["command"]):
            raise ValueError(f"command is {about['command']!r}")
        asked.decode(about["asked"])
        return from_dict(about["config"]), about
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{path} cannot be read ({_reason(error)})",
            "restore it from a copy, or give another --store: the trials beside it are untouched",
        ) from error
