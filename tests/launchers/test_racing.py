"""Several launchers on one store, killed at random: every trial once, and nothing torn."""

import itertools
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from tests import racing
from tests.conftest import ROOT, run_program
from tests.interrupting import kill_everywhere
from tests.trials import assert_same_trial
from tfmem.store.store import Store
from tfmem.workers import claims

FOREVER = 100_000  # So many trials that no launcher ends before it is killed.


def race(store, start, rounds, longest, seed=0):
    """Kills one of two launchers or both in the midst of training, starts them again, and so on.

    Then one of them ends. No trial that is stored is ever written again.

    Args:
      store: where they train.
      start: returns the command of a launcher for so many trials.
      rounds: how often.
      longest: seconds that both may train before one is killed.
      seed: of the moments.

    Returns:
      How many trials there are then.
    """
    rng = random.Random(seed)
    seen = {}
    racers = [None, None]
    for _ in range(rounds):
        for index, racer in enumerate(racers):
            if racer is None or racer.poll() is not None:
                racers[index] = subprocess.Popen(
                    start(FOREVER), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
        wait_until_all_train(store, racers)
        time.sleep(rng.uniform(0, longest))
        for racer in rng.sample(racers, rng.choice([1, 2])):
            assert racer.poll() is None, racer.stderr.read()
            racer.kill()
            racer.wait()
        for number in store.numbers():
            found = identity(store, number)
            assert seen.setdefault(number, found) == found
    for racer in racers:
        racer.kill()
        racer.wait()
    # All that were begun, those in the midst of which they were killed too.
    count = 1 + max(int(path.stem[-6:]) for path in (store.path / "logs").glob("*.log"))
    subprocess.run(start(count), cwd=ROOT, check=True, capture_output=True)
    assert store.numbers() == list(range(count))
    assert {number: identity(store, number) for number in seen} == seen
    return count


def wait_until_all_train(store, racers):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        training = {claim.process.pid for claim in claims.held(store.path / claims.FOLDER)}
        if training >= {racer.pid for racer in racers}:
            return
        for racer in racers:
            assert racer.poll() is None, racer.stderr.read()
        time.sleep(0.02)
    raise AssertionError("no trial has begun in 5 minutes")


def identity(store, number):
    """Returns what tells a trial's file from any other that was ever written."""
    about = os.stat(store.trial_path(number))
    return about.st_ino, about.st_mtime_ns


def assert_tidy(store, num_trials):
    """Asserts that check_store finds a complete store, and leaves only what belongs there."""
    done = run_program("launchers.check_store", f"--store={store.path}", f"--trials=0:{num_trials}")
    assert f"{num_trials:,} trials are there and sound" in done.stdout
    assert_holds(store, num_trials)


def assert_holds(store, num_trials):
    """Asserts that these trials and their logs are there, and nothing else."""
    path = pathlib.Path(store.path)
    left = {str(entry.relative_to(path)) for entry in path.rglob("*") if entry.is_file()}
    trials = {f"trials/trial-{number:06d}.tfrecord" for number in range(num_trials)}
    assert {name for name in left if not name.startswith("logs/")} == {
        "experiment.json",
        "dataset.tfrecord",
        *trials,
    }
    assert {name for name in left if name.startswith("logs/")} == {
        f"logs/trial-{number:06d}.log" for number in range(num_trials)
    }


def test_killed_at_any_moment_a_launch_loses_nothing_and_the_same_command_completes_it(
    tmp_path, tiny, tiny_config, monkeypatch
):
    """All of claims, logs and files; no trial that is stored is ever written again."""
    monkeypatch.setattr(claims, "_CONFIRM_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    folders = (tmp_path / str(number) for number in itertools.count())
    count = 2

    def begin():
        return Store.create(next(folders), tiny_config, tiny)

    def launch(store):
        racing.main(store.path, count, seconds=0)

    def completes(store):
        seen = {number: identity(store, number) for number in store.numbers()}
        for number in seen:
            assert_same_trial(Store.open(store.path).read(number), racing.trial(number, tiny))
        launch(store)
        assert {number: identity(store, number) for number in seen} == seen
        store.remove_abandoned()
        assert_holds(store, count)

    assert kill_everywhere(begin, launch, completes) > 20


def test_two_launchers_that_are_killed(tmp_path, tiny, tiny_config):
    """The real claims, logs and files of real processes; only the training costs nothing."""
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    start = [sys.executable, "-m", "tests.racing", str(store.path)]
    count = race(store, lambda count: [*start, str(count)], rounds=2, longest=0.5)
    assert_tidy(store, count)
    for number in range(count):
        assert_same_trial(store.read(number), racing.trial(number, tiny))


@pytest.mark.slow
def test_two_real_launchers_that_are_killed_in_the_midst_of_training(tmp_path):
    """Real training: the store is that of a launcher that was left alone."""
    flags = ("--experiment=digits_mlp", "--epochs=200", "--stack=1", "--checkpoint_seconds=0.1")
    words = ("launchers.train_trials", *flags)
    run_program(*words, f"--store={tmp_path / 'raced'}", "--trials=0:1")
    store = Store.open(tmp_path / "raced")
    start = [sys.executable, "-m", *words, f"--store={store.path}"]
    count = race(store, lambda count: [*start, f"--trials=0:{count}"], rounds=6, longest=2)
    # The launchers that were killed asked for more trials than there are.
    assert_tidy(store, count)
    run_program(*words, f"--store={tmp_path / 'alone'}", f"--trials=0:{count}")
    alone = Store.open(tmp_path / "alone")
    for number in range(count):
        assert_same_trial(store.read(number), alone.read(number))
