"""Training examples without an estimate are counted nowhere, and everybody says how many they are.

An example that all trials saw, or that none did, has none. Were a rate over no trials 1/2, as in
the proof of Lemma 2.1, those that are always right would count as memorized.
"""

import dataclasses
import json
import math
import re
from unittest import mock

import numpy as np
import pytest

from analysis.estimates import files, pairs
from analysis.estimates.values import ClassInfluence, Estimates, Pairs
from analysis.measures import comparison
from analysis.page import explorer, report
from analysis.paper import numbers
from tests.analysis.measures import test_agreement
from tests.conftest import run_program
from tests.pages import ESTIMATES, dataset_of, render
from tfmem import subsets
from tfmem.config import Condition, ImportConfig
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

NAN = math.nan
# Of 21 training examples, 0 to 4 are in all of 4 trials and 5 to 8 in none.
SEEN = np.array([[1] * 5 + [0] * 4 + [int((i + k) % 4 < 2) for i in range(12)] for k in range(4)])
WORDS = "9 of 21 training examples were never left out (or never trained on): no estimate"


@pytest.fixture
def store(tmp_path, tiny):
    """Every example is right in trials that saw it, and every test example in trial 0 alone."""
    named = dataclasses.replace(tiny, name="")
    config = ImportConfig("arrays", "runs.npz", "ab" * 32, "", 4)
    made = Store.create(tmp_path / "store", config, named)
    for number, seen in enumerate(SEEN.astype(bool)):
        test = Predictions(np.full(9, number == 0))
        made.write(Trial(number, None, seen, Predictions(seen), test))
    return made


def test_programs_count_none_and_say_how_many(store, tmp_path):
    out, found = tmp_path / "estimates.npz", tmp_path / "pairs.npz"
    said = run_program("analysis.estimate", f"--store={store.path}", f"--out={out}").stdout
    # All of the others are right when they were seen, and never else.
    assert said.splitlines() == [
        f"4 trials: 12 of 12 training examples have mem >= 0.25; estimates: {out}",
        WORDS,
    ]
    read = files.read(out)
    np.testing.assert_array_equal(np.flatnonzero(~read.known), np.arange(9))
    said = run_program("analysis.select_pairs", f"--estimates={out}", f"--out={found}").stdout
    assert WORDS in said.splitlines()
    # Right in trial 0: the influence of those that it saw is 1/2, on all three of their class.
    selected = files.read_pairs(found)
    assert (
        np.unique(selected.train_index).tolist() == np.flatnonzero(SEEN[0, 9:]).__add__(9).tolist()
    )
    assert (len(selected), set(selected.influence)) == (18, {0.5})
    said = run_program("analysis.convergence", f"--store={store.path}").stdout
    assert said.splitlines()[-2] == WORDS
    assert "18 passed" in said.splitlines()[-1]


def test_the_report_says_how_many(store, tmp_path):
    with mock.patch("analysis.page.render._drawings", return_value=""):
        report.make_report(store, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f'<p class="note">{WORDS}.</p>' in page
    assert "12 <small>100.0%</small>" in page
    # A single trial says nothing of anybody, and makes a page all the same.
    for number in (1, 2, 3):
        store.trial_path(number).unlink()
    with mock.patch("analysis.page.render._drawings", return_value=""):
        report.make_report(store, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "21 of 21 training examples were never left out" in page
    assert "0 <small>–</small>" in page


def without(estimates: Estimates, *unknown: int) -> Estimates:
    """Returns estimates of which these training examples have none."""
    memorization = estimates.memorization.copy()
    memorization[[*unknown]] = NAN
    blocks = []
    for block in estimates.influences:
        value = np.where(np.isin(block.train_index, unknown)[:, None], NAN, block.value)
        blocks.append(dataclasses.replace(block, value=value))
    return dataclasses.replace(estimates, memorization=memorization, influences=tuple(blocks))


def _data(page):
    found = re.search(r'<script type="application/json" id="examples">(.*?)</script>', page)[1]
    return json.loads(found, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("influence_too", [True, False])
def test_the_page_shows_the_others_alone(influence_too):
    """Without t0, which is in two of three pairs; a file of others may lack its mem alone."""
    estimates = without(ESTIMATES, 0)
    if not influence_too:
        estimates = dataclasses.replace(estimates, influences=ESTIMATES.influences)
    page = render(estimates=estimates)
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "memorization ≥&nbsp;0.25 3 60.00% of those with an estimate" in words
    assert "0.2 4 80.00%" in words
    # Of 3 examples of the class one is memorized, of 2 with an estimate: 0.24 and 0.52.
    assert "plain 3 1 50.0% 0.380 75.0% 0 3 0" in words
    assert "Memorization of all 5 training examples that have an estimate." in words
    assert "Training examples: all 5 that have an estimate." in words
    data = _data(page)
    assert sorted(data["train"]["id"]) == ["t1", "t2", "t3", "t4", "t5"]
    assert np.sum(data["counts"]) == 5
    shown = [data["train"]["id"][row] for row in data["pairs"]["train"]]
    assert sorted(shown) == ["t1", "t2", "t4", "t5", "t5"]
    assert "t0" not in re.findall(r"\bt\d\b", words)


def test_the_explorer_holds_the_others_alone():
    estimates = without(ESTIMATES, 0, 3)
    contents = explorer.choose(estimates, 0.25, 0.15)
    assert sorted(contents.index("train").tolist()) == [1, 2, 4, 5]
    data = explorer.page_data(contents, dataset_of(), estimates, 0.25, 0.15, {})
    json.dumps(data, allow_nan=False)
    assert data["lowest"]["mem"] == 0  # t3's was below.


def test_two_estimates_are_compared_where_both_have_one():
    """Without example 0 in a and 3 in b, 1 and 2 are left: pairs (1, 0) of a and (2, 0) of b."""
    a, b = without(test_agreement.A, 0), without(test_agreement.B, 3)
    found = comparison.selected_pairs(a, b, 0.25, 0.15)
    assert [part.tolist() for part in (found.a, found.b)] == [[0.15, 0.8], [0.7, 0.2]]
    assert [outlier.index for outlier in comparison.outliers(a, b)] == [1, 2]
    said = comparison.report(a, b, ("one", "two"), 0.25, 0.15)
    assert "rank correlation -1.0000, mean difference 0.1000 over 2 examples" in said
    assert "examples with mem >= 0.25: 1 in a, 1 in b, 0% of a's also in b" in said
    assert "pairs with mem >= 0.25 and infl >= 0.15: 1 in a, 1 in b" in said
    assert "nan" not in said
    described = comparison.describe("one", "one.npz", a)
    assert described == "one: one.npz, 1 of 4 training examples have no estimate"
    nothing = comparison.report(without(a, *range(4)), b, ("one", "two"), 0.25, 0.15)
    assert "rank correlation -, mean difference - over 0 examples" in nothing


def test_the_program_draws_what_both_have(tmp_path):
    for name, side in (("a", without(test_agreement.A, 0)), ("b", test_agreement.B)):
        files.write(tmp_path / f"{name}.npz", side)
    both = [f"--estimates_{name}={tmp_path / name}.npz" for name in ("a", "b")]
    out = tmp_path / "scatter.png"
    said = run_program("analysis.compare", *both, f"--out={out}").stdout
    assert "1 of 4 training examples have no estimate" in said.splitlines()[0]
    assert out.exists()


def test_shares_are_of_those_that_have_an_estimate():
    """0.9, 0.25, 1 and 0.52 are memorized, of which 0.9, 1 and 0.52 have 0.3 or more."""
    assert numbers.estimates_numbers(ESTIMATES)["utility_share"].value == 50
    found = numbers.estimates_numbers(without(ESTIMATES, 0))
    assert found["memorized"].value == 3
    assert found["utility_share"].value == 40
    assert found["pairs"].value == 1
    assert "utility_share" not in numbers.estimates_numbers(without(ESTIMATES, *range(6)))


def test_removal_keeps_what_has_no_estimate():
    memorization = np.array([0.1, NAN, 0.5, NAN])
    kept, notes = subsets.useful_thresholds(memorization, (0.1, 0.3, 0.6))
    assert kept == (0.1, 0.3)
    assert notes == [
        "threshold 0.6 is left out: no example has mem >= 0.6 (the highest is 0.500), so it would "
        "be the same as nothing removed"
    ]
    for removed, remain in (("memorized", [True, True, False, True]), ("random", None)):
        found = subsets.of_removal(Condition(removed, 0.3), memorization, None, 0)
        assert found.size == 3
        assert remain is None or found.mask(0).tolist() == remain
    assert subsets.useful_thresholds(np.full(2, NAN), (0.1,))[1] == [
        "threshold 0.1 is left out: no example has mem >= 0.1, so it would be the same as nothing "
        "removed"
    ]


def test_files_of_others_may_lack_estimates(tmp_path):
    """The release's MNIST script, a pairs file, and a file with memorization alone."""
    labels = np.array([0, 0, 1]), np.array([0, 1])
    influence = np.array([[NAN, 0.2, 0.9], [NAN, 0.9, 0.3]], np.float32)  # Transposed.
    path = tmp_path / "infl_mem.npz"
    np.savez(path, memorization=np.array([NAN, 0.5, 1], np.float32), influence=influence)
    read = files.read(path, labels)
    assert read.known.tolist() == [False, True, True]
    selected = files.select_pairs(read, path, 0.25, 0.15)
    assert list(zip(selected.train_index, selected.test_index, strict=True)) == [(2, 1), (1, 0)]
    assert files.estimates_digest(read.memorization, selected) == files.estimates_digest(
        files.read(path, labels).memorization, selected
    )
    given = Pairs(np.arange(3), np.arange(3), np.array([NAN, 0.2, 0.5]), np.array([0.9, 0.9, NAN]))
    files.write_pairs(tmp_path / "pairs.npz", given)
    found = numbers.pair_numbers(files.read_pairs(tmp_path / "pairs.npz"))
    assert (found["pairs"].value, found["test_examples"].value) == (1, 1)


def test_selection_passes_over_what_has_no_estimate():
    influence = np.array([[0.9, 0.9], [NAN, NAN], [0.9, NAN]])
    block = ClassInfluence(np.arange(3), np.arange(2), influence, None)
    for lowest in (-math.inf, -1, 0.25):
        selected = pairs.select(np.array([NAN, 0.9, 0.9]), [block], lowest, lowest)
        assert list(zip(selected.train_index, selected.test_index, strict=True)) == [(2, 0)]
