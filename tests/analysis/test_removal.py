"""Accuracies, differences and tables counted by hand; a store read through the real program."""

import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from analysis.estimates import files
from analysis.estimates.values import ClassInfluence, Estimates, Memorization, Pairs
from analysis.measures import removal
from analysis.measures.removal import Mean, ThresholdEffect
from analysis.plots.removal import figure
from tests.conftest import run_program
from tests.trials import trial_set
from tfmem import experiments
from tfmem.config import Condition, RemovalConfig
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

# Four training and four test examples; two runs of nothing, memorized 0.5, random 0.5 and
# high_influence, of which the second of memorized 0.5 is not there, and the trials are not sorted.
CONDITIONS = (
    Condition("nothing"),
    Condition("memorized", 0.5),
    Condition("random", 0.5),
    Condition("high_influence"),
)
NUMBERS = [7, 0, 1, 2, 4, 5, 6]
SUBSETS = {
    0: [1, 1, 1, 1],
    1: [1, 1, 1, 1],
    2: [0, 1, 1, 1],
    4: [1, 1, 0, 1],
    5: [1, 1, 1, 0],
    6: [0, 0, 1, 1],
    7: [0, 0, 1, 1],
}
TEST_CORRECT = {
    0: [1, 1, 1, 1],
    1: [1, 1, 1, 0],
    2: [0, 1, 1, 0],
    4: [1, 1, 1, 0],
    5: [1, 1, 0, 0],
    6: [0, 0, 1, 1],
    7: [0, 1, 0, 0],
}
PAIRS = Pairs(
    train_index=np.array([0, 1, 1]),
    test_index=np.array([0, 1, 0]),
    influence=np.array([0.9, 0.5, 0.2]),
    memorization=np.array([0.8, 0.6, 0.6]),
)


def config(**changes):
    values = dict(
        experiment=experiments.get("digits_mlp"),
        runs=2,
        mem_thresholds=(0.5,),
        mem_threshold=0.25,
        infl_threshold=0.15,
        estimates="estimates.npz",
        estimates_digest="",
    )
    return RemovalConfig(**{**values, **changes})


@pytest.fixture
def groups():
    rows = [[table[number] for number in NUMBERS] for table in (SUBSETS, TEST_CORRECT)]
    trials = trial_set(rows[0], np.zeros((7, 4)), rows[1], [0, 1, 0, 1], [0, 1, 0, 1])
    return removal.group(config(), dataclasses.replace(trials, numbers=np.array(NUMBERS)))


def assert_mean(found, value, deviation, count):
    assert found.value == pytest.approx(value, nan_ok=True)
    assert found.deviation == pytest.approx(deviation, nan_ok=True)
    assert found.count == count


def squeezed(table):
    return [" ".join(line.split()) for line in table.splitlines()]


def test_runs_are_grouped_by_condition(groups):
    assert tuple(runs.condition for runs in groups) == CONDITIONS
    assert [runs.numbers.tolist() for runs in groups] == [[0, 1], [0], [0, 1], [0, 1]]
    assert [runs.remaining.tolist() for runs in groups] == [[1, 1], [0.75], [0.75, 0.75], [0.5] * 2]
    assert [runs.accuracy().tolist() for runs in groups] == [
        [1.0, 0.75],
        [0.5],
        [0.75, 0.5],
        [0.5, 0.25],
    ]
    assert groups[3].accuracy(np.array([1, 2])).tolist() == [0.5, 0.5]


def test_mean_and_standard_error_by_hand():
    assert_mean(removal.mean(np.array([0.5, 0.7, 0.9])), 0.7, 0.2, 3)
    assert removal.mean(np.array([0.5, 0.7, 0.9])).standard_error == pytest.approx(0.2 / 3**0.5)
    assert_mean(removal.mean(np.array([0.5])), 0.5, math.nan, 1)
    assert_mean(removal.mean(np.array([])), math.nan, math.nan, 0)
    assert math.isnan(removal.mean(np.array([])).standard_error)


def test_differences_are_between_runs_of_the_same_number(groups):
    nothing, memorized, random, without = groups
    assert removal.paired_difference(random, memorized).tolist() == [0.25]
    assert removal.paired_difference(nothing, without).tolist() == [0.5, 0.5]
    assert removal.paired_difference(nothing, without, np.array([0, 1])).tolist() == [1.0, 0.5]
    last = dataclasses.replace(
        random,
        numbers=random.numbers[1:],
        remaining=random.remaining[1:],
        test_correct=random.test_correct.rows(slice(1, None)),
    )
    assert removal.paired_difference(nothing, last).tolist() == [0.25]
    assert removal.paired_difference(memorized, last).tolist() == []


def test_threshold_effects_by_hand(groups):
    (effect,) = removal.threshold_effects(groups)
    assert (effect.threshold, effect.remaining) == (0.5, 0.75)
    assert_mean(effect.memorized, 0.5, math.nan, 1)
    assert_mean(effect.random, 0.625, 0.125 * 2**0.5, 2)
    assert_mean(effect.difference, 0.25, math.nan, 1)


def test_high_influence_effect_by_hand(groups):
    """S'_h are test examples 0 and 1: all right with S; 0 of 2 and 1 of 2 without S_h."""
    effect = removal.high_influence_effect(groups, PAIRS)
    assert (effect.train_examples, effect.test_examples) == (2, 2)
    spread = 0.25 * 2**0.5  # Of two values that are 0.5 apart.
    assert_mean(effect.whole, 0.875, spread / 2, 2)
    assert_mean(effect.without, 0.375, spread / 2, 2)
    assert_mean(effect.difference, 0.5, 0, 2)
    assert_mean(effect.influenced_whole, 1, 0, 2)
    assert_mean(effect.influenced_without, 0.25, spread, 2)
    assert_mean(effect.influenced_difference, 0.75, spread, 2)
    assert_mean(effect.contribution, 0.375, spread / 2, 2)


def test_the_papers_numbers_contribute_what_it_says():
    """Sec. 3.3: 888 of 10,000 test examples, 72.14% to 45.38%, contribute 2.38%."""
    before, after = round(888 * 0.7214), round(888 * 0.4538)
    correct = np.zeros((2, 10_000), bool)
    correct[0, :before] = correct[1, :after] = True
    correct[0, 888 : 888 + 7606 - before] = correct[1, 888 : 888 + 7352 - after] = True
    trials = trial_set(np.ones((2, 4)), np.ones((2, 4)), correct, [0] * 4, [0] * 10_000)
    groups = removal.group(config(runs=1, mem_thresholds=()), trials)
    pairs = dataclasses.replace(PAIRS, test_index=np.arange(888))
    effect = removal.high_influence_effect(groups, pairs)
    assert effect.difference.value == pytest.approx(0.0254)
    assert effect.contribution.value == pytest.approx(0.0238, abs=5e-5)


def test_tables_by_hand(groups):
    table = squeezed(removal.threshold_table(removal.threshold_effects(groups)))
    assert table[-1] == "0.5 75.0% 50.00 ± ? 62.50 ± 17.68 25.00 ± ?"
    effect = removal.high_influence_effect(groups, PAIRS)
    on_all, on_influenced, last = squeezed(removal.high_influence_table(effect, 4))[-3:]
    assert on_all == "all 4 test examples 87.50 ± 17.68 37.50 ± 17.68 50.00 ± 0.00"
    assert on_influenced == "the 2 influenced ones 100.00 ± 0.00 25.00 ± 35.36 75.00 ± 25.00"
    assert last.endswith("of 50.00 ± 0.00, the influenced test examples contribute 37.50 ± 12.50")


def test_a_condition_without_runs_is_a_dash():
    empty, some = Mean(math.nan, math.nan, 0), Mean(0.5, 0.1, 4)
    table = removal.threshold_table([ThresholdEffect(0.3, math.nan, empty, some, empty)])
    assert squeezed(table)[-1] == "0.3 - - 50.00 ± 10.00 -"


def test_the_digest_is_of_what_was_removed_and_of_whom_it_influences():
    memorization = np.array([0.8, 0.6, 0.1])
    known = files.estimates_digest(memorization, PAIRS)
    order = np.array([2, 0, 1])
    assert files.estimates_digest(memorization.copy(), PAIRS.take(order)) == known
    other = memorization.copy()
    other[2] = np.nextafter(0.1, 1)
    moved = dataclasses.replace(PAIRS, test_index=np.array([0, 2, 0]))
    fewer = PAIRS.take(np.array([0]))
    digests = [
        known,
        files.estimates_digest(other, PAIRS),
        files.estimates_digest(memorization, None),
        files.estimates_digest(memorization, moved),
        files.estimates_digest(memorization, fewer),
    ]
    assert len(set(digests)) == 5


EFFECTS = [
    ThresholdEffect(0.1, 0.5, Mean(0.7, 0.02, 5), Mean(0.8, 0.01, 5), Mean(0.1, 0.02, 5)),
    ThresholdEffect(0.6, 0.9, Mean(0.8, 0.01, 5), Mean(0.82, 0.03, 5), Mean(0.02, 0.02, 5)),
]


def test_the_figure_draws_the_values():
    accuracy, remaining = figure(EFFECTS, 0.83).axes
    lines = {line.get_label(): line for line in accuracy.lines}
    for label, values in (
        ("remove memorized", [0.7, 0.8]),
        ("remove random", [0.8, 0.82]),
        ("remove nothing", [0.83, 0.83]),
    ):
        np.testing.assert_array_equal(lines[label].get_ydata(), values)
    np.testing.assert_array_equal(lines["remove random"].get_xdata(), [0.1, 0.6])
    bands = [band.get_datalim(accuracy.transData).extents for band in accuracy.collections]
    np.testing.assert_allclose(bands, [[0.1, 0.79, 0.6, 0.85], [0.1, 0.68, 0.6, 0.81]])
    (line,) = remaining.lines
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 0.9])
    assert accuracy.get_xlim() == remaining.get_xlim() == (0, 1)
    assert remaining.get_xlabel() == "memorization threshold"


@pytest.fixture
def made(tmp_path, tiny, rng):
    """An estimates file of the tiny dataset, and a store of removal runs with random results."""
    train, test = tiny.train.labels, tiny.test.labels
    memorization = np.arange(21) / 20
    influences = []
    for label in range(3):
        rows, columns = np.flatnonzero(train == label), np.flatnonzero(test == label)
        value = np.full((len(rows), len(columns)), 0.1)
        influences.append(ClassInfluence(rows, columns, value, np.zeros_like(value)))
    influences[2].value[-1, 0] = 0.3  # Training example 20 on test example 2.
    estimates = tmp_path / "estimates.npz"
    write_estimates(estimates, memorization, train, test, influences)
    pairs = Pairs(np.array([20]), np.array([2]), np.array([0.3]), np.array([1.0]))
    experiment = dataclasses.replace(experiments.get("digits_mlp"), dataset="tiny")
    removed = config(
        experiment=experiment,
        estimates=str(estimates),
        estimates_digest=files.estimates_digest(memorization, pairs),
    )
    made_by = ["train_removal", "--experiment=digits_mlp"]
    store = Store.create(tmp_path / "store", removed, tiny, made_by)
    for number in range(8):
        kept = np.ones(21, bool)
        kept[20] = number < 2
        parts = (Predictions(rng.random(len(split)) < 0.5) for split in (tiny.train, tiny.test))
        store.write(Trial(number, 0, kept, *parts))
    return store, estimates


def write_estimates(path, memorization, train_labels, test_labels, influences):
    zeros = np.zeros(len(memorization))
    details = Memorization(memorization, zeros, zeros, zeros.astype(int), zeros.astype(int))
    files.write(path, Estimates(memorization, train_labels, test_labels, influences, details))


def test_the_program_reads_what_is_there(made, tmp_path):
    store, _ = made
    out = tmp_path / "removal.png"
    done = run_program("analysis.removal", f"--store={store.path}", f"--out={out}")
    assert "incomplete" not in done.stdout
    accuracy = np.array([store.read(number).test_accuracy for number in range(8)]).reshape(4, 2)
    mean, deviation = 100 * accuracy.mean(axis=1), 100 * accuracy.std(axis=1, ddof=1)
    cells = [f"{m:.2f} ± {d:.2f}" for m, d in zip(mean, deviation, strict=True)]
    difference = 100 * (accuracy[2] - accuracy[1])
    cells.append(f"{difference.mean():.2f} ± {difference.std(ddof=1) / 2**0.5:.2f}")
    assert f"trained on all 21 examples, test accuracy is {cells[0]} % (2 runs)" in done.stdout
    assert f"0.5 95.2% {cells[1]} {cells[2]} {cells[4]}" in squeezed(done.stdout)
    assert "1 training examples of high-influence pairs" in done.stdout
    assert Image.open(out).size[0] > 800

    store.trial_path(3).unlink()
    done = run_program("analysis.removal", f"--store={store.path}")
    assert "of 2 runs of a condition, there are: memorized 0.5 1" in done.stdout
    assert "tfmem train_removal --experiment=digits_mlp" in done.stdout
    store.trial_path(0).unlink()
    store.trial_path(1).unlink()
    done = run_program("analysis.removal", f"--store={store.path}", f"--out={out}")
    assert "there are: nothing 0, memorized 0.5 1" in done.stdout


def test_estimates_are_found_again_or_named(made, tmp_path, tiny):
    store, estimates = made
    moved = tmp_path / "elsewhere.npz"
    estimates.rename(moved)
    done = run_program("analysis.removal", f"--store={store.path}", check=False)
    assert done.returncode == 2
    assert f"{estimates} does not exist, and the influenced test examples are in" in done.stderr
    assert done.stderr.count("\n") == 1
    run_program("analysis.removal", f"--store={store.path}", f"--estimates={moved}")
    read = files.read(moved)
    memorization = read.memorization + 0.01
    write_estimates(moved, memorization, read.train_labels, read.test_labels, read.influences)
    words = (f"--store={store.path}", f"--estimates={moved}")
    done = run_program("analysis.removal", *words, check=False)
    assert done.returncode == 2
    assert "holds other estimates than those that the runs were made from" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["estimate", "convergence", "report"])
def test_estimators_refuse_removal_runs(made, tmp_path, program):
    store, _ = made
    words = (f"analysis.{program}", f"--store={store.path}", f"--out={tmp_path / 'out.png'}")
    done = run_program(*words, check=False)
    assert done.returncode == 2
    assert "not trials on random subsets: tfmem removal reads them" in done.stderr
    assert done.stderr.count("\n") == 1


def test_trials_on_random_subsets_are_refused(tmp_path, tiny, tiny_config):
    Store.create(tmp_path, tiny_config, tiny)
    done = run_program("analysis.removal", f"--store={tmp_path}", check=False)
    assert done.returncode == 2
    assert (
        "holds no runs with chosen examples removed: tfmem train_removal makes them, and "
        "tfmem estimate reads what is there"
    ) in done.stderr
    assert done.stderr.count("\n") == 1
