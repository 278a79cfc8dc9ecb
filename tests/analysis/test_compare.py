"""Pairs, differences and curves counted by hand; the program by its flags."""

import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from analysis.estimates import files, scores
from analysis.estimates.values import Estimates, Memorization
from analysis.measures import comparison
from analysis.plots.comparison import figure
from tests.analysis.measures import test_methods
from tests.analysis.measures.test_agreement import IDS, A, B
from tests.analysis.test_consistency import squeezed, write
from tests.conftest import assert_refused, run_program


def details(memorization, error, heldout=None, num_out=None):
    count = len(memorization)
    return Memorization(
        np.asarray(memorization, float),
        np.full(count, error),
        np.zeros(count) if heldout is None else np.asarray(heldout, float),
        np.full(count, 7),
        np.full(count, 3) if num_out is None else np.asarray(num_out),
    )


def test_selected_pairs_by_hand():
    """Of the two of test_agreement.py, at 0.25 and 0.15, row by row of each class."""
    found = comparison.selected_pairs(A, B, 0.25, 0.15)
    assert found.a.tolist() == [0.5, 0.2, 0.15, 0.8, 0.3]
    assert found.b.tolist() == [0.4, 0.1, 0.7, 0.2, 0.1]
    assert found.in_a.tolist() == [True, True, True, False, True]
    assert found.in_b.tolist() == [True, False, False, True, False]


def test_outliers_by_hand():
    """0.3 apart with errors of 0.03 and 0.04 is 6 standard errors; 0.2 apart is 4."""
    a = dataclasses.replace(A, details=details(A.memorization, 0.03))
    b = dataclasses.replace(
        B, memorization=np.array([0.8, 0.6, 0.0, 0.55]), details=details(B.memorization, 0.04)
    )
    found = comparison.outliers(a, b, 3)
    assert [outlier.index for outlier in found] == [1, 2, 0]
    assert (found[0].a, found[0].b) == (0.3, 0.6)
    assert [outlier.errors for outlier in found] == pytest.approx([6, 4, 2])
    assert len(comparison.outliers(a, b)) == 4
    assert all(math.isnan(outlier.errors) for outlier in comparison.outliers(a, B))


def test_the_table_of_outliers():
    found = [comparison.Outlier(3, 0.5, 0.25, 2.04), comparison.Outlier(0, 0.1, 0.2, math.nan)]
    named = squeezed(comparison.outlier_table(found, dataclasses.replace(A, **IDS)))
    assert named == [
        "example id label a b difference in standard errors",
        "3 d 1 0.500 0.250 -0.250 2.0",
        "0 a 0 0.100 0.200 +0.100 -",
    ]
    nameless = comparison.outlier_table(found, A).splitlines()
    assert nameless[0].split()[:2] == ["example", "label"]
    assert len({len(line) for line in nameless}) == 1


def test_the_figure_counts_examples_and_pairs():
    memorization = np.array([0.0] * 90 + [1.0] * 9 + [0.5]), np.array([0.0] * 90 + [1.0] * 10)
    pairs = comparison.selected_pairs(A, B, 0.25, 0.15)
    fig = figure(memorization, ("one", "two"), pairs)
    density, influence = fig.axes
    (cells,) = density.collections
    assert sorted(cells.get_array().tolist()) == [1, 9, 90]
    assert (cells.norm.vmin, cells.norm.vmax) == (1, 90)
    assert density.get_xlabel() == "memorization, one"
    assert influence.get_ylabel() == "influence, two"
    labels = [text.get_text() for text in influence.get_legend().get_texts()]
    assert labels == ["selected by both: 1", "x only: 3", "y only: 1"]
    points = [part.get_offsets().tolist() for part in influence.collections]
    assert points == [[[0.5, 0.4]], [[0.2, 0.1], [0.15, 0.7], [0.3, 0.1]], [[0.8, 0.2]]]
    assert len(figure(memorization, ("one", "two")).axes) == 1


def test_the_figure_has_room_for_negative_values_and_for_no_pairs():
    nothing = comparison.PairValues(*[np.zeros(0)] * 2, *[np.zeros(0, bool)] * 2)
    values = np.array([-0.32, 0.4])
    density, influence = figure((values, values), ("one", "two"), nothing).axes
    assert density.get_xlim() == density.get_ylim() == pytest.approx((-0.428, 1.028))
    assert influence.get_xlim() == pytest.approx((-0.02, 1.02))


def test_the_program_compares_estimates(tmp_path):
    a, b = write(tmp_path / "a.npz", A), write(tmp_path / "b.npz", B)
    out = tmp_path / "scatter.png"
    done = run_program(
        "analysis.compare", f"--estimates_a={a}", f"--estimates_b=other={b}", f"--out={out}"
    )
    # Ranks 4, 2, 1, 3 and 4, 1, 2, 3: 1 - 6 * 2 / (4 * 15).
    said = "memorization: rank correlation 0.8000, mean difference 0.1000 over 4 examples"
    lines = squeezed(done.stdout)
    assert said in lines
    assert lines[2 + lines.index(said)].startswith(
        "pairs with mem >= 0.25 and infl >= 0.15: 4 in a"
    )
    assert "Jaccard similarity 0.200, mean difference 0.310" in done.stdout
    assert "the examples whose memorization differs most, a (a) and other (b):" in lines
    # 0.1 apart with errors of 0.1: 0.7 standard errors.
    assert sorted(line.split()[0] for line in lines if line.endswith(" 0.7")) == list("0123")
    assert Image.open(out).size[0] > 1000


def test_the_program_compares_scores(tmp_path):
    """Example 2 was in all trials; below 0.9 are examples 0, 3 and 4, whose order is turned."""
    heldout, scores = [0.2, 0.9, 0.5, 0.3, 0.4], [0.8, 0.95, 0.1, 0.7, 0.6]
    labels = np.zeros(5, int)
    path = tmp_path / "a.npz"
    of_examples = details(np.zeros(5), 0.1, heldout, [3, 3, 0, 3, 3])
    files.write(path, Estimates(np.zeros(5), labels, labels, (), of_examples))
    np.save(tmp_path / "scores.npy", np.array(scores))
    out = tmp_path / "scores.pdf"
    words = (
        f"--estimates_a={path}",
        f"--consistency_scores={tmp_path / 'scores.npy'}",
        f"--out={out}",
    )
    done = run_program("analysis.compare", *words, "--max_score=0.9")
    # Ranks 1, 4, 2, 3 and 3, 4, 2, 1: 1 - 6 * 8 / (4 * 15).
    assert "rank correlation 0.200 over 4 examples\n" in done.stdout
    assert "rank correlation -1.000 over 3 examples with a score below 0.9\n" in done.stdout
    assert out.read_bytes().startswith(b"%PDF")
    # The same with labels, as those of CIFAR are published.
    np.savez(tmp_path / "scores.npz", scores=np.array(scores), labels=labels)
    words = (f"--estimates_a={path}", f"--consistency_scores={tmp_path / 'scores.npz'}")
    assert run_program("analysis.compare", *words, "--max_score=0.9").stdout in done.stdout
    np.savez(tmp_path / "scores.npz", scores=np.array(scores), labels=labels + 1)
    other = run_program("analysis.compare", *words, check=False)
    assert_refused(other, "scores.npz labels training example 0 1, and the estimates 0: another")


def test_what_cannot_be_compared_gets_one_line(tmp_path):
    a, b = write(tmp_path / "a.npz", A), write(tmp_path / "b.npz", B)
    named = tmp_path / "named.npz"
    labels = A.train_labels, A.test_labels
    for path, ids in ((a, IDS["train_ids"]), (named, IDS["train_ids"][::-1])):
        found = Estimates(A.memorization, *labels, (), details(A.memorization, 0.1))
        files.write(path, dataclasses.replace(found, train_ids=ids, test_ids=IDS["test_ids"]))
    scores = tmp_path / "scores.npy"
    np.save(scores, np.zeros(2))
    for flags, words in (
        (
            [f"--consistency_scores={scores}"],
            "scores.npy has 2 scores, expected one for each of the",
        ),
        ([f"--estimates_b={named}"], "training example 0 has the id a in a and d in named"),
        ([], "give one of --estimates_b, --consistency_scores, --turnover and --known_pairs"),
        ([f"--estimates_b={b}", "--max_score=0.9"], "--max_score is of --consistency_scores"),
    ):
        done = run_program("analysis.compare", f"--estimates_a={a}", *flags, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_estimates_without_influence_are_compared_in_memorization(tmp_path):
    a, b = write(tmp_path / "a.npz", A), write(tmp_path / "b.npz", B, ())
    done = run_program("analysis.compare", f"--estimates_a={a}", f"--estimates_b={b}")
    assert "rank correlation 0.8000" in done.stdout
    assert "no pairs are compared: b has no influence" in done.stdout


def test_the_program_compares_methods(tmp_path):
    """The numbers are counted in test_methods.py."""
    path, other = tmp_path / "a.npz", tmp_path / "other.npz"
    labels, test_labels = test_methods.LABELS, test_methods.TEST_LABELS
    for name, train_labels in ((path, labels), (other, labels[::-1])):
        of_examples = test_methods.details()
        found = Estimates(of_examples.value, train_labels, test_labels, (), of_examples, 10)
        train_ids, test_ids = test_methods.IDS
        files.write(name, dataclasses.replace(found, train_ids=train_ids, test_ids=test_ids))
    turnover = tmp_path / "scores.npz"
    scores.write(turnover, test_methods.turnover_scores())
    out = tmp_path / "methods.png"
    words = (f"--turnover=dropout={turnover}", f"--out={out}")
    done = run_program("analysis.compare", f"--estimates_a={path}", *words)
    lines = squeezed(done.stdout)
    assert lines[:2] == [
        f"a: {path}, 10 trials",
        f"dropout: {turnover}, 1 model with turn-over dropout, after epoch 30",
    ]
    assert lines[2].endswith("rank correlation 0.999 over 40 examples")
    assert lines[4].endswith("memorization 0.9640, turn-over score 0.9730")
    assert lines[6].startswith("cost: 10 trials on 70% of the training examples")
    assert Image.open(out).size[0] > 1000
    for estimates, flags, message in (
        (other, words, "training example 0 has the label 1 in other and 0 in dropout"),
        (
            path,
            (*words, f"--estimates_b={other}"),
            "give one of --estimates_b, --consistency_scores, --turnover and",
        ),
        (path, (f"--turnover=x={path}",), "is not a scores file (tfmem turnover makes one)"),
    ):
        done = run_program("analysis.compare", f"--estimates_a={estimates}", *flags, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.data
def test_the_published_scores_of_mnist(published_dir, tmp_path):
    """12,556 of 60,000 are below 0.999; scores that are compared with themselves agree."""
    scores = np.load(published_dir / "mnist-cscores.npy")
    labels = np.zeros(60_000, int)
    path = tmp_path / "a.npz"
    of_examples = details(1 - scores, 0.1, scores)
    files.write(path, Estimates(1 - scores, labels, labels[:1], (), of_examples))
    words = (f"--estimates_a={path}", f"--consistency_scores={published_dir / 'mnist-cscores.npy'}")
    done = run_program("analysis.compare", *words, "--max_score=0.999")
    assert "rank correlation 1.000 over 60,000 examples\n" in done.stdout
    assert "over 12,556 examples with a score below 0.999" in done.stdout
