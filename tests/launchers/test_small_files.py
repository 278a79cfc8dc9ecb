"""Claims and failures that hold what they should not: no launch stops, and none waits for ever."""

import contextlib
import itertools
import json
import os
import shutil
import threading
import time

import pytest

from launchers.cli import progress
from tests.conftest import run_program
from tests.programs import run_process
from tests.stores import TRIALS
from tests.trials import assert_same_trial
from tfmem.disk import processes
from tfmem.store.store import Store
from tfmem.workers.claims import Claim

DEEP = "[" * 100_000
# What is wrong with the claim of a trial, or with what it failed of.
CLAIMS = {
    4: dict(progress=float("nan")),
    5: dict(progress=float("inf")),
    6: dict(progress=10**400),
    7: dict(process=f"{processes.current().host}.{10**30}.1"),
    8: DEEP,
}
FAILURES = {9: dict(attempts=float("inf")), 10: dict(attempts="many"), 11: DEEP}


@pytest.fixture
def store(random_subsets, tmp_path):
    """A copy of a store that lacks 8 trials, and has a bad small file for each of them."""
    path = tmp_path / "store"
    shutil.copytree(random_subsets.store.path, path)
    claim = json.loads(Claim(0, processes.current(), "0" * 32, "theirs", 0.5).encode())
    failure = {"launch": "theirs", "attempts": 1, "is_final": True, "error": "x"}
    for folder, suffix, whole, wrong in (
        ("claims", "json", claim, CLAIMS),
        ("logs", "failed", failure, FAILURES),
    ):
        (path / folder).mkdir(exist_ok=True)
        for number, change in wrong.items():
            content = change if isinstance(change, str) else json.dumps(whole | change)
            (path / folder / f"trial-{number:06d}.{suffix}").write_text(content)
            (path / "trials" / f"trial-{number:06d}.tfrecord").unlink()
    return path


def test_a_launch_trains_what_they_are_about(store, random_subsets):
    done = run_program("launchers.train_trials", *TRIALS, f"--store={store}", "--trials=0:12")
    said = [line for line in done.stderr.splitlines() if "counts as if it were not there" in line]
    # 7 has a whole claim, of a process that cannot be.
    assert len(said) == len(CLAIMS) + len(FAILURES) - 1
    for number in range(12):
        assert_same_trial(Store.open(store).read(number), random_subsets.store.read(number))
    assert list((store / "claims").iterdir()) == []
    assert list((store / "logs").glob("*.failed")) == []


def test_who_watches_sees_the_end(store):
    """Nobody trains them: the one that has failed is given up, the others are missing."""
    words = ("launchers.check_store", f"--store={store}", "--watch", "--trials=0:4")
    done = run_process(*words, timeout=120)
    assert "4 of 4 done" in done.stderr
    done = run_program("launchers.check_store", f"--store={store}", check=False)
    assert done.returncode == 1
    assert "8 of 12 are missing: 4:12" in done.stdout


@pytest.mark.parametrize("where", ["read", "display"])
def test_showing_how_far_it_is_stops_nothing(store, monkeypatch, where):
    """Neither an error in reading, nor one in drawing, which leaves the bar's lock held."""
    import tqdm

    opened, tries = Store.open(store), []

    def failing(*args, **kwargs):
        tries.append(time.monotonic())
        if len(tries) == 3:
            shown.set()
        raise ZeroDivisionError("odd")

    shown = threading.Event()

    monkeypatch.setattr(progress, "_SECONDS", 0.01)
    monkeypatch.setattr(progress.bars, "LOG_SECONDS", 0.01)
    with contextlib.ExitStack() as stack:
        stack.enter_context(progress.shown(opened, range(12)))
        with pytest.MonkeyPatch.context() as patch:
            if where == "read":
                patch.setattr(progress.status, "read", failing)
            else:
                patch.setattr(tqdm.tqdm, "display", failing)
            assert shown.wait(60)  # It goes on after an error, and takes its time.
        assert all(two - one >= 0.01 for one, two in itertools.pairwise(tries))
        # What follows would wait for a lock that the thread had kept.
        tqdm.tqdm.write("free")


@pytest.mark.slow
def test_a_claim_from_the_future_holds_up_a_launch_for_a_lease_at_most(store, monkeypatch):
    monkeypatch.setattr("tfmem.workers.claims.LEASE_SECONDS", 1.0)
    monkeypatch.setattr("tfmem.workers.claims.RENEW_SECONDS", 0.2)
    path = store / "claims" / "trial-000004.json"
    another = processes.Process("another", 5, 7)
    path.write_bytes(Claim(4, another, "0" * 32, "theirs", 0.5).encode())
    then = time.time() + 2 * 86_400
    os.utime(path, (then, then))
    words = ("launchers.train_trials", *TRIALS, f"--store={store}", "--trials=0:5")
    done = run_program(*words)
    assert "5 trials in" in done.stdout
    assert f"{path} was written 1728" in done.stderr
