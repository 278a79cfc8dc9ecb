"""Estimates and pairs files: the layouts that the paper's authors publish, and what we add."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from etils import epath

from analysis.estimates import pairs as pairs_lib
from analysis.estimates.values import (
    CORRECTNESS,
    ClassInfluence,
    Estimates,
    Influences,
    Memorization,
    Pairs,
    require_influences,
)
from tfmem.disk import npz

_DETAILS = {
    "standard_error": "tr_mem_se",
    "heldout_accuracy": "tr_heldout_accuracy",
    "num_in": "num_in",
    "num_out": "num_out",
}
_IDS = ("tr_ids", "tt_ids")
_FILENAMES = ("tr_filenames", "tt_filenames")  # What the authors' file of ImageNet has for ids.
_ACCURACY = ("test_accuracy", "test_accuracy_deviation")  # Mean, standard deviation.
_PAIRS = {
    "train_index": "tr_idx",
    "test_index": "tt_idx",
    "influence": "infl",
    "memorization": "mem",
}
_ESTIMATES = ("tr_mem", "tr_labels", "tt_labels")
_MNIST_SCRIPT = ("memorization", "influence")
# What tells kinds of npz files apart.
_KINDS = {
    "an estimates file": _ESTIMATES,
    "a pairs file": tuple(_PAIRS.values()),
    "memorization and influence as the release's MNIST script writes them": _MNIST_SCRIPT,
    "trials, which launchers.import_trials reads": ("subset_mask", "train_correct"),
    "one run, of which launchers.import_trials reads many": ("subsample_idx", "index_train"),
}
_MOST_LISTED = 10


def write_estimates(
    path: epath.PathLike,
    memorization: Memorization,
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    influences: Iterable[ClassInfluence] = (),
    full: Iterable[np.ndarray] | None = None,
    num_trials: int | None = None,
    ids: tuple[np.ndarray, np.ndarray] | None = None,
    test_accuracies: np.ndarray | None = None,
    estimator: str = CORRECTNESS,
) -> None:
    """Writes an estimates file.

    Args:
      path: where.
      memorization: of the n training examples.
      train_labels: int [n].
      test_labels: int [n'].
      influences: one per class, in label order; each is written before the next is taken.
      full: the rows of the [n, n'] influence matrix, in blocks.
      num_trials: t.
      ids: the stable ids of the training and the test examples, text [n] and [n'].
      test_accuracies: float [t], one per trial, of which mean and standard deviation are kept.
      estimator: what a trial achieved on an example, `CORRECTNESS` or `PROBABILITY`.
    """

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        yield from zip(_ESTIMATES, (memorization.value, train_labels, test_labels), strict=True)
        for field, name in _DETAILS.items():
            yield name, getattr(memorization, field)
        if estimator != CORRECTNESS:
            yield "estimator", np.array(estimator)
        if num_trials is not None:
            yield "num_trials", np.array(num_trials)
        if ids is not None:
            for name, texts in zip(_IDS, ids, strict=True):
                yield name, np.char.encode(texts, "utf-8")
        if test_accuracies is not None:
            moments = test_accuracies.mean(), test_accuracies.std()
            yield from zip(_ACCURACY, map(np.asarray, moments), strict=True)
        for label, block in enumerate(influences):
            yield f"tr_classidx_{label}", block.train_index
            yield f"tt_classidx_{label}", block.test_index
            yield f"infl_matrix_class{label}", block.value
            yield f"infl_se_class{label}", block.standard_error

    shape = (len(train_labels), len(test_labels))
    npz.write_npz(path, arrays(), {"infl_matrix": (shape, full)} if full is not None else None)


def read_estimates(
    path: epath.PathLike, labels: tuple[np.ndarray, np.ndarray] | None = None
) -> Estimates:
    """Reads an estimates file, ours or a published one.

    Published are class-wise files (CIFAR-100), `imagenet_index.npz`, which has memorization and
    file names and no influence, and what the release's MNIST script writes, which has no labels:
    `memorization` [n] and `influence` [n', n], of which only what is within a class is kept.
    `infl_matrix`, the full matrix in a file of ours, is not read.

    Args:
      path: where it is.
      labels: of the training and the test examples, int [n] and [n'], for a file that has none;
        they must be those of one that has.

    Raises:
      ValueError: it is not an estimates file, its arrays do not fit together, or labels are missing
        or others. A damaged matrix is found out when it is read.
    """
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(npz.open_npz(path))
        there = set(archive.files)
        if there.issuperset(_MNIST_SCRIPT) and not there.issuperset(_ESTIMATES):
            return _read_mnist_script(path, archive, labels, stack)
        _require(path, archive.files, _ESTIMATES, "an estimates file (analysis.estimate makes one)")
        train_labels, test_labels = (
            _read(archive, name, "iu").astype(np.int64) for name in ("tr_labels", "tt_labels")
        )
        for name, own, given in zip(
            ("tr_labels", "tt_labels"), (train_labels, test_labels), labels or (), strict=False
        ):
            if not np.array_equal(own, given):
                raise ValueError(f"{path}: {name} are not the given labels: another dataset?")
        memorization = _read(archive, "tr_mem", "f", train_labels.shape).astype(np.float64)
        details = None
        if there.issuperset(_DETAILS.values()):
            details = Memorization(
                value=memorization,
                **{
                    field: _read(archive, name, "fiu", memorization.shape)
                    for field, name in _DETAILS.items()
                },
            )
        num_trials = int(archive["num_trials"]) if "num_trials" in there else None
        estimator = str(archive["estimator"]) if "estimator" in there else CORRECTNESS
        accuracy = {name: float(archive[name]) for name in _ACCURACY if name in there}
        names = _IDS if there.intersection(_IDS) else _FILENAMES
        ids = [
            _as_text(_read(archive, name, "SU", own.shape)) if name in there else None
            for name, own in zip(names, (train_labels, test_labels), strict=True)
        ]
        influences = _class_influences(path, archive, train_labels, test_labels, stack)
    return Estimates(
        memorization,
        train_labels,
        test_labels,
        influences,
        details,
        num_trials,
        *ids,
        **accuracy,
        estimator=estimator,
    )


def _class_influences(
    path: epath.PathLike,
    archive: npz.Archive,
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    stack: contextlib.ExitStack,
) -> Sequence[ClassInfluence]:
    """Returns the influences of a class-wise file, all but the matrices read and checked."""
    there = set(archive.files)
    matrices = {name for name in there if name.startswith("infl_matrix_class")}
    if not matrices:
        return ()
    index = []
    for label in range(len(matrices)):
        examples = []
        for name, labels in (
            (f"tr_classidx_{label}", train_labels),
            (f"tt_classidx_{label}", test_labels),
        ):
            found = _read(archive, name, "iu")
            if found.ndim != 1 or np.any((found < 0) | (found >= len(labels))):
                raise ValueError(f"{path}: {name} has no indices of the {len(labels)} labels")
            if np.any(labels[found] != label):
                raise ValueError(f"{path}: class {label} lists examples that have another label")
            examples.append(found)
        _fitting(archive, f"infl_matrix_class{label}", "f", tuple(map(len, examples)))
        if f"infl_se_class{label}" in there:
            _fitting(archive, f"infl_se_class{label}", "f", tuple(map(len, examples)))
        index.append(examples)

    def read(wanted: Sequence[int]) -> Iterator[ClassInfluence]:
        for label in wanted:
            error = f"infl_se_class{label}"
            yield ClassInfluence(
                *index[label],
                archive[f"infl_matrix_class{label}"].astype(np.float64, copy=False),
                archive[error] if error in there else None,
            )

    return Influences(len(index), read, stack.pop_all().close)


def _read_mnist_script(
    path: epath.PathLike,
    archive: npz.Archive,
    labels: tuple[np.ndarray, np.ndarray] | None,
    stack: contextlib.ExitStack,
) -> Estimates:
    """Reads `memorization` [n] and `influence` [n', n]; of that only what is within a class."""
    if labels is None:
        raise ValueError(
            f"{path} has memorization and influence, but no labels (so the release's MNIST script "
            "writes them): --dataset says whose they are"
        )
    train_labels, test_labels = (np.asarray(part, np.int64) for part in labels)
    memorization = _read(archive, "memorization", "f", train_labels.shape).astype(np.float64)
    matrix = _fitting(archive, "influence", "f", (len(test_labels), len(train_labels)))
    num_classes = 1 + int(max(train_labels.max(), test_labels.max()))
    index = [
        [np.flatnonzero(part == label) for part in (train_labels, test_labels)]
        for label in range(num_classes)
    ]

    def read(wanted: Sequence[int]) -> Iterator[ClassInfluence]:
        """Reads the matrix once, row by row, whatever the number of classes."""
        blocks = {
            label: np.empty(tuple(map(len, reversed(index[label]))), matrix.dtype)
            for label in wanted
        }
        places = dict.fromkeys(wanted, 0)
        for label, row in zip(test_labels.tolist(), matrix.rows(), strict=True):
            if label in blocks:
                blocks[label][places[label]] = row[index[label][0]]
                places[label] += 1
        for label in wanted:
            value = np.array(blocks.pop(label).T, np.float64, order="C")
            yield ClassInfluence(*index[label], value, None)

    influences = Influences(num_classes, read, stack.pop_all().close)
    return Estimates(memorization, train_labels, test_labels, influences)


def write_pairs(path: epath.PathLike, pairs: Pairs) -> None:
    """Writes a pairs file."""
    npz.write_npz(path, {name: getattr(pairs, field) for field, name in _PAIRS.items()})


def read_pairs(path: epath.PathLike) -> Pairs:
    """Reads a pairs file, ours or a published one.

    Raises:
      ValueError: it is not a pairs file, or its arrays have different lengths.
    """
    with npz.open_npz(path) as archive:
        expected = "a pairs file (analysis.select_pairs makes one)"
        _require(path, archive.files, _PAIRS.values(), expected)
        arrays = {field: archive[name] for field, name in _PAIRS.items()}
    lengths = {name: arrays[field].shape for field, name in _PAIRS.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: arrays have different shapes: {lengths}")
    return Pairs(**arrays)


def read_consistency_scores(path: epath.PathLike) -> np.ndarray:
    """Reads the consistency scores that Jiang et al. (2021) publish as an npy file.

    Returns:
      float64 [n] in [0, 1]: high for an example that models get right without having seen it.

    Raises:
      ValueError: it is not such a file.
    """
    array = npz.open_npy(path)
    if len(array.shape) != 1 or array.dtype.kind != "f":
        raise ValueError(
            f"{path} is {array.dtype} {list(array.shape)}, expected scores: floats [n] in [0, 1]"
        )
    scores = array.read().astype(np.float64)
    bad = ~((scores >= 0) & (scores <= 1))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"{path}: score {first} is {scores[first]:g}, expected [0, 1]")
    return scores


def _require(
    path: epath.PathLike, there: Sequence[str], required: Iterable[str], expected: str
) -> None:
    """Raises ValueError if arrays are missing; it says what kind of file it is, if known."""
    missing = [name for name in required if name not in there]
    if not missing:
        return
    for kind, names in _KINDS.items():
        if set(there).issuperset(names):
            raise ValueError(f"{path} is {kind}; expected {expected}")
    listed = ", ".join(there[:_MOST_LISTED]) or "nothing"
    more = f" and {len(there) - _MOST_LISTED} more" if len(there) > _MOST_LISTED else ""
    raise ValueError(
        f"{path} lacks {', '.join(missing)}; it has {listed}{more}; expected {expected}"
    )


def _fitting(
    archive: npz.Archive, name: str, kinds: str, shape: tuple[int, ...] | None = None
) -> npz.Array:
    """Returns an array of a shape and one of these NumPy kinds, of which nothing is read yet."""
    if name not in archive.files:
        raise ValueError(f"{archive.path} lacks {name}")
    array = archive.array(name)
    if array.dtype.kind not in kinds:
        raise ValueError(f"{array.what} is {array.dtype}, expected {_KIND_NAMES[kinds]}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{array.what} has shape {array.shape}, expected {shape}")
    return array


_KIND_NAMES = {"f": "floats", "iu": "integers", "fiu": "numbers", "SU": "texts"}


def _read(
    archive: npz.Archive, name: str, kinds: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    return _fitting(archive, name, kinds, shape).read()


def _as_text(ids: np.ndarray) -> np.ndarray:
    return np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids


def read_with_influences(path: str, name: str) -> Estimates:
    """Reads estimates of which pairs can be compared; ValueError if they have no influence."""
    estimates = read_estimates(path)
    require_influences(estimates, name)
    return estimates


def select_pairs(
    estimates: Estimates,
    path: epath.PathLike,
    mem_threshold: float,
    infl_threshold: float,
) -> Pairs:
    """Returns the high-influence pairs of an estimates file.

    Raises:
      ValueError: it lacks the influence of a class; the message says how to make it.
    """
    classes = 1 + int(estimates.train_labels.max())
    if len(estimates.influences) < classes:
        raise ValueError(
            f"{path} has the influence of {len(estimates.influences)} of {classes} classes, and "
            "high-influence pairs need all: make it with analysis.estimate --influence=class, or "
            "give launchers.train_removal --nohigh_influence"
        )
    return pairs_lib.select(
        estimates.memorization, estimates.influences, mem_threshold, infl_threshold
    )


def estimates_digest(memorization: np.ndarray, pairs: Pairs | None) -> str:
    """Returns the SHA-256, in hexadecimal, of the estimates that runs and their reading depend on.

    Args:
      memorization: float [n].
      pairs: the high-influence pairs, of which S_h and S'_h count; None if none are removed.
    """
    arrays = [np.asarray(memorization, "<f8")]
    if pairs is not None:
        arrays += [
            np.unique(index).astype("<i8") for index in (pairs.train_index, pairs.test_index)
        ]
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()
