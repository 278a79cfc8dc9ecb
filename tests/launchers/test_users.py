"""A store that two people of a group share, and that a third one may only read."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.stores import imported_arrays

GROUP = 59_000
ANN, BOB, READER = 59_001, 59_002, 59_003  # They have no names, as in a container.


@pytest.fixture
def folder():
    """A folder whose files belong to the group; whoever runs the tests has to be root."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can be several users, by setpriv")
    path = pathlib.Path(tempfile.mkdtemp())
    os.chown(path, 0, GROUP)
    path.chmod(0o2775)
    np.savez(path / "trials.npz", **imported_arrays(np.random.default_rng(0)))
    yield path
    shutil.rmtree(path)


def run_as(user, *words):
    """Runs `python -m` with the words as somebody else, with umask 002; returns what it said.

    They may read everything, such as our code and a Python in root's home, and write what is theirs
    and their group's.
    """
    become = ["setpriv", f"--reuid={user}", f"--regid={user}"]
    become.append("--clear-groups" if user == READER else f"--groups={GROUP}")
    become += [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    done = subprocess.run(
        [*become, sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env=dict(os.environ, HOME="/nonexistent", PYTHONDONTWRITEBYTECODE="1"),
        umask=0o002,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.slow
def test_two_users_of_a_group_and_one_who_reads(folder):
    store = folder / "store"
    again = ("launchers.import_trials", "--format=arrays", f"--source={folder / 'trials.npz'}")
    again += (f"--store={store}",)
    check = ("launchers.check_store", f"--store={store}")
    assert run_as(ANN, *again).returncode == 0
    # Bob damages two of Ann's trials, moves one aside, and makes both again.
    for number in (1, 2):
        wrong = store / "trials" / f"trial-{number:06d}.tfrecord"
        assert (wrong.stat().st_uid, wrong.stat().st_gid) == (ANN, GROUP)
        wrong.write_bytes(wrong.read_bytes()[:-1])
        assert run_as(BOB, *check).returncode == 1
        if number == 1:
            assert "moved" in run_as(BOB, *check, "--quarantine").stdout
        assert run_as(BOB, *again).returncode == 0
        assert (wrong.stat().st_uid, wrong.stat().st_gid) == (BOB, GROUP)
    assert len(list((store / "quarantine").iterdir())) == 2
    # Ann merges his trials and hers, and Bob finds them.
    done = run_as(ANN, "launchers.compact_store", f"--store={store}")
    assert "6 trials merged into 1 archive" in done.stdout
    assert "6 trials are there and sound" in run_as(BOB, *check).stdout
    # Who may only read does so, and is told what else he may not.
    own = folder / "reader"
    own.mkdir()
    os.chown(own, READER, READER)
    for path in (store, *store.rglob("*")):
        path.chmod(0o2775 if path.is_dir() else 0o664)
    assert "6 trials are there and sound" in run_as(READER, *check).stdout
    done = run_as(READER, "analysis.estimate", f"--store={store}", f"--out={own / 'e.npz'}")
    assert done.stdout.startswith("6 trials: ")
    for words in (("launchers.compact_store", f"--store={store}"), (*check, "--quarantine")):
        done = run_as(READER, *words)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "Permission denied" in done.stderr
    assert "6 trials are there and sound" in run_as(ANN, *check).stdout
