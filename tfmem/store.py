"""The store of finished trials: the only reader and writer of its files.

    STORE/
      experiment.json                 the config, the dataset's fingerprint, versions
      dataset.tfrecord                labels and ids of both splits, class names
      trials/trial-000042.tfrecord    one finished trial
      checkpoints/trial-000042/       only while that trial is being trained

A trial's file appears by rename, so it is whole or it is absent, and checksums are verified on
every read. WORKSPACE.md describes the records.
"""

import dataclasses
import functools
import json
import math
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from etils import epath

from tfmem import atomic, bits, epochs, experiments, tfrecord
from tfmem import config as config_lib
from tfmem.bits import BitMatrix
from tfmem.datasets import Dataset, Split
from tfmem.epochs import Epoch

_FORMAT = 1
_TRIAL_NAME = re.compile(r"trial-(\d{6,})\.tfrecord")


class StoreError(ValueError):
    """A store that cannot be used as asked; the message says what to do."""


class DamagedFileError(StoreError):
    """A file that is not what was written; the message names it and what makes it again."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What one trial's model says of one split, in index order.

    Attributes:
      correct: bool [n], whether the predicted label is the true one.
      predicted: uint16 [n], the predicted label, or None when the source does not know it.
      label_probability: float16 [n], the probability given to the true label, or None.
    """

    correct: np.ndarray
    predicted: np.ndarray | None = None
    label_probability: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Trial:
    """One finished trial.

    Attributes:
      number: the trial's number, 0 or more.
      base_seed: the experiment's seed, or None when the source does not know it.
      subset: bool [n], the training examples that the model was trained on.
      train: predictions on all n training examples.
      test: predictions on all n' test examples.
      seconds: what the trial cost, or None when the source does not know it.
      epochs: what is kept of each epoch of a run that is followed, by its number (`tfmem.epochs`).
    """

    number: int
    base_seed: int | None
    subset: np.ndarray
    train: Predictions
    test: Predictions
    seconds: float | None = None
    epochs: Mapping[int, Epoch] = dataclasses.field(default_factory=dict)

    @property
    def subset_accuracy(self) -> float:
        """Accuracy on the training examples that it saw."""
        return float(self.train.correct[self.subset].mean())

    @property
    def heldout_accuracy(self) -> float:
        """Accuracy on the training examples that it did not see; nan if it saw all of them."""
        return math.nan if self.subset.all() else float(self.train.correct[~self.subset].mean())

    @property
    def test_accuracy(self) -> float:
        return float(self.test.correct.mean())


@dataclasses.dataclass(frozen=True)
class TrialSet:
    """What the estimators need of t trials, rows in the order of `numbers`.

    Attributes:
      numbers: int64 [t], the trials.
      subset: [t, n], M of Algorithm 1: who saw what.
      train_correct: [t, n].
      test_correct: [t, n'].
      train_labels: int64 [n].
      test_labels: int64 [n'].
      train_probability: float16 [t, n], given to the true label; None unless asked for.
      test_probability: float16 [t, n'], or None.
    """

    numbers: np.ndarray
    subset: BitMatrix
    train_correct: BitMatrix
    test_correct: BitMatrix
    train_labels: np.ndarray
    test_labels: np.ndarray
    train_probability: np.ndarray | None = None
    test_probability: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def num_classes(self) -> int:
        """One more than the highest label."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    def take(self, index: np.ndarray) -> "TrialSet":
        """Returns the trials at these positions."""
        return dataclasses.replace(
            self,
            numbers=self.numbers[index],
            subset=self.subset.rows(index),
            train_correct=self.train_correct.rows(index),
            test_correct=self.test_correct.rows(index),
            **{
                name: None if array is None else array[index]
                for name, array in (
                    ("train_probability", self.train_probability),
                    ("test_probability", self.test_probability),
                )
            },
        )


class Store:
    """A store on any file system that `etils.epath` knows."""

    def __init__(self, path: epath.Path, config: config_lib.Config, dataset: Dataset, about: dict):
        self.path = path
        self.config = config
        self.dataset = dataset  # Without images.
        self.fingerprint: str = about["dataset_fingerprint"]
        self.versions: dict[str, str] = about["versions"]  # Of what made the store.
        self.digest = config_lib.digest(config, self.fingerprint)

    @staticmethod
    def exists(path: epath.PathLike) -> bool:
        """Returns whether there is a store at `path`, whatever it holds."""
        return (epath.Path(path) / "experiment.json").exists()

    @classmethod
    def create(cls, path: epath.PathLike, config: config_lib.Config, dataset: Dataset) -> "Store":
        """Opens the store at `path` for writing, making it if it is not there.

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
            }
            atomic.write_bytes(about_path, (json.dumps(about, indent=2) + "\n").encode())
        (path / "trials").mkdir(parents=True, exist_ok=True)
        if not (path / "dataset.tfrecord").exists():
            atomic.write_bytes(path / "dataset.tfrecord", _encode_dataset(dataset))
        for folder in (path, path / "trials"):
            atomic.remove_abandoned(folder)
        return cls.open(path)

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
            dataset = _decode_dataset(dataset_path.read_bytes(), config.dataset)
        except (ValueError, KeyError, OSError) as error:
            command = experiments.completion_command(config, str(path), 0, 1)
            raise DamagedFileError(
                f"{dataset_path} is damaged ({_reason(error)}): remove it and run: {command}"
            ) from error
        return cls(path, config, dataset, about)

    def trial_path(self, number: int) -> epath.Path:
        return self.path / "trials" / f"trial-{number:06d}.tfrecord"

    @property
    def checkpoint_folder(self) -> epath.Path:
        """Where trials in training are saved between epochs."""
        return self.path / "checkpoints"

    def numbers(self) -> list[int]:
        """Returns the trials whose files are there, ascending; their content is not verified."""
        folder = self.path / "trials"
        paths = folder.iterdir() if folder.exists() else ()
        names = (_TRIAL_NAME.fullmatch(path.name) for path in paths)
        return sorted(int(name[1]) for name in names if name)

    def write(self, trial: Trial) -> bool:
        """Stores a finished trial: its file is complete before it has its name.

        Of several processes that store the same trial the first one does; a damaged file is
        replaced.

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
        if trial.base_seed is not None:
            about["base_seed"] = np.array([trial.base_seed])
        if trial.seconds is not None:
            about["seconds"] = np.array([trial.seconds], np.float32)
        train = _encode_predictions("train", trial.train, sizes["train"])
        train["subset"] = bits.pack(trial.subset).tobytes()
        test = _encode_predictions("test", trial.test, sizes["test"])
        records = [tfrecord.encode_example(record) for record in (about, train, test)]
        records += [epochs.encode(number, epoch) for number, epoch in trial.epochs.items()]
        content, path = tfrecord.encode(records), self.trial_path(trial.number)
        if atomic.create_bytes(path, content):
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
        return self._read(number, _decode_trial)

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
        for row, number in enumerate(numbers):
            _, train, test, *_ = self._read(number, _decode_records)
            subset[row] = np.frombuffer(train["subset"][0], np.uint8)
            train_correct[row] = np.frombuffer(train["correct"][0], np.uint8)
            test_correct[row] = np.frombuffer(test["correct"][0], np.uint8)
            for array, record in zip(probability, (train, test), strict=False):
                if _PROBABILITY not in record:
                    raise StoreError(
                        f"trial {number} of {self.path} has no probabilities of the true labels: "
                        "its source did not know them"
                    )
                array[row] = np.frombuffer(record[_PROBABILITY][0], _OPTIONAL[_PROBABILITY])
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
        for number in numbers:
            try:
                self.read(number)
            except DamagedFileError as error:
                found[number] = str(error)
            on_trial(number)
        return found

    def command(self, start: int = 0, stop: int | None = None) -> str:
        """Returns the command that makes trials start..stop-1, or all that the config asks for."""
        stop = self.config.num_trials if stop is None else stop
        return experiments.completion_command(self.config, str(self.path), start, stop)

    def _read(self, number: int, decode: Callable[["Store", int, bytes], Any]) -> Any:
        path = self.trial_path(number)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            command = self.command(number, number + 1)
            raise StoreError(f"trial {number} is not in {self.path}; run: {command}") from error
        try:
            return decode(self, number, content)
        except (ValueError, KeyError, IndexError) as error:
            command = self.command(number, number + 1)
            raise DamagedFileError(
                f"{path} is damaged ({_reason(error)}); to make it again, run: {command}"
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


def _read_about(path: epath.Path) -> tuple[config_lib.Config, dict[str, Any]]:
    try:
        about = json.loads(path.read_text())
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}, this tfmem reads {_FORMAT}")
        for field, kind in (("dataset_fingerprint", str), ("versions", dict)):
            if not isinstance(about[field], kind):
                raise ValueError(f"{field} is {about[field]!r}")
        return config_lib.from_dict(about["config"]), about
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{path} cannot be read ({_reason(error)}): restore it from a copy, or give another "
            "--store; the trials beside it are untouched"
        ) from error


def _encode_dataset(dataset: Dataset) -> bytes:
    names = [name.encode() for name in dataset.class_names]

    def record(name: str, split: Split) -> bytes:
        features: dict[str, tfrecord.Feature] = {
            "record": name.encode(),
            "label": split.labels,
            "id": [example_id.encode() for example_id in split.ids.tolist()],
            "class_names": names,
        }
        if split.true_labels is not None:
            features["true_label"] = split.true_labels
            features["corrupted"] = bits.pack(split.corrupted).tobytes()
        return tfrecord.encode_example(features)

    return tfrecord.encode([record("train", dataset.train), record("test", dataset.test)])


def _decode_dataset(content: bytes, name: str) -> Dataset:
    records = [tfrecord.decode_example(record) for record in tfrecord.decode(content)]
    if [record["record"] for record in records] != [[b"train"], [b"test"]]:
        raise ValueError("expected a train and a test record")
    train, test = (
        Split(
            record["label"],
            [example_id.decode() for example_id in record["id"]],
            true_labels=record.get("true_label"),
            corrupted=_unpack(record["corrupted"][0], len(record["label"]))
            if "corrupted" in record
            else None,
        )
        for record in records
    )
    class_names = tuple(class_name.decode() for class_name in records[0]["class_names"])
    return Dataset(name, train, test, class_names)


def _encode_predictions(
    record: str, predictions: Predictions, count: int
) -> dict[str, tfrecord.Feature]:
    arrays = {
        field.name: getattr(predictions, field.name) for field in dataclasses.fields(predictions)
    }
    for name, array in arrays.items():
        if array is not None and array.shape != (count,):
            raise ValueError(f"{record} {name} has shape {array.shape}, expected ({count},)")
    features: dict[str, tfrecord.Feature] = {
        "record": record.encode(),
        "count": np.array([count]),
        "correct": bits.pack(predictions.correct).tobytes(),
    }
    for name, dtype in _OPTIONAL.items():
        if arrays[name] is not None:
            features[name] = arrays[name].astype(dtype).tobytes()
    return features


_PROBABILITY = "label_probability"
_OPTIONAL = {"predicted": np.dtype("<u2"), _PROBABILITY: np.dtype("<f2")}


def _decode_records(store: Store, number: int, content: bytes) -> list[dict]:
    """Decodes a trial's records, three and those of its epochs; checks all but the predictions."""
    records = [tfrecord.decode_example(record) for record in tfrecord.decode(content)]
    names = [record["record"] for record in records]
    followed = [[b"epoch"]] * (len(names) - 3)
    if names != [[b"trial"], [b"train"], [b"test"], *followed]:
        raise ValueError(f"holds {len(names)} records, expected trial, train, test and epochs")
    about, train, test = records[:3]
    if about["trial"][0] != number:
        raise ValueError(f"it holds trial {about['trial'][0]}")
    if about["config_digest"] != [store.digest.encode()]:
        raise ValueError("it was made with another configuration or dataset")
    for record, split in ((train, store.dataset.train), (test, store.dataset.test)):
        if record["count"][0] != len(split):
            raise ValueError(f"holds {record['count'][0]} examples, the dataset has {len(split)}")
        for name in ("correct", "subset")[: 2 if record is train else 1]:
            if len(record[name][0]) != bits.packed_length(len(split)):
                raise ValueError(f"{name} has {len(record[name][0])} bytes")
    size = int(np.bitwise_count(np.frombuffer(train["subset"][0], np.uint8)).sum())
    if about["subset_size"][0] != size:
        raise ValueError(f"its subset has {size} examples, expected {about['subset_size'][0]}")
    return records


def _decode_trial(store: Store, number: int, content: bytes) -> Trial:
    about, train, test, *followed = _decode_records(store, number, content)
    return Trial(
        number=number,
        base_seed=int(about["base_seed"][0]) if "base_seed" in about else None,
        subset=_unpack(train["subset"][0], len(store.dataset.train)),
        train=_decode_predictions(train, store.dataset.train),
        test=_decode_predictions(test, store.dataset.test),
        seconds=float(about["seconds"][0]) if "seconds" in about else None,
        epochs=dict(map(epochs.decode, followed)),
    )


def _decode_predictions(record: dict, split: Split) -> Predictions:
    count = len(split)
    correct = _unpack(record["correct"][0], count)
    optional = {}
    for name, dtype in _OPTIONAL.items():
        if name in record:
            optional[name] = np.frombuffer(record[name][0], dtype)
            if len(optional[name]) != count:
                raise ValueError(f"{name} has {len(optional[name])} values, expected {count}")
    if "predicted" in optional and np.any((optional["predicted"] == split.labels) != correct):
        raise ValueError("its predicted labels contradict its correct bits")
    return Predictions(correct, **optional)


def _unpack(data: bytes, count: int) -> np.ndarray:
    return bits.unpack(np.frombuffer(data, np.uint8), count)
