"""Tables of examples, counted by hand, and their files."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from pyarrow import parquet

from analysis.estimates.values import ClassInfluence, Estimates, Memorization
from analysis.measures import table_files
from analysis.measures.table import LABEL_ISSUE, table
from analysis.measures.votes import Votes
from tfmem.datasets import Dataset, Split

NAN = np.nan
TRAIN_LABELS, TEST_LABELS = np.array([0, 1, 1, 0, 1]), np.array([1, 0, 1])
MEM = np.array([0.1, 0.9, 0.3, NAN, 0.9])
ESTIMATES = Estimates(
    MEM,
    TRAIN_LABELS,
    TEST_LABELS,
    (
        ClassInfluence(np.array([0, 3]), np.array([1]), np.array([[0.2], [NAN]]), None),
        ClassInfluence(
            *(np.array([1, 2, 4]), np.array([0, 2])),
            *(np.array([[0.1, 0.5], [0.5, 0.5], [0.3, -0.2]]), None),
        ),
    ),
    Memorization(
        MEM,
        np.array([0.01, 0.02, 0.03, NAN, 0.05]),
        np.array([0.4, 0.1, 0.3, NAN, 0.05]),
        np.array([6, 7, 8, 10, 5]),
        np.array([4, 3, 2, 0, 5]),
    ),
    num_trials=10,
)
DATA = Dataset(
    "",
    Split(TRAIN_LABELS, np.array(["a", "b", "c, d", "e", "ä"])),
    Split(TEST_LABELS, np.array(["x", "y", "z"])),
    ("cat", "dog"),
)
TRAIN_VOTES = Votes(
    np.array([1, 1, 0, -1, 1]), np.array([0.6, 0.8, 0.7, NAN, 0.9]), np.full(5, NAN)
)
TEST_VOTES = Votes(np.array([0, 0, 1]), np.array([0.65, 1.0, 0.5]), np.array([0.35, 1.0, 0.5]))
# Issues by votes; by memorization, of equals the lower accuracy first; those without.
WHOLE = {
    "id": ["c, d", "x", "a", "ä", "b", "z", "y", "e"],
    "split": ["train", "test", "train", "train", "train", "test", "test", "train"],
    "index": [2, 0, 0, 4, 1, 2, 1, 3],
    "class": ["dog", "dog", "cat", "dog", "dog", "dog", "cat", "cat"],
    "mem": [0.3, None, 0.1, 0.9, 0.9, None, None, None],
    "mem_se": [0.03, None, 0.01, 0.05, 0.02, None, None, None],
    "heldout_accuracy": [0.3, 0.35, 0.4, 0.05, 0.1, 0.5, 1.0, None],
    "num_in": [8, 0, 6, 5, 7, 0, 0, 10],
    "num_out": [2, 10, 4, 5, 3, 10, 10, 0],
    "suggested_label": ["cat", "cat", "dog", "dog", "dog", "dog", "cat", None],
    "votes": [0.7, 0.65, 0.6, 0.9, 0.8, 0.5, 1.0, None],
    "label_issue": [True, True, True, False, False, False, False, None],
    "most_influenced": ["x", None, "y", "x", "z", None, None, None],
    "influence": [0.5, None, 0.2, 0.3, 0.5, None, None, None],
    "influencer_1": [None, "c, d", None, None, None, "b", "a", None],
    "influence_1": [None, 0.5, None, None, None, 0.5, 0.2, None],
    "influencer_2": [None, "ä", None, None, None, "c, d", None, None],
    "influence_2": [None, 0.3, None, None, None, 0.5, None, None],
    "influencer_3": [None, "b", None, None, None, "ä", None, None],
    "influence_3": [None, 0.1, None, None, None, -0.2, None, None],
}


def listed(columns):
    """Returns columns as lists, with None for nan."""
    return {
        name: [None if value != value else value for value in column.tolist()]
        for name, column in columns.items()
    }


@pytest.fixture
def whole():
    return table(ESTIMATES, DATA, TRAIN_VOTES, TEST_VOTES)


def test_every_column_counted_by_hand(whole):
    found = listed(whole)
    assert list(found) == list(WHOLE)
    assert found == WHOLE


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        (dict(split="train"), ["c, d", "a", "ä", "b", "e"]),
        (dict(split="test"), ["x", "z", "y"]),
        (dict(labels=np.array([0])), ["a", "y", "e"]),
        (dict(labels=np.array([0]), split="test"), ["y"]),
        (dict(top=2), ["c, d", "x"]),
        (dict(top=99), WHOLE["id"]),
        (dict(labels=np.array([], np.int64)), []),
    ],
)
def test_some_rows_are_those_of_the_whole_table(whole, asked, ids):
    found = listed(table(ESTIMATES, DATA, TRAIN_VOTES, TEST_VOTES, **asked))
    rows = [WHOLE["id"].index(name) for name in ids]
    assert found == {name: [values[row] for row in rows] for name, values in WHOLE.items()}


def test_of_estimates_alone_columns_are_missing_and_what_has_no_name_has_a_number():
    found = listed(table(ESTIMATES))
    assert list(found) == [
        name for name in WHOLE if name not in ("suggested_label", "votes", "label_issue")
    ]
    # By memorization, of equals the lower accuracy first; then those without, as they are.
    assert found["id"] == ["4", "1", "2", "0", "3", "0", "1", "2"]
    assert found["split"] == ["train"] * 5 + ["test"] * 3
    assert found["class"] == ["1", "1", "1", "0", "0", "1", "0", "1"]
    assert found["most_influenced"] == ["0", "2", "0", "1", *[None] * 4]
    assert found["heldout_accuracy"] == [0.05, 0.1, 0.3, 0.4, *[None] * 4]
    known = table(ESTIMATES, test_accuracy=np.array([0.3, 0.2, 0.1]))
    assert listed(known)["heldout_accuracy"][4:] == [0.1, 0.2, 0.3, None]
    named = dataclasses.replace(ESTIMATES, train_ids=DATA.train.ids, test_ids=DATA.test.ids)
    assert listed(table(named))["id"] == ["ä", "b", "c, d", "a", "e", "x", "y", "z"]


def test_what_a_published_file_does_not_have_has_no_column():
    bare = Estimates(MEM, TRAIN_LABELS, TEST_LABELS, ())
    assert list(table(bare)) == ["id", "split", "index", "class", "mem", "heldout_accuracy"]
    # The influence of the class that is there.
    part = dataclasses.replace(ESTIMATES, influences=ESTIMATES.influences[:1])
    found = listed(table(part))
    assert found["most_influenced"] == [None, None, None, "1", *[None] * 4]
    assert found["influencer_1"] == [*[None] * 6, "0", None]


def test_votes_of_one_split_leave_those_of_the_other_empty():
    found = listed(table(ESTIMATES, DATA, TRAIN_VOTES))
    for name in ("suggested_label", "votes", "label_issue"):
        unknown = [value is None for value in found[name]]
        assert unknown == [
            split == "test" or i == "e"
            for split, i in zip(found["split"], found["id"], strict=True)
        ]


def test_labels_that_were_replaced_have_their_true_ones_beside_them():
    true_labels = np.array([1, 1, 0, 0, 1])
    replaced = dataclasses.replace(
        DATA.train, true_labels=true_labels, corrupted=true_labels != TRAIN_LABELS
    )
    data = dataclasses.replace(DATA, train=replaced)
    found = listed(table(ESTIMATES, data, TRAIN_VOTES, TEST_VOTES))
    assert list(found)[4] == "true_label"
    assert found["true_label"] == ["cat", None, "dog", "dog", "dog", None, None, "cat"]


def test_a_class_without_test_examples_influences_nobody():
    blocks = (
        ClassInfluence(np.array([0, 1]), np.array([], np.int64), np.zeros((2, 0)), None),
        ClassInfluence(np.array([2]), np.array([0]), np.array([[0.5]]), None),
    )
    found = listed(
        table(Estimates(np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1]), np.array([1]), blocks))
    )
    assert found["most_influenced"] == [None, None, "0", None]
    assert found["influencer_1"] == [None, None, None, "2"]
    assert found["influencer_2"] == [None, None, None, None]


def read(path):
    """Returns a table as it is read back: texts of csv as what the column holds."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pydict()
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".PARQUET"])
def test_what_is_written_is_read_back(whole, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(table_files, "_ROWS", 3)
    path = tmp_path / f"examples{suffix}"
    table_files.write(path, whole)
    found = read(path.rename(path.with_suffix(suffix.lower())))
    assert list(found) == list(WHOLE)
    assert found == WHOLE


def test_csv_is_read_back_and_what_is_not_known_is_empty(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "_ROWS", 3)
    path = tmp_path / "examples.csv"
    table_files.write(path, whole)
    words = {None: "", True: "true", False: "false"}
    texts = {
        name: [
            words[value] if value is None or name == LABEL_ISSUE else str(value) for value in values
        ]
        for name, values in WHOLE.items()
    }
    assert read(path) == texts
    assert path.read_bytes().splitlines()[1].startswith(b'"c, d",train,2,dog,0.3,0.03,0.3,8,2,cat,')


def test_a_table_without_rows_has_its_columns(tmp_path):
    nothing = table(ESTIMATES, DATA, TRAIN_VOTES, TEST_VOTES, labels=np.array([], np.int64))
    for suffix in table_files.SUFFIXES:
        table_files.write(tmp_path / f"none{suffix}", nothing)
    assert (tmp_path / "none.csv").read_text() == ",".join(WHOLE) + "\n"
    assert (tmp_path / "none.jsonl").read_text() == ""
    empty = parquet.read_table(tmp_path / "none.parquet")
    assert empty.column_names == list(WHOLE)
    kinds = {"label_issue": "bool", "votes": "double", "index": "int64", "influencer_3": "string"}
    assert {name: str(empty.schema.field(name).type) for name in kinds} == kinds
