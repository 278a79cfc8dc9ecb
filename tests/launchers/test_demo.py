"""The demo and the tour of README.md, small."""

import html.parser
import pathlib

import numpy as np
import pytest

from analysis.estimates import estimators, files, pairs
from tests import forked
from tests.programs import run_program
from tfmem.store.store import Store


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    done = forked.run("-m", "launchers.demo", f"--out={out}", "--num_trials=64")
    return out, done


def test_demo_leaves_everything_and_says_where(demo):
    out, done = demo
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines() if line)
    assert lines["training"].startswith("64 trials in")
    assert f"{out / 'report.html'}" in done.stdout
    assert "64 of 64 done, 0 running, 0 failed" in done.stderr  # The line,
    assert "left" in done.stderr  # with the time left.
    trials = Store.open(out / "store").load()
    memorization = estimators.memorization(trials)
    read = files.read(out / "estimates.npz")
    np.testing.assert_array_equal(read.memorization, memorization.value)
    assert read.num_trials == read.num_trials_expected == 64
    selected = pairs.select(read.memorization, read.influences)
    np.testing.assert_array_equal(
        files.read_pairs(out / "pairs.npz").train_index, selected.train_index
    )
    assert f"{len(selected)} with infl >= 0.15" in done.stdout
    assert f"{np.count_nonzero(memorization.value >= 0.25)} of 1,257" in done.stdout
    # What 1,000 trials find: about 50 examples, 97% accuracy.
    assert 30 <= np.count_nonzero(memorization.value >= 0.25) <= 90
    assert trials.test_correct.columns().mean() == pytest.approx(0.97, abs=0.01)


def test_the_page_is_well_formed_and_alone(demo):
    out, _ = demo

    class Checker(html.parser.HTMLParser):
        void = frozenset({"meta", "img", "br", "link", "input", "hr", "col", "path", "use", "rect"})
        pictures = 0

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            for name, value in attrs:
                if name in ("src", "data") or (name == "href" and tag == "link"):
                    assert value.startswith("data:"), value
            if tag == "img":
                assert dict(attrs)["alt"].split()[1] == "example"
                self.pictures += 1
            if tag not in self.void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            if tag not in self.void:
                assert self.open.pop() == tag

    checker = Checker()
    checker.feed((out / "report.html").read_text())
    assert checker.open == []
    assert checker.pictures > 100


def test_started_again_it_trains_nothing(demo):
    out, _ = demo
    page = pathlib.Path(out / "report.html").read_bytes()
    done = run_program("launchers.demo", f"--out={out}", "--num_trials=64")
    assert "64 trials were already in the store" in done.stdout
    assert pathlib.Path(out / "report.html").read_bytes() == page


def test_the_programs_agree_with_the_demo(demo, tmp_path):
    out, _ = demo
    store, estimates = f"--store={out / 'store'}", tmp_path / "e.npz"
    run_program("analysis.estimate", store, f"--out={estimates}")
    for name in ("tr_mem", "infl_matrix_class3", "infl_se_class3"):
        with np.load(estimates) as ours, np.load(out / "estimates.npz") as theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])
    chosen = tmp_path / "p.npz"
    said = run_program("analysis.select_pairs", f"--estimates={estimates}", f"--out={chosen}")
    assert f"{len(files.read_pairs(chosen))} high-influence pairs" in said.stdout
    figure = tmp_path / "convergence.png"
    said = run_program("analysis.convergence", store, f"--out={figure}")
    assert "With 64 trials" in said.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")
    page = tmp_path / "r.html"
    run_program("analysis.report", store, f"--out={page}", f"--estimates={estimates}")
    assert "e.npz" in page.read_text()


def test_estimates_of_another_dataset_are_refused(demo, tmp_path):
    out, _ = demo
    with np.load(out / "estimates.npz") as archive:
        # Without influence, whose classes list their examples: labels alone tell.
        arrays = {name: archive[name] for name in archive.files if "class" not in name}
    arrays["tt_labels"] = arrays["tt_labels"][::-1]
    np.savez(tmp_path / "other.npz", **arrays)
    done = run_program(
        "analysis.report",
        f"--store={out / 'store'}",
        f"--estimates={tmp_path / 'other.npz'}",
        f"--out={tmp_path / 'r.html'}",
        check=False,
    )
    assert done.returncode == 2
    assert "another dataset or another order?" in done.stderr
    assert not (tmp_path / "r.html").exists()
