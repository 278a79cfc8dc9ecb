"""Fig. 7: numbers and curves counted by hand, and the program through its flags on real stores."""

import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from analysis.cli import arguments
from analysis.estimates import estimators, files
from analysis.estimates.values import Estimates, Memorization
from analysis.measures.agreement import Agreement
from analysis.measures.comparison import compare, curve_table, legend, sentence
from analysis.paper import published
from analysis.plots import style
from analysis.plots.consistency import draw, figure
from tests.analysis.measures.test_agreement import A, B
from tests.conftest import run_program
from tests.trials import random_trial
from tfmem.store.store import Store

NAN = math.nan


def squeezed(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_comparison_is_at_the_selection_thresholds():
    """The sets of tests/analysis/test_agreement.py, at 0.3 and 0.15."""
    found = compare(A, B, "other", 0.3, 0.15)
    assert found.memorized[2:] == (3, 3, 2)
    assert found.pairs[2:] == (4, 2, 1)
    assert len(found.memorization.thresholds) == len(found.influence.thresholds) == 21
    without = compare(A, B, "other", 0.3, 0.15, only_memorized=False)
    assert without.pairs[2:] == (6, 4, 3)
    other = compare(A, B, "other", 0.31, 0.17)
    assert other.memorization.thresholds[6:8].tolist() == [0.3, 0.31]
    assert other.memorized[2:] == (2, 2, 2)
    assert other.pairs[2:] == (3, 1, 1)


def test_table_and_sentences_by_hand():
    found = compare(A, B, "other", 0.3, 0.17)
    columns = {"memorization": found.memorization, "influence": found.influence}
    lines = squeezed(curve_table(columns))
    assert lines[0] == "memorization influence"
    assert lines[1] == "threshold a b Jaccard difference a b Jaccard difference"
    assert lines[2].startswith("0 4 4 1.000 0.100 ")
    assert len(lines) == 2 + 22
    # 0.17 is a threshold of influence alone: (0, 0), (0, 1), (3, 2) of a, (0, 0), (2, 0) of b.
    # J = 1/4 and D = (0.1 + 0.1 + 0.2 + 0.6) / 4.
    assert "0.17 3 2 0.250 0.250" in lines
    assert lines[-1] == "1 0 0 - - 0 0 - -"
    assert sentence(Agreement(0.25, 0.25, 3, 2, 1), "pairs") == (
        "pairs: 3 in a, 2 in b, 33% of a's also in b, 50% of b's also in a; Jaccard similarity "
        "0.250, mean difference 0.250"
    )
    only_a = sentence(Agreement(0.0, 0.1, 2, 0, 0), "pairs")
    assert only_a.startswith("pairs: 2 in a, 0 in b, 0% of a's also in b; Jaccard similarity 0.000")
    assert sentence(Agreement(NAN, NAN, 0, 0, 0), "pairs") == "pairs: none in either"


def test_the_legend_is_the_papers():
    """Fig. 7: number of pairs and average test accuracy."""
    assert legend("ResNet50", 1062, 0.7234) == "ResNet50 (1,062 pairs, 72.3% test accuracy)"
    assert legend("published", 1015, None) == "published (1,015 pairs)"
    assert legend("few", 1, 0.5) == "few (1 pair, 50.0% test accuracy)"


def test_the_papers_own_line():
    said = published.runs_sentence()
    assert "1,095 and 1,062 pairs, ≈ 82% of each also in the other" in said
    assert "Jaccard similarity ≥ 0.7" in said


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["runs/a.npz", "b.npz"], [("a", "runs/a.npz"), ("b", "b.npz")]),
        (["x=a.npz", "y z=b=c.npz"], [("x", "a.npz"), ("y z", "b=c.npz")]),
        (
            ["1/e.npz", "2/e.npz", "x=3/e.npz"],
            [("1/e.npz",) * 2, ("2/e.npz",) * 2, ("x", "3/e.npz")],
        ),
        (["gs://b/day=1/e.npz"], [("e", "gs://b/day=1/e.npz")]),
        (["b=a.npz", "b.npz"], [("b", "a.npz"), ("b.npz", "b.npz")]),
        (["=a.npz"], [("=a", "=a.npz")]),
    ],
)
def test_names_of_files(texts, expected):
    assert arguments.named_paths(texts) == expected


@pytest.mark.parametrize(
    "texts", [["a.npz", "a.npz"], ["x=a.npz", "x=b.npz"], ["b.npz=a.npz", "b.npz", "c/b.npz"]]
)
def test_two_files_have_two_names(texts):
    with pytest.raises(ValueError, match=r"two files are called .*NAME=PATH"):
        arguments.named_paths(texts)


def test_the_figure_draws_the_curves():
    comparisons = [
        compare(A, dataclasses.replace(B, test_accuracy=0.7), "other"),
        compare(A, A, "same"),
    ]
    fig = figure(comparisons, "A (4 pairs)")
    quantities = ("memorization", "memorization", "influence", "influence")
    for ax, quantity, field in zip(
        fig.axes, quantities, ("jaccard", "difference") * 2, strict=True
    ):
        assert ax.get_xlabel() == f"{quantity} threshold"
        drawn = [line for line in ax.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in drawn] == [
            "other (2 pairs, 70.0% test accuracy)",
            "same (4 pairs)",
        ]
        for line, comparison in zip(drawn, comparisons, strict=True):
            curve = getattr(comparison, quantity)
            np.testing.assert_array_equal(line.get_xdata(), curve.thresholds)
            np.testing.assert_array_equal(line.get_ydata(), getattr(curve, field))
        # All sets have fewer than 10 elements: each point that is there is hollow.
        hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
        for line, of in zip(hollow, drawn, strict=True):
            there = ~np.isnan(of.get_ydata())
            np.testing.assert_array_equal(line.get_xdata(), of.get_xdata()[there])
            assert line.get_markeredgecolor() == of.get_color()
    assert [ax.get_ylabel() for ax in fig.axes[:2]] == [
        "Jaccard similarity",
        "mean difference of estimates",
    ]
    (legend,) = fig.legends
    assert legend.get_title().get_text().startswith("compared with A (4 pairs)")


def test_curves_of_large_sets_have_full_markers_only():
    rng = np.random.default_rng(0)
    many = dataclasses.replace(A, memorization=0.5 + rng.random(4) / 2, train_labels=A.train_labels)
    curve = compare(many, many, "same").memorization
    large = dataclasses.replace(curve, **{f"size_{n}": np.full(21, 50) for n in ("a", "b", "both")})
    fig = style.figure(4, 2)
    axes = fig.subplots(1, 2)
    draw(axes, [("same", large)], "memorization")
    assert [len(ax.lines) for ax in axes] == [1, 1]


def test_eight_curves_are_told_apart():
    comparisons = [compare(A, B, str(number)) for number in range(8)]
    ax = figure(comparisons, "A").axes[0]
    drawn = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert len({(line.get_color(), line.get_marker()) for line in drawn[: len(style.CURVES)]}) == 6
    assert len(drawn) == 8


@pytest.fixture
def store(tmp_path, tiny, tiny_config, rng):
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    for number in range(20):
        store.write(random_trial(number, tiny, rng))
    return store


def estimates_of(store, path, numbers):
    """Writes what analysis.estimate would of some trials."""
    files.write(path, estimators.estimate(store.load(numbers)))
    return files.read(path)


def test_estimates_have_the_test_accuracy(store, tmp_path):
    out = tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={store.path}", f"--out={out}", "--trials=0:10")
    read = files.read(out)
    accuracies = [store.read(number).test_accuracy for number in range(10)]
    assert read.test_accuracy == pytest.approx(np.mean(accuracies))
    assert read.test_accuracy_deviation == pytest.approx(np.std(accuracies))


def test_the_program_compares_trials_of_a_store(store, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    a, b = estimates_of(store, first, range(14)), estimates_of(store, second, range(6, 20))
    outs = tmp_path / "fig7.png", tmp_path / "fig7.pdf"
    done = run_program(
        "analysis.consistency",
        f"--estimates_a=one={first}",
        f"--estimates_b={second}",
        f"--estimates_b=one again={first}",
        "--mem_threshold=0.1",
        "--infl_threshold=0.08",
        *(f"--out={out}" for out in outs),
    )
    assert f"one: {first}, 14 trials, test accuracy {a.test_accuracy:.1%}" in done.stdout
    assert "second (b) and one (a)" in done.stdout
    assert "influence, mem >= 0.1" in done.stdout
    found = compare(a, b, "second", 0.1, 0.08)
    assert 0 < found.pairs.jaccard < 1
    assert sentence(found.memorized, "examples with mem >= 0.1") in done.stdout
    assert sentence(found.pairs, "pairs with infl >= 0.08 as well") in done.stdout
    of_itself = done.stdout[done.stdout.index("one again (b)") :]
    assert "100% of a's also in b, 100% of b's also in a; Jaccard similarity 1.000" in of_itself
    assert Image.open(outs[0]).size[0] > 1000
    assert outs[1].read_bytes().startswith(b"%PDF")


def write(path, estimates, influences=None):
    """Writes estimates with 0.1 for all that they have no numbers of."""
    rest = np.full_like(estimates.memorization, 0.1)
    details = Memorization(estimates.memorization, *[rest] * 4)
    blocks = [
        dataclasses.replace(block, standard_error=np.full_like(block.value, 0.1))
        for block in (estimates.influences if influences is None else influences)
    ]
    labels = estimates.train_labels, estimates.test_labels
    files.write(path, Estimates(details.value, *labels, blocks, details))
    return path


def test_a_file_without_accuracies_has_none(tmp_path):
    read = files.read(write(tmp_path / "a.npz", A))
    assert (read.test_accuracy, read.test_accuracy_deviation) == (None, None)


def test_what_cannot_be_compared_gets_one_line(tmp_path):
    a = write(tmp_path / "a.npz", A)
    other = dataclasses.replace(B, train_labels=np.array([0, 0, 0, 0]), influences=B.influences[:1])
    block = dataclasses.replace(A.influences[0], train_index=np.arange(3))
    other = write(tmp_path / "other.npz", other, [block])
    bare = write(tmp_path / "bare.npz", A, ())
    for b, words in (
        (other, "training example 3 has the label 1 in a and 0 in other"),
        (bare, "bare has the influence of 0 of 2 classes"),
    ):
        done = run_program(
            "analysis.consistency", f"--estimates_a={a}", f"--estimates_b={b}", check=False
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
