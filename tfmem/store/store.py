"""The store of finished trials: the only reader and writer of its files (docs/formats.md).

A trial's file appears by rename, so it is whole or it is absent, and checksums are verified on
every read. `tfmem.store.places` says which file is read.
"""

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from tfmem.config import Config
from tfmem.datasets import Dataset
from tfmem.disk import atomic
from tfmem.store import asked, head, records
from tfmem.store.archives import Reader
from tfmem.store.errors import (
    DamagedArchiveError,
    DamagedFileError,
    OtherTrialError,
    StoreError,
    UnreadableError,
    reason,
    told_apart,
)
from tfmem.store.head import Head
from tfmem.store.networks import Networks
from tfmem.store.places import Places
from tfmem.store.trials import Trial, TrialSet
from tfmem.words import runs

_DATASET = "dataset.tfrecord"


class Store:
    """A store on any file system that `etils.epath` knows.

    Attributes:
      path: where it is.
      places: finds its trials.
      networks: of its trials, where they are kept.
      head: what experiment.json said when it was opened, or later here.
      dataset: what its trials were trained on, without images.
    """

    def __init__(self, path: epath.Path, about: Head, dataset: Dataset):
        self.path = path
        self.places = Places(path)
        self.networks = Networks(path, about.digest)
        self.head = about
        self.dataset = dataset
        self._made_for = records.MadeFor(about.digest, dataset)

    @property
    def config(self) -> Config:
        """What its trials are."""
        return self.head.config

    @staticmethod
    def exists(path: epath.PathLike) -> bool:
        """Returns whether there is a store at `path`, whatever it holds."""
        return (epath.Path(path) / head.NAME).exists()

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
            that differ. Or there are trials of another one without experiment.json.
          DamagedFileError: as `open`.
        """
        path = epath.Path(path)
        made = Head.of(config, dataset, command, trials or range(config.num_trials))
        if cls.exists(path):
            if different := head.different(made, head.read(path)):
                raise StoreError(
                    f"{path} holds trials of another configuration (given here and stored there): "
                    f"{'; '.join(different)}",
                    f"give another --{made.flag}, or the flags it was made with",
                )
        else:
            there = cls(path, made, dataset)
            numbers = there.numbers()
            if there.others_prevail(found := there.damaged(numbers)):
                _, others = told_apart(found)
                raise StoreError(
                    f"{path} has no {head.NAME}, and {len(others):,} of its {len(numbers):,} "
                    "trials were made with another configuration or dataset than is given here",
                    f"give the flags that they were made with, or another --{made.flag}",
                )
            head.write(path, made)
        (path / "trials").mkdir(parents=True, exist_ok=True)
        if not (path / _DATASET).exists():
            atomic.write_bytes(path / _DATASET, records.encode_dataset(dataset))
        store = cls.open(path)
        store.remove_abandoned()
        return store

    @classmethod
    def open(cls, path: epath.PathLike) -> "Store":
        """Opens the store at `path` for reading.

        Raises:
          StoreError: there is no store there.
          DamagedFileError: one of its two head files is damaged, or another store's.
        """
        path = epath.Path(path)
        if not cls.exists(path):
            raise StoreError(
                f"{path} is not a store: it has no {head.NAME}",
                "tfmem train_trials or tfmem import_trials makes one",
            )
        about = head.read(path)
        dataset_path = path / _DATASET
        try:
            dataset = records.decode_dataset(dataset_path.read_bytes(), about.config.dataset)
            if dataset.fingerprint != about.labels_fingerprint:
                raise ValueError("its labels or ids are not those that the store was made with")
        except (ValueError, KeyError, IndexError, OSError) as error:
            raise DamagedFileError(
                f"{dataset_path} is damaged, or another store's ({reason(error)})",
                "restore it from a copy; or move it aside, and it is made again, and the trials "
                f"beside it are kept, if you run: {about.to_make_again(path)}",
            ) from error
        return cls(path, about, dataset)

    def trial_path(self, number: int) -> epath.Path:
        """Returns where a trial's own file is, if it has one."""
        return self.places.trial_path(number)

    @property
    def archive_folder(self) -> epath.Path:
        """Where archives are; it need not be there."""
        return self.places.archive_folder

    def remove_abandoned(self) -> None:
        """Removes temporary files of processes that are no longer running."""
        for folder in (".", "trials", "archives", "networks"):
            atomic.remove_abandoned(self.path / folder)

    def ask_for(self, trials: range) -> None:
        """Notes that a launch asks for trials: to be complete, the store has to have them.

        If two ask for new ones in the same moment, one may be lost; so a launch asks when it begins
        and when it ends.
        """
        found = head.read(self.path)
        self.head = dataclasses.replace(found, asked=asked.union([*found.asked, trials]))
        if self.head != found:
            head.write(self.path, self.head)

    def keep_networks(self, keeps: bool) -> None:
        """Notes whether launches keep the networks of their trials, unless told otherwise."""
        self.head = head.read(self.path).keeping_networks(keeps)
        head.write(self.path, self.head)

    def numbers(self, wanted: range | None = None) -> list[int]:
        """Returns the trials that are there, of all or those wanted, ascending and not verified."""
        there = self.places.look()
        return there if wanted is None else [number for number in there if number in wanted]

    def usable(self, wanted: range | None = None) -> list[int]:
        """Returns the trials that an analysis reads: those that are there, if none may be lost.

        Trials may lack that nobody has made yet. But what was made and cannot be read is not
        passed over unasked: `read` and `load` refuse a damaged trial.

        Raises:
          DamagedFileError: an archive is damaged, so that trials may lack.
        """
        there, archives = self.numbers(wanted), self.damaged_archives()
        if archives:
            raise archives[0]
        return there

    def unusable(
        self, wanted: range | None = None, on_trial: Callable[[int], None] = lambda number: None
    ) -> dict[int, DamagedFileError]:
        """Reads trials; returns those that are damaged or lost, each with what is wrong."""
        there = self.numbers(wanted)
        lost = {
            number: problem
            for problem in self.damaged_archives()
            for number in set(problem.unreached).difference(there)
            if wanted is None or number in wanted
        }
        return lost | self.damaged(there, on_trial)

    def damaged_archives(self) -> list[DamagedArchiveError]:
        """Returns what is wrong with archives as files, and the command that mends them.

        What is wrong with single trials in archives is `damaged`'s to say.
        """
        self.places.look_for_archives()
        mend = f"to keep these and move it aside, run: {self._check} --quarantine"
        return [
            DamagedArchiveError(archive.damage(), mend, archive.unreached)
            for archive in self.places.archives.values()
            if archive.problem
        ]

    def write(self, trial: Trial) -> bool:
        """Stores a finished trial: its file is complete before it has its name.

        Of several processes that store the same trial the first one does. A file that is in its
        way, since it is damaged or no file, goes to quarantine; what is damaged in an archive gets
        a file of its own. If the trial has its network with it, that is written before.

        Returns:
          Whether it was stored; False if a sound one was there.

        Raises:
          ValueError: an array has the wrong length.
          OSError: the file cannot be written; the error names it.
        """
        content, path = records.encode_trial(self._made_for, trial), self.trial_path(trial.number)
        if self.has(trial.number):
            return False
        if trial.network is not None:
            self.networks.write(trial, trial.network)
        while not atomic.create_bytes(path, content):
            # It is damaged, or somebody else has just stored it.
            if self.has(trial.number):
                return False
            self.places.move_aside(path)
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

    def verified(self, number: int, content: bytes | UnreadableError, path: epath.Path) -> bytes:
        """Returns what `path` holds of a trial; DamagedFileError, as `read`, if it is not sound."""

        def sound(made_for: records.MadeFor, number: int, content: bytes) -> bytes:
            records.verify(made_for, number, content)
            return content

        return self._decoded(sound, number, content, path)

    def load(
        self,
        numbers: Sequence[int] | None = None,
        on_trial: Callable[[int], None] = lambda number: None,
        probabilities: bool = False,
    ) -> TrialSet:
        """Reads what the estimators need of many trials: 3 bits per example and trial.

        Args:
          numbers: which trials; all that are there by default, unless an archive is damaged.
          on_trial: called after each trial is read, for a progress bar.
          probabilities: whether also the probabilities of the true labels, 2 bytes per example and
            trial.

        Raises:
          StoreError: no trials, a trial that is not there, or (DamagedFileError) a damaged file; a
            trial without probabilities where they are asked for.
        """
        numbers = self.usable() if numbers is None else list(numbers)
        if not numbers:
            raise self.without_trials()
        trials = TrialSet.empty(numbers, self.dataset, probabilities)
        self.fill(trials, range(len(numbers)), on_trial)
        return trials

    def without_trials(self) -> StoreError:
        """Returns the error that no trial is here, and the command that makes them."""
        return StoreError(f"{self.path} has no finished trials yet", f"run: {self.command()}")

    def fill(
        self,
        trials: TrialSet,
        rows: Sequence[int],
        on_trial: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Reads what `load` reads into some rows of a set, of the trials whose rows these are.

        Raises:
          StoreError: as `load`.
        """
        probabilities = trials.train_probability, trials.test_probability
        with Reader() as reader:
            for row, number in zip(rows, trials.numbers[rows].tolist(), strict=True):
                _, train, test, *_ = self._read(number, records.decode_records, reader)
                trials.subset.packed[row] = np.frombuffer(train["subset"][0], np.uint8)
                trials.train_correct.packed[row] = np.frombuffer(train["correct"][0], np.uint8)
                trials.test_correct.packed[row] = np.frombuffer(test["correct"][0], np.uint8)
                for array, record in zip(probabilities, (train, test), strict=True):
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

    def damaged(
        self, numbers: Iterable[int], on_trial: Callable[[int], None] = lambda number: None
    ) -> dict[int, DamagedFileError]:
        """Reads the given trials and returns those that cannot be used, each with what is wrong.

        They are damaged, or whole but of another configuration (OtherTrialError).
        """
        found = {}
        with Reader() as reader:
            for number in numbers:
                try:
                    self._read(number, records.verify, reader)
                except DamagedFileError as error:
                    found[number] = error
                on_trial(number)
        return found

    def missing_trials(
        self, trials: Sequence[int]
    ) -> tuple[list[int], dict[int, DamagedFileError]]:
        """Returns those of the trials that have to be trained, and the damaged ones among them.

        Raises:
          StoreError: some are whole, but of another configuration; see `disagreement`.
        """
        there = set(self.numbers())
        for problem in self.damaged_archives():
            logging.warning("%s", problem)
        damaged = self.damaged(number for number in trials if number in there)
        if told_apart(damaged)[1]:
            raise self.disagreement(self.damaged(there)) or next(iter(damaged.values()))
        return [number for number in trials if number not in there or number in damaged], damaged

    def others_prevail(self, damaged: Mapping[int, DamagedFileError]) -> bool:
        """Returns whether more trials are of another configuration than of the store's.

        Args:
          damaged: what `damaged` returned for all trials.
        """
        _, others = told_apart(damaged)
        return len(others) > len(self.places.look()) - len(damaged)

    def disagreement(self, damaged: Mapping[int, DamagedFileError]) -> StoreError | None:
        """Returns what to say if trials are whole but of another configuration; None if none are.

        If these are more than the others, experiment.json is what is wrong.

        Args:
          damaged: what `damaged` returned for all trials.
        """
        _, others = told_apart(damaged)
        if not others:
            return None
        if self.others_prevail(damaged):
            return StoreError(
                f"{self.path / head.NAME} is not what these trials were made with, which are "
                f"whole: {runs(others)}",
                "restore it from a copy; or move it aside, and it is made again, and they are "
                "kept, if you run what made them",
            )
        return StoreError(
            f"made with another configuration or dataset, and whole: {runs(others)}",
            f"to move them to {self.places.quarantine}, run: {self._check} --quarantine",
        )

    def command(self, start: int = 0, stop: int | None = None) -> str:
        """Returns the shell command that makes trials start..stop-1; all by default.

        Of a store that was made by a call of the library, it says so in words.
        """
        stop = self.config.num_trials if stop is None else stop
        return self.head.to_complete(self.path, start, stop)

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
        self,
        decode: Callable[..., Any],
        number: int,
        content: bytes | UnreadableError,
        path: epath.Path,
    ) -> Any:
        try:
            if isinstance(content, UnreadableError):
                raise content
            return decode(self._made_for, number, content)
        except records.OtherConfigError as error:
            raise OtherTrialError(
                f"{self._named(number, path)} is whole, but {error}",
                f"to learn which file is wrong, run: {self._check}",
            ) from error
        except (ValueError, KeyError, IndexError) as error:
            raise DamagedFileError(
                f"{self._named(number, path)} is damaged ({reason(error)})",
                f"to make it again, run: {self.command(number, number + 1)}",
            ) from error

    def _named(self, number: int, path: epath.Path) -> str:
        return f"{path}" if path == self.trial_path(number) else f"trial {number} in {path}"

    @property
    def _check(self) -> str:
        return shlex.join(["tfmem", "check_store", f"--store={self.path}"])
