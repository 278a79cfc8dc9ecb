"""The examples that somebody else's trials are about: their labels, ids and order."""

import dataclasses
import hashlib

import numpy as np

from tfmem import datasets
from tfmem.datasets import imagenet, labelling
from tfmem.disk import npz
from tfmem.store.trials import Predictions, Trial

# A file of labels names its arrays in one of these ways; the second is the authors'.
_LABELS = (("train_labels", "test_labels"), ("tr_labels", "tt_labels"))
_IDS = (("train_ids", "test_ids"), ("tr_ids", "tt_ids"), ("tr_filenames", "tt_filenames"))


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels in the order of a source: int64 [n] and [n'], and ids, text [n] and [n'], or None.

    Labels that were texts count `class_names`; those that were numbers have none. Errors start with
    `what`, which says where they are from.
    """

    what: str
    train: np.ndarray
    test: np.ndarray
    train_ids: np.ndarray | None = None
    test_ids: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Examples:
    """The dataset that a source's trials are about.

    Attributes:
      dataset: without images if it has no name.
      order: where the source has each of the dataset's training and test examples, int64 [n] and
        [n'], or None if it has them in the dataset's order.
    """

    dataset: datasets.Dataset
    order: tuple[np.ndarray, np.ndarray] | None = None

    def in_order(self, trial: Trial) -> Trial:
        """Returns a trial of the source with its examples in the dataset's order."""
        if self.order is None:
            return trial
        train, test = self.order
        return dataclasses.replace(
            trial,
            subset=trial.subset[train],
            train=_in_order(trial.train, train),
            test=_in_order(trial.test, test),
        )

    @property
    def source_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """The dataset's labels in the order of the source, int64 [n] and [n']."""
        train, test = self.dataset.train.labels, self.dataset.test.labels
        if self.order is None:
            return train, test
        of_train, of_test = map(np.argsort, self.order)
        return train[of_train], test[of_test]

    def digest(self, source_digest: str) -> str:
        """Returns the SHA-256, in hexadecimal, of a source in this order; its own if it has it."""
        if self.order is None:
            return source_digest
        content = b"".join(order.astype("<i8").tobytes() for order in self.order)
        return hashlib.sha256(source_digest.encode() + content).hexdigest()


def _in_order(predictions: Predictions, places: np.ndarray) -> Predictions:
    predicted = predictions.predicted
    return Predictions(
        predictions.correct[places], None if predicted is None else predicted[places]
    )


def read_labels(path: str) -> Labels:
    """Reads the labels of an npz file.

    It has `train_labels` and `test_labels`, or `tr_labels` and `tt_labels` as the paper's authors
    publish them, and may have ids: `train_ids` and `test_ids`, or `tr_filenames` and
    `tt_filenames`, text or bytes.

    Raises:
      ValueError: an array is missing, or is not what it should be.
    """
    with npz.open_npz(path) as archive:
        there = set(archive.files)
        names = next((pair for pair in _LABELS if there.issuperset(pair)), None)
        if names is None:
            raise ValueError(
                f"{path} lacks {' and '.join(_LABELS[0])}; it has "
                f"{', '.join(archive.files) or 'nothing'}"
            )
        found = labels_in(archive, names, path)
        names = next((pair for pair in _IDS if there.issuperset(pair)), None)
        ids = [_texts(archive[name], f"{path}: {name}") for name in names] if names else []
    both = (found.train, found.test)
    for labels, texts, name in zip(both, ids, names or (), strict=False):
        if texts.shape != labels.shape:
            raise ValueError(f"{path}: {name} has {len(texts)} ids for {len(labels)} labels")
    train_ids, test_ids = ids or (None, None)
    return dataclasses.replace(found, train_ids=train_ids, test_ids=test_ids)


def labels_in(archive: npz.Archive, names: tuple[str, str], path: str) -> Labels:
    """Returns the labels of the training and the test examples in an npz file.

    Args:
      archive: the open file.
      names: of the two arrays.
      path: of the file.

    Raises:
      ValueError: they are none; the message starts with the path.
    """
    found = labelling.read({name: archive[name] for name in names}, path)
    train, test = found.arrays.values()
    return Labels(path, train, test, class_names=found.names)


def _texts(ids: np.ndarray, what: str) -> np.ndarray:
    if ids.ndim != 1 or ids.dtype.kind not in "US":
        raise ValueError(f"{what} is {ids.dtype} {list(ids.shape)}, expected texts [n]")
    return np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids


def find_examples(labels: Labels | None, name: str, data_dir: str | None) -> Examples:
    """Returns the examples that a source is about.

    Args:
      labels: what is known of them. Ids are matched with those of the named dataset; labels without
        ids are in its order, as are the examples of a source of which no labels are known.
      name: in `tfmem.datasets`, or "" if there is no such dataset; then there must be labels.
      data_dir: where TFDS keeps its data.

    Raises:
      ValueError: the labels are not those of the dataset, or nothing says in which order the
        examples are.
    """
    if not name:
        if labels is None:
            raise ValueError("no labels and no dataset: give --labels or --dataset")
        return Examples(_without_name(labels))
    dataset = datasets.load(name, data_dir)
    if labels is None:
        if name == imagenet.NAME:
            raise ValueError(
                f"--dataset={name} is in the order of TFDS's files, in which nobody else counts: "
                "--labels=imagenet_index.npz, which the paper's authors publish, names the files "
                "in the order of their runs"
            )
        return Examples(dataset)
    labels = _by_class_of(dataset, labels)
    if labels.train_ids is None or labels.test_ids is None:
        datasets.require_same_labels(dataset, labels.train, labels.test, labels.what)
        return Examples(dataset)
    train = _order(dataset.train.ids, labels.train_ids, f"{labels.what}: training ids", name)
    test = _order(dataset.test.ids, labels.test_ids, f"{labels.what}: test ids", name)
    datasets.require_same_labels(dataset, labels.train[train], labels.test[test], labels.what)
    return Examples(dataset, (train, test))


def _by_class_of(dataset: datasets.Dataset, labels: Labels) -> Labels:
    """Returns labels as the dataset counts them: those that were texts are names of its classes."""
    if labels.class_names is None:
        return labels
    own = {name: label for label, name in enumerate(dataset.class_names)}
    unknown = [name for name in labels.class_names if name not in own]
    if unknown:
        raise ValueError(
            f"{labels.what} has the label {unknown[0]!r}, which is no class of {dataset.name}: "
            f"expected names such as {', '.join(dataset.class_names[:3])}, or numbers"
        )
    places = np.array([own[name] for name in labels.class_names])
    return dataclasses.replace(
        labels, train=places[labels.train], test=places[labels.test], class_names=None
    )


def _without_name(labels: Labels) -> datasets.Dataset:
    def split(name: str, own: np.ndarray, ids: np.ndarray | None) -> datasets.Split:
        return datasets.Split(own, datasets.numbered_ids(name, len(own)) if ids is None else ids)

    largest = max(labels.train.max(initial=0), labels.test.max(initial=0))
    class_names = labels.class_names or tuple(map(str, range(largest + 1)))
    try:
        train = split("train", labels.train, labels.train_ids)
        test = split("test", labels.test, labels.test_ids)
        return datasets.Dataset("", train, test, class_names)
    except ValueError as error:
        raise ValueError(f"{labels.what}: {error}") from error


def _order(known: np.ndarray, ids: np.ndarray, what: str, dataset_name: str) -> np.ndarray:
    """Returns int64 [n]: where in `ids` each of the known ids is; both have the same, each once."""
    order = np.argsort(known)
    places = order[np.minimum(np.searchsorted(known[order], ids), len(known) - 1)]
    foreign = known[places] != ids
    if foreign.any():
        raise ValueError(f"{what}: {dataset_name} has no example {ids[np.argmax(foreign)]}")
    times = np.bincount(places, minlength=len(known))
    if (times != 1).any():
        first = int(np.argmax(times != 1))
        raise ValueError(
            f"{what}: {known[first]} is there {times[first]} times, expected each example of "
            f"{dataset_name} once"
        )
    return np.argsort(places)


def class_difference_by_chance(trial: Trial, dataset: datasets.Dataset) -> float | None:
    """Returns how probable it is that labels unrelated to a trial differ in accuracy as these do.

    Some classes are harder than others. If the accuracies of a trial on the examples that it did
    not see do not tell, labels and trial are probably in different orders: then nothing else in
    the estimates would, and all that is within a class would be wrong.

    Args:
      trial: in the order of the dataset.
      dataset: its examples.

    Returns:
      The tail probability of Pearson's chi-square statistic of right and wrong by class; None
      where it says nothing: fewer than 30 examples per class, or all of them right or wrong.
    """
    from scipy import special  # It is slow to import, and seldom needed.

    unseen = ~trial.subset
    labels = np.concatenate([dataset.train.labels[unseen], dataset.test.labels])
    correct = np.concatenate([trial.train.correct[unseen], trial.test.correct])
    count = np.bincount(labels)
    right = np.bincount(labels, weights=correct)[count > 0]
    count = count[count > 0]
    rate = correct.mean()
    if len(count) < 2 or len(labels) < 30 * len(count) or rate in (0, 1):
        return None
    statistic = np.sum((right - count * rate) ** 2 / (count * rate * (1 - rate)))
    return float(special.chdtrc(len(count) - 1, statistic))
