import dataclasses
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats

from analysis.estimates import estimators, pairs
from analysis.estimates.values import CORRECTNESS, PROBABILITY, Estimates
from analysis.measures import settling
from tests.conftest import run_program
from tests.trials import random_trial, trial_set
from tfmem.store.store import Store


def test_worst_standard_error_by_hand():
    """1 / (4 * 700) + 1 / (4 * 300) = 0.00119."""
    assert settling.worst_standard_error(1000, 0.7) == pytest.approx(0.034503, abs=1e-6)


def test_split_sizes():
    assert settling.split_sizes(1000) == [31, 62, 125, 250, 500]
    assert settling.split_sizes(33) == [16]
    assert settling.split_sizes(31) == []


def planted(t, rng, n=30, n_test=20, effect=0.0):
    """Two classes; training example i carries test example i, for i < 5, when effect is 1."""
    subset = rng.random((t, n)).argsort(axis=1) < round(0.7 * n)
    base = rng.random((t, n_test)) < 0.5
    carried = np.arange(n_test) < 5
    helped = rng.random((t, n_test)) < effect
    test_correct = np.where(carried & helped, subset[:, :n_test], base)
    return trial_set(subset, subset, test_correct, np.arange(n) % 2, np.arange(n_test) % 2)


def test_halves_agree_on_planted_pairs_and_not_on_noise(rng):
    halves = settling.split_halves(planted(400, rng, effect=1.0), 0.25, 0.4)
    assert [half.num_trials for half in halves] == [25, 50, 100, 200]
    last = halves[-1]
    assert (last.infl_size, last.infl_jaccard, last.infl_difference) == (5, 1, 0)
    assert (last.mem_size, last.mem_jaccard, last.mem_difference) == (30, 1, 0)
    noise = settling.split_halves(planted(400, rng), 0.25, 0.1)[-1]
    assert noise.infl_size > 5
    assert noise.infl_jaccard < 0.3


def test_split_halves_equal_two_estimates_compared_by_hand(rng):
    trials = planted(40, rng, effect=0.5)
    a, b = trials.take(np.arange(20)), trials.take(np.arange(20, 40))
    found = settling._split_half(a, b, 0.25, 0.15, CORRECTNESS)
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
    memorization = estimators.memorization(trials).value
    assert memorization.tolist() == [1, 1]
    for threshold, expected in ((1.0, 1 / 6), (0.5, 1 / 6), (0.0, 5 / 6), (-1.0, 1)):
        found = settling.chance_pairs(trials, memorization, 0.25, threshold)
        assert found == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("t", [2, 7, 60, 4000])
@pytest.mark.parametrize("infl", [-1.0, -0.3, 0.0, 0.05, 0.15, 0.5, 1.0])
def test_tails_are_those_of_scipy(t, infl):
    """Over all numbers of trials that saw an example, or some, from one end to the other."""
    num_in = np.unique(np.linspace(1, t - 1, 13).astype(int))[:, None]
    right = np.unique(np.linspace(0, t, 17).astype(int))[None, :]
    per_in, per_out = 1 / num_in, 1 / (t - num_in)
    fewest = np.ceil((infl + right * per_out) / (per_in + per_out) - 1e-9)
    expected = stats.hypergeom.sf(fewest - 1, t, right, num_in)
    found = settling._tails(t, num_in, right, infl)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-13)


def test_chance_pairs_match_what_noise_gives(rng):
    """Over 60 sets of trials without influence, found and expected pairs agree."""
    found, expected = 0, 0.0
    for _ in range(60):
        trials = planted(100, rng)
        memorization = estimators.memorization(trials).value
        blocks = [estimators.class_influence(trials, label) for label in (0, 1)]
        found += len(pairs.select(memorization, blocks, 0.25, 0.15))
        expected += settling.chance_pairs(trials, memorization, 0.25, 0.15)
    assert expected > 500
    assert found == pytest.approx(expected, abs=5 * math.sqrt(expected))


@pytest.mark.parametrize(
    ("num_trials", "threshold", "expected"),
    [
        # In 4 and right in 4 of 8 trials: infl = k / 2 - 1 where k saw it and are right.
        *((8, 1.0, 1 / 70), (8, 0.5, 17 / 70), (8, 0.0, 53 / 70), (8, -1.0, 1)),
        # 3 of 6: infl = (2 k - 3) / 3.
        *((6, 1.0, 1 / 20), (6, 0.3, 10 / 20)),
        # 2.5 of 5 are rounded to 2: infl = k / 2 - (2 - k) / 3.
        *((5, 1.0, 1 / 10), (5, 0.15, 7 / 10)),
    ],
)
def test_chance_pairs_of_another_number_of_trials(num_trials, threshold, expected):
    """Rates stay as they are: in half of the trials, right in half of them."""
    subset = [[1, 0], [1, 0], [0, 1], [0, 1]]
    trials = trial_set(subset, subset, [[1], [0], [1], [0]], [0, 1], [0])
    memorization = estimators.memorization(trials).value
    found = settling.chance_pairs(trials, memorization, 0.25, threshold, num_trials)
    assert found == pytest.approx(expected)


def test_an_example_without_an_estimate_is_in_no_pair_by_chance():
    """Example 0 is in 1 of 2 trials, 1 and 2 in both, 3 in none: the mean share is that of 0.

    In 2 trials its influence is 1 or -1. In 2 of 4 it is 1 in 1 of 6 cases, and 0 in 4.
    """
    subset = [[1, 1, 1, 0], [0, 1, 1, 0]]
    trials = trial_set(subset, subset, [[1], [0]], [0] * 4, [0])
    memorization = estimators.memorization(trials).value
    np.testing.assert_array_equal(memorization, [1, *[math.nan] * 3])
    for threshold, at_2, at_4 in ((0.0, 1 / 2, 5 / 6), (1.0, 1 / 2, 1 / 6)):
        arguments = trials, memorization, 0.25, threshold
        assert settling.chance_pairs(*arguments) == pytest.approx(at_2)
        assert settling.chance_pairs(*arguments, 4) == pytest.approx(at_4)


def test_halves_are_compared_where_both_have_an_estimate():
    """Example 0 has one in both halves, 1 in the first, 2 in the second; their influence is 1."""
    seen, right = np.array([[1, 1, 1], [0, 0, 1]], bool), np.array([[1], [0]], bool)
    first = trial_set(seen, seen, right, [0] * 3, [0])
    seen = seen[:, [0, 2, 1]]
    second = trial_set(seen, seen, right, [0] * 3, [0])
    found = settling._split_half(first, second, 0.25, 0.15, CORRECTNESS)
    assert found == settling.SplitHalf(2, 1, 0, 1, 1, 0, 1)


def test_the_share_of_a_subset_is_that_of_examples_with_an_estimate(rng):
    """9 of 10 examples are in all trials, and one in half of them: the error is that of a half."""
    subset = np.ones((40, 10), bool)
    subset[:20, 0] = False
    trials = trial_set(subset, subset, rng.random((40, 3)) < 0.5, [0] * 10, [0] * 3)
    verdict = settling.measure(trials).verdict
    assert f"at most {settling.worst_standard_error(40, 0.5):.3f}" in verdict
    assert "0.158" in verdict
    never = settling.measure(trials.take(np.arange(1)))  # Nothing has an estimate.
    assert (never.pairs, never.chance_pairs, never.enough) == (0, 0, False)


@hypothesis.given(t=st.integers(1, 500), data=st.data())
def test_fewest_trials_are_the_first_hundreds_that_are_enough(t, data):
    least = data.draw(st.integers(t + 1, 110 * t))
    asked = []

    def enough(number):
        asked.append(number)
        return number >= least

    expected = math.ceil(least / 100) * 100
    assert settling.fewest_trials(enough, t) == (expected if expected <= 100 * t else None)
    assert len(asked) <= 2 * math.log2(110 * t / 100 + 1) + 2


def test_measure_says_how_many_trials_leave_chance_behind(rng):
    """The first hundreds of trials, in order, at which 5% or less of the pairs are chance."""
    trials = planted(100, rng, effect=1.0)
    result = settling.measure(trials, 0.25, 0.15)
    memorization = estimators.memorization(trials).value

    def share(number):
        return settling.chance_pairs(trials, memorization, 0.25, 0.15, number) / result.pairs

    assert result.chance_pairs / result.pairs > 0.05
    expected = next(number for number in range(200, 10_001, 100) if share(number) <= 0.05)
    assert share(expected - 100) > 0.05
    assert f"about {expected:,} trials would do" in result.verdict
    assert result.trials_needed >= expected > 200


def test_thresholds_may_be_too_low_for_any_number_of_trials(rng):
    """Half of all pairs have an influence of 0 or more by chance, whatever the number."""
    result = settling.measure(planted(40, rng), 0.25, 0.0)
    assert (result.enough, result.trials_needed) == (False, None)
    assert "0 is too low for any number of trials, as not even 100 times" in result.verdict


def half(size, jaccard):
    return settling.SplitHalf(size, 0.9, 0.02, 50, jaccard, 0.05, 30)


@pytest.mark.parametrize(
    ("found", "by_chance", "halves", "beyond_chance", "enough", "needed", "words"),
    [
        (30, 1.5, [half(500, 0.75)], None, True, None, " Enough for these thresholds."),
        (
            *(30, 1.6, [half(500, 0.75)], 1200, False, 1200),
            " Not enough: more than 5% of the pairs may be chance. Add trials or raise the "
            "thresholds: if all rates stay as they are, about 1,200 trials would do.",
        ),
        (
            # ((1 - 0.4) / (1 - 0.7))^2 = 4 times as many.
            *(30, 2.0, [half(500, 0.4)], 1200, False, 4000),
            " about 1,200 trials would do, and about 4,000 for two halves to agree as well.",
        ),
        (30, 2.0, [half(500, 0.4)], 4100, False, 4100, " about 4,100 trials would do."),
        (3, 2.0, [], 1200, False, 1200, " about 1,200 trials would do."),
        (
            *(30, 2.0, [half(500, 0.4)], None, False, None),
            " Not enough: more than 5% of the pairs may be chance. Raise the thresholds: 0.15 is "
            "too low for any number of trials, as not even 100 times as many would do.",
        ),
        (30, 0.01, [half(500, 0.4)], None, False, 4000, " about 4,000 trials would settle it."),
        (
            *(0, 0.0, [half(500, math.nan)], None, False, None),
            " There are no pairs to agree on: lower the thresholds or add trials.",
        ),
        (
            *(0, 2.0, [half(500, 0.0)], None, False, None),
            " There are no pairs to agree on: lower the thresholds or add trials.",
        ),
        (
            *(3, 0.0, [], None, False, None),
            " There are too few trials to compare two halves: add trials.",
        ),
    ],
)
def test_verdicts(found, by_chance, halves, beyond_chance, enough, needed, words):
    said = settling.judge(1000, 0.7, found, by_chance, halves, 0.15, beyond_chance)
    assert said[:2] == (enough, needed)
    assert said[2].endswith(words)
    assert "at most 0.035" in said[2]


def test_how_many_trials_there_are():
    assert settling.present(412, 1000, "STORE") == "412 of 1,000 trials are in STORE"
    assert settling.present(1200, 1000, "STORE") == (
        "1,200 trials are in STORE, more than the experiment's 1,000"
    )


def test_measure_agrees_with_its_parts(rng):
    trials = planted(200, rng, effect=1.0)
    result = settling.measure(trials, 0.25, 0.4)
    assert (result.pairs, result.enough) == (5, True)
    assert result.chance_pairs < 0.01
    assert "5 passed" in result.verdict
    assert settling.split_table(result.halves, 0.25, 0.4).count("\n") == 1 + len(result.halves)


def test_estimates_that_are_known_are_not_made_again(rng):
    trials = planted(100, rng, effect=1.0)
    expected = settling.measure(trials, 0.25, 0.4, splits=1)
    details = estimators.memorization(trials)
    blocks = tuple(estimators.class_influences(trials))
    labels = trials.train_labels, trials.test_labels
    known = Estimates(details.value, *labels, blocks, details)
    assert settling.measure(trials, 0.25, 0.4, 1, estimates=known) == expected
    changed = dataclasses.replace(known, memorization=np.zeros(len(known.memorization)))
    assert settling.measure(trials, 0.25, 0.4, 1, estimates=changed).pairs == 0


def test_both_estimators_split_the_same_halves(rng):
    """Where a probability is 0 or 1, it is whether the prediction is right."""
    trials = planted(100, rng, effect=1.0)
    certain = dataclasses.replace(
        trials,
        train_probability=trials.train_correct.columns().astype(np.float16),
        test_probability=trials.test_correct.columns().astype(np.float16),
    )
    one = settling.split_halves(certain, 0.25, 0.4)
    other = settling.split_halves(certain, 0.25, 0.4, estimator=PROBABILITY)
    assert [dataclasses.astuple(half) for half in other] == [
        pytest.approx(dataclasses.astuple(half)) for half in one
    ]


def test_the_program_shows_both_estimators(tmp_path, tiny, tiny_config, rng):
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    for number in range(32):
        store.write(random_trial(number, tiny, rng))
    done = run_program("analysis.convergence", f"--store={store.path}", "--probability")
    one, other = done.stdout.split("estimated from the probability of the true label")
    assert one.splitlines()[3].split()[0] == other.splitlines()[3].split()[0] == "16"
    assert len(other.splitlines()[3].split()) == 7


def test_the_program_ends_with_the_verdict(tmp_path, tiny, tiny_config, rng):
    """Trials of noise: how many would be enough is in the verdict."""
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    for number in range(40):
        store.write(random_trial(number, tiny, rng))
    expected = settling.measure(store.load())
    assert expected.trials_needed is not None
    first, *_, last = run_program(
        "analysis.convergence", f"--store={store.path}"
    ).stdout.splitlines()
    assert first == f"40 of 1,000 trials are in {store.path}"
    assert last == expected.verdict
    assert f"{expected.trials_needed:,}" in last
