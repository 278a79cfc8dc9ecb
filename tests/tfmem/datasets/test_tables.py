"""Datasets in one csv file."""

import dataclasses

import numpy as np
import pytest

from tfmem import config, datasets

TABLE = """\
id,width,kind,split,height
a,1.5,cat,train,-2
b,2,bee,Train,1e3
c,3,cat,test, 4
d,.5,ant,training,0
"""


def load(folder, text, which="", encoding="utf-8", **options):
    (folder / "own.csv").write_bytes(text.encode(encoding))
    return datasets.load(f"csv:{folder}/own.csv{which}", **options)


def test_a_table_with_ids_and_splits(tmp_path, caplog):
    dataset = load(tmp_path, TABLE, ":kind")
    assert dataset.name == f"csv:{tmp_path}/own.csv:kind"
    assert (dataset.class_names, dataset.input_shape) == (("ant", "bee", "cat"), (2,))
    assert (dataset.pixel_max, dataset.has_images) == (None, False)
    assert dataset.train.ids.tolist() == ["a", "b", "d"]
    assert dataset.train.labels.tolist() == [2, 1, 0]
    assert dataset.train.images.dtype == np.float32
    assert dataset.train.images.tolist() == [[1.5, -2], [2, 1000], [0.5, 0]]
    assert (dataset.test.ids.tolist(), dataset.test.labels.tolist()) == (["c"], [2])
    assert dataset.test.images.tolist() == [[3, 4]]
    assert not caplog.messages
    assert not datasets.needs_download(dataset.name)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_how_spreadsheets_write_tables(tmp_path, separator, end):
    text = TABLE.replace(",", separator).replace("cat", '"the ""cat"""').replace("\n", end)
    dataset = load(tmp_path, f"{text}{end}", ":kind", "utf-8-sig")
    assert dataset.class_names == ("ant", "bee", 'the "cat"')
    assert dataset.train.images.tolist() == [[1.5, -2], [2, 1000], [0.5, 0]]


def test_rows_without_ids_are_numbered(tmp_path):
    text = "x,Label\n" + "".join(f"{row},{row % 2}\n" for row in range(10))
    dataset = load(tmp_path, text, test_share=0.2)
    assert (len(dataset.train), len(dataset.test)) == (8, 2)
    for split in (dataset.train, dataset.test):
        rows = [int(name.removeprefix("row_")) for name in split.ids]
        assert split.images[:, 0].tolist() == rows
        assert split.labels.tolist() == [row % 2 for row in rows]
    assert sorted(dataset.test.labels) == [0, 1]


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["10", "9", "10", "3"], ("3", "9", "10"), [2, 1, 2, 0]),
        (["-1", "1.0", "1", "-1"], ("-1", "1"), [0, 1, 1, 0]),
        (["10", "9", "x", "9"], ("10", "9", "x"), [0, 1, 2, 1]),
        (["True", "False", "True", "True"], ("False", "True"), [1, 0, 1, 1]),
    ],
)
def test_classes_are_what_the_labels_are(tmp_path, labels, names, expected):
    splits = ["train", "train", "test", "test"]
    rows = [f"{row},{label},{splits[row]}\n" for row, label in enumerate(labels)]
    dataset = load(tmp_path, "x,label,split\n" + "".join(rows))
    assert dataset.class_names == names
    assert [*dataset.train.labels, *dataset.test.labels] == expected


def test_the_second_split_is_the_first_of_those_there(tmp_path, caplog):
    text = "x,label,split\n1,a,train\n2,b,val\n3,a,test\n4,a,validation\n"
    dataset = load(tmp_path, text)
    assert dataset.test.ids.tolist() == ["row_00002"]
    assert caplog.messages == [f"{tmp_path}/own.csv: left out: 2 rows of val, validation"]
    text = "x,label,split\n1,a,train\n2,b,train\n3,a,valid\n"
    assert load(tmp_path, text).test.images.tolist() == [[3]]
    with pytest.raises(
        ValueError, match=r"own.csv has rows whose split is valid: --test_share=0.5"
    ):
        load(tmp_path, text, test_share=0.5)
    text = "x,label,split\n1,a,train\n2,b,train\n3,a,train\n4,b,train\n"
    assert len(load(tmp_path, text, test_share=0.5).test) == 2


def test_the_same_table_elsewhere_is_the_same_dataset(tmp_path, tiny_config, monkeypatch):
    first = load(tmp_path, TABLE, ":kind")
    (tmp_path / "own.csv").rename(tmp_path / "moved.csv")
    moved = datasets.load(f"csv:{tmp_path}/moved.csv:kind")
    assert moved.fingerprint == first.fingerprint
    digests = {
        config.digest(dataclasses.replace(tiny_config, dataset=each.name), each.fingerprint)
        for each in (first, moved)
    }
    assert len(digests) == 1
    monkeypatch.chdir(tmp_path)
    assert datasets.located("csv:moved.csv:kind") == moved.name
    assert datasets.located("csv:gs://a/b.csv") == "csv:gs://a/b.csv"


ROWS = "x,y,label\n1,2,a\n3,4,b\n"
ERRORS = {
    "text": (
        ROWS + "5,tall,a\n",
        "own.csv, line 4, column y: 'tall' is not a number: encode it as",
    ),
    "comma": (ROWS + '5,"4,5",a\n', "own.csv, line 4, column y: '4,5' is not a number"),
    "missing": (
        ROWS + "5,,a\n",
        "own.csv, line 4, column y: a value is missing: fill it in, or le",
    ),
    "na": (ROWS + "NA,2,a\n", r"own.csv, line 4, column x: a value is missing \(NA\): fill it in"),
    "nan": (ROWS + "nan,2,a\n", r"own.csv, line 4, column x: a value is missing \(nan\)"),
    "infinite": (ROWS + "1,-inf,a\n", "own.csv, line 4, column y: -inf is not finite"),
    "too large": (ROWS + "1,1e999,a\n", "own.csv, line 4, column y: 1e999 is not finite"),
    "no label": (ROWS + "5,6,\n", "own.csv, line 4, column label: a value is missing"),
    "measured": ("x,label\n1,2\n2,0.5\n", "own.csv, line 3, column label: 0.5 is no class: expect"),
    "short": (
        ROWS + "5,6\n",
        "own.csv, line 4 has 2 values, expected 3, as many as the first line",
    ),
    "long": (ROWS + "5,6,a,b\n", "own.csv, line 4 has 4 values, expected 3"),
    "many lines": ('x,label\n1,"a\nb"\nz,c\n', "own.csv, line 4, column x: 'z' is not a number"),
    "no column of labels": (
        "x,y,kind\n1,2,a\n",
        "own.csv, line 1: no column is called label; there are x, y, kind: csv:.*own.csv:COLUMN",
    ),
    "many columns": (
        ",".join(f"x{place}" for place in range(12)) + "\n",
        "there are x0, x1, x2, x3, x4, x5, x6, x7, x8, x9 and 2 more: csv:",
    ),
    "no name": (",x,label\n0,1,a\n", r"line 1: column 1 has no name: call it id .*index=False"),
    "same names": ("x,x,label\n0,1,a\n", "own.csv, line 1: two columns are called x"),
    "no features": (
        "id,label\n0,a\n",
        "own.csv, line 1: no column has features: there are id, lab",
    ),
    "nothing": ("", "own.csv, line 1: expected the names of the columns"),
    "no rows": ("x,label\n", "own.csv has no rows below the names"),
    "same ids": (
        "id,x,label\n7,1,a\n8,1,a\n7,1,b\n",
        "own.csv, line 4, column id: '7' is the id of line 2 too",
    ),
    "no id": ("id,x,label\n7,1,a\n,1,a\n", "own.csv, line 3, column id: a value is missing"),
    "split": (
        "x,label,split\n1,a,train\n1,a,tset\n",
        "own.csv, line 3, column split: 'tset', expected train or test",
    ),
    "no test split": (
        "x,label,split\n1,a,train\n1,a,train\n",
        "own.csv has no rows of split test; expected .* or --test_share=0.2",
    ),
    "no training split": ("x,label,split\n1,a,test\n", "own.csv: the train split is empty"),
    "no split": (ROWS, "own.csv has no column split; expected .* or --test_share=0.2, which holds"),
    "open quote": (ROWS + '5,"6,a\n', "own.csv, line 4: unexpected end of data"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_tables_that_will_not_do(tmp_path, case):
    text, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(ValueError, match=r"absent.csv does not exist$"):
        datasets.load(f"csv:{tmp_path}/absent.csv")
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)$"):
        datasets.load(f"csv:{tmp_path}")
    with pytest.raises(ValueError, match=r"own.csv, line 4 is not UTF-8: save it as UTF-8$"):
        load(tmp_path, ROWS + "5,6,\u00e9\n", encoding="latin-1")
    with pytest.raises(ValueError, match="no column is called kind; there are x, y, label"):
        load(tmp_path, ROWS, ":kind")
    with pytest.raises(ValueError, match=r"own.csv: --test_share=0.01 of 2 examples is none"):
        load(tmp_path, ROWS, test_share=0.01)
