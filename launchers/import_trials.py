r"""Makes a store from somebody else's trials.

    python -m launchers.import_trials --format=arrays --source=trials.npz --store=STORE

arrays: one npz file with `subset_mask` bool [t, n] (which trial was trained on which example),
`train_correct` bool [t, n], `test_correct` bool [t, n'], `train_labels` int [n] and `test_labels`
int [n']. With --dataset, the examples are those of a dataset of ours, in its order, and the report
can show their pictures; their labels are checked.
"""

import hashlib

import numpy as np
from absl import flags

from analysis import cli
from tfmem import datasets, npz
from tfmem.config import ImportConfig
from tfmem.store import Predictions, Store, Trial

FLAGS = flags.FLAGS
_MATRICES = ("subset_mask", "train_correct", "test_correct")
_LABELS = ("train_labels", "test_labels")


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Reads and checks an `arrays` source.

    Returns:
      Its five arrays: bool matrices and int64 labels.

    Raises:
      ValueError: an array is missing, has the wrong shape or values; the message names it.
    """
    with npz.open_npz(path, (*_MATRICES, *_LABELS)) as archive:
        arrays = {name: archive[name] for name in (*_MATRICES, *_LABELS)}
    for name in _LABELS:
        labels = arrays[name]
        if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"{path}: {name} is {labels.dtype} {list(labels.shape)}, expected integers [n]"
            )
        if labels.min() < 0:
            raise ValueError(f"{path}: {name} has the negative label {labels.min()}")
        arrays[name] = labels.astype(np.int64)
    trials = arrays["subset_mask"].shape[0] if arrays["subset_mask"].ndim else 0
    if not trials:
        raise ValueError(f"{path}: subset_mask has no trials")
    lengths = {name: len(arrays["train_labels"]) for name in _MATRICES}
    lengths["test_correct"] = len(arrays["test_labels"])
    for name in _MATRICES:
        matrix = arrays[name]
        if matrix.shape != (trials, lengths[name]):
            raise ValueError(
                f"{path}: {name} has shape {list(matrix.shape)}, expected "
                f"[{trials}, {lengths[name]}] (trials of subset_mask, examples of the labels)"
            )
        if matrix.dtype != bool:
            if not np.isin(matrix, (0, 1)).all():
                raise ValueError(f"{path}: {name} is {matrix.dtype}, expected bool or 0 and 1")
            arrays[name] = matrix.astype(bool)
    sizes = arrays["subset_mask"].sum(axis=1)
    if not sizes.all() or (sizes == lengths["subset_mask"]).any():
        raise ValueError(
            f"{path}: a trial of subset_mask has all or none of the training examples: "
            "it says nothing of memorization"
        )
    return arrays


def digest(arrays: dict[str, np.ndarray]) -> str:
    """Returns the SHA-256, in hexadecimal, of the arrays' names, shapes and values."""
    result = hashlib.sha256()
    for name in sorted(arrays):
        result.update(f"{name} {arrays[name].shape}\n".encode())
        result.update(np.ascontiguousarray(arrays[name]).data)
    return result.hexdigest()


def describe_dataset(
    arrays: dict[str, np.ndarray], name: str, data_dir: str | None
) -> datasets.Dataset:
    """Returns the dataset that the arrays are about, without images when it has no name."""
    if name:
        dataset = datasets.load(name, data_dir)
        datasets.require_same_labels(
            dataset, arrays["train_labels"], arrays["test_labels"], "the source"
        )
        return dataset
    num_classes = 1 + max(int(arrays[labels].max()) for labels in _LABELS)
    train, test = (
        datasets.Split(arrays[f"{split}_labels"], datasets.numbered_ids(split, len(labels)))
        for split, labels in (("train", arrays["train_labels"]), ("test", arrays["test_labels"]))
    )
    return datasets.Dataset("", train, test, tuple(str(label) for label in range(num_classes)))


def main() -> None:
    if FLAGS.dataset:
        datasets.require_known(FLAGS.dataset)
    arrays = read_arrays(FLAGS.source)
    dataset = describe_dataset(arrays, FLAGS.dataset, FLAGS.data_dir)
    config = ImportConfig(
        format=FLAGS.format,
        source=FLAGS.source,
        source_digest=digest(arrays),
        dataset=FLAGS.dataset,
        num_trials=len(arrays["subset_mask"]),
    )
    store = Store.create(FLAGS.store, config, dataset)
    there = set(store.numbers())
    sound = there - set(store.damaged(there))
    with cli.progress_bar(config.num_trials, "trials") as progress:
        for number in range(config.num_trials):
            if number not in sound:
                store.write(
                    Trial(
                        number=number,
                        base_seed=None,
                        subset=arrays["subset_mask"][number],
                        train=Predictions(arrays["train_correct"][number]),
                        test=Predictions(arrays["test_correct"][number]),
                    )
                )
            progress(1)
    print(f"{config.num_trials:,} trials in {store.path}")


if __name__ == "__main__":
    flags.DEFINE_enum("format", None, ["arrays"], "(required) Layout of the source.")
    flags.DEFINE_string("source", None, "(required) The npz file.")
    flags.DEFINE_string(
        "store", None, "(required) Directory of the store; made if it is not there."
    )
    flags.DEFINE_string("dataset", "", f"Dataset that the examples belong to: {datasets.known()}.")
    flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data; TFDS's own default if empty.")
    flags.mark_flags_as_required(["format", "source", "store"])
    cli.run(main)
