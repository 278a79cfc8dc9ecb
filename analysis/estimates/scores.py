"""Memorization scores of turn-over dropout: eq. 6 of Liu, Lin & Jaggi (2021), and their file."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfmem.datasets import Dataset
from tfmem.disk import npz
from tfmem.store.epochs import Epoch
from tfmem.store.trials import Trial


@dataclasses.dataclass(frozen=True)
class SplitScores:
    """The scores of one split's examples.

    Attributes:
      score: float64 [n], L(muted) - L(unmuted) in nats, the mean over models (eq. 6).
      unmuted_predicted: uint16 [n], by the first model, or None in a file that has none.
      muted_predicted: uint16 [n], by the first model, or None likewise.
      standard_error: float64 [n], of the mean over models, or None with fewer than two.
    """

    score: np.ndarray
    unmuted_predicted: np.ndarray | None = None
    muted_predicted: np.ndarray | None = None
    standard_error: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a scores file holds.

    Attributes:
      train: of the n training examples.
      test: of the n' test examples, or None where they were not trained on.
      train_labels: int64 [n], what the models were trained on.
      test_labels: int64 [n'].
      train_ids: text [n], the examples' stable ids.
      test_ids: text [n'].
      epoch: after how many epochs.
      num_models: over how many the scores are averaged.
      true_labels: int64 [n], before some labels were corrupted, or None where none were.
      corrupted: bool [n], whose labels were replaced, or None.
    """

    train: SplitScores
    test: SplitScores | None
    train_labels: np.ndarray
    test_labels: np.ndarray
    train_ids: np.ndarray
    test_ids: np.ndarray
    epoch: int
    num_models: int
    true_labels: np.ndarray | None = None
    corrupted: np.ndarray | None = None

    @property
    def changed(self) -> np.ndarray | None:
        """bool [n], whose label really is another one, or None where none were corrupted."""
        return None if self.true_labels is None else self.train_labels != self.true_labels


def memorization(epoch: Epoch) -> np.ndarray:
    """Returns L(f^muted(z_i), z_i) - L(f^unmuted(z_i), z_i): float64 [n], in nats (eq. 6).

    Args:
      epoch: what a turn-over trial keeps of an epoch, `unmuted_loss` and `muted_loss`.
    """
    return epoch["muted_loss"].astype(np.float64) - epoch["unmuted_loss"]


def common_epochs(trials: Sequence[Trial]) -> list[int]:
    """Returns the epochs that all of some turn-over trials have kept, ascending."""
    return sorted(set.intersection(*(set(trial.epochs) for trial in trials)))


def from_trials(
    trials: Sequence[Trial], epoch: int, dataset: Dataset, test_examples: bool
) -> Scores:
    """Returns the scores of turn-over trials after an epoch.

    Args:
      trials: at least one.
      epoch: one that all of them have kept.
      dataset: of their store.
      test_examples: whether its training split ends with its test examples (`TurnoverConfig`).

    Raises:
      ValueError: a trial has kept nothing of this epoch.
    """
    for trial in trials:
        if epoch not in trial.epochs:
            raise ValueError(
                f"trial {trial.number} has kept nothing of epoch {epoch}: "
                f"it has epochs {min(trial.epochs)} to {max(trial.epochs)}"
            )
    kept = [trial.epochs[epoch] for trial in trials]
    all_scores = np.stack([memorization(found) for found in kept])
    error = None
    if len(trials) > 1:
        error = all_scores.std(axis=0, ddof=1) / np.sqrt(len(trials))
    num_test = len(dataset.test) if test_examples else 0
    num_train = len(dataset.train) - num_test

    def split(part: slice) -> SplitScores:
        return SplitScores(
            all_scores.mean(axis=0)[part],
            kept[0]["unmuted_predicted"][part],
            kept[0]["muted_predicted"][part],
            None if error is None else error[part],
        )

    train, first = dataset.train, slice(None, num_train)
    return Scores(
        train=split(first),
        test=split(slice(num_train, None)) if num_test else None,
        train_labels=train.labels[first],
        test_labels=dataset.test.labels,
        train_ids=train.ids[first],
        test_ids=dataset.test.ids,
        epoch=epoch,
        num_models=len(trials),
        true_labels=None if train.true_labels is None else train.true_labels[first],
        corrupted=None if train.corrupted is None else train.corrupted[first],
    )


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Returns the area under the ROC curve of finding the positive by a high score.

    Args:
      score: float [n].
      positive: bool [n]; nan is returned if it is all true or all false.
    """
    if positive.all() or not positive.any():
        return float("nan")
    from sklearn import metrics

    return float(metrics.roc_auc_score(positive, score))


def top_overlap(a: np.ndarray, b: np.ndarray, share: float) -> tuple[int, float]:
    """Returns how many the highest are, and how much of a's highest is among b's highest.

    Args:
      a: float [n].
      b: float [n].
      share: of the n that are the highest, at least one; of equals the first come first.
    """
    count = max(1, round(share * len(a)))
    highest = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (a, b)]
    return count, len(highest[0] & highest[1]) / count


_SPLITS = ("tr", "tt")  # Names of the arrays of a split start with this.
# By what such a name continues with, the field of `SplitScores`.
_OF_SPLIT = {
    "score": "score",
    "unmuted_predicted": "unmuted_predicted",
    "muted_predicted": "muted_predicted",
    "score_se": "standard_error",
}
# By the name of an array, the field of `Scores`.
_REQUIRED = {
    "tr_labels": "train_labels",
    "tt_labels": "test_labels",
    "tr_ids": "train_ids",
    "tt_ids": "test_ids",
    "epoch": "epoch",
    "num_models": "num_models",
}
_FIELDS = {**_REQUIRED, "tr_true_labels": "true_labels", "tr_corrupted": "corrupted"}
_IDS = ("tr_ids", "tt_ids")


def write(path: epath.PathLike, scores: Scores) -> None:
    """Writes a scores file: npz, with `tr_score`, `tr_labels`, `tt_labels` and what else there is.

    The others are `tr_score_se`, `tr_unmuted_predicted`, `tr_muted_predicted`, `tr_ids`, `tt_ids`,
    `epoch`, `num_models`; `tr_true_labels` and `tr_corrupted` where labels were corrupted;
    `tt_score` and its like where test examples have scores.
    """
    arrays = {name: getattr(scores, field) for name, field in _FIELDS.items()}
    arrays |= {name: np.char.encode(arrays[name], "utf-8") for name in _IDS}
    for prefix, split in zip(_SPLITS, (scores.train, scores.test), strict=True):
        if split is not None:
            for name, field in _OF_SPLIT.items():
                arrays[f"{prefix}_{name}"] = getattr(split, field)
    npz.write_npz(path, {name: array for name, array in arrays.items() if array is not None})


def read(path: epath.PathLike) -> Scores:
    """Reads a scores file.

    Raises:
      ValueError: it is none, or its arrays do not fit together.
    """
    with npz.open_npz(path) as archive:
        missing = [name for name in ("tr_score", *_REQUIRED) if name not in archive.files]
        if missing:
            raise ValueError(
                f"{path} is not a scores file (tfmem turnover makes one): it lacks "
                f"{', '.join(missing)}"
            )
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    sizes = {prefix: len(arrays[f"{prefix}_labels"]) for prefix in _SPLITS}
    for name, array in arrays.items():
        size = sizes.get(name.partition("_")[0])
        if size is not None and array.shape != (size,):
            raise ValueError(f"{path}: {name} has shape {array.shape}, expected ({size},)")
    arrays |= {name: np.char.decode(arrays[name], "utf-8") for name in _IDS}
    arrays |= {name: int(arrays[name]) for name in ("epoch", "num_models")}

    def known(fields: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
        named = {field: f"{prefix}{name}" for name, field in fields.items()}
        return {field: arrays[name] for field, name in named.items() if name in arrays}

    train = SplitScores(**known(_OF_SPLIT, "tr_"))
    test = SplitScores(**known(_OF_SPLIT, "tt_")) if "tt_score" in arrays else None
    return Scores(train, test, **known(_FIELDS))
