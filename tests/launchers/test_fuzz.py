"""Files of a store damaged at random: what is said names the file, and mends the store."""

import pathlib
import shutil

import numpy as np
import pytest

from tests.archived import compact
from tests.conftest import run_program
from tests.printed import check_store, follow
from tests.trials import assert_same_trial
from tfmem.disk import processes
from tfmem.store.store import Store
from tfmem.workers import logs
from tfmem.workers.claims import Claim

# One file of each kind that a store of trials may have.
KINDS = {
    "experiment": "experiment.json",
    "dataset": "dataset.tfrecord",
    "trial": "trials/trial-000004.tfrecord",
    "archive": "archives/*.tfrecord",
    "claim": "claims/trial-000004.json",
    "log": "logs/trial-000004.log",
    "failure": "logs/trial-000004.failed",
}


def cut(content, rng):
    return content[: rng.integers(len(content))]


def zeroed(content, rng):
    begin, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:begin] + bytes(end - begin) + content[end:]


def doubled(content, rng):
    begin, end = sorted(rng.integers(len(content) + 1, size=2))
    return content[:end] + content[begin:]


def one_byte(content, rng):
    place = rng.integers(len(content))
    other = content[place] ^ rng.integers(1, 256)
    return content[:place] + bytes([other]) + content[place + 1 :]


DAMAGES = [cut, zeroed, doubled, one_byte]


@pytest.fixture(scope="module")
def whole(imported, tmp_path_factory):
    """A store of 6 trials, four of them in an archive, with all kinds of files; its estimates."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "store"
    shutil.copytree(imported.store.path, path)
    for number in (4, 5):
        (path / "trials" / f"trial-{number:06d}.tfrecord").rename(folder / str(number))
    compact(path)
    for number in (4, 5):
        (folder / str(number)).rename(path / "trials" / f"trial-{number:06d}.tfrecord")
    (path / "claims").mkdir(exist_ok=True)
    claim = Claim(4, processes.Process("another", 5, 7), "0" * 32, "theirs", 0.5)
    (path / "claims" / "trial-000004.json").write_bytes(claim.encode())
    log = logs.Logs(path / "logs")
    log.add_later(4, "attempt 1")
    log.fail(4, "theirs", "an error", limit=0)
    made_by = ("launchers.import_trials", "--format=arrays", f"--source={imported.store.path}.npz")
    return path, made_by, estimated(path, folder)[1]


def estimated(store, folder):
    """Runs estimate; returns how it ended, and the arrays."""
    out = pathlib.Path(folder) / "estimates.npz"
    flags = (f"--store={store}", f"--out={out}", "--influence=full")
    done = run_program("analysis.estimate", *flags, check=False)
    if done.returncode:
        assert not out.exists()
        return done, None
    with np.load(out) as archive:
        return done, {name: archive[name] for name in archive.files}


@pytest.mark.parametrize(
    "seed",
    [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))],
)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_at_random(kind, damage, seed, whole, tmp_path):
    path, made_by, expected = whole
    store = tmp_path / "store"
    shutil.copytree(path, store)
    (wrong,) = store.glob(KINDS[kind])
    rng = np.random.default_rng([seed, *damage.__name__.encode(), *kind.encode()])
    wrong.write_bytes(damage(wrong.read_bytes(), rng))
    done, found = estimated(store, tmp_path)
    checked = check_store(store, check=False)
    if done.returncode == 0:
        np.testing.assert_equal(found, expected)
    else:
        assert done.returncode == 2
        (line,) = (line for line in done.stderr.splitlines() if "read  " not in line)
        assert str(wrong) in line
        assert checked.returncode in (1, 2)
    if checked.returncode:
        assert str(wrong) in checked.stdout + checked.stderr
        assert "Traceback" not in checked.stderr
    follow(store, made_by)
    opened, original = Store.open(store), Store.open(path)
    assert opened.numbers() == original.numbers()
    for number in original.numbers():
        assert_same_trial(opened.read(number), original.read(number))
    np.testing.assert_equal(estimated(store, tmp_path)[1], expected)
