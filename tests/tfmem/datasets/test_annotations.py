"""Labels and candidates of one's own, from files of every kind, on a tiny dataset."""

import dataclasses
import re

import numpy as np
import pytest

from tfmem import config, datasets, experiments
from tfmem.datasets import Annotations, annotations
from tfmem.datasets.variants import limit_candidates, replace_labels
from tfmem.store.store import Store

MINE = (np.arange(21) * 2 + 1) % 3  # Of 21 examples whose labels are 0, 1, 2, 0, ...: 14 others.
SHUFFLED = np.random.default_rng(1).permutation(21)
NAMES = np.array(["a", "b", "c"])[MINE]
IDS = datasets.numbered_ids("train", 21)


def lines(*columns, head=""):
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([*([head] if head else []), *rows, ""])


def write(path, content):
    """Writes arrays as an npz or npy file, a text as it is."""
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_text(content)


LABEL_FILES = {
    "mine.npz": {"labels": MINE},
    "only.npz": {"anything": MINE[:, None]},
    "named.npz:worse": {"clean": np.arange(21) % 3, "worse": MINE.astype(np.uint8)},
    "ids.npz": {"labels": MINE[SHUFFLED], "ids": IDS[SHUFFLED]},
    "bytes.npz": {"labels": NAMES[SHUFFLED].astype("S"), "ids": IDS[SHUFFLED].astype("S")},
    "indices.npz": {"labels": MINE[SHUFFLED], "index": SHUFFLED},
    "mine.npy": MINE.astype(float),
    "one_hot.npy": np.eye(3, dtype=int)[MINE],
    "names.npy": NAMES,
    "ids.csv": lines(IDS[SHUFFLED], NAMES[SHUFFLED], head="id,label"),
    "turned.csv": lines(MINE[SHUFFLED], SHUFFLED, head="label,index"),
    "marked.csv": "\ufeff" + lines(MINE, head="label"),
    "quoted.csv": lines([f'"{name}"' for name in NAMES], IDS, head='"label","id"'),
    "column.csv:annotator 2": lines(range(21), [0] * 21, MINE, head="id,label,annotator 2"),
    "bare.csv": lines(NAMES),
    "bare.txt": lines(MINE),
}


@pytest.mark.parametrize("name", LABEL_FILES)
def test_labels(tiny, tmp_path, name):
    write(tmp_path / name.partition(":")[0], LABEL_FILES[name])
    np.testing.assert_array_equal(annotations.read_labels(str(tmp_path / name), tiny), MINE)


CANDIDATE_FILES = {
    "mine.npz": {"candidates": np.array([20, 3, 7])},
    "ids.npz": {"ids": IDS[[3, 7, 20]], "why": np.zeros(3)},
    "named.npz:rare": {"rare": IDS[[20, 7, 3]].astype("S"), "ids": IDS},
    "mask.npz": {"chosen": np.isin(np.arange(21), [3, 7, 20])},
    "mine.npy": np.array([3, 7, 20], np.uint16),
    "mine.csv": lines([7, 20, 3]),
    "ids.csv": lines(IDS[[7, 20, 3]], ["x", "y", "z"], head="id,note"),
    "mine.txt": "train_00003\n\ntrain_00020 \ntrain_00007",
    "indices.txt": "7\n3\n20\n",
}


@pytest.mark.parametrize("name", CANDIDATE_FILES)
def test_candidates(tiny, tmp_path, name):
    write(tmp_path / name.partition(":")[0], CANDIDATE_FILES[name])
    found = annotations.read_candidates(str(tmp_path / name), tiny)
    assert found.dtype == bool
    assert np.flatnonzero(found).tolist() == [3, 7, 20]


def test_numbers_are_ids_where_these_are_numbers(tiny, tmp_path, caplog):
    train = dataclasses.replace(tiny.train, ids=np.arange(100, 121).astype(str))
    numbered = dataclasses.replace(tiny, train=train)
    (tmp_path / "ids.txt").write_text("103\n107\n120\n")
    found = annotations.read_candidates(str(tmp_path / "ids.txt"), numbered)
    assert np.flatnonzero(found).tolist() == [3, 7, 20]
    assert "these numbers are ids of tiny, not indices" in caplog.text
    (tmp_path / "indices.txt").write_text("3\n7\n20\n")
    np.testing.assert_array_equal(
        annotations.read_candidates(str(tmp_path / "indices.txt"), numbered), found
    )


def test_names_that_are_numbers_are_names(digits, tmp_path):
    """A folder of the classes 1 and 10: the label 10 is the second one."""
    train = datasets.Split(np.array([0, 1]), IDS[:2])
    dataset = datasets.Dataset("two", train, train, ("1", "10"))
    (tmp_path / "labels.txt").write_text("10\n1\n")
    assert annotations.read_labels(str(tmp_path / "labels.txt"), dataset).tolist() == [1, 0]
    (tmp_path / "labels.txt").write_text("0\n1\n")
    assert annotations.read_labels(str(tmp_path / "labels.txt"), dataset).tolist() == [0, 1]


TWENTY = "has 20 labels, and tiny has 21 training examples: expected one for each, in index order"
CLASSES = "which is no class of tiny: expected 0 to 2, or names such as a, b, c"
EXAMPLES = "expected ids such as train_00000, or indices from 0 to 20"
BAD_LABELS = [
    ("x.npz", {"labels": MINE[:20]}, TWENTY),
    ("x.csv", lines(MINE[:20]), TWENTY),
    ("x.npy", np.append(MINE, 0), "has 22 labels, and tiny has 21"),
    ("x.npy", np.append(MINE[1:], 3), f"x.npy has label 3 at 20, {CLASSES}"),
    ("x.npy", np.append(MINE[1:], -1), "has label -1 at 20, expected 0 or more"),
    ("x.npy", np.append(MINE[1:], 0.5), "has label 0.5 at 20, expected whole numbers"),
    ("x.npy", np.array([None] * 21), "Python objects, which are never loaded"),
    ("x.npy", np.zeros((21, 2, 2), int), "has shape (21, 2, 2), expected [n]"),
    ("x.npy:mine", MINE, "of a npy file there is but one array, without a name"),
    ("x.csv", lines([*NAMES[1:], "d"]), f"has the label 'd', {CLASSES}"),
    ("x.txt", lines([*MINE[1:], "99999999999999999999"]), f"at 20, {CLASSES}"),
    ("x.txt", lines([*MINE[1:], "b"]), f"has the label '0', {CLASSES}"),
    ("x.npz", {"clean": MINE, "worse": MINE}, "has clean, worse: say which is meant by"),
    ("x.npz:best", {"clean": MINE}, "lacks best; it has clean: say which"),
    ("x.csv:best", lines(MINE, head="label"), "lacks best; it has label: say which"),
    ("x.csv:best", lines(MINE), "begins with 1: expected a first line that names the columns"),
    ("x.csv", lines(IDS, MINE), "begins with train_00000,1: expected a first line that names"),
    ("x.csv", lines(IDS, MINE, head="id,label") + "train_1\n", "has train_1, expected 2 cells"),
    ("x.csv", "", "has nothing in it"),
    ("x.csv", 'label\n"1\n', "cannot be read (unexpected end of data)"),
    (
        "x.csv",
        lines([*IDS[1:], "you"], MINE, head="id,label"),
        f"no training example you: {EXAMPLES}",
    ),
    ("x.csv", lines([*IDS[1:], IDS[3]], MINE, head="id,label"), "names train_00003 2 times"),
    (
        "x.csv",
        lines(IDS[2:], MINE[2:], head="id,label"),
        "lacks 2 of 21 training examples, such as",
    ),
    ("x.npz", {"labels": MINE, "ids": IDS[:20]}, "has 21 labels and 20 ids"),
    ("x.npz", {"labels": MINE, "ids": np.arange(21) / 2}, "expected ids or indices [k]"),
    ("x.npy", np.array(1), "has 1 labels, and tiny has 21"),
    ("x.npy", np.array([b"\xff"] * 21), f"has the label '\ufffd', {CLASSES}"),
    ("x.pt", "", "x.pt: expected FILE.npz, .npy, .csv or .txt, or FILE.npz:NAME"),
    ("x.npz", "no zip", "x.npz is not an npz file"),
    ("y.csv:z", None, "y.csv does not exist"),
]
BAD_CANDIDATES = [
    ("x.txt", "21\n", f"tiny has no training example 21: {EXAMPLES}"),
    ("x.txt", "-1\n", f"tiny has no training example -1: {EXAMPLES}"),
    ("x.txt", "99999999999999999999\n", "has no training example 99999999999999999999"),
    ("x.txt", "train_00003\n5\n", f"tiny has no training example 5: {EXAMPLES}"),
    ("x.txt", "5\n7\n5\n", "names 5 2 times, expected each example once"),
    ("x.txt", "\n\n", "has nothing in it"),
    ("x.npy", np.zeros(0, int), "names no training example: nothing could be left out"),
    ("x.npy", np.zeros(21, bool), "names no training example: nothing could be left out"),
    ("x.npy", np.ones(20, bool), "is bool of shape (20,), expected ids or indices [k]"),
    ("x.npy", np.array([1.0]), "is float64 of shape (1,), expected ids or indices [k]"),
    ("x.csv", lines(IDS, MINE), "expected a first line that names the columns"),
]


@pytest.mark.parametrize(
    ("read", "name", "content", "words"),
    [
        *((annotations.read_labels, *row) for row in BAD_LABELS),
        *((annotations.read_candidates, *row) for row in BAD_CANDIDATES),
    ],
)
def test_bad_files_are_one_line_that_names_them(tiny, tmp_path, read, name, content, words):
    path = tmp_path / name.partition(":")[0]
    if content is not None:
        write(path, content)
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        read(str(tmp_path / name), tiny)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_replaced_labels_keep_the_true_ones(tiny):
    found = replace_labels(tiny, MINE)
    np.testing.assert_array_equal(found.train.labels, MINE)
    np.testing.assert_array_equal(found.train.true_labels, tiny.train.labels)
    np.testing.assert_array_equal(found.train.corrupted, tiny.train.labels != MINE)
    assert found.train.images is tiny.train.images
    assert found.test is tiny.test
    assert found.fingerprint != tiny.fingerprint
    with pytest.raises(ValueError, match="20 labels for 21 training examples of tiny"):
        replace_labels(tiny, MINE[:20])


def test_labels_of_streams_are_replaced_too(tiny):
    """A stream has images alone: what is trained on are the labels of the split."""
    splits = tiny.train.without_images(), tiny.test.without_images()
    streamed = datasets.StreamedDataset("s", *splits, tiny.class_names, 255, stream=None)
    found = limit_candidates(replace_labels(streamed, MINE), MINE == 0)
    assert isinstance(found, datasets.StreamedDataset)
    np.testing.assert_array_equal(found.train.labels, MINE)
    np.testing.assert_array_equal(found.train.candidates, MINE == 0)


def test_the_content_of_files_tells_experiments_apart(tmp_path):
    """The same labels in two files, by number and shuffled by id, are the same; others are not."""
    digits = datasets.load("digits")
    labels = np.roll(digits.train.labels, 1)
    order = np.random.default_rng(0).permutation(len(labels))
    np.savez(tmp_path / "a.npz", labels=labels)
    shuffled = lines(digits.train.ids[order], labels[order], head="id,label")
    (tmp_path / "b.csv").write_text(shuffled)
    np.save(tmp_path / "c.npy", digits.train.labels)
    (tmp_path / "some.txt").write_text("1\n2\n3\n")
    (tmp_path / "same.csv").write_text("digits_00003\ndigits_00001\ndigits_00002\n")
    (tmp_path / "others.txt").write_text("1\n2\n4\n")

    def made(**given):
        given = {field: str(tmp_path / name) for field, name in given.items()}
        found = experiments.resolve("digits_mlp", given)
        dataset = datasets.load_for(found)
        found = config.with_digests(found, *Annotations.of(dataset.train).digests())
        return found, config.digest(found, dataset.fingerprint)

    plain = made()
    assert plain[0] == experiments.get("digits_mlp")
    for same, other, field in [
        (({"labels": "a.npz"}, {"labels": "b.csv"}), {"labels": "c.npy"}, "labels_digest"),
        (
            ({"candidates": "some.txt"}, {"candidates": "same.csv"}),
            {"candidates": "others.txt"},
            "candidates_digest",
        ),
    ]:
        (one, digest), (another, again) = (made(**given) for given in same)
        different, third = made(**other)
        assert digest == again
        assert not config.differences(one, another)
        assert len({digest, third, plain[1]}) == 3
        assert [line.split(":")[0] for line in config.differences(one, different)] == [field]


def test_a_store_keeps_both(tiny, tiny_config, tmp_path):
    candidates = np.isin(np.arange(21), [3, 7, 20])
    dataset = limit_candidates(replace_labels(tiny, MINE), candidates)
    Store.create(tmp_path, tiny_config, dataset)
    found = Annotations.of(Store.open(tmp_path).dataset.train)
    np.testing.assert_array_equal(found.labels, MINE)
    np.testing.assert_array_equal(found.candidates, candidates)
    assert Store.open(tmp_path).dataset.test.candidates is None
    some = dataset.train.take(np.array([3, 4]))
    assert some.candidates.tolist() == [True, False]
    assert dataset.train.with_images(tiny.train.images).candidates.sum() == 3


def test_labels_of_ones_own_are_not_corrupted_too():
    with pytest.raises(ValueError, match="give --labels or --corrupted_labels=N, not both"):
        experiments.resolve("digits_mlp", {"labels": "x.npz", "corrupted_labels": 5})
    resolved = experiments.resolve(
        "mnist_mlp4096_corrupted", {"labels": "x.npz", "corrupted_labels": 0}
    )
    assert resolved.labels == "x.npz"
