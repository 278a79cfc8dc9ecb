"""Trials and datasets as bytes: the records of their files (docs/formats.md)."""

import contextlib
import dataclasses
import functools
import json
import platform

import numpy as np

from tfmem.datasets import Dataset, Split
from tfmem.disk import bits, tfrecord
from tfmem.store import epochs
from tfmem.store.trials import Predictions, Trial

PROBABILITY = "label_probability"
# Arrays that a source may not have, with the type of their values.
OPTIONAL = {"predicted": np.dtype("<u2"), PROBABILITY: np.dtype("<f2")}


class OtherConfigError(ValueError):
    """A trial that was made with another config or dataset."""


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that numbers depend on."""
    from importlib import metadata  # Whoever only reads does not wait for it.

    found = {"python": platform.python_version()}
    for package in ("tfmem", "tensorflow", "keras", "numpy", "tensorflow-datasets", "scikit-learn"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@dataclasses.dataclass(frozen=True)
class MadeFor:
    """What the trials of a store were made for, and are checked against.

    Attributes:
      digest: of the config and the dataset's fingerprint (`config.digest`).
      dataset: whose examples they saw.
    """

    digest: str
    dataset: Dataset

    @functools.cached_property
    def labels(self) -> list[np.ndarray]:
        """Of both splits: uint16 where they fit, which compares several times faster."""
        return [
            split.labels.astype(np.uint16) if split.labels.max() < 2**16 else split.labels
            for split in (self.dataset.train, self.dataset.test)
        ]


def encode_dataset(dataset: Dataset) -> bytes:
    names = [name.encode() for name in dataset.class_names]

    def record(name: str, split: Split) -> bytes:
        features: dict[str, tfrecord.Feature] = {
            "record": name.encode(),
            "label": split.labels,
            "id": [example_id.encode() for example_id in split.ids.tolist()],
            "class_names": names,
        }
        if split.true_labels is not None and split.corrupted is not None:
            features["true_label"] = split.true_labels
            features["corrupted"] = bits.pack(split.corrupted).tobytes()
        if split.candidates is not None:
            features["candidate"] = bits.pack(split.candidates).tobytes()
        return tfrecord.encode_example(features)

    return tfrecord.encode([record("train", dataset.train), record("test", dataset.test)])


def decode_dataset(content: bytes, name: str) -> Dataset:
    records = [tfrecord.decode_example(record) for record in tfrecord.decode(content)]
    if [record["record"] for record in records] != [[b"train"], [b"test"]]:
        raise ValueError("expected a train and a test record")
    train, test = (
        Split(
            record["label"],
            np.array([example_id.decode() for example_id in record["id"]], np.str_),
            true_labels=record.get("true_label"),
            corrupted=_optional_bits(record, "corrupted"),
            candidates=_optional_bits(record, "candidate"),
        )
        for record in records
    )
    class_names = tuple(class_name.decode() for class_name in records[0]["class_names"])
    return Dataset(name, train, test, class_names)


def encode_trial(made_for: MadeFor, trial: Trial) -> bytes:
    """Returns the content of a trial's own file; ValueError if an array has the wrong length."""
    splits = made_for.dataset.train, made_for.dataset.test
    if trial.subset.shape != (len(splits[0]),):
        raise ValueError(f"subset has shape {trial.subset.shape}, expected ({len(splits[0])},)")
    about: dict[str, tfrecord.Feature] = {
        "record": b"trial",
        "trial": np.array([trial.number]),
        "subset_size": np.array([trial.subset.sum()]),
        "subset_accuracy": np.array([trial.subset_accuracy]),
        "test_accuracy": np.array([trial.test_accuracy]),
        "config_digest": made_for.digest.encode(),
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
    train = _encode_predictions("train", trial.number, trial.train, len(splits[0]))
    train["subset"] = bits.pack(trial.subset).tobytes()
    test = _encode_predictions("test", trial.number, trial.test, len(splits[1]))
    followed = (epochs.encode(trial.number, *epoch) for epoch in trial.epochs.items())
    return tfrecord.encode([*map(tfrecord.encode_example, (about, train, test)), *followed])


def decode_trial(made_for: MadeFor, number: int, content: bytes) -> Trial:
    """The inverse of `encode_trial`.

    Raises:
      ValueError: it is not that trial of that store; also KeyError and IndexError, where a record
        lacks something.
    """
    about, train, test, *followed = verify(made_for, number, content)
    return Trial(
        number=number,
        base_seed=int(about["base_seed"][0]) if "base_seed" in about else None,
        subset=_unpack(train["subset"][0], len(made_for.dataset.train)),
        train=_decode_predictions(train, len(made_for.dataset.train)),
        test=_decode_predictions(test, len(made_for.dataset.test)),
        seconds=float(about["seconds"][0]) if "seconds" in about else None,
        epochs=dict(map(epochs.decode, followed)),
    )


def decode_records(made_for: MadeFor, number: int, content: bytes) -> list[dict]:
    """Decodes a trial's records, three and those of its epochs; checks all but the predictions."""
    records = [tfrecord.decode_example(record) for record in tfrecord.decode(content)]
    names = [record["record"] for record in records]
    followed = [[b"epoch"]] * (len(names) - 3)
    if names != [[b"trial"], [b"train"], [b"test"], *followed]:
        raise ValueError(f"holds {len(names)} records, expected trial, train, test and epochs")
    about, train, test = records[:3]
    if "epochs" in about and about["epochs"] != [len(followed)]:
        raise ValueError(f"holds {len(followed)} epochs, expected {about['epochs'][0]}")
    if list(about["trial"]) != [number]:
        raise ValueError(f"it holds trial {about['trial'][0]}")
    for (name,), record in zip(names, records, strict=True):
        if list(record["trial"]) != [number]:
            raise ValueError(f"its record {name.decode()} is of trial {record['trial'][0]}")
    if about["config_digest"] != [made_for.digest.encode()]:
        raise OtherConfigError("it was made with another configuration or dataset")
    for record, split in ((train, made_for.dataset.train), (test, made_for.dataset.test)):
        if record["count"][0] != len(split):
            raise ValueError(f"holds {record['count'][0]} examples, the dataset has {len(split)}")
        for name in ("correct", "subset")[: 2 if record is train else 1]:
            if len(record[name][0]) != bits.packed_length(len(split)):
                raise ValueError(f"{name} has {len(record[name][0])} bytes")
    size = bits.count(train["subset"][0])
    if about["subset_size"][0] != size:
        raise ValueError(f"its subset has {size} examples, expected {about['subset_size'][0]}")
    for name, accuracy in _accuracies(made_for, train, test, size).items():
        if name in about and about[name] != [np.float32(accuracy)]:
            raise ValueError(f"its {name} is {about[name][0]:.6g}, and its bits say {accuracy:.6g}")
    return records


def _accuracies(made_for: MadeFor, train: dict, test: dict, size: int) -> dict[str, float]:
    """Returns what the bits of decoded records say, by the accuracies' names in the first one."""
    n, n_test = len(made_for.dataset.train), len(made_for.dataset.test)
    of_subset = bits.count(train["subset"][0], train["correct"][0])
    of_train = bits.count(train["correct"][0])
    found = {"test_accuracy": bits.count(test["correct"][0]) / n_test}
    if size:
        found["subset_accuracy"] = of_subset / size
    if size < n:
        found["heldout_accuracy"] = (of_train - of_subset) / (n - size)
    return found


def verify(made_for: MadeFor, number: int, content: bytes) -> list[dict]:
    """Decodes a trial's records; checks everything that `Store.read` needs."""
    records = decode_records(made_for, number, content)
    about, train, test, *followed = records
    for name in ("base_seed", "seconds"):
        if name in about and len(about[name]) != 1:
            raise ValueError(f"{name} has {len(about[name])} values")
    for record, labels in zip((train, test), made_for.labels, strict=True):
        for name, dtype in OPTIONAL.items():
            if name in record and len(record[name][0]) != dtype.itemsize * len(labels):
                count = len(record[name][0]) // dtype.itemsize
                raise ValueError(f"{name} has {count} values, expected {len(labels)}")
        if "predicted" in record:
            predicted = np.frombuffer(record["predicted"][0], OPTIONAL["predicted"])
            if bits.pack(predicted == labels).tobytes() != record["correct"][0]:
                raise ValueError("its predicted labels contradict its correct bits")
    for record in followed:
        epochs.decode(record)
    return records


def _encode_predictions(
    record: str, trial: int, predictions: Predictions, count: int
) -> dict[str, tfrecord.Feature]:
    arrays = vars(predictions)
    for name, array in arrays.items():
        if array is not None and array.shape != (count,):
            raise ValueError(f"{record} {name} has shape {array.shape}, expected ({count},)")
    features: dict[str, tfrecord.Feature] = {
        "record": record.encode(),
        "trial": np.array([trial]),
        "count": np.array([count]),
        "correct": bits.pack(predictions.correct).tobytes(),
    }
    for name, dtype in OPTIONAL.items():
        if arrays[name] is not None:
            features[name] = arrays[name].astype(dtype).tobytes()
    return features


def _decode_predictions(record: dict, count: int) -> Predictions:
    there = {name: dtype for name, dtype in OPTIONAL.items() if name in record}
    optional = {name: np.frombuffer(record[name][0], dtype) for name, dtype in there.items()}
    return Predictions(_unpack(record["correct"][0], count), **optional)


def _optional_bits(record: dict, name: str) -> np.ndarray | None:
    return _unpack(record[name][0], len(record["label"])) if name in record else None


def _unpack(data: bytes, count: int) -> np.ndarray:
    return bits.unpack(np.frombuffer(data, np.uint8), count)
