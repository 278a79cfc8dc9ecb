"""A row for each example: what is estimated of it, and what it is called when it is left out.

What deserves a look comes first: examples that most trials call something else than their label, by
the share of these trials; then the others by memorization, descending, with those that have none,
such as all test examples, last. Equals are ordered by held-out accuracy, ascending, then training
before test examples, then by index.
"""

import numpy as np

from analysis.estimates.values import Estimates, influences_of
from analysis.measures.votes import Votes
from tfmem.datasets import Dataset

TRAIN, TEST, BOTH = SPLITS = ("train", "test", "both")
LABEL_ISSUE = "label_issue"
INFLUENTIAL = 3  # Training examples in the row of a test example.
Columns = dict[str, np.ndarray]


def table(
    estimates: Estimates,
    dataset: Dataset | None = None,
    train_votes: Votes | None = None,
    test_votes: Votes | None = None,
    *,
    test_accuracy: np.ndarray | None = None,
    split: str = BOTH,
    labels: np.ndarray | None = None,
    top: int | None = None,
) -> Columns:
    """Returns the columns of a table of examples, what deserves a look first.

    What is not known of any example has no column: without votes there is no `suggested_label`,
    `votes` and `label_issue`; without influences none of whom it is on and of; without their
    details neither standard errors nor numbers of trials. What is not known of one is nan, or None
    among texts and truth values.

    Args:
      estimates: of memorization, and of influence within classes if there is any.
      dataset: of the examples, whose classes have names; None calls classes by their numbers, and
        examples by the estimates' ids or else by their indices.
      train_votes: for all training examples.
      test_votes: for all test examples.
      test_accuracy: float [n'], the share of all trials that are right; None is that of the votes.
      split: one of `SPLITS`.
      labels: int, of the classes that are wanted; None is all.
      top: how many rows at most; None is all.

    Returns:
      by the name of the column, int64 or float64 [rows], or object [rows] of texts (and of truth
      values in `label_issue`); the order of columns is that of docs/formats.md.
    """
    parts = []
    if split != TEST:
        parts.append(_train(estimates, dataset, train_votes))
    if split != TRAIN:
        parts.append(_test(estimates, dataset, test_votes, test_accuracy))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if labels is not None:
        values = _rows(values, np.isin(values["label"], labels))
    values = _rows(values, _order(values)[:top])
    ids, classes = _ids(estimates, dataset), _class_names(dataset, values)
    columns = _described(values, ids, classes)
    if estimates.details is None:
        for name in ("mem_se", "num_in", "num_out"):
            del columns[name]
    if any(votes is not None for votes in (train_votes, test_votes)):
        columns |= _called(values, classes)
    return columns | (_influence(estimates, ids, values) if len(estimates.influences) else {})


def _train(estimates: Estimates, dataset: Dataset | None, votes: Votes | None) -> Columns:
    """Returns what is known of every training example, nan and -1 where it is not."""
    n, details = len(estimates.train_labels), estimates.details
    labels, unknown = estimates.train_labels, np.full(n, np.nan)
    true_labels = None if dataset is None else dataset.train.true_labels
    return {
        "test": np.zeros(n, bool),
        "index": np.arange(n),
        "label": labels,
        "true_label": np.full(n, -1) if true_labels is None else true_labels,
        "mem": estimates.memorization,
        "mem_se": unknown if details is None else details.standard_error,
        "heldout_accuracy": unknown if details is None else details.heldout_accuracy,
        "num_in": np.zeros(n, np.int64) if details is None else details.num_in,
        "num_out": np.zeros(n, np.int64) if details is None else details.num_out,
        **_votes(votes or Votes.unknown(n), labels),
    }


def _test(
    estimates: Estimates,
    dataset: Dataset | None,
    votes: Votes | None,
    accuracy: np.ndarray | None,
) -> Columns:
    """Returns what `_train` does, of every test example, whom no trial sees."""
    labels, n = estimates.test_labels, len(estimates.test_labels)
    votes, unknown = votes or Votes.unknown(n), np.full(n, np.nan)
    return {
        "test": np.ones(n, bool),
        "index": np.arange(n),
        "label": labels,
        "true_label": np.full(n, -1),
        "mem": unknown,
        "mem_se": unknown,
        "heldout_accuracy": votes.of_label if accuracy is None else accuracy,
        "num_in": np.zeros(n, np.int64),
        "num_out": np.full(n, estimates.num_trials or 0),
        **_votes(votes, labels),
    }


def _votes(votes: Votes, labels: np.ndarray) -> Columns:
    return {"called": votes.label, "votes": votes.share, "issue": votes.issues(labels)}


def _rows(values: Columns, index: np.ndarray) -> Columns:
    return {name: column[index] for name, column in values.items()}


def _order(values: Columns) -> np.ndarray:
    """Returns the rows in the order of the table: nan is last, and equals stay as they are."""
    votes = np.where(values["issue"], values["votes"], 0)
    return np.lexsort((values["heldout_accuracy"], -values["mem"], -votes))


def _ids(estimates: Estimates, dataset: Dataset | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of the training and of the test examples, text [n] and [n']."""
    if dataset is not None:
        return dataset.train.ids, dataset.test.ids
    known = estimates.train_ids, estimates.test_ids
    labels = estimates.train_labels, estimates.test_labels
    train, test = (
        np.arange(len(its)).astype(np.str_) if ids is None else ids
        for ids, its in zip(known, labels, strict=True)
    )
    return train, test


def _class_names(dataset: Dataset | None, values: Columns) -> np.ndarray:
    if dataset is not None:
        return np.array(dataset.class_names)
    highest = max(values[name].max(initial=0) for name in ("label", "called"))
    return np.arange(highest + 1).astype(np.str_)


def _named(names: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Returns object [...], the names at an index [...], None where it is -1."""
    found = np.full(index.shape, None, object)
    found[index >= 0] = names[index[index >= 0]]
    return found


def _described(
    values: Columns, ids: tuple[np.ndarray, np.ndarray], class_names: np.ndarray
) -> Columns:
    """Returns the columns that say which examples these are, and what is estimated of them."""
    index, test = values["index"], values["test"]
    named = _named(ids[0], np.where(test, -1, index))
    named[test] = ids[1][index[test]]
    columns = {
        "id": named,
        "split": _named(np.array([TRAIN, TEST]), test.astype(int)),
        "index": index,
        "class": _named(class_names, values["label"]),
    }
    if (values["true_label"] >= 0).any():
        columns["true_label"] = _named(class_names, values["true_label"])
    for name in ("mem", "mem_se", "heldout_accuracy", "num_in", "num_out"):
        columns[name] = values[name]
    return columns


def _called(values: Columns, class_names: np.ndarray) -> Columns:
    """Returns the columns of the votes."""
    issue = values["issue"].astype(object)
    issue[values["called"] < 0] = None
    return {
        "suggested_label": _named(class_names, values["called"]),
        "votes": values["votes"],
        LABEL_ISSUE: issue,
    }


def _influence(
    estimates: Estimates, ids: tuple[np.ndarray, np.ndarray], values: Columns
) -> Columns:
    """Returns whom a training example influences most, and who influences a test example most."""
    index, test = values["index"], values["test"]
    influenced, influence = np.full(len(index), -1), np.full(len(index), np.nan)
    influencers = np.full((len(index), INFLUENTIAL), -1)
    influences = np.full(influencers.shape, np.nan)
    influenced[~test], influence[~test] = _most_influenced(estimates, index[~test])
    influencers[test], influences[test] = _most_influential(estimates, index[test])
    columns = {"most_influenced": _named(ids[1], influenced), "influence": influence}
    for rank in range(INFLUENTIAL):
        columns[f"influencer_{rank + 1}"] = _named(ids[0], influencers[:, rank])
        columns[f"influence_{rank + 1}"] = influences[:, rank]
    return columns


def _most_influenced(estimates: Estimates, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the test example that each training example influences most, and how much.

    Returns:
      int64 [k], of equals the first, and -1 where there is none; float64 [k], nan there.
    """
    n = len(estimates.train_labels)
    found, influence, chosen = np.full(n, -1), np.full(n, np.nan), np.zeros(n, bool)
    chosen[index] = True
    labels = _with_influence(estimates, estimates.train_labels[index])
    for block in influences_of(estimates.influences, chosen, labels):
        if block.value.size:
            best, value = _highest(block.value.T, 1)
            found[block.train_index] = np.where(np.isnan(value[0]), -1, block.test_index[best[0]])
            influence[block.train_index] = value[0]
    return found[index], influence[index]


def _most_influential(estimates: Estimates, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns who influences each test example most: int64 and float64 [k, 3], as above."""
    shape = (len(estimates.test_labels), INFLUENTIAL)
    found, influence = np.full(shape, -1), np.full(shape, np.nan)
    for block in influences_of(
        estimates.influences, None, _with_influence(estimates, estimates.test_labels[index])
    ):
        chosen = np.flatnonzero(np.isin(block.test_index, index))
        best, value = _highest(block.value[:, chosen], INFLUENTIAL)
        its = np.where(np.isnan(value), -1, block.train_index[best]).T
        found[block.test_index[chosen], : its.shape[1]] = its
        influence[block.test_index[chosen], : its.shape[1]] = value.T
    return found[index], influence[index]


def _with_influence(estimates: Estimates, labels: np.ndarray) -> list[int]:
    """Returns the classes of examples whose influence is there."""
    return [label for label in np.unique(labels).tolist() if label < len(estimates.influences)]


def _highest(value: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the highest values of each column, descending, and these values.

    Args:
      value: float [a, b]; nan is the lowest.
      count: how many rows at most; of equals the first.

    Returns:
      int64 and float [count, b], or [a, b] if there are fewer.
    """
    rows = np.argsort(-value, axis=0, kind="stable")[:count]
    return rows, np.take_along_axis(value, rows, axis=0)
