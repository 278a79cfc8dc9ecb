"""Numbers and their errors counted by hand; how two compare; every input through the program."""

import csv
import dataclasses
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from analysis.estimates import files
from analysis.estimates.values import PROBABILITY, ClassInfluence, Estimates, Memorization, Pairs
from analysis.measures import removal
from analysis.paper import published
from analysis.paper.inputs import collect
from analysis.paper.numbers import (
    Measured,
    _ratio,
    architecture_agreement,
    architecture_numbers,
    count_error,
    estimates_numbers,
    last_layer_agreement,
    last_layer_numbers,
    last_layer_store_numbers,
    pair_errors,
    pair_numbers,
    removal_numbers,
    runs_numbers,
    speedup,
)
from analysis.paper.published import RESULTS, Stated
from analysis.paper.quantities import QUANTITIES, Quantity
from analysis.paper.rows import Findings, compare, measured_text, paper_text, to_markdown, to_text
from tests.conftest import run_program
from tests.trials import trial_set
from tfmem import experiments
from tfmem.config import LastLayerConfig, RemovalConfig
from tfmem.disk.npz import write_npz
from tfmem.store import representations
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

# Two classes; training example 1 is not memorized. Class by class [train, test].
MEMORIZATION = np.array([0.9, 0.2, 0.3, 0.25])
TRAIN_LABELS, TEST_LABELS = np.array([0, 0, 1, 1]), np.array([0, 1, 0])
VALUES = [[[0.5, 0.2], [0.9, 0.9]], [[0.15], [0.1]]]
PAIRS = Pairs(np.array([0, 0, 2]), np.array([0, 2, 1]), np.array([0.5, 0.2, 0.15]), np.zeros(3))


def estimates(memorization=MEMORIZATION, values=VALUES, mem_error=0.1, infl_error=0.05, **more):
    """Estimates of four training and three test examples; without errors where these are None."""
    memorization = np.asarray(memorization)
    blocks = []
    for label, value in enumerate(values):
        value = np.array(value)
        error = None if infl_error is None else np.full(value.shape, infl_error, np.float32)
        rows, columns = (np.flatnonzero(labels == label) for labels in (TRAIN_LABELS, TEST_LABELS))
        blocks.append(ClassInfluence(rows, columns, value, error))
    details = None
    if mem_error is not None:
        zeros = np.zeros(len(memorization))
        details = Memorization(memorization, zeros + mem_error, zeros, zeros, zeros)
    return Estimates(memorization, TRAIN_LABELS, TEST_LABELS, tuple(blocks), details, **more)


def pairs(*rows):
    """Pairs from (training example, test example, infl, mem)."""
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    train, test, influence, memorization = columns
    return Pairs(
        np.array(train, int),
        np.array(test, int),
        np.array(influence, float),
        np.array(memorization, float),
    )


def values(numbers):
    return {name: measured.value for name, measured in numbers.items()}


def test_every_stated_number_has_its_row_and_unit():
    for results in RESULTS.values():
        for name, stated in results.items():
            assert QUANTITIES[name].unit == stated.unit, name
            assert QUANTITIES[name].decimals >= stated.decimals, name


def test_pairs_are_counted_as_in_section_3_3():
    """Five test examples with 1, 2, 3, 4 and 5 influencers; thresholds and edges are inclusive."""
    rows = [(i, j, 0.5, 0.3) for j in range(5) for i in range(j + 1)]
    rows[0] = (0, 0, 0.15, 0.25)
    rows[1], rows[2] = (0, 1, 0.2, 0.3), (1, 1, 1.0, 0.3)
    rows += [(9, 7, 0.149, 0.9), (9, 8, 0.9, 0.249)]  # Below one of the thresholds.
    found = values(pair_numbers(pairs(*rows), num_test=10))
    assert (found["pairs"], found["test_examples"], found["test_share"]) == (15, 5, 50)
    by_number = [found[f"influenced_by_{k}"] for k in (1, 2, 3, 4, "more")]
    assert by_number == [1, 1, 1, 1, 1]
    bins = [found[published.histogram_key(k)] for k in range(17)]
    assert bins == [1, 1, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found["below_near_duplicates"] == pytest.approx(100 * 2 / 15)


def test_without_errors_or_pairs_nothing_is_made_up():
    found = pair_numbers(pairs((0, 0, 0.5, 0.3)))
    assert all(math.isnan(measured.standard_error) for measured in found.values())
    assert "test_share" not in found
    found = pair_numbers(pairs(), num_test=3)
    assert set(values(found).values()) == {0}
    assert "below_near_duplicates" not in found


def test_the_error_of_a_count_by_hand():
    """Sure to be counted again: 0. With probability 0.5 or less: 1. With 0.9: 0.2."""
    assert count_error(np.array([1, 0.5, 0.1, 0.9])) == pytest.approx(2.2**0.5)
    assert math.isnan(count_error(np.zeros(0)))


def test_the_errors_of_one_pair_in_closed_form():
    """mem is 1, infl 0.5 standard errors above its threshold; the bin of infl is 1 wide."""
    given = pairs((3, 4, 0.175, 0.35))
    errors = np.array([0.1]), np.array([0.05])
    found = pair_numbers(given, errors, num_test=50)
    normal = stats.norm.cdf
    again = normal(1) * normal(0.5)
    expected = math.sqrt(2 * (1 - again))
    for name in ("pairs", "test_examples", "influenced_by_1"):
        assert found[name].standard_error == pytest.approx(expected)
    assert found["test_share"].standard_error == pytest.approx(2 * expected)
    in_bin = normal(1) * (normal(0.5) - normal(-0.5))
    expected = math.sqrt(min(1, 2 * (1 - in_bin)))
    assert found["histogram_0.15"].standard_error == pytest.approx(expected)


def test_a_test_example_of_two_pairs_is_lost_with_both():
    """Each is there again with probability 1/2: mem is far above, infl on its threshold."""
    given = pairs((0, 5, 0.15, 0.9), (1, 5, 0.15, 0.9))
    errors = np.full(2, 1e-3), np.full(2, 0.01)
    found = pair_numbers(given, errors)
    assert found["pairs"].standard_error == pytest.approx(2**0.5)
    assert found["test_examples"].standard_error == pytest.approx(math.sqrt(2 * 0.25))
    assert found["influenced_by_2"].standard_error == pytest.approx(1)


def test_errors_are_those_of_counts_over_repetitions(rng):
    """What is counted of 4,000 noisy estimates varies as much as the estimates of one set say."""
    truth, error = rng.uniform(0, 1, 4000), 0.05

    def count():
        seen = truth + error * rng.standard_normal(len(truth))
        labels = np.zeros(len(seen), int)
        details = Memorization(seen, np.full(len(seen), error), seen, labels, labels)
        found = Estimates(seen, labels, labels, (), details)
        return estimates_numbers(found)["memorized"]

    found = [count() for _ in range(300)]
    spread = np.std([measured.value for measured in found])
    # A sum of min(p, 1 - p) where the variance is one of p (1 - p): 1.19 for a flat density.
    ratio = np.mean([measured.standard_error for measured in found]) / spread
    assert 1.0 < ratio < 1.4


def test_pair_errors_are_found_in_blocks_in_any_order():
    found = estimates()
    block = found.influences[0]
    errors = np.array([[0.01, 0.02], [0.03, 0.04]])
    turned = ClassInfluence(
        block.train_index[::-1], block.test_index[::-1], block.value[::-1, ::-1], errors
    )
    found = dataclasses.replace(found, influences=(turned, found.influences[1]))
    mem_error, infl_error = pair_errors(found, PAIRS)
    assert mem_error.tolist() == [0.1, 0.1, 0.1]
    assert infl_error == pytest.approx([0.04, 0.03, 0.05])
    assert pair_errors(estimates(mem_error=None), PAIRS) is None
    assert pair_errors(estimates(infl_error=None), PAIRS) is None


def test_numbers_of_estimates_by_hand():
    given = estimates(num_trials=25, test_accuracy=0.9, test_accuracy_deviation=0.05)
    numbers = estimates_numbers(given)
    found = values(numbers)
    assert (found["memorized"], found["utility_share"]) == (3, 50)
    assert (found["pairs"], found["test_examples"]) == (3, 3)
    assert found["test_share"] == 100
    assert numbers["trials_accuracy"] == Measured(90, pytest.approx(1), pytest.approx(5), 25)
    # On the threshold, and 0.5 and 6.5 standard errors above it.
    tails = stats.norm.sf([0, 0.5, 6.5])
    assert numbers["memorized"].standard_error == pytest.approx(math.sqrt(2 * tails.sum()))
    bare = estimates_numbers(estimates(values=[], mem_error=None))
    assert values(bare) == {"memorized": 3, "utility_share": 50}
    assert math.isnan(bare["memorized"].standard_error)


def removal_groups():
    """Four runs of two each: on all; without mem >= 0.3; as many random; without the pairs'."""
    rows = {
        0: ([1, 1, 1, 1], [1, 1, 1]),
        1: ([1, 1, 1, 1], [1, 1, 0]),
        2: ([0, 1, 0, 1], [0, 0, 1]),
        3: ([0, 1, 0, 1], [0, 0, 0]),
        4: ([0, 0, 1, 1], [1, 1, 0]),
        5: ([0, 0, 1, 1], [1, 1, 0]),
        6: ([0, 1, 0, 1], [0, 0, 1]),
        7: ([0, 1, 0, 1], [1, 0, 0]),
    }
    subset, correct = zip(*rows.values(), strict=True)
    trials = trial_set(subset, np.zeros((8, 4)), correct, TRAIN_LABELS, TEST_LABELS)
    return removal.group(removal_config(), trials)


def removal_config(**changes):
    given = dict(
        experiment=experiments.get("digits_mlp"),
        runs=2,
        mem_thresholds=(published.UTILITY_THRESHOLD,),
        mem_threshold=experiments.MEM_THRESHOLD,
        infl_threshold=experiments.INFL_THRESHOLD,
        estimates="estimates.npz",
        estimates_digest="",
    )
    return RemovalConfig(**{**given, **changes})


def test_removal_numbers_by_hand():
    """The pairs' test examples are 0 and 1. Accuracies are 3, 2, 1, 0, 2, 2, 1 and 1 of 3."""
    two = PAIRS.take(np.array([0, 2]))
    found = removal_numbers(removal_groups(), two)
    assert values(found) == {
        "full_accuracy": pytest.approx(250 / 3),
        "utility_memorized": pytest.approx(200 / 3),
        "utility_random": pytest.approx(50 / 3),
        "utility_share": 50,
        "high_influence_whole": pytest.approx(250 / 3),
        "high_influence_without": pytest.approx(100 / 3),
        "high_influence_difference": pytest.approx(50),
        "influenced_whole": 100,
        "influenced_without": 25,
        "contribution": pytest.approx(50),
        "contribution_share": pytest.approx(100),
    }
    # Differences 2/3 and 1/3, of which 2/3 and 1/3 are on the two test examples: always all of it.
    assert found["high_influence_difference"].deviation == pytest.approx(100 / 3 / 2**0.5)
    assert found["high_influence_difference"].standard_error == pytest.approx(100 / 6)
    assert found["contribution_share"].standard_error == pytest.approx(0, abs=1e-9)
    assert "contribution" not in removal_numbers(removal_groups(), None)


def test_the_error_of_a_share_of_a_difference():
    """a / b of (1, 2), (3, 2): the mean is 1, and a - b is -1, 1; 1 / sqrt(1) of their mean 2."""
    found = _ratio(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert (found.value, found.standard_error) == (100, pytest.approx(100 * 1 / 2))
    assert _ratio(np.array([1.0]), np.array([0.0])) is None


def test_two_runs_by_hand():
    """Pairs {00, 02, 21} and {00, 21}; below 0.1 nothing counts, of mem two sets differ by one."""
    other = estimates([0.8, 0.2, 0.4, 0.1], [[[0.3, 0.12], [0.9, 0.9]], [[0.25], [0.1]]])
    found = values(runs_numbers(estimates(), other))
    assert (found["first_run_pairs"], found["second_run_pairs"]) == (3, 2)
    assert found["first_run_shared"] == pytest.approx(200 / 3)
    assert found["second_run_shared"] == 100
    assert found["runs_infl_jaccard"] == pytest.approx(2 / 3)
    # At 0.1: 00, 02, 21 and, in the first, 31.
    assert found["runs_infl_difference"] == pytest.approx((0.2 + 0.08 + 0.1 + 0) / 4)
    assert found["runs_mem_jaccard"] == pytest.approx(2 / 3)
    assert found["runs_mem_difference"] == pytest.approx((0.1 + 0.1 + 0.15) / 3)


def test_architectures_and_last_layer_by_hand():
    other = estimates([0.8, 0.3, 0.1, 0.1], [[[0.1, 0.3], [0.0, 0.2]], [[0.9], [0.1]]])
    found = values(architecture_numbers("resnet18", other))
    assert found == {"resnet18_pairs": 2}
    found = values(architecture_agreement("resnet18", other, estimates()))
    # {00, 02, 21} and {02, 12}; mem {0, 2, 3} and {0, 1}.
    assert found == {"resnet18_infl_jaccard": 0.25, "resnet18_mem_jaccard": 0.25}
    found = values(last_layer_numbers(other))
    assert found == {"last_layer_memorized": 2, "last_layer_pairs": 3}
    # Whatever mem is: {00, 02, 10, 12, 21} and {02, 12, 21}.
    found = values(last_layer_agreement(estimates(), other))
    assert found == {"last_layer_jaccard": 0.6}
    found = last_layer_store_numbers(np.array([0.5, 0.7]), math.nan)
    assert values(found) == {"last_layer_accuracy": pytest.approx(60)}
    found = values(speedup(np.array([6.0, 12.0]), np.array([2.0, 1.0])))
    assert found == {"last_layer_speedup": 6}
    assert speedup(np.array([np.nan]), np.array([1.0])) == {}


ACCURACY = Stated("76.06", "", "%", deviation="0.28", runs=100)


@pytest.mark.parametrize(
    ("stated", "measured", "said"),
    [
        (None, Measured(3), "–"),
        (Stated("35", ""), None, "–"),
        (Stated("35", ""), Measured(35, 4), "equal"),
        (Stated("35", ""), Measured(43, 4), "2.0 s.e. above"),
        (Stated("35", ""), Measured(28), "ratio 0.8"),
        (Stated("35", ""), Measured(28, 0), "ratio 0.8"),
        (Stated("0", ""), Measured(28), "above 0"),
        (Stated("1015", ""), Measured(25, 3), "330 s.e. below"),
        (Stated("2.92", "", "%"), Measured(2.924), "equal"),
        (Stated("32", "", "%", "≈"), Measured(32.49), "equal"),
        (Stated("32", "", "%", "≈"), Measured(33, 0.2), "2.8 s.e. above"),
        # Errors 0.04, 0.028 and a rounding of 0.01 / sqrt(12) make 0.0489.
        (ACCURACY, Measured(75.96, 0.04), "2.0 s.e. below"),
        (ACCURACY, Measured(38.03), "ratio 0.5"),
        (Stated("80", "", "%", ">"), Measured(80.1, 9), "holds"),
        (Stated("80", "", "%", ">"), Measured(80), "does not hold"),
        (Stated("0.7", "", relation="≥"), Measured(0.7), "holds"),
        (Stated("0.015", "", relation="<"), Measured(0.015), "does not hold"),
    ],
)
def test_how_numbers_compare(stated, measured, said):
    assert compare(stated, measured) == said


@pytest.mark.parametrize(
    ("measured", "quantity", "text"),
    [
        (Measured(1234), Quantity(""), "1,234"),
        (Measured(46, 0.52), Quantity(""), "46 ± 0.5"),
        (Measured(2046, 12.3), Quantity(""), "2,046 ± 12"),
        (Measured(3.456, 0.012), Quantity("", "%", 2), "3.46% ± 0.01%"),
        (Measured(97.1134, 0.0012), Quantity("", "%", 2), "97.113% ± 0.001%"),
        (Measured(97.1, 0.12, 0.3, 6), Quantity("", "%", 2), "97.10% ± 0.12% (sd 0.30%)"),
        (Measured(97.1, math.nan, math.nan, 1), Quantity("", "%", 2), "97.10%"),
        (Measured(0.7431), Quantity("", decimals=3), "0.743"),
    ],
)
def test_how_measured_numbers_are_written(measured, quantity, text):
    assert measured_text(measured, quantity) == text


def test_how_stated_numbers_are_written():
    assert paper_text(ACCURACY) == "76.06% (sd 0.28%)"
    assert paper_text(Stated("32", "", "%", "≈")) == "≈ 32%"
    assert paper_text(Stated("18099", "")) == "18,099"


def test_rows_are_what_is_stated_or_measured():
    findings = Findings()
    findings.add("mnist", {"pairs": Measured(40), "memorized": Measured(7)}, "--pairs=a")
    findings.add("mnist", {"pairs": Measured(41)}, "--pairs=b")  # Too late.
    findings.add("digits", {"pairs": Measured(5)}, "--pairs=c")
    rows = findings.rows(["digits"])
    assert len(rows) == 2 + sum(map(len, RESULTS.values()))
    assert [row.dataset for row in rows if row.measured] == ["mnist", "mnist", "digits"]
    first, second = rows[:2]
    assert (first.quantity, first.stated) == (QUANTITIES["memorized"], None)
    assert (second.measured.value, second.sources) == (40, ("--pairs=a",))
    assert second.cells("a")[1:] == ("Sec. 3.3", "35", "40", "a", "ratio 1.14")
    assert rows[-1].cells("ab") == ("high-influence pairs", "–", "–", "5", "a, b", "–")
    what = "different test examples in pairs"
    assert rows[2].cells("") == (what, "Sec. 3.3", "33", "no input", "", "–")


def test_the_text_fits_and_keeps_thresholds_whole():
    findings = Findings()
    findings.add("mnist", {"memorized": Measured(12345, 67)}, "--estimates=mnist=" + "x" * 200)
    for width in (80, 120):
        text = to_text(findings.rows(), width)
        lines = [line for line in text.splitlines() if not line.startswith("[1] ")]
        assert max(map(len, lines)) <= width
        assert "mem >= 0.25" in text
        assert "[1] --estimates=mnist=xxx" in text
        assert re.search(r"12,345 ± 67 +\[1\] +–", text)


def test_markdown_escapes_what_would_end_a_cell():
    findings = Findings()
    findings.add("mnist", {"pairs": Measured(35)}, "--pairs=mnist=a|b.npz")
    text = to_markdown(findings.rows())
    row = "| high-influence pairs | Sec. 3.3 | 35 | 35 | --pairs=mnist=a\\|b.npz | equal |"
    assert row in text.splitlines()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## MNIST",
        "## CIFAR-100",
        "## ImageNet",
    ]


# The program.


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def filled(rows):
    """Returns the rows of a table that were measured, by what they are."""
    return {row["what"]: row for row in rows if row["measured here"] != "no input"}


def test_without_inputs_the_papers_numbers_are_shown():
    done = run_program("analysis.paper_tables")
    count = sum(map(len, RESULTS.values()))
    assert done.stdout.count("no input") == count
    assert f"0 of the paper's {count} numbers have an input" in done.stdout


def test_datasets_without_an_input_are_shown_if_asked_for(tmp_path):
    """CIFAR-10, of which the paper says nothing, and MNIST."""
    index = np.arange(3)
    files.write_pairs(tmp_path / "pairs.npz", Pairs(index, index, np.full(3, 0.2), np.full(3, 0.3)))
    (tmp_path / "again.npz").write_bytes((tmp_path / "pairs.npz").read_bytes())
    out = tmp_path / "table.csv"
    words = ["analysis.paper_tables", f"--pairs=cifar10={tmp_path / 'pairs.npz'}", f"--out={out}"]
    said = run_program(*words).stdout
    assert {row["dataset"] for row in table(out)} == {"cifar10"}
    assert said.splitlines()[0] == "cifar10"
    assert "no input" not in said.partition("--all")[0]
    assert "of the paper's" not in said
    assert "--all shows what has no input too: MNIST, CIFAR-100, ImageNet" in said
    words.append(f"--pairs=mnist={tmp_path / 'again.npz'}")
    said = run_program(*words).stdout
    assert {row["dataset"] for row in table(out)} == {"mnist", "cifar10"}
    stated = len(RESULTS["mnist"])
    assert re.search(rf"\d+ of the paper's {stated} numbers have an input", said)
    said = run_program(*words, "--all").stdout
    assert {row["dataset"] for row in table(out)} == {*RESULTS, "cifar10"}
    assert "--all" not in said


@pytest.mark.data
def test_the_published_pairs_fill_exactly_what_they_can_and_agree(published_dir, tmp_path):
    out = tmp_path / "table.csv"
    path = published_dir / "imagenet_high_infl_pairs_infl0.15_mem0.25.npz"
    run_program("analysis.paper_tables", f"--pairs=imagenet2012={path}", f"--out={out}")
    rows = filled(table(out))
    names = ["pairs", "test_examples", "test_share", "below_near_duplicates"]
    names += [name for name in QUANTITIES if name.startswith(("influenced_by_", "histogram_"))]
    assert set(rows) == {QUANTITIES[name].what for name in names}
    assert {row["dataset"] for row in rows.values()} == {"imagenet2012"}
    assert {row["from"] for row in rows.values()} == {f"--pairs=imagenet2012={path}"}
    compared = {what: row["compared"] for what, row in rows.items()}
    below = QUANTITIES["below_near_duplicates"].what
    assert compared.pop(below) == "holds"
    assert set(compared.values()) == {"equal"}
    assert float(rows[below]["measured_value"]) == pytest.approx(100 * 1525 / 1641)
    shown = [
        rows[QUANTITIES[name].what]["measured here"]
        for name in ("pairs", "test_examples", "test_share", "influenced_by_1", "influenced_by_4")
    ]
    assert shown == ["1,641", "1,462", "2.92%", "1,298", "1"]
    assert {row["standard_error"] for row in rows.values()} == {""}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny, tiny_config):
    """A folder with every input of a dataset that is called digits, and what is in its stores."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    train, test = tiny.train.labels, tiny.test.labels

    def write(name, memorization, accuracies):
        zeros = np.zeros(len(train), int)
        details = Memorization(memorization, np.full(len(train), 0.05), memorization, zeros, zeros)
        influences = []
        for label in range(3):
            rows, columns = np.flatnonzero(train == label), np.flatnonzero(test == label)
            value = np.full((len(rows), len(columns)), 0.12)
            influences.append(ClassInfluence(rows, columns, value, np.full(value.shape, 0.02)))
        influences[2].value[-1, 0] = 0.3  # Training example 20 on test example 2.
        found = Estimates(memorization, train, test, influences, details, num_trials=2)
        moments = dict(
            test_accuracy=np.mean(accuracies), test_accuracy_deviation=np.std(accuracies)
        )
        files.write(folder / f"{name}.npz", dataclasses.replace(found, **moments))

    def fill(name, config, count, seconds):
        store = Store.create(folder / name, config, tiny)
        for number in range(count):
            kept = np.ones(21, bool)
            kept[20] = number < 2
            parts = (Predictions(rng.random(len(split)) < 0.7) for split in (tiny.train, tiny.test))
            store.write(Trial(number, 0, kept, *parts, seconds=seconds))
        return 100 * np.array([store.read(number).test_accuracy for number in range(count)])

    memorization = np.arange(21) / 20
    write("whole", memorization, [0.5, 0.7])
    write("again", memorization - 0.12, [0.5, 0.7])
    write("linear", memorization / 4, [0.6, 0.8])
    pair = Pairs(np.array([20]), np.array([2]), np.array([0.3]), np.array([1.0]))
    files.write_pairs(folder / "pairs.npz", pair)
    experiment = dataclasses.replace(tiny_config, dataset="digits")
    removed = removal_config(
        experiment=experiment,
        estimates=str(folder / "whole.npz"),
        estimates_digest=files.estimates_digest(memorization, pair),
    )
    accuracies = {
        "trials": fill("trials", experiment, 4, 6.0),
        "removal": fill("removal", removed, 8, 1.0),
        "last": fill("last", LastLayerConfig(experiment, experiment), 2, 0.5),
    }
    about = representations.About({}, "", "", 1.0, 0.75, 9.0)
    about = {"about": np.array(json.dumps(dataclasses.asdict(about)))}
    write_npz(folder / "last" / representations.FOLDER / "features.npz", about)
    return folder, accuracies


def inputs(folder):
    """Returns every flag of the made inputs, as (flag, text)."""
    return [
        ("estimates", f"digits={folder}/whole.npz"),
        ("store", f"digits={folder}/trials"),
        ("removal", f"digits={folder}/removal"),
        ("runs", f"digits={folder}/whole.npz,{folder}/again.npz"),
        ("last_layer", f"digits={folder}/linear.npz"),
        ("last_layer_store", f"digits={folder}/last"),
    ]


def test_all_inputs_of_other_data_through_the_program(made):
    folder, accuracies = made
    out = folder / "table.csv"
    flags = [f"--{flag}={text}" for flag, text in inputs(folder)]
    done = run_program("analysis.paper_tables", *flags, f"--out={out}", f"--out={folder / 't.md'}")
    rows = filled(table(out))
    # All has an answer that is not of an architecture, and not of pairs of very high influence.
    of_others = {*published.ARCHITECTURES, "known"}
    expected = [name for name in QUANTITIES if name.partition("_")[0] not in of_others]
    assert [QUANTITIES[name].what for name in expected] == list(rows)
    assert {row["dataset"] for row in rows.values()} == {"digits"}
    for column in ("section", "the paper", "compared"):
        assert {row[column] for row in rows.values()} == {"–"}

    def measured(name):
        row = rows[QUANTITIES[name].what]
        numbers = (row[column] for column in ("measured_value", "standard_error", "sd", "runs"))
        return [float(text) if text else None for text in numbers]

    def mean(values):
        deviation = values.std(ddof=1)
        return pytest.approx(
            [values.mean(), deviation / len(values) ** 0.5, deviation, len(values)]
        )

    # Of 0, 0.05, ..., 1 there are 16 from 0.25, and 15 from 0.3, on.
    assert measured("memorized")[0] == 16
    assert measured("utility_share")[0] == pytest.approx(100 * 15 / 21)
    assert measured("test_share")[0] == pytest.approx(100 / 9)
    assert measured("trials_accuracy") == mean(accuracies["trials"])
    nothing, memorized, random, without = accuracies["removal"].reshape(4, 2)
    assert measured("full_accuracy") == mean(nothing)
    assert measured("utility_memorized") == mean(nothing - memorized)
    assert measured("utility_random") == mean(nothing - random)
    assert measured("high_influence_difference") == mean(nothing - without)
    assert (measured("first_run_pairs")[0], measured("second_run_pairs")[0]) == (1, 1)
    assert measured("runs_infl_jaccard")[0] == 1
    assert measured("runs_mem_jaccard")[0] == 13 / 16
    assert measured("runs_mem_difference")[0] == pytest.approx(0.12)
    assert measured("network_accuracy") == [75, None, None, None]
    assert measured("last_layer_accuracy") == mean(accuracies["last"])
    assert measured("last_layer_memorized")[0] == 1
    assert (measured("last_layer_pairs")[0], measured("last_layer_jaccard")[0]) == (1, 1)
    assert measured("last_layer_speedup") == [12, None, None, None]
    speedup = rows[QUANTITIES["last_layer_speedup"].what]
    assert speedup["from"] == f"{flags[1]}, {flags[5]}"
    for number, flag in enumerate(flags, 1):
        assert sum(line.endswith(f"] {flag}") for line in done.stdout.splitlines()) == 1, number
    assert "## digits" in (folder / "t.md").read_text()


def test_estimates_answer_where_there_are_no_stores(made):
    folder, _ = made
    findings, others = collect(
        {
            "estimates": [f"digits={folder}/whole.npz"],
            "last_layer": [f"digits={folder}/linear.npz"],
        }
    )
    assert others == ["digits"]
    rows = {row.quantity.what: row.measured for row in findings.rows(others) if row.measured}
    for name, value in (("trials_accuracy", 60), ("last_layer_accuracy", 70)):
        found = rows[QUANTITIES[name].what]
        assert (found.value, found.count) == (pytest.approx(value), 2)
        assert found.standard_error == pytest.approx(10 / 2**0.5)


def test_pairs_of_other_data_have_a_share_once_its_size_is_known(made):
    folder, _ = made
    given = {"pairs": [f"digits={folder}/pairs.npz"]}

    def names():
        rows = collect(given)[0].rows(["digits"])
        return [row.quantity for row in rows if row.measured]

    assert QUANTITIES["test_share"] not in names()
    given["store"] = [f"digits={folder}/trials"]
    assert QUANTITIES["test_share"] in names()


def test_moved_estimates_of_removal_runs_are_found(made):
    folder, _ = made
    given = {"removal": [f"digits={folder}/removal"]}
    moved = (folder / "whole.npz").rename(folder / "moved.npz")
    try:
        with pytest.raises(ValueError, match="does not exist: --estimates=DATASET=PATH says where"):
            collect(given)
        given["estimates"] = [f"digits={moved}"]
        rows = collect(given)[0].rows(["digits"])
    finally:
        moved.rename(folder / "whole.npz")
    assert QUANTITIES["contribution"] in [row.quantity for row in rows if row.measured]


def test_architectures_are_compared_to_resnet50(tmp_path, monkeypatch):
    """Files with as many examples as CIFAR-100, made small."""
    monkeypatch.setitem(published.SIZES, "cifar100", (4, 3))
    other = estimates([0.8, 0.3, 0.1, 0.1], [[[0.1, 0.3], [0.0, 0.2]], [[0.9], [0.1]]])
    given = []
    for name, found in (("resnet18", other), ("resnet50", estimates())):
        path = tmp_path / f"{name}.npz"
        moments = dict(test_accuracy=0.7, test_accuracy_deviation=0.005)  # Of 0.695 and 0.705.
        files.write(path, dataclasses.replace(found, **moments))
        given.append(f"{name}={path}")
    rows = collect({"architecture": given})[0].rows()
    found = {
        row.quantity.what: (row.measured.value, compare(row.stated, row.measured))
        for row in rows
        if row.measured
    }
    # Of the pairs 00, 02 and 21, the last two are 1 and 0 errors above the threshold of infl, 21 is
    # 0.5 above that of mem: 0.317 + 1 makes an error of 1.148. Of 02 and 12 it is 0.916.
    assert found == {
        QUANTITIES["resnet50_pairs"].what: (3, "923 s.e. below"),
        QUANTITIES["resnet50_accuracy"].what: (pytest.approx(70), "ratio 0.972"),
        QUANTITIES["resnet18_pairs"].what: (2, "941 s.e. below"),
        QUANTITIES["resnet18_accuracy"].what: (pytest.approx(70), "equal"),
        QUANTITIES["resnet18_mem_jaccard"].what: (0.25, "–"),
        QUANTITIES["resnet18_infl_jaccard"].what: (0.25, "–"),
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["estimates=minst=whole.npz"], "unknown dataset 'minst': did you mean 'mnist'?"),
        (["architecture=resnet20=whole.npz"], "unknown architecture 'resnet20': did you mean"),
        (["estimates=whole.npz"], "--estimates=whole.npz: expected --estimates=DATASET=PATH"),
        (["pairs=mnist="], "--pairs=mnist=: expected --pairs=DATASET=PATH"),
        (
            ["pairs=mnist=pairs.npz", "pairs=mnist=b.npz"],
            "--pairs is given twice for mnist: pairs.npz and b.npz",
        ),
        (
            ["architecture=resnet50=whole.npz", "architecture=resnet18=whole.npz"],
            "--architecture is given the same for resnet50 and resnet18: whole.npz",
        ),
        (
            ["pairs=digits=pairs.npz", "estimates=digits=whole.npz"],
            "--estimates=digits=whole.npz has the pairs too, with their errors: give one",
        ),
        (["runs=digits=whole.npz"], "expected two files, --runs=DATASET=PATH,PATH"),
        (["runs=digits=whole.npz,whole.npz"], "the two runs are the same file"),
        (
            ["estimates=mnist=whole.npz"],
            "--estimates=mnist=whole.npz has 21 training and 9 test examples, mnist has 60,000 and "
            "10,000: another dataset?",
        ),
        (["architecture=resnet18=whole.npz"], "cifar100 has 50,000 and 10,000: another dataset?"),
        (
            ["estimates=digits=pairs.npz"],
            "--estimates=digits=pairs.npz: pairs.npz is a pairs file;",
        ),
        (["pairs=digits=whole.npz"], "--pairs=digits=whole.npz: whole.npz is an estimates file;"),
        (["pairs=digits=nowhere.npz"], "nowhere.npz does not exist"),
        (["store=digits=removal"], "is a store of removal runs, expected trials or imported"),
        (["store=digits=last"], "is a store of trials of the last layer, expected trials or"),
        (["removal=digits=trials"], "is a store of trials, expected removal runs"),
        (["last_layer_store=digits=trials"], "expected trials of the last layer"),
        (["store=mnist=trials"], "--store=mnist=trials is a store of digits, not of mnist"),
        (["store=digits=nowhere"], "nowhere is not a store"),
    ],
)
def test_wrong_inputs_are_named(given, words, made, monkeypatch):
    monkeypatch.chdir(made[0])
    texts = {}
    for text in given:
        flag, _, rest = text.partition("=")
        texts.setdefault(flag, []).append(rest)
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        collect(texts)
    assert "\n" not in str(error.value)


def test_pairs_beyond_the_dataset_are_of_another(tmp_path):
    files.write_pairs(tmp_path / "p.npz", pairs((3, 10_000, 0.5, 0.5)))
    words = r"has a pair of test example 10,000, mnist has 10,000 of them: another dataset\?"
    with pytest.raises(ValueError, match=words):
        collect({"pairs": [f"mnist={tmp_path}/p.npz"]})


def test_estimates_by_the_other_estimator_are_refused(tmp_path):
    path = tmp_path / "e.npz"
    labels = np.zeros(2, int), np.zeros(1, int)
    files.write(path, Estimates(np.zeros(2), *labels, (), estimator=PROBABILITY))
    with pytest.raises(ValueError, match="is estimated from the probability of the true label"):
        collect({"estimates": [f"digits={path}"]})


def test_an_unknown_kind_of_table_gets_one_line():
    done = run_program("analysis.paper_tables", "--out=table.html", check=False)
    assert done.returncode == 2
    expected = "expected a name that ends in .csv or .md (--help lists the flags)"
    assert done.stderr == f"error: flag --out=table.html: {expected}\n"
    assert done.stdout == ""
