"""The runs that the paper's authors released: a folder of runs, in each its aux_arrays.npz.

    EXPERIMENT/SUBSET_RATIO/RUN/aux_arrays.npz

Such a file has `correctness_S` (binary) and `index_S` (int) for each S of `train`, `removed` and
`test`, and `subsample_idx` (int). `train` is what the run was trained on and `subsample_idx` names,
`removed` is the rest of the training set; both are counted as in the whole of it. Each array of
correctness is in the order of its index.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator

import numpy as np
from etils import epath

from tfmem.disk import npz
from tfmem.imports.examples import Labels
from tfmem.imports.source import require_some
from tfmem.store.trials import Predictions, Trial

FILE = "aux_arrays.npz"
_SPLITS = ("train", "removed", "test")
_ARRAYS = (
    *(f"{kind}_{split}" for split in _SPLITS for kind in ("correctness", "index")),
    "subsample_idx",
)
_MOST_NAMED = 5
# Sizes of random subsets of one ratio agree better than this share of the training set, drawn
# exactly or example by example.
_SIZE_TOLERANCE = 0.01


def find_runs(tree: epath.PathLike) -> list[str]:
    """Returns the runs below a folder: `[k]` is trial k, as its path relative to the folder.

    Runs are numbered in ascending order of their folders' names: as numbers if all of them are,
    as text if not.

    Raises:
      ValueError: there are none, or they are of several subset ratios or experiments.
    """
    tree = epath.Path(tree)
    if not tree.is_dir():
        raise ValueError(
            f"{tree} is not a folder: expected one with SUBSET_RATIO/RUN/{FILE} or RUN/{FILE}"
        )
    if (tree / FILE).exists():
        raise ValueError(f"{tree} is a single run; expected the folder that holds many")
    found = list(_runs_below(tree))
    if not found:
        raise ValueError(
            f"{tree} has no {FILE} below it: expected SUBSET_RATIO/RUN/{FILE}, as in the authors' "
            "archives, unpacked"
        )
    folders = sorted({str(run.parent.relative_to(tree)) for run in found})
    if len(folders) > 1:
        more = f" and {len(folders) - _MOST_NAMED} more" if len(folders) > _MOST_NAMED else ""
        raise ValueError(
            f"{tree} has runs in {', '.join(folders[:_MOST_NAMED])}{more}; estimates need those "
            f"of one experiment and subset ratio: point at one, as in {tree / folders[0]}"
        )
    numbered = all(run.name.isdecimal() for run in found)
    found.sort(key=lambda run: (int(run.name) if numbered else 0, run.name))
    return [str(run.relative_to(tree)) for run in found]


def _runs_below(folder: epath.Path) -> Iterator[epath.Path]:
    for child in folder.iterdir():
        if child.is_dir():
            if (child / FILE).exists():  # A run may have other files, such as checkpoints.
                yield child
            else:
                yield from _runs_below(child)


class ReleasedRuns:
    """The runs below a folder; see `tfmem.imports.source`. One run is in memory at a time."""

    labels: Labels | None = None

    def __init__(self, tree: str):
        """Lists the runs; see `find_runs`."""
        self._tree = epath.Path(tree)
        self.runs = find_runs(self._tree)
        self.num_trials = len(self.runs)

    def fixed_labels(self, on_progress: Callable[[float], None]) -> Labels | None:
        """See `Source`. What the authors' models predict has not been released."""
        return None

    def check(
        self,
        train_labels: np.ndarray,
        test_labels: np.ndarray,
        on_progress: Callable[[float], None],
    ) -> str:
        """See `Source`. All files are opened, the first run is read.

        The digest is of the runs' names and, for each of their arrays, of the size and the CRC-32
        in the zip file's directory. These tell files of different content apart, save by intent,
        without reading them (imports would read 40 GB of ImageNet twice), and do not change with
        compression or with the place of the folder. An array that is not what its CRC-32 says is
        found out when it is read. They tell, too, when a run is there under two names.
        """
        digest = hashlib.sha256()
        unusable = []
        names: dict[str, str] = {}
        for run in self.runs:
            digest.update(f"{epath.Path(run).name}\n".encode())
            try:
                with npz.open_npz(self._path(run), _ARRAYS) as archive:
                    sums = [(name, *archive.checksum(name)) for name in _ARRAYS]
            except ValueError as error:
                unusable.append(str(error))
            else:
                content = "".join(f"{name} {size} {crc:08x}\n" for name, size, crc in sums)
                digest.update(content.encode())
                if names.setdefault(content, run) != run:
                    raise ValueError(
                        f"{self._path(run)} is the run of {self._path(names[content])}: a run "
                        "counts once, so leave the other out"
                    )
            on_progress(1 / self.num_trials)
        if unusable:
            more = f"; and {len(unusable) - _MOST_NAMED} more" if unusable[_MOST_NAMED:] else ""
            raise ValueError(
                f"{len(unusable)} of {self.num_trials} runs cannot be read: "
                f"{'; '.join(unusable[:_MOST_NAMED])}{more}"
            )
        self._sizes = len(train_labels), len(test_labels)
        self._subset_size = int(self._read(0).subset.sum())
        return digest.hexdigest()

    def trials(self, numbers: Collection[int]) -> Iterator[Trial]:
        """See `Source`."""
        for number in sorted(numbers):
            trial = self._read(number)
            size, num_train = int(trial.subset.sum()), len(trial.subset)
            if abs(size - self._subset_size) > max(1, _SIZE_TOLERANCE * num_train):
                raise ValueError(
                    f"{self._path(self.runs[number])}: a subset of {size} of {num_train} examples, "
                    f"that of {self.runs[0]} has {self._subset_size}: estimates need one subset "
                    "ratio"
                )
            yield trial

    def _path(self, run: str) -> epath.Path:
        return self._tree / run / FILE

    def _read(self, number: int) -> Trial:
        """Reads a run, with its examples in the order that the indices count."""
        path = self._path(self.runs[number])
        num_train, num_test = self._sizes
        with npz.open_npz(path, _ARRAYS) as archive:
            arrays = {
                name: (_binary if name.startswith("correctness") else _integer)(
                    archive[name], f"{path}: {name}"
                )
                for name in _ARRAYS
            }
        for split in _SPLITS:
            lengths = [len(arrays[f"{kind}_{split}"]) for kind in ("correctness", "index")]
            if lengths[0] != lengths[1]:
                raise ValueError(
                    f"{path}: correctness_{split} has {lengths[0]} entries, index_{split} has "
                    f"{lengths[1]}"
                )
        index = np.concatenate([arrays["index_train"], arrays["index_removed"]])
        _require_each_once(index, num_train, f"{path}: index_train with index_removed", "training")
        _require_each_once(arrays["index_test"], num_test, f"{path}: index_test", "test")
        if not np.array_equal(np.unique(arrays["subsample_idx"]), np.sort(arrays["index_train"])):
            raise ValueError(
                f"{path}: index_train and subsample_idx name different examples, expected the same"
            )
        subset = np.zeros(num_train, bool)
        subset[arrays["index_train"]] = True
        require_some(int(subset.sum()), num_train, f"{path}: index_train")
        train, test = np.empty(num_train, bool), np.empty(num_test, bool)
        for split, correct in (("train", train), ("removed", train), ("test", test)):
            correct[arrays[f"index_{split}"]] = arrays[f"correctness_{split}"]
        return Trial(number, None, subset, Predictions(train), Predictions(test))


def _integer(array: np.ndarray, what: str) -> np.ndarray:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{what} is {array.dtype} {list(array.shape)}, expected integers [k]")
    return array.astype(np.int64)


def _binary(array: np.ndarray, what: str) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"{what} is {array.dtype} {list(array.shape)}, expected 0 and 1, [k]")
    bad = (array != 0) & (array != 1)
    if bad.any():
        raise ValueError(f"{what} has the value {array[np.argmax(bad)]}, expected 0 and 1")
    return array.astype(bool)


def _require_each_once(index: np.ndarray, count: int, what: str, kind: str) -> None:
    if len(index) != count:
        raise ValueError(
            f"{what} has {len(index)} examples, the labels are of {count} {kind} examples: another "
            "dataset?"
        )
    outside = (index < 0) | (index >= count)
    if outside.any():
        raise ValueError(
            f"{what} has the index {index[np.argmax(outside)]}, expected 0 to {count - 1}"
        )
    times = np.bincount(index, minlength=count)
    if (times != 1).any():
        example = int(np.argmax(times != 1))
        raise ValueError(
            f"{what} has {kind} example {example} {times[example]} times, expected each once"
        )
