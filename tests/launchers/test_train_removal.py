"""Secs. 3.2 and 3.3 through the real program and flags, on real digits."""

import pathlib
import shlex
import shutil

import numpy as np
import pytest

from analysis.cli import arguments
from analysis.estimates import files
from analysis.measures import removal
from tests import stores
from tests.conftest import assert_refused, run_program
from tests.interrupting import claimed_elsewhere
from tests.printed import run_printed
from tests.stores import IN_PAIRS, blocks, write_estimates
from tests.stores import REMOVAL as FLAGS
from tests.trials import assert_same_trial
from tfmem import experiments, subsets
from tfmem.config import Condition, RemovalConfig
from tfmem.store.store import Store
from tfmem.subsets import RandomRemoval
from tfmem.workers import claims

QUICK = ("--experiment=digits_mlp", "--epochs=1")


@pytest.fixture(scope="module")
def memorization():
    return stores.removal_memorization()


@pytest.fixture(scope="module")
def estimates(removal_runs):
    """The file that the runs were made from."""
    return pathlib.Path(removal_runs.store.config.estimates)


def train(store, estimates, *flags, check=True):
    words = (f"--store={store}", f"--estimates={estimates}", *flags)
    return run_program("launchers.train_removal", *words, check=check)


@pytest.fixture(scope="module")
def said_and_store(removal_runs):
    """All conditions, with a learning rate that leaves the initial weights what they are."""
    # One line for all conditions, and no warning of TensorFlow's in it.
    assert "12 of 12 done, 0 running, 0 failed" in removal_runs.said.stderr
    assert "retracing" not in removal_runs.said.stderr
    return removal_runs.said.stdout, removal_runs.store


@pytest.fixture(scope="module")
def store(said_and_store):
    return said_and_store[1]


def test_the_store_says_what_was_run(said_and_store, estimates, memorization):
    said, store = said_and_store
    pairs = files.select_pairs(files.read(estimates), estimates, 0.25, 0.15)
    assert np.unique(pairs.train_index).tolist() == IN_PAIRS
    assert store.config == RemovalConfig(
        experiments.resolve("digits_mlp", {"epochs": 1, "base_learning_rate": 1e-6}),
        runs=2,
        mem_thresholds=(0.4, 0.9),
        mem_threshold=0.25,
        infl_threshold=0.15,
        estimates=str(estimates),
        estimates_digest=files.estimates_digest(memorization, pairs),
    )
    assert store.numbers() == list(range(12))
    assert "threshold 1 is left out: no example has mem >= 1 (the highest is 0.900)" in said
    for condition, remaining in (
        ("nothing", "1,257"),
        ("memorized 0.4", "1,157"),
        ("random 0.9", "1,247"),
        ("high_influence", "1,254"),
    ):
        assert f"{condition:<14}  {remaining}  of 1,257 examples remain" in said


def test_each_run_is_trained_on_what_its_condition_says(store, memorization):
    everything, without_pairs = np.ones(1257, bool), np.ones(1257, bool)
    without_pairs[IN_PAIRS] = False
    expected = [
        [everything] * 2,
        [memorization < 0.4] * 2,
        [RandomRemoval(1257, 100, 0).mask(run) for run in (0, 1)],
        [memorization < 0.9] * 2,
        [RandomRemoval(1257, 10, 0).mask(run) for run in (0, 1)],
        [without_pairs] * 2,
    ]
    for number in range(12):
        subset = store.read(number).subset
        np.testing.assert_array_equal(subset, expected[number // 2][number % 2])
    first, second = (store.read(number).subset for number in (4, 5))
    assert first.sum() == second.sum() == 1157
    assert (first != second).any()


def test_runs_of_one_number_share_initial_weights(store):
    """The weights are the initial ones, so predictions are equal between conditions, not runs."""
    predicted = np.array([store.read(number).test.predicted for number in range(12)])
    for number in range(12):
        assert (predicted[number] == predicted[number % 2]).mean() > 0.99
    assert (predicted[0] == predicted[1]).mean() < 0.5


def test_the_command_of_check_store_makes_a_lost_run_again(store, estimates, tmp_path):
    store = Store.open(shutil.copytree(store.path, tmp_path / "store"))
    before = [store.read(number) for number in range(12)]
    kept = store.trial_path(3).read_bytes()
    store.trial_path(5).unlink()
    damaged = bytearray(store.trial_path(9).read_bytes())
    damaged[100] ^= 1
    store.trial_path(9).write_bytes(bytes(damaged))
    done = run_program("launchers.check_store", f"--store={store.path}", check=False)
    assert done.returncode == 1
    assert "digits_mlp, dataset digits" in done.stdout
    assert "1 of 12 are missing: 5" in done.stdout
    command = done.stdout.splitlines()[-1].removeprefix("to complete it, run: ")
    assert command.startswith("tfmem train_removal ")
    assert command.endswith(" --trials=5:10")
    said = run_printed(command).stdout
    assert "trial-000009.tfrecord is damaged" in said
    assert "3 of 5 trials are already in the store" in said
    assert store.trial_path(3).read_bytes() == kept
    for number, trial in enumerate(before):
        assert_same_trial(store.read(number), trial)
    done = run_program("launchers.check_store", f"--store={store.path}")
    assert "12 trials are there and sound" in done.stdout


@pytest.mark.slow
def test_one_at_a_time_gives_the_same_runs(store, estimates, tmp_path):
    """The first of them is trained last, since it is a lost machine's."""
    claimed_elsewhere(tmp_path, 2, claims.LEASE_SECONDS - 2)
    train(tmp_path, estimates, *FLAGS, "--stack=none", "--trials=2:5")
    other = Store.open(tmp_path)
    assert other.numbers() == [2, 3, 4]
    for number in (2, 3, 4):
        ours, theirs = other.read(number), store.read(number)
        np.testing.assert_array_equal(ours.subset, theirs.subset)
        assert (ours.test.predicted == theirs.test.predicted).mean() > 0.99


def test_the_command_is_the_one_that_made_the_store(store, estimates):
    words = shlex.split(store.command())
    given = {f"--estimates={estimates}", *FLAGS} - {"--base_learning_rate=1e-6"}
    assert words[:2] == ["tfmem", "train_removal"]
    assert set(words[2:-2]) == given | {"--base_learning_rate=1e-06"}
    assert words[-2:] == [f"--store={store.path}", "--trials=0:12"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("estimates", "estimates_digest: "),
        ("--runs=3", "runs: 3 and 2"),
        ("--thresholds=0.9", "mem_thresholds: (0.9,) and (0.4, 0.9)"),
        ("--nohigh_influence", "high_influence: False and True"),
        ("--seed=4", "experiment.seed: 4 and 0"),
    ],
)
def test_another_configuration_is_refused(
    store, estimates, memorization, digits, tmp_path, changed, words
):
    flags = list(FLAGS)
    if changed == "estimates":
        estimates = tmp_path / "other.npz"
        write_estimates(estimates, memorization * 1.01, digits, blocks(digits, IN_PAIRS))
    else:
        flags.append(changed)
    done = train(store.path, estimates, *flags, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "holds trials of another configuration" in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--thresholds=0.1,low"], "--thresholds=0.1,low: expected memorization values in (0, 1]"),
        (["--thresholds=0,0.5"], "--thresholds=0,0.5: expected memorization values in (0, 1]"),
        (["--thresholds=0.5,nan"], "expected memorization values in (0, 1]"),
        (["--thresholds=1.1"], "expected memorization values in (0, 1]"),
        (["--thresholds=0.95", "--nohigh_influence"], "nothing to remove: threshold 0.95 is left"),
        (["--thresholds=0.01", "--nohigh_influence"], "all examples have mem >= 0.01"),
        (["--thresholds=", "--nohigh_influence"], "--thresholds is empty and --nohigh_influence"),
        (["--thresholds=", "--infl_threshold=0.6"], "no pairs with mem >= 0.25 and infl >= 0.6"),
        (["--mem_threshold=0", "--infl_threshold=0"], "raise --mem_threshold or --infl_threshold"),
        (["--runs=0"], "a positive integer"),
        (
            ["--thresholds=0.4,0.9", "--runs=3", "--trials=0:20"],
            "3 runs of 6 conditions are trials 0:18",
        ),
        (["--trials=4"], "--trials=4: expected START:STOP"),
        (["--subset_ratio=0.5"], "Unknown command line flag 'subset_ratio'"),
        (["--stack=2", "--strategy=mirrored"], "--strategy=mirrored goes with trials that are"),
        (["--experiment=digts_mlp"], "did you mean 'digits_mlp'?"),
        (["--experiment=digits_last_layer"], "trains on the penultimate features of a network"),
        (["--estimates=absent.npz"], "absent.npz does not exist"),
    ],
)
def test_bad_input_gets_one_line_and_no_store(flags, words, estimates, tmp_path):
    done = train(tmp_path / "store", estimates, *QUICK, *flags, check=False)
    assert_refused(done, words, tmp_path / "store")


def test_estimates_that_do_not_fit_are_refused(digits, memorization, estimates, tiny, tmp_path):
    """Of another dataset; without influence; with pairs, but none at the thresholds."""
    path, store = tmp_path / "estimates.npz", tmp_path / "store"
    write_estimates(path, np.linspace(0, 1, 21), tiny)
    done = train(store, path, *QUICK, "--nohigh_influence", check=False)
    assert "has 21 training examples, digits has 1257: another dataset?" in done.stderr
    write_estimates(path, memorization, digits)
    done = train(store, path, *QUICK, check=False)
    assert (
        "has the influence of 0 of 10 classes: tfmem estimate --influence=class writes all, or "
        in (done.stderr)
    )
    assert "--nohigh_influence" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not store.exists()


def test_examples_without_an_estimate_are_counted_and_kept(memorization, digits, tmp_path):
    path, unknown = tmp_path / "estimates.npz", memorization.copy()
    unknown[:5] = np.nan
    write_estimates(path, unknown, digits)
    flags = (*QUICK, "--nohigh_influence", "--runs=1", "--thresholds=0.9", "--trials=1:2")
    said = train(tmp_path / "store", path, *flags).stdout
    assert (
        "5 of 1,257 training examples were never left out (or never trained on): no estimate\n"
        in said
    )
    (subset,) = Store.open(tmp_path / "store").load().subset.columns()
    np.testing.assert_array_equal(subset, ~(unknown >= 0.9))
    assert subset[:5].all()


def test_without_pairs_the_condition_is_left_out(estimates, tmp_path):
    flags = (*QUICK, "--runs=1", "--thresholds=0.9", "--infl_threshold=0.6")
    said = train(tmp_path, estimates, *flags).stdout
    assert "the high-influence runs are left out: there are no pairs with mem >= 0.25 and" in said
    store = Store.open(tmp_path)
    assert not store.config.high_influence
    assert store.numbers() == [0, 1, 2]
    done = run_printed(store.command())
    assert "3 of 3 trials are already in the store" in done.stdout


def test_a_diverged_run_is_named_and_the_others_are_stored(digits, tmp_path):
    """One batch of 64 takes no step: the rate is 0 at step 0. Two batches diverge."""
    estimates = tmp_path / "estimates.npz"
    memorization = np.where(np.arange(1257) < 60, 0.1, 0.9)
    write_estimates(estimates, memorization, digits)
    flags = (*QUICK, "--runs=1", "--thresholds=0.9", "--nohigh_influence", "--trials=0:2")
    done = train(tmp_path / "s", estimates, *flags, "--base_learning_rate=1e30", check=False)
    assert done.returncode == 1
    said = "trial 0 (nothing, run 0) failed after 1 attempt: the model of digits_mlp diverged"
    assert said in done.stderr
    assert "--base_learning_rate=1e+30 is too high" in done.stderr
    assert "1 of 2 trials in" in done.stdout
    assert Store.open(tmp_path / "s").numbers() == [1]


def test_thresholds_that_are_kept_by_hand():
    memorization = np.array([0.1, 0.3, 0.5])
    kept, notes = subsets.useful_thresholds(memorization, (0.1, 0.2, 0.3, 0.5, 0.6))
    assert kept == (0.2, 0.3, 0.5)
    assert [note.split(":")[0] for note in notes] == [
        "threshold 0.1 is left out",
        "threshold 0.6 is left out",
    ]
    assert arguments.parse_thresholds("0.5,0.1,0.5,1") == (0.1, 0.5, 1.0)
    assert arguments.parse_thresholds("") == ()
    kept = subsets.of_removal(Condition("memorized", 0.3), memorization, None, 0)
    assert kept.mask(0).tolist() == [True, False, False]


@pytest.mark.slow
def test_memorized_examples_are_worth_more_than_random_ones(tmp_path):
    """Fig. 2 on digits: 300 trials, then 20 runs without examples of mem >= 0.2."""
    store, estimates = tmp_path / "store", tmp_path / "estimates.npz"
    words = ("--experiment=digits_mlp", f"--store={store}", "--trials=0:300")
    run_program("launchers.train_trials", *words)
    run_program("analysis.estimate", f"--store={store}", f"--out={estimates}")
    runs = tmp_path / "removal"
    train(runs, estimates, "--experiment=digits_mlp", "--runs=20", "--thresholds=0.2")
    found = Store.open(runs)
    groups = removal.group(found.config, found.load())
    (effect,) = removal.threshold_effects(groups)
    assert effect.difference.count == 20
    assert effect.difference.value > 4 * effect.difference.standard_error
