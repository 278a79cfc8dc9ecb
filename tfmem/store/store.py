"""The store of finished trials: the only reader and writer of its files.

    STORE/
      experiment.json                 the config, the dataset's fingerprint, versions
      dataset.tfrecord                labels and ids of both splits, class names
      trials/trial-000042.tfrecord    one finished trial
      archives/                       many finished trials in one file (`tfmem.store.archives`)
      checkpoints/trial-000042/       only while that trial is being trained

A trial's file appears by rename, so it is whole or it is absent, and checksums are verified on
every read. WORKSPACE.md describes the records.

A trial that has a file of its own is read from there, whatever archives have; of several archives
the largest sound one is read. What goes while a store is read has gone into another file: it is
looked for again.
"""

import contextlib
import functools
import json
import platform
import shlex
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from tfmem import config as config_lib
from tfmem import datasets
from tfmem.datasets import Dataset
from tfmem.disk import atomic, bits, tfrecord
from tfmem.disk.bits import BitMatrix
from tfmem.store import archives, epochs
from tfmem.store.archives import Archive, Reader
from tfmem.store.places import TRIAL_NAME, Places, about_archive
from tfmem.store.records import (
    OPTIONAL,
    PROBABILITY,
    MadeFor,
    decode_dataset,
    decode_records,
    decode_trial,
    encode_dataset,
    encode_predictions,
    verify,
)
from tfmem.store.trials import Trial, TrialSet

_FORMAT = 1
_ATTEMPTS = 10  # To find what others move meanwhile.


class StoreError(ValueError):
    """A store that cannot be used as asked; the message says what to do."""


class DamagedFileError(StoreError):
    """A file that is not what was written; the message names it and what makes it again."""


class Store:
    """A store on any file system that `etils.epath` knows."""

    def __init__(self, path: epath.Path, config: config_lib.Config, dataset: Dataset, about: dict):
        self.path = path
        self.config = config
        self.dataset = dataset  # Without images.
        self.fingerprint: str = about["dataset_fingerprint"]
        self.versions: dict[str, str] = about["versions"]  # Of what made the store.
        self._command: list[str] = about["command"]
        self.digest = config_lib.digest(config, self.fingerprint)
        self._made_for = MadeFor(self.digest, dataset)
        # As they were when they were last listed.
        self._loose: set[int] | None = None  # Trials with a file of their own; None before that.
        self._archives: dict[str, Archive] = {}  # By name, which says what they hold.
        self._archived: dict[int, Archive] = {}  # By trial, the one that is read.

    @staticmethod
    def exists(path: epath.PathLike) -> bool:
        """Returns whether there is a store at `path`, whatever it holds."""
        return (epath.Path(path) / "experiment.json").exists()

    @classmethod
    def create(
        cls,
        path: epath.PathLike,
        config: config_lib.Config,
        dataset: Dataset,
        command: Sequence[str] = (),
    ) -> "Store":
        """Opens the store at `path` for writing, making it if it is not there.

        Args:
          path: where it is, or will be.
          config: what its trials are.
          dataset: what they are trained on.
          command: the program that makes it and its flags, without --store and --trials:
            `command` says how the store is completed. It is no part of what tells stores apart.

        Raises:
          StoreError: a store of another config or dataset is there; the message names the fields
            that differ.
        """
        path = epath.Path(path)
        about_path = path / "experiment.json"
        if cls.exists(path):
            found, about = _read_about(about_path)
            different = config_lib.differences(config, found)
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
            (path / "trials").mkdir(parents=True, exist_ok=True)
            about = {
                "format": _FORMAT,
                "config": config_lib.to_dict(config),
                "dataset_fingerprint": dataset.fingerprint,
                "versions": versions(),
                "command": list(command),
            }
            atomic.write_bytes(about_path, (json.dumps(about, indent=2) + "\n").encode())
        (path / "trials").mkdir(parents=True, exist_ok=True)
        if not (path / "dataset.tfrecord").exists():
            atomic.write_bytes(path / "dataset.tfrecord", encode_dataset(dataset))
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
                f"{path} is not a store: it has no experiment.json; "
                "launchers.train_trials or launchers.import_trials makes one"
            )
        config, about = _read_about(path / "experiment.json")
        dataset_path = path / "dataset.tfrecord"
        try:
            dataset = decode_dataset(dataset_path.read_bytes(), config.dataset)
        except (ValueError, KeyError, OSError) as error:
            command = _to_complete(about["command"], path, config, 0, 1)
            raise DamagedFileError(
                f"{dataset_path} is damaged ({_reason(error)}): remove it and run: {command}"
            ) from error
        return cls(path, config, dataset, about)

    def trial_path(self, number: int) -> epath.Path:
        """Returns where a trial's own file is, if it has one."""
        return self.path / "trials" / f"trial-{number:06d}.tfrecord"

    @property
    def archive_folder(self) -> epath.Path:
        """Where archives are; it need not be there."""
        return self.path / "archives"

    @property
    def checkpoint_folder(self) -> epath.Path:
        """Where trials in training are saved between epochs."""
        return self.path / "checkpoints"

    def remove_abandoned(self) -> None:
        """Removes temporary files of processes that are no longer running."""
        for folder in (self.path, self.path / "trials", self.archive_folder):
            atomic.remove_abandoned(folder)

    def numbers(self) -> list[int]:
        """Returns the trials that are there, ascending; their content is not verified."""
        places = self.places()
        return sorted(places.loose | places.archived.keys())

    def places(self) -> Places:
        """Returns where the trials are."""
        listed = self._list_archives()
        while True:
            names = map(TRIAL_NAME.fullmatch, atomic.names(self.path / "trials"))
            self._loose = {int(name[1]) for name in names if name}
            before, listed = listed, self._list_archives()
            # In an archive that came meanwhile may be trials whose files went before this listing.
            if listed == before:
                return Places(set(self._loose), self._archived, list(self._archives.values()))

    def damaged_archives(self) -> list[str]:
        """Returns what is wrong with archives as files, and the command that mends them.

        What is wrong with single trials in archives is `damaged`'s to say.
        """
        command = shlex.join(
            ["python", "-m", "launchers.check_store", f"--store={self.path}", "--quarantine"]
        )
        self._list_archives()
        return [
            f"{about_archive(archive)}; to keep these and move it aside, run: {command}"
            for archive in self._archives.values()
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
        sizes = {"train": len(self.dataset.train), "test": len(self.dataset.test)}
        if trial.subset.shape != (sizes["train"],):
            raise ValueError(f"subset has shape {trial.subset.shape}, expected ({sizes['train']},)")
        about: dict[str, tfrecord.Feature] = {
            "record": b"trial",
            "trial": np.array([trial.number]),
            "subset_size": np.array([trial.subset.sum()]),
            "subset_accuracy": np.array([trial.subset_accuracy]),
            "test_accuracy": np.array([trial.test_accuracy]),
            "config_digest": self.digest.encode(),
            "versions": json.dumps(versions()).encode(),
        }
        if not trial.subset.all():
            about["heldout_accuracy"] = np.array([trial.heldout_accuracy])
        if trial.epochs:
            about["epochs"] = np.array([len(trial.epochs)])
        if trial.base_seed is not None:
            about["base_seed"] = np.array([trial.base_seed])
        if trial.seconds is not None:
            about["seconds"] = np.array([trial.seconds], np.float32)
        train = encode_predictions("train", trial.train, sizes["train"])
        train["subset"] = bits.pack(trial.subset).tobytes()
        test = encode_predictions("test", trial.test, sizes["test"])
        records = [tfrecord.encode_example(record) for record in (about, train, test)]
        records += [epochs.encode(number, epoch) for number, epoch in trial.epochs.items()]
        content, path = tfrecord.encode(records), self.trial_path(trial.number)
        self._list_archives()
        archived = trial.number in self._archived and not path.exists()
        if archived and not self.damaged([trial.number]):
            return False
        created = atomic.create_bytes(path, content)
        if self._loose is not None:
            self._loose.add(trial.number)
        if created:
            return True
        if not self.damaged([trial.number]):
            return False
        atomic.write_bytes(path, content)
        return True

    def read(self, number: int) -> Trial:
        """Returns a trial, verified.

        Raises:
          DamagedFileError: the file is not one that `write` made for this store; the message has
            the command that makes the trial again.
          StoreError: the trial is not in the store.
        """
        with Reader() as reader:
            return self._read(number, decode_trial, reader)

    def content(self, number: int) -> bytes:
        """Returns a trial as the bytes of its own file, not verified; raises as `read`."""
        with Reader() as reader:
            return self._find(number, reader)[1]

    def verify(self, number: int, content: bytes, path: epath.Path) -> None:
        """Raises DamagedFileError, as `read`, if that is not the content of a trial.

        Args:
          number: of the trial.
          content: bytes as those of its own file.
          path: where they were found.
        """
        self._decoded(verify, number, content, path)

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
            raise StoreError(f"{self.path} has no finished trials yet: {self.command()}")
        n, n_test = len(self.dataset.train), len(self.dataset.test)
        subset = np.empty((len(numbers), bits.packed_length(n)), np.uint8)
        train_correct = np.empty_like(subset)
        test_correct = np.empty((len(numbers), bits.packed_length(n_test)), np.uint8)
        sizes = (n, n_test) if probabilities else ()
        probability = [np.empty((len(numbers), size), np.float16) for size in sizes]
        with Reader() as reader:
            for row, number in enumerate(numbers):
                _, train, test, *_ = self._read(number, decode_records, reader)
                subset[row] = np.frombuffer(train["subset"][0], np.uint8)
                train_correct[row] = np.frombuffer(train["correct"][0], np.uint8)
                test_correct[row] = np.frombuffer(test["correct"][0], np.uint8)
                for array, record in zip(probability, (train, test), strict=False):
                    if PROBABILITY not in record:
                        raise StoreError(
                            f"trial {number} of {self.path} has no probabilities of the true "
                            "labels: its source did not know them"
                        )
                    array[row] = np.frombuffer(record[PROBABILITY][0], OPTIONAL[PROBABILITY])
                on_trial(number)
        return TrialSet(
            numbers=np.array(numbers, np.int64),
            subset=BitMatrix(subset, n),
            train_correct=BitMatrix(train_correct, n),
            test_correct=BitMatrix(test_correct, n_test),
            train_labels=self.dataset.train.labels,
            test_labels=self.dataset.test.labels,
            **dict(zip(("train_probability", "test_probability"), probability, strict=False)),
        )

    def damaged(
        self, numbers: Iterable[int], on_trial: Callable[[int], None] = lambda number: None
    ) -> dict[int, str]:
        """Reads the given trials and returns the damaged ones, each with what is wrong."""
        found = {}
        with Reader() as reader:
            for number in numbers:
                try:
                    self._read(number, verify, reader)
                except DamagedFileError as error:
                    found[number] = str(error)
                on_trial(number)
        return found

    def command(self, start: int = 0, stop: int | None = None) -> str:
        """Returns the shell command that makes trials start..stop-1; all by default.

        Of a store that was made by a call of the library, it says so in words.
        """
        stop = self.config.num_trials if stop is None else stop
        return _to_complete(self._command, self.path, self.config, start, stop)

    def _list_archives(self) -> set[str]:
        """Looks which archives there are, and what those hold that are new; returns their names."""
        for left in reversed(range(_ATTEMPTS)):
            names = sorted(filter(archives.is_name, atomic.names(self.archive_folder)))
            try:
                found = {name: self._archives.get(name) or self._inspect(name) for name in names}
                break
            except FileNotFoundError:  # Merged into another one meanwhile.
                if not left:
                    raise
        if found.keys() != self._archives.keys():
            order = sorted(found.values(), key=lambda archive: (not archive.problem, archive.size))
            self._archived = {number: archive for archive in order for number in archive.parts}
            self._archives = found
        return set(names)

    def _inspect(self, name: str) -> Archive:
        archive = archives.inspect(self.archive_folder / name)
        if archive.problem:
            logging.warning("%s", about_archive(archive))
        return archive

    def _find(self, number: int, reader: Reader) -> tuple[epath.Path, bytes]:
        """Returns the file that a trial is in, and the trial's bytes."""
        path = self.trial_path(number)
        for _ in range(_ATTEMPTS):
            archive = self._archived.get(number)
            if archive is None or self._loose is None or number in self._loose:
                with contextlib.suppress(FileNotFoundError):
                    return path, path.read_bytes()
            if archive is not None:
                with contextlib.suppress(FileNotFoundError):
                    return archive.path, reader.read(archive, number)
            known = self._archives.keys()
            if self._list_archives() == known:
                break
        command = self.command(number, number + 1)
        raise StoreError(f"trial {number} is not in {self.path}; run: {command}")

    def _read(self, number: int, decode: Callable[..., Any], reader: Reader) -> Any:
        path, content = self._find(number, reader)
        try:
            return self._decoded(decode, number, content, path)
        except DamagedFileError:
            own = self.trial_path(number)
            if path == own or not own.exists():
                raise
            # It was made again since the files were listed.
            return self._decoded(decode, number, own.read_bytes(), own)

    def _decoded(
        self, decode: Callable[..., Any], number: int, content: bytes, path: epath.Path
    ) -> Any:
        try:
            return decode(self._made_for, number, content)
        except (ValueError, KeyError, IndexError) as error:
            what = path if path == self.trial_path(number) else f"trial {number} in {path}"
            command = self.command(number, number + 1)
            raise DamagedFileError(
                f"{what} is damaged ({_reason(error)}); to make it again, run: {command}"
            ) from error


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in ("tfmem", "tensorflow", "keras", "numpy", "tensorflow-datasets", "scikit-learn"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _reason(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else str(error)


def _to_complete(
    command: Sequence[str], store: epath.Path, config: config_lib.Config, start: int, stop: int
) -> str:
    """Returns the shell command that makes trials start..stop-1 of a store, where it is now."""
    if not command:
        return f"what made it (Python that called Store.create), for trials {start}:{stop}"
    # An import always imports all trials.
    trials = [] if config.kind == "import" else [f"--trials={start}:{stop}"]
    return shlex.join(["tfmem", *command, f"--store={store}", *trials])


def _read_about(path: epath.Path) -> tuple[config_lib.Config, dict[str, Any]]:
    try:
        about = json.loads(path.read_text())
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}, this tfmem reads {_FORMAT}")
        for field, kind in (("dataset_fingerprint", str), ("versions", dict), ("command", list)):
            if not isinstance(about[field], kind):
                raise ValueError(f"{field} is {about[field]!r}")
        if not all(isinstance(word, str) for word in about["command"]):
            raise ValueError(f"command is {about['command']!r}")
        return config_lib.from_dict(about["config"]), about
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{path} cannot be read ({_reason(error)}): restore it from a copy, or give another "
            "--store; the trials beside it are untouched"
        ) from error


def missing_trials(store: Store, trials: range) -> tuple[list[int], dict[int, str]]:
    """Returns the trials that have to be trained, and what is wrong with the damaged of them."""
    there = set(store.numbers())
    damaged = store.damaged(number for number in trials if number in there)
    return [number for number in trials if number not in there or number in damaged], damaged


def load_pictures(store: Store, data_dir: str | None) -> Dataset:
    """Returns the dataset of a store, with its images.

    Args:
      store: of trials.
      data_dir: where TFDS keeps its data, for the datasets that come from there.

    Raises:
      ValueError: it cannot be had, or what is found is another one; the message is why there are no
        pictures.
    """
    name = store.config.dataset
    if not name:
        raise ValueError("the store does not know which dataset its examples belong to")
    dataset = datasets.load_for(store.config, data_dir)
    if not _same_examples(dataset, store):
        raise ValueError(f"the {name} found here is not the one that the trials were made on")
    return dataset


def _same_examples(dataset: Dataset, store: Store) -> bool:
    """Returns whether the dataset is the one that the store's trials were made on."""
    if store.config.kind != "last_layer":
        return dataset.fingerprint == store.fingerprint
    # Its fingerprint is that of the features; the examples are known by their ids and labels.
    return all(
        np.array_equal(getattr(getattr(dataset, split), field), getattr(known, field))
        for split, known in (("train", store.dataset.train), ("test", store.dataset.test))
        for field in ("ids", "labels")
    )
