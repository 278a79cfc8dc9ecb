"""What every analysis does about trials that are damaged: by themselves, and in an archive."""

import pathlib
import shutil

import numpy as np
import pytest

from analysis.estimates import estimators, files
from tests.archived import compact, damage, the_archive
from tests.conftest import run_program
from tfmem.store.store import Store

# By the store that it reads: a program and its flags, with what stands for the store and a folder.
PROGRAMS = {
    "estimate": ("random_subsets", "--store={}", "--out={}/estimates.npz"),
    "convergence": ("random_subsets", "--store={}"),
    "table": ("random_subsets", "--store={}", "--out={}/examples.csv"),
    "report": ("random_subsets", "--store={}", "--out={}/report.html"),
    "removal": ("removal_runs", "--store={}", "--estimates={}/estimates.npz"),
    "turnover": ("turnover_models", "--store={}"),
    "dynamics": ("followed_runs", "--store={}"),
    "paper_tables": ("random_subsets", "--store=digits={}"),
}


@pytest.fixture
def broken(request, tmp_path):
    """Returns a copy of a store of a kind whose last trial is damaged in some way."""

    def make(kind, how):
        made = request.getfixturevalue(kind)
        path = tmp_path / "store"
        shutil.copytree(made.store.path, path)
        estimates = pathlib.Path(f"{made.store.path}.npz")
        if estimates.exists():
            shutil.copy(estimates, tmp_path / "estimates.npz")
        last = Store.open(path).numbers()[-1]
        if how == "a loose trial":
            wrong = path / "trials" / f"trial-{last:06d}.tfrecord"
            wrong.write_bytes(wrong.read_bytes()[:-5])
        else:
            compact(path)
            wrong = the_archive(Store.open(path))
            if how == "a trial in an archive":
                damage(wrong, last)
            else:
                wrong.write_bytes(wrong.read_bytes()[:-5])
        return path, wrong, last

    return make


def words(name, path, folder):
    """Returns a program and its flags for a store."""
    _, store, *others = PROGRAMS[name]
    return (f"analysis.{name}", store.format(path), *(word.format(folder) for word in others))


@pytest.mark.parametrize("how", ["a loose trial", "a trial in an archive", "a cut archive"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_damaged_ends_it_and_is_left_out_if_asked_for(name, how, broken, tmp_path):
    path, wrong, last = broken(PROGRAMS[name][0], how)
    done = run_program(*words(name, path, tmp_path), check=False)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "damaged" in line)
    assert line.startswith("error: ")
    assert str(wrong) in line
    assert "run: tfmem " in line
    done = run_program(*words(name, path, tmp_path), "--allow_missing", check=False)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("left out: "))
    assert line.startswith(f"left out: 1 damaged trial, {last}: ")
    assert str(wrong) in line
    assert done.stderr.count("damaged") == 0


def test_estimates_say_of_how_many_trials_they_are(broken, tmp_path):
    path, *_ = broken("random_subsets", "a cut archive")
    out = tmp_path / "estimates.npz"
    flags = (f"--store={path}", f"--out={out}", "--allow_missing")
    done = run_program("analysis.estimate", *flags)
    assert done.stdout.splitlines()[1].startswith("11 of 12 trials: ")
    found = files.read(out)
    assert (found.num_trials, found.num_trials_expected) == (11, 12)
    kept = Store.open(path)
    expected = estimators.memorization(kept.load(range(11)))
    np.testing.assert_array_equal(found.memorization, expected.value)
    report = tmp_path / "report.html"
    run_program("analysis.report", f"--store={path}", f"--out={report}", "--allow_missing")
    assert "11 of the 12 trials asked for are here." in report.read_text()
    assert "<dt>trials</dt><dd>11 <small>of 12</small></dd>" in report.read_text()
    given = (f"--store={path}", f"--out={report}", f"--estimates={out}", "--allow_missing")
    run_program("analysis.report", *given)
    assert "(from 11 of 12 trials)" in report.read_text()
    done = run_program("analysis.compare", f"--estimates_a={out}", f"--estimates_b=b={out}")
    assert f"{out}, 11 of 12 trials, test accuracy" in done.stdout
    done = run_program("analysis.estimate", *flags, "--trials=2:5")
    assert done.stdout.startswith("3 trials: ")  # None of these is left out.
    assert files.read(out).num_trials_expected == 3


def test_trials_that_are_not_there_yet_are_no_damage(random_subsets, tmp_path):
    path, out = tmp_path / "store", tmp_path / "estimates.npz"
    shutil.copytree(random_subsets.store.path, path)
    for number in range(4, 12):
        (path / "trials" / f"trial-{number:06d}.tfrecord").unlink()
    done = run_program("analysis.estimate", f"--store={path}", f"--out={out}")
    assert done.stdout.startswith("4 of 12 trials: ")
    assert files.read(out).num_trials_expected == 12


def test_one_line_says_how_many_are_left_out_and_which(random_subsets, tmp_path):
    """Those of an archive that are not reached, unless they are elsewhere, and two others."""
    path, out = tmp_path / "store", tmp_path / "estimates.npz"
    shutil.copytree(random_subsets.store.path, path)
    names = [path / "trials" / f"trial-{number:06d}.tfrecord" for number in range(12)]
    kept = {number: names[number].read_bytes() for number in (2, 3, 10)}
    for number in (2, 3, 9):
        names[number].unlink()
    compact(path)
    archive = the_archive(Store.open(path))
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    done = run_program("analysis.estimate", f"--store={path}", f"--out={out}", check=False)
    assert done.returncode == 2
    assert "4 trials are found in it, 6:9, 10:12 not reached" in done.stderr
    # 9 was never there; 10 is trained again.
    names[2].write_bytes(kept[2][:-5])
    names[3].write_bytes(kept[3][:-5])
    names[10].write_bytes(kept[10])
    asked = ("analysis.estimate", f"--store={path}", f"--out={out}", "--allow_missing")
    first, second, *_ = run_program(*asked).stdout.splitlines()
    assert first.startswith(f"left out: 6 damaged trials, 2:4, 6:9, 11: {archive} is damaged (")
    assert first.endswith("not reached; tfmem check_store lists 2 more")
    assert second.startswith("5 of 12 trials: ")
    first, second, *_ = run_program(*asked, "--trials=0:3").stdout.splitlines()
    assert first.startswith(f"left out: 1 damaged trial, 2: {names[2]} is damaged (")
    assert second.startswith("2 of 3 trials: ")
    done = run_program(*asked, "--trials=0:2")
    assert done.stdout.startswith("2 trials: ")


def test_an_archive_without_trials_is_a_damaged_one(random_subsets, tmp_path):
    """All that is read of it is what it is called."""
    path = tmp_path / "store"
    shutil.copytree(random_subsets.store.path, path)
    (path / "archives").mkdir()
    name = "trials-000012-000019.0a1b2c3d.tfrecord"
    (path / "archives" / name).touch()
    done = run_program("analysis.convergence", f"--store={path}", check=False)
    assert done.returncode == 2
    assert f"{name} is damaged" in done.stderr
    assert "0 trials are found in it, 12:20 not reached" in done.stderr
