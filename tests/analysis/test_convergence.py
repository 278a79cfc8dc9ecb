import dataclasses
import math

import numpy as np
import pytest

from analysis import convergence, estimators, files, pairs, probability
from tests.conftest import run_program
from tests.trials import random_trial, trial_set
from tfmem.store import Store


def test_worst_standard_error_by_hand():
    """1 / (4 * 700) + 1 / (4 * 300) = 0.00119."""
    assert convergence.worst_standard_error(1000, 0.7) == pytest.approx(0.034503, abs=1e-6)


def test_split_sizes():
    assert convergence.split_sizes(1000) == [31, 62, 125, 250, 500]
    assert convergence.split_sizes(33) == [16]
    assert convergence.split_sizes(31) == []


def planted(t, rng, n=30, n_test=20, effect=0.0):
    """Two classes; training example i carries test example i, for i < 5, when effect is 1."""
    subset = rng.random((t, n)).argsort(axis=1) < round(0.7 * n)
    base = rng.random((t, n_test)) < 0.5
    carried = np.arange(n_test) < 5
    helped = rng.random((t, n_test)) < effect
    test_correct = np.where(carried & helped, subset[:, :n_test], base)
    return trial_set(subset, subset, test_correct, np.arange(n) % 2, np.arange(n_test) % 2)


def test_halves_agree_on_planted_pairs_and_not_on_noise(rng):
    halves = convergence.split_halves(planted(400, rng, effect=1.0), 0.25, 0.4)
    assert [half.num_trials for half in halves] == [25, 50, 100, 200]
    last = halves[-1]
    assert (last.infl_size, last.infl_jaccard, last.infl_difference) == (5, 1, 0)
    assert (last.mem_size, last.mem_jaccard, last.mem_difference) == (30, 1, 0)
    noise = convergence.split_halves(planted(400, rng), 0.25, 0.1)[-1]
    assert noise.infl_size > 5
    assert noise.infl_jaccard < 0.3


def test_split_halves_equal_two_estimates_compared_by_hand(rng):
    trials = planted(40, rng, effect=0.5)
    a, b = trials.take(np.arange(20)), trials.take(np.arange(20, 40))
    found = convergence._split_half(a, b, 0.25, 0.15, estimators)
    sets = []
    for half in (a, b):
        memorization = estimators.memorization(half).value
        blocks = [estimators.class_influence(half, label) for label in (0, 1)]
        chosen = pairs.select(memorization, blocks, 0.25, 0.15)
        sets.append(set(zip(chosen.train_index, chosen.test_index, strict=True)))
    assert found.infl_jaccard == len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert found.infl_size == (len(sets[0]) + len(sets[1])) / 2
    full_a, full_b = (np.concatenate(list(estimators.full_influence(half))) for half in (a, b))
    gaps = [abs(float(full_a[pair]) - float(full_b[pair])) for pair in sets[0] | sets[1]]
    assert found.infl_difference == pytest.approx(np.mean(gaps), abs=1e-6)


def test_chance_pairs_by_enumeration():
    """t = 4, example 0 in trials 0 and 1, test example right in 2 trials: 6 equally likely places.

    Its influence is 1 when both right trials saw example 0 (1 of 6), 0 in 4 cases, -1 in one.
    """
    subset = [[1, 0], [1, 0], [0, 1], [0, 1]]
    trials = trial_set(subset, subset, [[1], [0], [1], [0]], [0, 1], [0])
    memorization = estimators.memorization(trials)
    assert memorization.value.tolist() == [1, 1]
    for threshold, expected in ((1.0, 1 / 6), (0.5, 1 / 6), (0.0, 5 / 6), (-1.0, 1)):
        found = convergence.chance_pairs(trials, memorization, 0.25, threshold)
        assert found == pytest.approx(expected)


def test_chance_pairs_match_what_noise_gives(rng):
    """Over 60 sets of trials without influence, found and expected pairs agree."""
    found, expected = 0, 0.0
    for _ in range(60):
        trials = planted(100, rng)
        memorization = estimators.memorization(trials)
        blocks = [estimators.class_influence(trials, label) for label in (0, 1)]
        found += len(pairs.select(memorization.value, blocks, 0.25, 0.15))
        expected += convergence.chance_pairs(trials, memorization, 0.25, 0.15)
    assert expected > 500
    assert found == pytest.approx(expected, abs=5 * math.sqrt(expected))


def half(size, jaccard):
    return convergence.SplitHalf(size, 0.9, 0.02, 50, jaccard, 0.05, 30)


@pytest.mark.parametrize(
    ("found", "by_chance", "halves", "enough", "words"),
    [
        (30, 0.01, [half(500, 0.75)], True, "Enough for these thresholds"),
        (30, 2.0, [half(500, 0.75)], False, "more than 5% of the pairs may be chance"),
        (30, 0.01, [half(500, 0.4)], False, "about 4,000 trials would settle it"),
        (0, 0.0, [half(500, math.nan)], False, "no pairs to agree on"),
        (3, 0.0, [], False, "too few trials to compare"),
    ],
)
def test_verdicts(found, by_chance, halves, enough, words):
    said = convergence.judge(1000, 0.7, found, by_chance, halves, 0.15)
    assert said[0] is enough
    assert words in said[1]
    assert "at most 0.035" in said[1]


def test_measure_agrees_with_its_parts(rng):
    trials = planted(200, rng, effect=1.0)
    result = convergence.measure(trials, 0.25, 0.4)
    assert (result.num_trials, result.pairs, result.enough) == (200, 5, True)
    assert result.chance_pairs < 0.01
    assert "5 passed" in result.verdict
    assert convergence.table(result.halves, 0.25, 0.4).count("\n") == 1 + len(result.halves)


def test_estimates_that_are_known_are_not_made_again(rng):
    trials = planted(100, rng, effect=1.0)
    expected = convergence.measure(trials, 0.25, 0.4, splits=1)
    details = estimators.memorization(trials)
    blocks = tuple(estimators.class_influences(trials))
    labels = trials.train_labels, trials.test_labels
    known = files.Estimates(details.value, *labels, blocks, details)
    assert convergence.measure(trials, 0.25, 0.4, 1, estimates=known) == expected
    nothing = dataclasses.replace(details, value=np.zeros(len(details.value)))
    changed = dataclasses.replace(known, details=nothing)
    assert convergence.measure(trials, 0.25, 0.4, 1, estimates=changed).pairs == 0


def test_both_estimators_split_the_same_halves(rng):
    """Where a probability is 0 or 1, it is whether the prediction is right."""
    trials = planted(100, rng, effect=1.0)
    certain = dataclasses.replace(
        trials,
        train_probability=trials.train_correct.columns().astype(np.float16),
        test_probability=trials.test_correct.columns().astype(np.float16),
    )
    one = convergence.split_halves(certain, 0.25, 0.4)
    other = convergence.split_halves(certain, 0.25, 0.4, estimator=probability)
    assert [dataclasses.astuple(half) for half in other] == [
        pytest.approx(dataclasses.astuple(half)) for half in one
    ]


def test_the_program_shows_both_estimators(tmp_path, tiny, tiny_config, rng):
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    for number in range(32):
        store.write(random_trial(number, tiny, rng))
    done = run_program("analysis.convergence", f"--store={store.path}", "--probability")
    one, other = done.stdout.split("estimated from the probability of the true label")
    assert one.splitlines()[2].split()[0] == other.splitlines()[3].split()[0] == "16"
    assert len(other.splitlines()[3].split()) == 7
