"""Estimates and pairs files: the layouts that the paper's authors publish, and what we add."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from etils import epath

from analysis.estimators import ClassInfluence, Memorization
from analysis.pairs import Pairs
from tfmem.npz import open_npz, write_npz


@dataclasses.dataclass(frozen=True)
class Estimates:
    """What an estimates file holds.

    Attributes:
      memorization: float64 [n].
      train_labels: int64 [n].
      test_labels: int64 [n'].
      influences: one per class, in label order; empty when the file has no influence.
      details: standard errors and trial counts, or None in a file that has none (a published one).
      num_trials: t, or None.
      train_ids: text [n], the examples' stable ids, or None in a file that has none.
      test_ids: text [n'], or None.
    """

    memorization: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray
    influences: tuple[ClassInfluence, ...]
    details: Memorization | None = None
    num_trials: int | None = None
    train_ids: np.ndarray | None = None
    test_ids: np.ndarray | None = None


_DETAILS = {
    "standard_error": "tr_mem_se",
    "heldout_accuracy": "tr_heldout_accuracy",
    "num_in": "num_in",
    "num_out": "num_out",
}
_IDS = ("tr_ids", "tt_ids")
_PAIRS = {
    "train_index": "tr_idx",
    "test_index": "tt_idx",
    "influence": "infl",
    "memorization": "mem",
}


def write_estimates(
    path: epath.PathLike,
    memorization: Memorization,
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    influences: Iterable[ClassInfluence] = (),
    full: Iterable[np.ndarray] | None = None,
    num_trials: int | None = None,
    ids: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Writes an estimates file.

    Args:
      path: where.
      memorization: of the n training examples.
      train_labels: int [n].
      test_labels: int [n'].
      influences: one per class, in label order.
      full: the rows of the [n, n'] influence matrix, in blocks.
      num_trials: t.
      ids: the stable ids of the training and the test examples, text [n] and [n'].
    """
    arrays = {"tr_mem": memorization.value, "tr_labels": train_labels, "tt_labels": test_labels}
    arrays |= {name: getattr(memorization, field) for field, name in _DETAILS.items()}
    if num_trials is not None:
        arrays["num_trials"] = np.array(num_trials)
    if ids is not None:
        for name, texts in zip(_IDS, ids, strict=True):
            arrays[name] = np.char.encode(texts, "utf-8")
    for label, block in enumerate(influences):
        arrays[f"tr_classidx_{label}"] = block.train_index
        arrays[f"tt_classidx_{label}"] = block.test_index
        arrays[f"infl_matrix_class{label}"] = block.value
        arrays[f"infl_se_class{label}"] = block.standard_error
    shape = (len(train_labels), len(test_labels))
    write_npz(path, arrays, {"infl_matrix": (shape, full)} if full is not None else None)


def read_estimates(path: epath.PathLike) -> Estimates:
    """Reads an estimates file, ours or a published one; a full matrix in it is not read.

    Raises:
      ValueError: it is not an estimates file, or its arrays do not fit together.
    """
    with open_npz(path, ("tr_mem", "tr_labels", "tt_labels")) as archive:
        names = set(archive.files)

        def fitting(name: str, shape: tuple[int, ...]) -> np.ndarray:
            if name not in names:
                raise ValueError(f"{path} lacks {name}")
            array = archive[name]
            if array.shape != shape:
                raise ValueError(f"{path}: {name} has shape {array.shape}, expected {shape}")
            return array

        train_labels = archive["tr_labels"].astype(np.int64)
        test_labels = archive["tt_labels"].astype(np.int64)
        memorization = fitting("tr_mem", train_labels.shape)
        influences = []
        while f"infl_matrix_class{len(influences)}" in names:
            label = len(influences)
            train_index = archive[f"tr_classidx_{label}"]
            test_index = archive[f"tt_classidx_{label}"]
            if np.any(train_labels[train_index] != label) or np.any(
                test_labels[test_index] != label
            ):
                raise ValueError(f"{path}: class {label} lists examples that have another label")
            shape = (len(train_index), len(test_index))
            error = f"infl_se_class{label}"
            influences.append(
                ClassInfluence(
                    train_index,
                    test_index,
                    fitting(f"infl_matrix_class{label}", shape),
                    fitting(error, shape) if error in names else None,
                )
            )
        details = None
        if names.issuperset(_DETAILS.values()):
            details = Memorization(
                value=memorization,
                **{name: fitting(key, memorization.shape) for name, key in _DETAILS.items()},
            )
        num_trials = int(archive["num_trials"]) if "num_trials" in names else None
        ids = [
            np.char.decode(fitting(name, labels.shape), "utf-8") if name in names else None
            for name, labels in zip(_IDS, (train_labels, test_labels), strict=True)
        ]
    return Estimates(
        memorization, train_labels, test_labels, tuple(influences), details, num_trials, *ids
    )


def write_pairs(path: epath.PathLike, pairs: Pairs) -> None:
    """Writes a pairs file."""
    write_npz(path, {name: getattr(pairs, field) for field, name in _PAIRS.items()})


def read_pairs(path: epath.PathLike) -> Pairs:
    """Reads a pairs file, ours or a published one.

    Raises:
      ValueError: it is not a pairs file, or its arrays have different lengths.
    """
    with open_npz(path, _PAIRS.values()) as archive:
        arrays = {field: archive[name] for field, name in _PAIRS.items()}
    lengths = {name: arrays[field].shape for field, name in _PAIRS.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: arrays have different shapes: {lengths}")
    return Pairs(**arrays)
