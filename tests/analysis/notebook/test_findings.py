"""`import analysis`: what it answers is counted by hand, or what the programs write."""

import dataclasses
import difflib
import pathlib
import re
import subprocess
import sys
import warnings
from unittest import mock

import numpy as np
import pandas
import pytest
from etils import epath

import analysis
from analysis.estimates import files
from analysis.estimates.values import ClassInfluence
from analysis.notebook import findings
from analysis.notebook.findings import Influence
from analysis.plots import style
from tests.conftest import ROOT, run_program
from tests.pages import ESTIMATES, INFLUENCES, dataset_of
from tfmem import datasets

DATASET = dataset_of()


def found(estimates=ESTIMATES, dataset=DATASET, **changes):
    """Returns the findings of the six training and five test examples of `tests.pages`."""
    return analysis.Findings(estimates, dataset, "here", **changes)


def texts(fig):
    return [text.get_text() for ax in fig.axes for text in ax.texts]


@pytest.fixture(scope="module")
def est(random_subsets):
    return analysis.estimate(random_subsets.store.path)


@pytest.fixture(scope="module")
def path(random_subsets, tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "estimates.npz"
    run_program("analysis.estimate", f"--store={random_subsets.store.path}", f"--out={path}")
    return path


def test_what_is_imported_and_when(random_subsets):
    """In a process of its own: of the API nothing, TensorFlow and pyplot never."""
    code = f"""
import sys
import analysis
assert not sys.modules.keys() & {{"numpy", "matplotlib", "pandas", "tensorflow", "absl"}}
assert {{"Findings", "estimate", "open_estimates"}} <= set(dir(analysis))
assert analysis.__all__ == ["Findings", "estimate", "open_estimates"]
est = analysis.estimate({str(random_subsets.store.path)!r})
assert "trials: 12" in repr(est)
est.influencers(test=0)
assert not sys.modules.keys() & {{"matplotlib", "pandas", "tensorflow", "keras"}}
est.show()
assert "matplotlib" in sys.modules
est.to_pandas(top=1)
assert not sys.modules.keys() & {{"matplotlib.pyplot", "tensorflow", "keras"}}
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'analysis' has no attribute 'estimates_of'"):
        analysis.estimates_of  # noqa: B018


@pytest.mark.parametrize("test", [0, np.int64(0), "v0"])
def test_influencers(test):
    """Of v0: t0 0.30, t1 0.80, t5 0.149."""
    expected = [("t1", 1, 0.8), ("t0", 0, 0.3), ("t5", 5, 0.149)]
    rows = [Influence(*row, pytest.approx(0.031)) for row in expected]
    assert found().influencers(test) == rows
    assert found().influencers(test=test, k=2) == rows[:2]


@pytest.mark.parametrize("train", [2, "t2"])
def test_influenced(train):
    """By t2: v2 0.50, v3 0.01."""
    rows = [Influence("v2", 2, 0.5, pytest.approx(0.042)), Influence("v3", 3, 0.01, 0.042)]
    rows[1] = dataclasses.replace(rows[1], standard_error=pytest.approx(0.042))
    assert found().influenced(train) == rows
    assert found().influenced(train=train, k=1) == rows[:1]


def test_of_equals_the_first_come_and_unknown_ones_do_not():
    """t3 has no estimate; t2, t4 and t3 are of class 1; without errors these are nan."""
    block = INFLUENCES[1]
    value = np.array([[0.1, 0.01], [np.nan, np.nan], [0.1, 0.1]])
    block = ClassInfluence(block.train_index, block.test_index, value, None)
    est = found(dataclasses.replace(ESTIMATES, influences=(INFLUENCES[0], block)))
    rows = est.influencers("v2")
    assert [row.id for row in rows] == ["t2", "t4"]
    assert np.isnan([row.standard_error for row in rows]).all()
    assert est.influenced("t3") == []


def test_a_table_of_rows():
    frame = pandas.DataFrame(found().influencers("v0"))
    assert list(frame) == ["id", "index", "influence", "standard_error"]
    assert frame["influence"].tolist() == [0.8, 0.3, 0.149]


def test_pairs():
    pairs = found().pairs()
    assert pairs.train_index.tolist() == [2, 0, 0]
    assert pairs.test_index.tolist() == [2, 0, 4]
    assert pandas.DataFrame(vars(pairs))["influence"].tolist() == [0.5, 0.3, 0.15]
    assert found().pairs(mem_threshold=0.2, infl_threshold=0.8).train_index.tolist() == [1]


def test_arrays():
    est = found()
    for name, value in (
        ("memorization", [0.9, 0.24, 0.25, -0.001, 1.0, 0.52]),
        ("memorization_se", [0.011] * 6),
        ("heldout_accuracy", [0.75] * 6),
        ("num_in", [70] * 6),
        ("num_out", [30] * 6),
    ):
        assert getattr(est, name).tolist() == value
    bare = found(dataclasses.replace(ESTIMATES, details=None))
    for name in ("memorization_se", "heldout_accuracy", "num_in", "num_out"):
        assert getattr(bare, name) is None


def test_it_says_what_it_is():
    """Of the six, t0, t2, t4 and t5 have 0.25 or more; the pairs are three."""
    est = found(dataclasses.replace(ESTIMATES, test_accuracy=0.9712))
    assert repr(est) == (
        "Findings(source: here, dataset: toy, trials: 100, training examples: 6, test examples: 5, "
        "classes: 2, memorized: 4 (mem >= 0.25), high-influence pairs: 3, "
        "held-out accuracy: 75.0%, test accuracy: 97.1%)"
    )
    assert repr(found(dataclasses.replace(ESTIMATES, influences=(), details=None))) == (
        "Findings(source: here, dataset: toy, trials: 100, training examples: 6, test examples: 5, "
        "classes: 2, memorized: 4 (mem >= 0.25))"
    )


def test_the_page_of_a_notebook_escapes_names():
    dataset = dataclasses.replace(DATASET, name='<img src="x">')
    page = found(dataset=dataset)._repr_html_()
    assert "&lt;img src=&quot;x&quot;&gt;" in page
    assert "<img" not in page
    rows = re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", page)
    assert ("trials", "100") in rows
    assert ("high-influence pairs", "3") in rows


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda est: est.influencers(5), "test example 5: expected 0 to 4, or an id"),
        (lambda est: est.influencers(-1), "test example -1: expected 0 to 4, or an id"),
        (lambda est: est.influenced(train="t44"), "no training example has the id 't44': the near"),
        (lambda est: est.influenced("t44"), "nearest is 't4'"),
        (lambda est: est.influencers("v0", k=0), "k is 0, expected 1 or more"),
        (lambda est: est.show(top=0), "top is 0, expected 1 or more"),
        (lambda est: est.show(class_="wasps"), "unknown class 'wasps'"),
        (lambda est: est.to_pandas("tests"), "split is 'tests', expected one of train, test, both"),
        (lambda est: est.to_pandas(class_=7), "unknown class '7'"),
        (lambda est: est.to_pandas(top=0), "top is 0, expected 1 or more"),
    ],
)
def test_bad_input_is_one_line(ask, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        ask(found())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("n01440764_17043.JPG", "n01440764_17043.JPEG"),
        ("N01440764_17043.JPEG", "n01440764_17043.JPEG"),
        ("", "n"),
        ("zebra", "n"),
    ],
)
def test_the_nearest_of_very_many_ids(given, nearest):
    """ImageNet's are not compared one by one, which would take minutes."""
    ids = [f"n{1440764 + i % 1000:08d}_{17043 + i // 1000}.JPEG" for i in range(20_000)]
    with mock.patch("difflib.get_close_matches", wraps=difflib.get_close_matches) as compare:
        assert findings._nearest(given, ids).startswith(nearest)
    assert len(compare.call_args.args[1]) <= 2_000


def test_without_influence():
    est = found(dataclasses.replace(ESTIMATES, influences=()))
    for ask in (lambda: est.influencers(0), lambda: est.influenced(0), est.pairs):
        with pytest.raises(ValueError, match="here has the influence of 0 of 2 classes"):
            ask()
    assert "influencer_1" not in est.to_pandas()


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=re.escape("pip install -e '.[pandas]'")):
        found().to_pandas()


def test_to_pandas_is_what_tfmem_table_writes(est, random_subsets, tmp_path):
    out = tmp_path / "examples.csv"
    words = "analysis.table", f"--store={random_subsets.store.path}", f"--out={out}"
    run_program(*words)
    named = dict.fromkeys(("id", "class", "suggested_label", "most_influenced"), str)
    expected = pandas.read_csv(out, dtype=named | {"label_issue": "boolean"})
    frame = est.to_pandas()
    assert list(frame) == list(expected)
    assert len(frame) == 1257 + 540
    pandas.testing.assert_frame_equal(frame, expected, check_dtype=False)
    assert len(frame[frame["label_issue"]]) == expected["label_issue"].sum() > 0
    run_program(*words, "--split=train", "--class=3", "--top=5")
    few = est.to_pandas(split="train", class_="3", top=5)
    assert few["id"].tolist() == pandas.read_csv(out)["id"].tolist()
    assert set(few["class"]) == {"3"}


def test_estimates_of_a_store_are_those_of_the_program(est, path):
    written = files.read(path)
    np.testing.assert_array_equal(est.memorization, written.memorization)
    np.testing.assert_array_equal(est.memorization_se, written.details.standard_error)
    assert est.estimates.num_trials_expected == written.num_trials_expected == 12
    opened = analysis.open_estimates(path, dataset="digits")
    assert opened.influencers("digits_00010") == est.influencers("digits_00010")
    assert opened.influenced(7) == est.influenced(7)
    assert vars(opened.pairs()).keys() == vars(est.pairs()).keys()
    np.testing.assert_array_equal(opened.pairs().influence, est.pairs().influence)
    facts = repr(est).removeprefix(f"Findings(source: {est.source}")
    assert repr(opened) == f"Findings(source: {path}{facts}"


@pytest.mark.parametrize("kind", [str, pathlib.Path, epath.Path])
def test_every_kind_of_path(kind, random_subsets, path):
    assert analysis.estimate(kind(random_subsets.store.path)).estimates.num_trials == 12
    assert analysis.open_estimates(kind(path)).estimates.num_trials == 12


def test_ones_home_in_a_path(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert analysis.open_estimates("~/estimates.npz").source == str(path)


def test_some_trials_and_other_estimators(random_subsets, tmp_path):
    store, out = random_subsets.store.path, tmp_path / "e.npz"
    flags = ("--trials=2:9", "--estimator=probability", "--influence=none")
    run_program("analysis.estimate", f"--store={store}", f"--out={out}", *flags)
    how = dict(trials=range(2, 9), estimator="probability", influence="none")
    est = analysis.estimate(store, **how)
    np.testing.assert_array_equal(est.memorization, files.read(out).memorization)
    assert est.estimates.num_trials == 7
    assert len(est.estimates.influences) == 0


def test_several_stores_count_as_one(random_subsets, tmp_path):
    store, parts = random_subsets.store, []
    for number, trials in enumerate((range(5), range(5, 12))):
        parts.append(tmp_path / str(number))
        (parts[-1] / "trials").mkdir(parents=True)
        for name in ("experiment.json", "dataset.tfrecord"):
            (parts[-1] / name).write_bytes((store.path / name).read_bytes())
        for trial in trials:
            source = store.trial_path(trial)
            (parts[-1] / "trials" / source.name).write_bytes(source.read_bytes())
    est, whole = analysis.estimate(*parts), analysis.estimate(store.path)
    np.testing.assert_array_equal(est.memorization, whole.memorization)
    assert est.source == f"{parts[0]}, {parts[1]}"
    pandas.testing.assert_frame_equal(est.to_pandas(), whole.to_pandas())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda store, path: analysis.estimate(path), "no store: analysis.open_estimates reads"),
        (lambda store, path: analysis.estimate(path.parent), "is not a store"),
        (lambda store, path: analysis.open_estimates(store), "a store: analysis.estimate reads it"),
        (lambda store, path: analysis.open_estimates("absent.npz"), "absent.npz does not exist"),
        (lambda store, path: analysis.open_estimates(path, "mnits"), "did you mean 'mnist'"),
        (lambda store, path: analysis.open_estimates(path, data_dir="x"), "dataset=NAME"),
        (lambda store, path: analysis.open_estimates(path, DATASET), "toy has 6: another dataset?"),
        (lambda store, path: analysis.estimate(store, store), "both have the trials 0:12"),
        (lambda store, path: analysis.estimate(store, trials=5), "trials is 5, expected a range"),
        (lambda store, path: analysis.estimate(store, trials=range(4, 4)), "expected a range"),
        (lambda store, path: analysis.estimate(store, trials=range(50, 60)), "has none of these"),
        (lambda store, path: analysis.estimate(store, influence="full"), "are class, none"),
        (lambda store, path: analysis.estimate(store, estimator="p"), "unknown estimator 'p'"),
    ],
)
def test_what_cannot_be_opened_is_one_line(ask, message, random_subsets, path):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        ask(random_subsets.store.path, path)
    assert "\n" not in str(error.value)


def test_a_store_of_another_kind(turnover_models):
    with pytest.raises(ValueError, match="not trials on random subsets: tfmem turnover reads them"):
        analysis.estimate(turnover_models.store.path)


def test_a_file_without_its_store_has_no_votes(path, est):
    opened = analysis.open_estimates(path)
    frame = opened.to_pandas(split="train")
    lacking = set(est.to_pandas(split="train")) - set(frame)
    assert lacking == {"suggested_label", "votes", "label_issue"}
    assert frame["mem"].max() == np.nanmax(est.memorization)
    assert set(frame["class"]) == set("0123456789")
    assert frame["id"].str.startswith("digits_").all()
    assert np.isnan(opened.to_pandas(split="test")["heldout_accuracy"]).all()


def test_a_store_without_predictions_says_what_is_missing(imported):
    est = analysis.estimate(imported.store.path)
    with pytest.warns(
        UserWarning, match="suggested_label, votes, label_issue cannot be had"
    ) as said:
        frame = est.to_pandas()
    assert {one.filename for one in said} == {__file__}
    assert "votes" not in frame
    right = imported.store.load().test_correct.columns().mean(axis=0)
    tests = frame[frame["split"] == "test"].sort_values("index")
    np.testing.assert_array_equal(tests["heldout_accuracy"], right)


def test_a_published_file(tmp_path):
    """Without ids, errors and numbers of trials: examples are called by their indices."""
    files.write(tmp_path / "a.npz", dataclasses.replace(ESTIMATES, details=None, num_trials=None))
    est = analysis.open_estimates(tmp_path / "a.npz")
    assert [row.id for row in est.influencers("0")] == ["1", "0", "5"]
    assert est.influenced("2")[0].id == "2"
    assert "trials" not in repr(est)
    assert list(est.to_pandas(split="train", top=2)["id"]) == ["4", "0"]


def test_what_the_mnist_script_of_the_release_writes(tmp_path):
    """It has no labels: those are the dataset's, and influence is [test, train]."""
    influence = np.arange(5 * 6).reshape(5, 6) / 100
    path = tmp_path / "a.npz"
    np.savez(path, memorization=ESTIMATES.memorization, influence=influence)
    with pytest.raises(ValueError, match="--dataset says whose they are"):
        analysis.open_estimates(path)
    est = analysis.open_estimates(path, DATASET)
    # v4, of class 0, and of that class t0, t1, t5: 0.24, 0.25, 0.29.
    assert [(row.id, row.influence) for row in est.influencers("v4")] == [
        *(("t5", 0.29), ("t1", 0.25), ("t0", 0.24))
    ]
    assert [row.id for row in est.influenced("t5")] == ["v4", "v1", "v0"]


def test_show_draws_the_most_memorized():
    """Of class plain: t0 0.90, t5 0.52, t1 0.24. Without pictures their ids stand there."""
    est = found(dataset=DATASET.without_images())
    fig = est.show(class_="plain", top=2)
    assert isinstance(fig, style.NotebookFigure)
    assert texts(fig) == [
        *("memorization", "index, class"),
        *("0.90", "t0", "0", "plain"),
        *("0.52", "t5", "5", "plain"),
    ]
    assert texts(est.show(class_=0)) == texts(est.show(class_="plain"))
    shown = [text for text in texts(est.show()) if text.startswith("t")]
    assert shown == ["t4", "t0", "t5", "t2", "t1", "t3"]


def test_show_draws_pictures_and_what_else_examples_are_called(est):
    fig = est.show(class_="8", top=3)
    (ax,) = fig.axes
    digits = datasets.load("digits")
    frame = est.to_pandas(split="train", class_="8").sort_values(
        ["mem", "index"], ascending=[False, True]
    )[:3]
    note, *said = [text for text in texts(fig) if "→" in text]
    assert note == "index, class, → what trials without it call it"
    assert said == [f"→ {name}" for name in frame["suggested_label"][frame["label_issue"]]]
    assert len(said) > 0
    for image, index in zip(ax.images, frame["index"], strict=True):
        pixels = np.round(digits.train.images[index, ..., 0] * (255 / 16))
        np.testing.assert_array_equal(image.get_array(), pixels)


def test_pictures_of_a_file_are_those_of_its_dataset(path, tmp_path):
    with warnings.catch_warnings(action="error"):
        for dataset in ("digits", datasets.load("digits")):
            assert len(analysis.open_estimates(path, dataset).show(top=4).axes[0].images) == 4
        assert len(analysis.open_estimates(path).show(top=4).axes[0].images) == 0


def test_pictures_that_cannot_be_had_are_ids_and_a_warning(imported):
    est = analysis.estimate(imported.store.path)
    with pytest.warns(
        UserWarning, match="no pictures, ids stand in their place: the store"
    ) as said:
        fig = est.show(top=3)
    assert {one.filename for one in said} == {__file__}
    assert len(fig.axes[0].images) == 0
    with warnings.catch_warnings(action="error"):  # It is said once.
        est.show(top=3)


def test_histogram_is_a_picture_in_a_notebook(est):
    fig = est.histogram(mem_threshold=0.5)
    above = np.count_nonzero(est.memorization >= 0.5)
    assert f"{above:,} at or above 0.5" in texts(fig)
    content, size = fig._repr_png_()
    assert content.startswith(b"\x89PNG")
    assert size == {"width": 740, "height": 320}
