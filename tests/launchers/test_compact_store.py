"""Merging the trials of a store, and looking after archives, as programs."""

import dataclasses
import pathlib
import subprocess

import numpy as np
import pytest
from etils import epath

from tests import objects, signalled
from tests.conftest import ROOT, assert_refused, run_program
from tests.printed import check_store, run_printed
from tests.trials import assert_same_trial, random_trial
from tfmem.config import ImportConfig
from tfmem.disk import processes
from tfmem.store import archives
from tfmem.store.store import Store
from tfmem.workers import claims
from tfmem.workers.claims import Claims

MANY = 300


@pytest.fixture
def imported(tmp_path, rng):
    """A store of 6 imported trials, and the command that imported them."""
    np.savez(
        tmp_path / "trials.npz",
        subset_mask=np.arange(60).reshape(6, 10) % 3 != 0,
        train_correct=rng.random((6, 10)) < 0.7,
        test_correct=rng.random((6, 4)) < 0.7,
        train_labels=np.arange(10) % 2,
        test_labels=np.array([0, 1, 1, 0]),
    )
    path = tmp_path / "store"
    words = f"launchers.import_trials --format=arrays --source={tmp_path}/trials.npz --store={path}"
    run_program(*words.split())
    return path, words.split()


def compact(path, *flags, check=True):
    return run_program("launchers.compact_store", f"--store={path}", *flags, check=check)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def damage(path, number):
    """Changes a byte of a trial in the only archive; returns the archive."""
    (archive,) = (path / "archives").iterdir()
    content = bytearray(archive.read_bytes())
    content[archives.inspect(epath.Path(archive)).parts[number].position + 40] ^= 1
    archive.write_bytes(content)
    return archive


def estimates(path):
    run_program("analysis.estimate", f"--store={path}", f"--out={path}.npz", "--influence=full")
    with np.load(f"{path}.npz") as archive:
        return dict(archive)


def test_the_same_follows_from_archives(imported):
    path, words = imported
    before = estimates(path)
    said = compact(path, "--max_gib=1e-6").stdout
    size = sum(archive.stat().st_size for archive in (path / "archives").iterdir())
    assert said == (
        f"{path}: 6 trials merged into 6 archives of {size / 1e6:,.1f} MB and read back; "
        "6 files removed\n"
    )
    after = estimates(path)
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    said = check_store(path).stdout.splitlines()
    assert said == [
        f"{path}: imported trials, dataset without a name",
        "6 trials are there and sound",
    ]
    # They count as there.
    run_program(*words)
    assert names(path / "trials") == []
    assert compact(path).stdout == (
        f"{path}: nothing to merge; it has 6 archives and 0 trials in files of their own\n"
    )


def test_a_damaged_trial_is_made_again_and_merged(imported):
    path, _ = imported
    before = estimates(path)
    compact(path)
    archive = damage(path, 2)
    done = compact(path, check=False)
    assert done.returncode == 0  # There was nothing to read.
    done = check_store(path, check=False)
    assert done.returncode == 1
    assert "5 trials are there and sound" in done.stdout
    assert f"trial 2 in {archive} is damaged (record 0 fails its checksum)" in done.stdout
    command = done.stdout.splitlines()[-1].removeprefix("to complete it, run: ")
    run_printed(command)
    assert names(path / "trials") == ["trial-000002.tfrecord"]
    check_store(path)
    assert "1 trial merged into 1 archive" in compact(path).stdout
    assert names(path / "trials") == []
    check_store(path)
    for name, array in estimates(path).items():
        np.testing.assert_array_equal(array, before[name])


def test_damaged_trials_are_named_and_the_others_merged(imported):
    path, words = imported
    (path / "trials" / "trial-000004.tfrecord").write_bytes(b"damaged")
    done = compact(path, check=False)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert "5 trials merged into 1 archive" in first
    assert "trial-000004.tfrecord is damaged (the file ends inside the header" in second
    assert names(path / "trials") == ["trial-000004.tfrecord"]
    run_program(*words)
    assert compact(path).returncode == 0
    check_store(path)


def test_quarantine(imported):
    path, words = imported
    compact(path)
    archive = damage(path, 1)
    run_program(*words)
    (path / "trials" / "trial-000001.tfrecord").rename(path / "trials" / "trial-000005.tfrecord")
    done = check_store(path, "--quarantine", check=False)
    assert done.returncode == 1
    own, aside = path / "trials" / "trial-000005.tfrecord", path / "quarantine"
    assert done.stdout.splitlines() == [
        f"{path}: imported trials, dataset without a name",
        f"trial 1 in {archive} is damaged (record 0 fails its checksum)",
        f"{own} is damaged (it holds trial 1)",
        f"moved {own} to {aside / own.name}",
        f"moved {archive} to {aside / archive.name}",
        "5 trials are there and sound",
        "1 of 6 are missing: 1",
        f"to complete it, run: {' '.join(words).replace('launchers.', 'tfmem ')}",
    ]
    assert names(aside) == sorted([own.name, archive.name])
    run_program(*words)
    check_store(path)
    # Where the index of an archive is damaged its trials are found, but not behind damaged bytes.
    for entry in (path / "archives").iterdir():
        entry.unlink()
    run_program(*words)
    compact(path)
    archive = damage(path, 4)
    content = bytearray(archive.read_bytes())
    content[20] ^= 1
    archive.write_bytes(content)
    done = check_store(path, check=False)
    assert done.returncode == 1
    counted, missing, problem, command = done.stdout.splitlines()[1:]
    assert counted == "4 trials are there and sound"
    assert missing == "2 of 6 are missing: 4:6"
    assert problem == (
        f"{archive} is damaged (record 0 fails its checksum): 4 trials are found in it, 4:6 not "
        "reached; to keep these and move it aside, run: tfmem check_store "
        f"--store={path} --quarantine"
    )
    assert "damaged" not in done.stderr  # It is said once.
    assert compact(path, check=False).returncode == 1
    done = check_store(path, "--quarantine", check=False).stdout.splitlines()
    assert done[-3:] == [counted, missing, command]
    assert len(names(aside)) == 3
    run_program(*words)
    assert check_store(path).stdout.splitlines()[-1] == "6 trials are there and sound"


def test_abandoned_files_go_where_they_can_be_removed(imported):
    path, _ = imported
    ended = dataclasses.replace(processes.current(), pid=2**22 + 1)
    abandoned = [
        path / folder / f".some.tfrecord.{ended}.{'0' * 32}.tmp"
        for folder in ("", "trials", "archives")
    ]
    (path / "archives").mkdir()
    for file in abandoned:
        file.write_bytes(b"half")
    assert check_store(path).stdout.endswith("6 trials are there and sound\n")
    assert not any(file.exists() for file in abandoned)
    # As where one may not write: the check is made all the same.
    abandoned[0].mkdir()
    (abandoned[0] / "file").touch()
    assert check_store(path).stdout.endswith("6 trials are there and sound\n")


@pytest.fixture
def many(tmp_path, tiny, rng, monkeypatch):
    """A store of so many trials that merging them takes a while, and the trials."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    store = Store.create(tmp_path / "many", ImportConfig("arrays", "x", "", "", MANY), tiny)
    trials = [random_trial(number, tiny, rng) for number in range(MANY)]
    for trial in trials:
        store.write(trial)
    return pathlib.Path(store.path), trials


@pytest.mark.slow
def test_killed_it_loses_nothing_and_the_same_command_completes_it(many):
    """A real process, while it removes what it has merged; tests of compaction stop everywhere."""
    path, trials = many

    def loose():
        return len(names(path / "trials"))

    def assert_all_are_there():
        store = Store.open(path)
        assert store.numbers() == list(range(MANY))
        for trial in trials:
            assert_same_trial(store.read(trial.number), trial)

    flags = [f"--store={path}", "--max_gib=1e-5"]
    signalled.kill(["launchers.compact_store", *flags], "tfmem.workers.compaction:_remove", 2)
    assert 0 < loose() < MANY
    assert_all_are_there()
    assert names(path / "claims") == ["compaction-000000.json"]
    compact(path)
    assert_all_are_there()
    check_store(path)
    assert loose() == 0
    archived = [archives.inspect(epath.Path(entry)) for entry in (path / "archives").iterdir()]
    assert sum(len(archive.parts) for archive in archived) == MANY


def test_a_second_one_is_told_who_compacts(imported):
    path, _ = imported
    with Claims(path / "claims", "", kind=claims.COMPACTION) as held:
        held.take([0])
        said = (
            f"error: {path} is just being compacted by process {processes.current()}; run the same "
            "command when that has ended"
        )
        for program in ("compact_store", "check_store"):
            flags = ["--quarantine"] if program == "check_store" else []
            done = run_program(f"launchers.{program}", f"--store={path}", *flags, check=False)
            assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)
        # Who reads only is not disturbed.
        assert "6 trials are there and sound" in check_store(path).stdout
    assert "6 trials merged" in compact(path).stdout


def test_bad_input_gets_one_line(tmp_path, imported):
    path, _ = imported
    assert_refused(compact(tmp_path / "nothing", check=False), "is not a store")
    assert_refused(compact(path, "--max_gib=0", check=False), "is not number >= 1e-06")
    assert_refused(run_program("launchers.compact_store", check=False), "--store is required")
    assert len(names(path / "trials")) == 6


@pytest.mark.slow
def test_on_objects(tmp_path, imported):
    """On gs://, where nothing is linked, and what is not there is missed when it is read."""
    path, words = imported
    compact(path)
    damage(path, 3)
    run_program(*words)
    place = objects.path(tmp_path / "gs", "gs://bucket/store")
    place.parent.mkdir(parents=True)
    path.rename(place)
    done = subprocess.run(
        objects.words(tmp_path / "gs", "launchers.compact_store", "--store=gs://bucket/store"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "gs://bucket/store: 1 trial merged into 1 archive" in done.stdout
    assert "; 1 file removed" in done.stdout
    assert names(place / "trials") == []
    assert Store.open(place).damaged(range(6)) == {}
