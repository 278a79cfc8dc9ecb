"""Estimates and pairs files: the layouts that the paper's authors publish, and what we add."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from etils import epath

from analysis.estimates.pairs import select
from analysis.estimates.values import (
    CORRECTNESS,
    ClassInfluence,
    Estimates,
    Influences,
    Memorization,
    Pairs,
)
from tfmem.disk import npz

_DETAILS = {
    "standard_error": "tr_mem_se",
    "heldout_accuracy": "tr_heldout_accuracy",
    "num_in": "num_in",
    "num_out": "num_out",
}
_IDS = ("tr_ids", "tt_ids")
_FILENAMES = ("tr_filenames", "tt_filenames")  # The authors' file of ImageNet has these for ids.
_ACCURACY = ("test_accuracy", "test_accuracy_deviation")  # Mean, standard deviation.
_NUM_TRIALS = ("num_trials", "num_trials_expected")
_PAIRS = {
    "train_index": "tr_idx",
    "test_index": "tt_idx",
    "influence": "infl",
    "memorization": "mem",
}
_ESTIMATES = ("tr_mem", "tr_labels", "tt_labels")
_MNIST_SCRIPT = ("memorization", "influence")
# Arrays that tell kinds of npz files apart.
_KINDS = {
    "an estimates file": _ESTIMATES,
    "a pairs file": tuple(_PAIRS.values()),
    "consistency scores": ("scores", "labels"),
    "memorization and influence as the release's MNIST script writes them": _MNIST_SCRIPT,
    "trials, which tfmem import_trials reads": ("subset_mask", "train_correct"),
    "one run, of which tfmem import_trials reads many": ("subsample_idx", "index_train"),
}
_MOST_LISTED = 10


def write(path: epath.PathLike, estimates: Estimates) -> None:
    """Writes an estimates file; each class and block of influences before the next is computed."""

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        of_examples = estimates.memorization, estimates.train_labels, estimates.test_labels
        yield from zip(_ESTIMATES, of_examples, strict=True)
        if estimates.details is not None:
            for field, name in _DETAILS.items():
                yield name, getattr(estimates.details, field)
        if estimates.estimator != CORRECTNESS:
            yield "estimator", np.array(estimates.estimator)
        if estimates.num_trials is not None:
            yield "num_trials", np.array(estimates.num_trials)
        if estimates.num_trials_expected is not None:
            yield "num_trials_expected", np.array(estimates.num_trials_expected)
        for name, ids in zip(_IDS, (estimates.train_ids, estimates.test_ids), strict=True):
            if ids is not None:
                yield name, np.char.encode(ids, "utf-8")
        for name in _ACCURACY:
            if getattr(estimates, name) is not None:
                yield name, np.array(getattr(estimates, name))
        for label, block in enumerate(estimates.influences):
            yield f"tr_classidx_{label}", block.train_index
            yield f"tt_classidx_{label}", block.test_index
            yield f"infl_matrix_class{label}", block.value
            if block.standard_error is not None:
                yield f"infl_se_class{label}", block.standard_error

    shape = (len(estimates.train_labels), len(estimates.test_labels))
    blocks = None if estimates.full is None else {"infl_matrix": (shape, estimates.full)}
    npz.write_npz(path, arrays(), blocks)


def read(path: epath.PathLike, labels: tuple[np.ndarray, np.ndarray] | None = None) -> Estimates:
    """Reads an estimates file, ours or a published one.

    Published are class-wise files (CIFAR-100), `imagenet_index.npz`, which has memorization and
    file names and no influence, and what the release's MNIST script writes, which has no labels:
    `memorization` [n] and `influence` [n', n], of which only what is within a class is kept.
    `infl_matrix`, the full matrix in a file of ours, is not read. Of single precision, 7 decimals
    are.

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
        _require(path, archive.files, _ESTIMATES, "an estimates file (tfmem estimate makes one)")
        train_labels, test_labels = (
            _read(archive, name, "iu").astype(np.int64) for name in ("tr_labels", "tt_labels")
        )
        for name, own, given in zip(
            ("tr_labels", "tt_labels"), (train_labels, test_labels), labels or (), strict=False
        ):
            if not np.array_equal(own, given):
                raise ValueError(f"{path}: {name} are not the given labels: another dataset?")
        memorization = _as_float64(_read(archive, "tr_mem", "f", train_labels.shape))
        details = None
        if there.issuperset(_DETAILS.values()):
            details = Memorization(
                value=memorization,
                **{
                    field: _read(archive, name, "fiu", memorization.shape)
                    for field, name in _DETAILS.items()
                },
            )
        names = _IDS if there.intersection(_IDS) else _FILENAMES
        train_ids, test_ids = (
            _as_text(_read(archive, name, "SU", own.shape)) if name in there else None
            for name, own in zip(names, (train_labels, test_labels), strict=True)
        )
        accuracy, deviation = (
            float(archive[name]) if name in there else None for name in _ACCURACY
        )
        num_trials, expected = (
            int(archive[name]) if name in there else None for name in _NUM_TRIALS
        )
        return Estimates(
            memorization,
            train_labels,
            test_labels,
            details=details,
            num_trials=num_trials,
            num_trials_expected=expected,
            train_ids=train_ids,
            test_ids=test_ids,
            test_accuracy=accuracy,
            test_accuracy_deviation=deviation,
            estimator=str(archive["estimator"]) if "estimator" in there else CORRECTNESS,
            influences=_class_influences(path, archive, train_labels, test_labels, stack),
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
        index.append((examples[0], examples[1]))

    def blocks(
        wanted: Sequence[int], chosen: np.ndarray | None, errors: bool
    ) -> Iterator[ClassInfluence]:
        for label in wanted:
            error = f"infl_se_class{label}"
            yield ClassInfluence(
                *index[label],
                _as_float64(archive[f"infl_matrix_class{label}"]),
                archive[error] if errors and error in there else None,
            ).of(chosen)

    return Influences(len(index), blocks, stack.pop_all().close)


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
    memorization = _as_float64(_read(archive, "memorization", "f", train_labels.shape))
    matrix = _fitting(archive, "influence", "f", (len(test_labels), len(train_labels)))
    num_classes = 1 + int(max(train_labels.max(), test_labels.max()))
    index = [
        (np.flatnonzero(train_labels == label), np.flatnonzero(test_labels == label))
        for label in range(num_classes)
    ]

    def blocks(
        wanted: Sequence[int], chosen: np.ndarray | None, errors: bool
    ) -> Iterator[ClassInfluence]:
        """Reads the matrix once, row by row, whatever the number of classes."""
        values = {
            label: np.empty(tuple(map(len, reversed(index[label]))), matrix.dtype)
            for label in wanted
        }
        places = dict.fromkeys(wanted, 0)
        for label, row in zip(test_labels.tolist(), matrix.rows(), strict=True):
            if label in values:
                values[label][places[label]] = row[index[label][0]]
                places[label] += 1
        for label in wanted:
            value = np.array(values.pop(label).T, order="C")
            yield ClassInfluence(*index[label], _as_float64(value), None).of(chosen)

    influences = Influences(num_classes, blocks, stack.pop_all().close)
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
        expected = "a pairs file (tfmem select_pairs makes one)"
        _require(path, archive.files, _PAIRS.values(), expected)
        arrays = {
            field: _as_float64(_read(archive, name, "f"))
            if field in ("influence", "memorization")
            else archive[name]
            for field, name in _PAIRS.items()
        }
    lengths = {name: arrays[field].shape for field, name in _PAIRS.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: arrays have different shapes: {lengths}")
    return Pairs(**arrays)


def read_consistency_scores(
    path: epath.PathLike,
    labels: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    whose: str = "the estimates",
) -> np.ndarray:
    """Reads the consistency scores that Jiang et al. (2021) publish, or ours.

    Those of MNIST are an npy file; those of CIFAR are an npz file with `scores` and `labels`, which
    are checked; that of ImageNet has `filenames` too, and ours have `ids`, by which scores are
    found if ids are known.

    Args:
      path: where they are.
      labels: of the training examples that they belong to, int [n]; None if that is not known.
      ids: of these, text [n], or None; without ids or `filenames`, scores are in their order.
      whose: what messages say the labels are of.

    Returns:
      float64 [n] in [0, 1]: high for an example that models get right without having seen it. In
      a file of ours, nan for an example that has no score.

    Raises:
      ValueError: it is not such a file, or of other examples.
    """
    path = epath.Path(path)
    own = None
    if path.suffix == ".npz":
        with npz.open_npz(path) as archive:
            expected = "consistency scores: an npy file, or an npz file that has these"
            _require(path, archive.files, ("scores", "labels"), expected)
            # Of those that say how often an example was left out, nan says never.
            scores = _scores(archive.array("scores"), "num_out" in archive.files)
            own = _read(archive, "labels", "iu", scores.shape)
            named = [name for name in ("filenames", "ids") if name in archive.files]
            if named and ids is not None:
                names = _as_text(_read(archive, named[0], "SU", scores.shape))
                places = _places(names, ids, path)
                scores, own = scores[places], own[places]
    else:
        scores = _scores(npz.open_npy(path))
    if labels is None:
        return scores
    if len(scores) != len(labels):
        raise ValueError(
            f"{path} has {len(scores):,} scores, expected one for each of the {len(labels):,} "
            "training examples"
        )
    if own is not None and not np.array_equal(own, labels):
        first = int(np.argmax(own != labels))
        raise ValueError(
            f"{path} labels training example {first} {own[first]}, and {whose} "
            f"{labels[first]}: another dataset, or another order?"
        )
    return scores


def _scores(array: npz.Array, may_lack: bool = False) -> np.ndarray:
    """Reads float64 [n] in [0, 1], or nan if some may lack; ValueError if it is something else."""
    if len(array.shape) != 1 or array.dtype.kind != "f":
        raise ValueError(
            f"{array.what} is {array.dtype} {list(array.shape)}, expected scores: floats [n] in "
            "[0, 1]"
        )
    scores = array.read().astype(np.float64)
    bad = ~((scores >= 0) & (scores <= 1) | (may_lack & np.isnan(scores)))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"{array.what}: score {first} is {scores[first]:g}, expected [0, 1]")
    return scores


def _places(names: np.ndarray, ids: np.ndarray, path: epath.Path) -> np.ndarray:
    """Returns where in `names` each of the ids is; ValueError if one is not there."""
    order = np.argsort(names)
    places = order[np.minimum(np.searchsorted(names, ids, sorter=order), len(names) - 1)]
    absent = names[places] != ids
    if absent.any():
        raise ValueError(f"{path} has no example {ids[np.argmax(absent)]}: another dataset?")
    return places


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


def _as_float64(estimates: np.ndarray) -> np.ndarray:
    """Returns estimates in [-1, 1] as float64: what is shorter, to the decimals that it holds.

    The release's MNIST script subtracts rates in float32, and what is 0.15 as a fraction is then
    0.14999998. Of a float32 7 decimals are good; rounded to them, a fraction that reaches a
    threshold reaches it. So is the float32 of 0.7, which is below 0.7, read as 0.7.
    """
    if estimates.dtype.itemsize >= np.dtype(np.float64).itemsize:
        return estimates.astype(np.float64, copy=False)
    decimals = int(-np.log10(np.finfo(estimates.dtype).eps / 2))
    return np.round(estimates.astype(np.float64), decimals)


def _as_text(ids: np.ndarray) -> np.ndarray:
    return np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids


def read_with_influences(path: epath.PathLike, name: str) -> Estimates:
    """Reads estimates, called by that name in messages, that have the influence of every class.

    Raises:
      ValueError: they lack that of a class; see `read` for others.
    """
    estimates = read(path)
    estimates.require_influences(name)
    return estimates


def select_pairs(
    estimates: Estimates,
    path: epath.PathLike,
    mem_threshold: float,
    infl_threshold: float,
    otherwise: str = "",
) -> Pairs:
    """Returns the high-influence pairs of an estimates file; see `Estimates.require_influences`."""
    estimates.require_influences(str(path), otherwise)
    return select(estimates.memorization, estimates.influences, mem_threshold, infl_threshold)


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
