"""Known duplicates counted by hand and by a slow twin; the program, the figure, bad files."""

import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from analysis.estimates import files, known_pairs
from analysis.estimates.known_pairs import KnownPairs
from analysis.estimates.values import ClassInfluence, Estimates
from analysis.measures import duplicates
from analysis.plots.duplicates import figure
from tests.analysis.test_consistency import squeezed
from tests.conftest import assert_refused, run_program

TRAIN_LABELS, TEST_LABELS = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1])
# Training example 2 was in all trials, and 3 is not memorized. By class [train, test].
NAN = float("nan")
MEMORIZATION = np.array([0.9, 0.3, NAN, 0.2, 0.6])
VALUES = [[[0.5, 0.1], [0.5, 0.4], [NAN, NAN]], [[0.2], [0.3]]]
LISTED = "TestID,TrainID,Distance,Judgment\n0,0,0.1,1\n1,0,0.2,2\n2,4,0.3,1\n0,2,0.4,0\n"
KNOWN = KnownPairs(np.array([0, 1, 2, 0]), np.array([0, 0, 4, 2]), np.array([1, 2, 1, 0]))


def blocks(values, train_labels, test_labels):
    return tuple(
        ClassInfluence(
            np.flatnonzero(train_labels == label),
            np.flatnonzero(test_labels == label),
            np.array(value),
            None,
        )
        for label, value in enumerate(values)
    )


ESTIMATES = Estimates(
    MEMORIZATION, TRAIN_LABELS, TEST_LABELS, blocks(VALUES, TRAIN_LABELS, TEST_LABELS)
)


@pytest.fixture
def given(tmp_path):
    """Writes the estimates and a list of pairs; returns what the programs take."""
    files.write(tmp_path / "e.npz", ESTIMATES)

    def write(text=LISTED):
        (tmp_path / "known.csv").write_text(text)
        return tmp_path / "e.npz", tmp_path / "known.csv"

    return write


def compare(estimates, listed, *flags, check=True):
    words = (f"--estimates_a={estimates}", f"--known_pairs={listed}", *flags)
    return run_program("analysis.compare", *words, check=check)


def test_by_hand():
    """Of two equals, as on test example 0, each is the most influential half of the time."""
    found = duplicates.measure(ESTIMATES, KNOWN)
    np.testing.assert_equal(found.influence, [0.5, 0.1, 0.3, NAN])
    assert found.within[:, :3].tolist() == [[0.5, 0, 1], [1, 1, 1]]
    assert found.chance[:, :3].tolist() == [[0.5, 0.5, 0.5], [1, 1, 1]]
    where = np.flatnonzero(found.others)
    assert (where / 10_000 - 1).round(4).tolist() == [0.2, 0.4, 0.5]
    assert found.others[where].tolist() == [1, 1, 1]
    assert found.others_mean == pytest.approx(1.1 / 3)
    # Two of 0.5 and one of 0.4, of training examples 0 and 1, and 0.3 of 4.
    shares = found.shares
    np.testing.assert_allclose(shares.edges, [0.15, *np.arange(2, 10) / 10])
    assert shares.pairs.tolist() == [0, 0, 1, 1, 2, 0, 0, 0, 0]
    assert shares.known.tolist() == [0, 0, 1, 0, 1, 0, 0, 0, 0]
    assert [shares.at_or_above(edge) for edge in (0.15, 0.4, 0.5, 0.6)] == [
        (2, 4),
        (1, 3),
        (1, 2),
        (0, 0),
    ]
    anyone = duplicates.measure(ESTIMATES, KNOWN, -1, 0.25).shares
    assert anyone.edges.tolist() == [0.25, *(np.arange(3, 10) / 10).tolist()]
    assert anyone.pairs.sum() == 4
    assert duplicates.measure(ESTIMATES, KNOWN, -1, -1).shares.pairs.sum() == 6


def test_the_interval_of_a_share():
    """P[X >= 3] = p^3 is 0.025 at the lower end of 3 of 3; Clopper & Pearson (1934)."""
    assert duplicates.interval(3, 3) == pytest.approx((0.025 ** (1 / 3), 1))
    assert duplicates.interval(0, 5) == pytest.approx((0, 1 - 0.025**0.2))
    low, high = duplicates.interval(1, 3)
    assert low == pytest.approx(1 - 0.975 ** (1 / 3))
    assert (1 - high) ** 3 + 3 * high * (1 - high) ** 2 == pytest.approx(0.025)
    assert np.isnan(duplicates.interval(0, 0)).all()


def test_a_slow_twin_agrees(rng):
    """Of random influences with many equals and some unknown, one pair after the other."""
    train, test = rng.integers(0, 3, 60), rng.integers(0, 3, 30)
    values = [
        np.round(rng.normal(0.1, 0.2, ((train == k).sum(), (test == k).sum())), 2).clip(-1, 1)
        for k in range(3)
    ]
    full, memorization = np.full((60, 30), NAN), rng.random(60)
    memorization[:5] = NAN
    parts = blocks(values, train, test)
    for block in parts:
        block.value[np.isin(block.train_index, range(5))] = NAN
        full[np.ix_(block.train_index, block.test_index)] = block.value
    of_class = [(j, i) for j in range(30) for i in range(60) if train[i] == test[j]]
    listed = np.array(of_class)[rng.permutation(len(of_class))[:80]]
    known = KnownPairs(*listed.T, rng.integers(0, 3, 80))
    estimates = Estimates(memorization, train, test, parts)
    found = duplicates.measure(estimates, known, 0.3, 0.15)
    listed = {(int(j), int(i)) for j, i in listed}
    for pair, (j, i, _) in enumerate(zip(*known, strict=True)):
        rivals = [full[other, j] for other in range(60) if not np.isnan(full[other, j])]
        np.testing.assert_equal(found.influence[pair], full[i, j])
        if not np.isnan(full[i, j]):
            for row, top in enumerate((1, 10)):
                # Each of some equals has each of their places as often.
                places = [sum(a > b for a in rivals) for b in rivals]
                equals = [sum(a == b for a in rivals) for b in rivals]
                within = [
                    np.mean([place + k < top for k in range(equal)])
                    for place, equal in zip(places, equals, strict=True)
                ]
                assert found.within[row, pair] == within[rivals.index(full[i, j])]
                assert found.chance[row, pair] == pytest.approx(np.mean(within))
    rest = [full[i, j] for j, i in of_class if (j, i) not in listed and not np.isnan(full[i, j])]
    assert found.others.sum() == len(rest)
    assert found.others_mean == pytest.approx(np.mean(rest))
    edges = [*found.shares.edges, np.inf]
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        reach = [(j, i) for j, i in of_class if low <= full[i, j] < high and memorization[i] >= 0.3]
        assert (found.shares.pairs[k], found.shares.known[k]) == (
            len(reach),
            sum(pair in listed for pair in reach),
        )


def test_the_program(given, tmp_path):
    out = tmp_path / "known.png"
    done = compare(*given(), f"--out={out}")
    lines = squeezed(done.stdout)
    assert lines[1:6] == [
        "4 known pairs, of which 1 have no estimate",
        "",
        "their influence, and that of all other pairs of one class",
        "pairs mean 5% 25% 50% 75% 95%",
        "near-duplicate 2 0.4000 0.3000 0.3000 0.3000 0.5000 0.5000",
    ]
    assert lines[6:9] == [
        "very similar 1 0.1000 0.1000 0.1000 0.1000 0.1000 0.1000",
        "all known pairs 3 0.3000 0.1000 0.1000 0.3000 0.5000 0.5000",
        "other pairs 3 0.3667 0.2000 0.2000 0.4000 0.5000 0.5000",
    ]
    assert "near-duplicate 2 75.0% 50.00% 100.0% 100.00%" in lines
    assert "all known pairs 3 50.0% 50.00% 100.0% 100.00%" in lines
    assert "0.40 to 0.50 1 0 0.0% 0.0% to 97.5% 3 1 33.3% 0.8% to 90.6%" in lines
    assert (
        "influence of at least 0.4, almost always near duplicates in the paper (Sec. 3.4): 1 of 3 "
        "pairs known, 33.3% (95% interval 0.8% to 90.6%); others may be duplicates that nobody "
        "listed"
    ) in lines
    assert Image.open(out).size[0] > 1000
    none = compare(*given(), "--mem_threshold=1").stdout
    assert "(Sec. 3.4): there are no such pairs" in none
    high = compare(*given(), "--infl_threshold=0.5").stdout
    assert "(Sec. 3.4): not counted, as --infl_threshold is above it" in high
    # A byte order mark, Windows line ends, spaces, other columns in any order, no distance.
    text = "\ufeffJudgment, TrainID ,note,TestID\r\n 1 ,0,x,0\r\n2,0,,1\r\n\r\n1,4,,2\r\n0,2,,0\r\n"
    assert compare(*given(text)).stdout == done.stdout.replace(f"figure: {out}\n", "")


def test_the_table_of_the_papers_numbers(given, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # So that no cell is broken.
    estimates, listed = given()
    words = (f"--estimates=digits={estimates}", f"--known_pairs=digits={listed}")
    done = run_program("analysis.paper_tables", *words)
    assert "33.3% (95%: 0.8 to 90.6%)" in " ".join(done.stdout.split())
    refused = run_program("analysis.paper_tables", words[1], check=False)
    assert_refused(refused, f"{words[1]} is compared with estimates of digits: --estimates=digits=")
    given("TestID\n1\n")
    refused = run_program("analysis.paper_tables", *words, check=False)
    assert refused.returncode == 2  # A warning of the example without an estimate comes first.
    error = refused.stderr.splitlines()[-1]
    assert error.startswith(f"error: {words[1]}: {listed} lacks the columns TrainID, Judgment")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "known.csv lacks the columns TestID, TrainID, Judgment; it has none; expected known"),
        (
            "TestID,Train\n0,0\n",
            "lacks the columns TrainID, Judgment; it has TestID, Train; expect",
        ),
        ("TestID,TrainID,Judgment\n", "known.csv has no pairs"),
        (LISTED + '0,"1', "line 6: unexpected end of data"),
        (LISTED + "0,x,0.1,1\n", "line 6: TrainID is 'x', expected a whole number from 0 to 4"),
        (LISTED + "0,1.0,0.1,1\n", "line 6: TrainID is '1.0', expected a whole number"),
        (LISTED + "0\n", "line 6: TrainID is '', expected a whole number"),
        (LISTED + "0,5,0.1,1\n", "line 6: TrainID is '5', expected a whole number from 0 to 4"),
        (LISTED + "-1,0,0.1,1\n", "line 6: TestID is '-1', expected a whole number from 0 to 2"),
        (LISTED + "3,0,0.1,1\n", "line 6: TestID is '3', expected a whole number from 0 to 2"),
        (
            LISTED + "\n0,1,0.1,3\n",
            "line 7: Judgment is '3', expected 0 (exact duplicate), 1 (near-duplicate), 2 (very",
        ),
        (LISTED + "0,3,0.1,1\n", "line 6: test and training example are of different classes"),
        (LISTED + "0,3,0.1,1\n1,4,0.1,1\n", "lines 6, 7: test and training example are of differ"),
        (
            LISTED + "2,4,0.9,0\n",
            "line 6: the pair of test example 2 and training example 4 is in line 4 too",
        ),
    ],
)
def test_a_bad_file_is_one_line(text, said, given):
    assert_refused(compare(*given(text), check=False), said)


def test_estimates_without_influence_and_an_absent_file(given, tmp_path):
    estimates, listed = given()
    assert_refused(compare(estimates, tmp_path / "x.csv", check=False), "x.csv does not exist")
    refused = compare(estimates, estimates, check=False)
    assert_refused(refused, "e.npz is no csv file in UTF-8 (invalid start byte)")
    files.write(estimates, dataclasses.replace(ESTIMATES, influences=()))
    refused = compare(estimates, listed, check=False)
    assert_refused(refused, "e has the influence of 0 of 2 classes: tfmem estimate --influence=cla")
    refused = compare(estimates, listed, f"--estimates_b={estimates}", check=False)
    assert_refused(refused, "--turnover and --known_pairs: what --estimates_a is compared with")


def test_the_figure_has_every_judgment_and_bin():
    influence, shares = figure(duplicates.measure(ESTIMATES, KNOWN)).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in influence.lines}
    assert lines == {
        "near-duplicate (2 pairs)": [[-1, 1], [0.3, 1], [0.5, 0.5], [0.5, 0]],
        "very similar (1 pair)": [[-1, 1], [0.1, 1], [0.1, 0]],
        "others of a class (3)": [
            [-1, 1],
            [pytest.approx(0.2), 1],
            [pytest.approx(0.4), 2 / 3],
            [0.5, 1 / 3],
            [0.5, 0],
        ],
    }
    assert [bar.get_height() for bar in shares.patches] == [1, 0, 0.5]
    assert [text.get_text() for text in shares.texts] == ["1/1", "0/1", "1/2"]


@pytest.mark.data
def test_the_published_pairs(published_dir):
    """Of CIFAR-10: 249 near-duplicates and 37 very similar, each test example in one pair."""
    path = published_dir / "cifair_duplicates_cifar10.csv"
    found = known_pairs.read(path, np.zeros(50_000, int), np.zeros(10_000, int))
    assert np.bincount(found.judgment, minlength=3).tolist() == [0, 249, 37]
    assert len(np.unique(found.test_index)) == 286
