"""Tables through all programs: from a csv file to its report and figures."""

import csv
import re
import shlex

import numpy as np
import pytest

from analysis.estimates import files
from tests.conftest import ROOT, assert_refused, run_program
from tests.recording import recorded
from tfmem.store.store import Store

RECIPE = ("--experiment=digits_mlp", '--model_options={"hidden": [16]}', "--epochs=3")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """60 rows of 4 features in 2 classes that are hardly apart: a third is held out."""
    rng = np.random.default_rng(2)
    path = tmp_path_factory.mktemp("table") / "cells.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", *"abcd", "kind"])
        for row in range(60):
            label = ("benign", "malignant")[row % 2]
            rows.writerow([f"patient {row}", *rng.normal(100 + 5 * (row % 2), 10, 4), label])
    return path


def given(table):
    return *RECIPE, f"--dataset=csv:{table}:kind", "--test_share=0.3", "--standardize"


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    store = tmp_path_factory.mktemp("trained") / "store"
    run_program("launchers.train_trials", *given(table), "--trials=0:12", f"--store={store}")
    return store


def test_a_store_of_a_table(table, trained):
    store = Store.open(trained)
    assert store.config.dataset == f"csv:{table}:kind"
    assert store.config.standardize
    assert store.dataset.class_names == ("benign", "malignant")
    assert store.dataset.train.ids[0].startswith("patient ")
    assert store.numbers() == list(range(12))
    words = ("launchers.train_trials", *given(table), "--trials=0:12", f"--store={trained}")
    assert "12 of 12 trials are already in the store" in run_program(*words).stdout
    done = run_program(*words, "--standardize=false", check=False)
    assert_refused(done, "standardize: ")


def test_the_report_of_a_table_shows_ids(trained, tmp_path):
    words = ("analysis.report", f"--store={trained}", "--mem_threshold=0.01")
    done = run_program(*words, f"--out={tmp_path}/a.html")
    assert "no pictures" not in done.stderr
    page = (tmp_path / "a.html").read_text()
    assert "<h1>The long tail of cells.csv</h1>" in page
    assert 'class="note">There are no pictures' not in page
    assert re.search(r'<span class="no-picture">patient \d+</span>', page)
    assert "data:image" not in page
    assert "Hover over a picture" not in page


def test_figures_of_a_table_show_ids(table, trained, tmp_path):
    estimates = tmp_path / "e.npz"
    run_program("analysis.estimate", f"--store={trained}", f"--out={estimates}")
    words = (f"--estimates={estimates}", f"--dataset=csv:{table}:kind", "--test_share=0.3")
    low = ("--mem_threshold=-1", "--infl_threshold=-1")
    found, said = recorded("analysis.figures", "--out", tmp_path / "out", *words, *low)
    assert not [line for line in said if "left out" in line]
    for name in ("fig1-memorization", "fig4-6-panels-1"):
        assert not found[name].images
        ids = [text for text in found[name].texts if "patient" in text.replace("\n", "")]
        assert len(ids) >= 4
        assert len(found[name].heights) == len(ids)  # Each has a frame.
    fig1 = [text.replace("\n", "") for text in found["fig1-memorization"].texts]
    known = Store.open(trained).dataset.train.ids.tolist()
    assert {text for text in fig1 if text.startswith("patient")} <= set(known)


@pytest.mark.slow
def test_turnover_dropout_on_a_table(table, tmp_path):
    store = tmp_path / "store"
    recipe = (*given(table), '--model_options={"hidden": [64]}', "--influence=2")
    run_program("launchers.train_turnover", *recipe, f"--store={store}")
    words = ("analysis.turnover", "--figures", tmp_path / "out", f"--store={store}")
    found, said = recorded(*words)
    assert not [line for line in said if "left out" in line]
    assert any("patient" in line for line in said)  # Whom the highest scores influence.
    for name in ("fig7-low", "fig7-high"):
        assert not found[name].images
        ids = [text for text in found[name].texts if "patient" in text.replace("\n", "")]
        assert len(ids) == 10


def test_the_example_of_the_documentation(tmp_path, monkeypatch):
    """With 40 of its 1,000 trials: the code and the commands are those of the page."""
    page = (ROOT / "docs" / "your_data.md").read_text()
    (code,) = re.findall(r"```python\n(import csv\n.*?)```", page, re.DOTALL)
    commands = re.findall(r"^    tfmem (.*(?:csv:cancer|cancer\b).*)$", page, re.MULTILINE)
    names = ["train_trials", "report", "estimate", "figures"]
    assert [command.split()[0] for command in commands] == names
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    for command in commands:
        command = re.sub(r"(csv:|=)(cancer\S*|figures)", rf"\1{tmp_path}/\2", command)
        program, *flags = shlex.split(command)
        package = "launchers" if program == "train_trials" else "analysis"
        few = ["--trials=0:40"] if program == "train_trials" else []
        few += ["--formats=png"] if program == "figures" else []
        run_program(f"{package}.{program}", *flags, *few)
    found = files.read(tmp_path / "cancer.npz")
    assert np.bincount(found.train_labels).tolist() == [250, 148]
    assert np.bincount(found.test_labels).tolist() == [107, 64]
    row = np.flatnonzero(found.train_ids == "row_00263")
    assert found.memorization[row] > 0.9
    assert np.median(found.memorization) == 0
    assert (tmp_path / "cancer.html").exists()
    assert (tmp_path / "figures" / "fig1-memorization.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--crop=padded", "--crop_padding=1"], "--crop=padded is for images, and csv:"),
        (["--flip"], "--flip=true is for images, and csv:"),
        (["--image_size=8"], "--image_size=8 is for images, and csv:"),
        (
            ["--model=inception", "--model_options={}"],
            "inception takes images of at least 4x4 pixels as (height, width,",
        ),
        (
            ["--model=resnet18", "--model_options={}"],
            "got (4,): use 'mlp' or 'linear', which take any shape",
        ),
        (
            ["--model=cct", "--model_options={}"],
            "got (4,): use 'mlp' or 'linear', which take any shape",
        ),
        (
            ["--model=vgg11", "--model_options={}", "--engine=ray"],
            "vgg11 takes images of at least 32",
        ),
        (["--test_share=0"], "cells.csv has no column split; expected train and test in it, or --"),
        (["--dataset=csv:absent.csv"], "absent.csv does not exist"),
        (["--dataset=digits", "--test_share=0"], "--standardize is for features, and digits has"),
    ],
)
def test_what_a_table_does_not_take(table, tmp_path, flags, message):
    words = (*given(table), "--trials=0:2", *flags)
    done = run_program("launchers.train_trials", *words, f"--store={tmp_path}/store", check=False)
    assert_refused(done, message, tmp_path / "store")
