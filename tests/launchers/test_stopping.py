"""A launcher that is told to end, and stores that cannot be written any more."""

import fcntl
import os
import pathlib
import resource
import signal
import subprocess
import sys
import termios
import time

import pytest

from tests import signalled
from tests.conftest import ROOT, run_program
from tests.trials import assert_same_trial
from tfmem.store.store import Store
from tfmem.workers import claims

FEW = ("--experiment=digits_mlp", "--epochs=4", "--trials=0:2")
QUICK = ("--experiment=digits_mlp", "--epochs=2", "--trials=0:4", "--stack=none")
DEADLINE = 300  # Seconds: far longer than anything takes.


def command(store, *flags):
    return [sys.executable, "-m", "launchers.train_trials", f"--store={store}", *flags]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A store whose making nothing disturbed."""
    path = tmp_path_factory.mktemp("stores") / "alone"
    run_program("launchers.train_trials", f"--store={path}", *QUICK)
    return Store.open(path)


def files(store):
    """Returns the files of a store but for logs, claims' folder and checkpoints among them."""
    found = (str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith("logs/"))


HEADS = ["dataset.tfrecord", "experiment.json"]


def assert_completes(store, alone):
    """Asserts that the same command continues, and ends as if nothing had been."""
    run_program("launchers.train_trials", f"--store={store}", *QUICK)
    opened = Store.open(store)
    assert opened.numbers() == alone.numbers() == list(range(4))
    for number in range(4):
        assert_same_trial(opened.read(number), alone.read(number))
    assert files(store) == HEADS + [f"trials/trial-{number:06d}.tfrecord" for number in range(4)]


@pytest.mark.parametrize(
    ("stack", "number"),
    [
        pytest.param("none", signal.SIGTERM, id="one at a time, SIGTERM"),
        pytest.param("1", signal.SIGTERM, id="stacked, SIGTERM", marks=pytest.mark.slow),
        pytest.param("1", signal.SIGINT, id="stacked, SIGINT", marks=pytest.mark.slow),
        pytest.param("none", signal.SIGHUP, id="one at a time, SIGHUP", marks=pytest.mark.slow),
        pytest.param("1", signal.SIGUSR1, id="stacked, SIGUSR1", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_cleanly(stack, number, tmp_path):
    """One trial is saved and goes on from there; those of a stack are dropped. Claims are gone."""
    path = tmp_path / "store"
    flags = (*FEW, f"--stack={stack}", "--checkpoint_seconds=0")
    saved, advanced = "training.checkpoints:Checkpoints.save", "workers.claims:Claims.advance"
    call = f"tfmem.{saved if stack == 'none' else advanced}"
    done = signalled.run(["launchers.train_trials", f"--store={path}", *flags], number, call)
    assert done.returncode == 128 + number
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert done.stderr.splitlines()[-1] == f"{word}; the same command continues"
    assert list((path / claims.FOLDER).iterdir()) == []
    left = [name for name in files(path) if not name.startswith(("trials/", *HEADS))]
    assert left == (["checkpoints/trial-000000/state.npz"] if stack == "none" else [])
    assert Store.open(path).numbers() == []
    done = run_program("launchers.train_trials", f"--store={path}", *flags)
    assert "2 trials in" in done.stdout
    assert not list(path.glob("checkpoints/*"))
    if stack == "none":
        log = (path / "logs/trial-000000.log").read_text()
        begins = log.rindex("attempt 1")
        epochs = [line.split()[3] for line in log[begins:].splitlines() if " epoch " in line]
        assert epochs == ["2", "3", "4"]  # It went on from where it was saved.


# A program that has claimed a trial, and trains it for long.
HOLDS = """
import sys, time
from analysis.cli import program
from tfmem.workers.claims import Claims

def main():
    with Claims(folder, "launch") as held:
        print(held.take([1]), flush=True)
        try:
            time.sleep(600)
        finally:
            time.sleep(0.2)  # What it does in the end takes a while.

folder = sys.argv.pop()
program.run(main)
"""
ENDS = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


def holds(folder, **options):
    """Starts a program that has a claim in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout.readline() == "[1]\n"
    return process


@pytest.mark.parametrize("number", ENDS)
def test_all_that_ask_for_the_end_leave_no_claim(number, tmp_path):
    process = holds(tmp_path)
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)  # As a shell and a terminal that close.
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number
    assert errors == "terminated; the same command continues\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_ignored_stays_ignored(tmp_path):
    """As under nohup."""
    process = holds(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + signal.SIGUSR1
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_closes_ends_it_cleanly(tmp_path):
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
    )
    os.close(theirs)
    assert os.read(ours, 100).startswith(b"[1]")
    os.close(ours)
    assert process.wait(timeout=DEADLINE) == 128 + signal.SIGHUP
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_one_line_and_the_run_goes_on_later(alone, tmp_path):
    """No file may be longer than the limit: a trial's is, a claim's and a log's is not."""
    path = tmp_path / "store"
    run_program("launchers.train_trials", f"--store={path}", *QUICK, "--trials=0:1")
    size = Store.open(path).trial_path(0).stat().length
    limit = size // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        words = f"--store={path}", *QUICK, "--checkpoint_seconds=0"
        done = run_program("launchers.train_trials", *words, check=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 2, done.stderr
    target = path / "trials" / "trial-000001.tfrecord"
    last = done.stderr.splitlines()[-1]
    assert last == f"error: {target}: File too large; mend that, and the same command continues"
    # A checkpoint is no smaller. That it could not be written was said, and the trial went on.
    assert "trial 1 is not saved, and goes on: [Errno 27] File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(path) == [*HEADS, "trials/trial-000000.tfrecord"]
    assert_completes(path, alone)


def can_mount() -> bool:
    """Whether this process may have mounts of its own."""
    try:
        return not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    except FileNotFoundError:
        return False


# In a namespace of its own: the store, on a mount of its own, is made read-only (or full) in the
# midst of the run. Writers that are busy just then are waited for, and so is the removal of the
# temporary name of the first trial's file.
TURNS_READ_ONLY = """
mount --bind "$STORE" "$STORE"
"$@" &
until ls "$STORE"/trials/trial-000000.tfrecord >/dev/null 2>&1; do sleep 0.01; done
while ls -A "$STORE"/trials | grep -q tmp; do sleep 0.01; done
until mount -o remount,bind,ro "$STORE" 2>/dev/null; do sleep 0.01; done
wait $!
"""
FILLS_UP = """
mount -t tmpfs -o size=256k none "$STORE"
cp -r "$STORE".before/. "$STORE"
head -c 240k /dev/zero >"$STORE"/filler 2>/dev/null
"$@"
code=$?
rm "$STORE"/filler
cp -r "$STORE"/. "$STORE".after
exit $code
"""


def run_mounting(script, store, *flags):
    """Runs a launcher in a script with mounts of its own."""
    store.mkdir()
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command(store, *flags)],
        cwd=ROOT,
        env={**os.environ, "STORE": str(store)},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not can_mount(), reason="needs unshare and mounts of one's own")
@pytest.mark.slow
def test_a_store_that_turns_read_only_is_one_line_and_the_run_goes_on_later(alone, tmp_path):
    path = tmp_path / "store"
    flags = (*QUICK, "--epochs=20")
    done = run_mounting(TURNS_READ_ONLY, path, *flags)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {path}/")
    assert last.endswith(": Read-only file system; mend that, and the same command continues")
    assert "Traceback" not in done.stderr
    assert not list(path.rglob("*.tmp"))
    assert 1 <= len(Store.open(path).numbers()) < 4
    assert Store.open(path).damaged(Store.open(path).numbers()) == {}
    # What reads only is not disturbed; the launcher's own claims are those of an ended process.
    assert list(claims.held(path / claims.FOLDER)) == []
    done = run_program("launchers.train_trials", f"--store={path}", *flags)
    assert "4 trials in" in done.stdout
    names = [f"trials/trial-{number:06d}.tfrecord" for number in range(4)]
    assert files(path) == HEADS + names


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="needs unshare and mounts of one's own")
def test_a_small_disk_fills_up(alone, tmp_path):
    """A real file system, of 256 KiB, most of which something else has taken."""
    path = tmp_path / "store"
    run_program("launchers.train_trials", f"--store={path}.before", *QUICK, "--trials=0:1")
    done = run_mounting(FILLS_UP, path, *QUICK)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {path}/")
    assert last.endswith("No space left on device; mend that, and the same command continues")
    after = pathlib.Path(f"{path}.after")
    assert not list(after.rglob("*.tmp"))
    store = Store.open(after)
    assert store.damaged(store.numbers()) == {}
    assert_completes(after, alone)
