"""A store from somebody else's trials, and what check_store says of stores."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from analysis.estimates import estimators, files
from tests import foreign, racing
from tests.conftest import ROOT, run_program
from tests.printed import run_printed
from tests.stores import imported_arrays
from tests.trials import trial_set
from tfmem import words
from tfmem.disk import processes
from tfmem.store.store import Store
from tfmem.workers import logs
from tfmem.workers.claims import Claim


@pytest.fixture
def arrays(rng):
    return imported_arrays(rng)


def import_arrays(folder, arrays, *flags, check=True):
    source = folder / "trials.npz"
    np.savez(source, **arrays)
    words = ("--format=arrays", f"--source={source}", f"--store={folder / 'store'}", *flags)
    return run_program("launchers.import_trials", *words, check=check)


def test_imported_trials_give_the_estimates_of_the_arrays(tmp_path, arrays):
    import_arrays(tmp_path, arrays)
    store, out = tmp_path / "store", tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={store}", f"--out={out}", "--influence=full")
    read = files.read(out)
    expected = trial_set(*arrays.values())
    memorization = estimators.memorization(expected)
    np.testing.assert_array_equal(read.memorization, memorization.value)
    np.testing.assert_array_equal(read.details.standard_error, memorization.standard_error)
    with np.load(out) as archive:
        full = np.concatenate(list(estimators.full_influence(expected)))
        np.testing.assert_array_equal(archive["infl_matrix"], full)
    part = tmp_path / "part.npz"
    run_program("analysis.estimate", f"--store={store}", f"--out={part}", "--trials=2:5")
    some = estimators.memorization(expected.take(np.arange(2, 5)))
    np.testing.assert_array_equal(files.read(part).memorization, some.value)
    only = tmp_path / "only.npz"
    run_program("analysis.estimate", f"--store={store}", f"--out={only}", "--influence=none")
    assert files.read(only).influences == ()
    done = run_program(
        "analysis.select_pairs", f"--estimates={only}", f"--out={tmp_path / 'p.npz'}", check=False
    )
    assert "influence of 0 of 2 classes: tfmem estimate --influence=class writes" in done.stderr


def test_the_authors_readers_read_our_estimates(tmp_path, rng):
    """As their pages of examples do: np.load, class by class, thresholds of Sec. 2."""
    arrays = foreign.random_arrays(rng, 12, 60, 40, classes=3)
    import_arrays(tmp_path, arrays)
    store, out = tmp_path / "store", tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={store}", f"--out={out}")
    data = np.load(out)
    assert data["tr_mem"].shape == data["tr_labels"].shape == (60,)
    found = set()
    for k in range(int(data["tr_labels"].max()) + 1):
        tr_idx, tt_idx = data[f"tr_classidx_{k}"], data[f"tt_classidx_{k}"]
        assert (data["tr_labels"][tr_idx] == k).all()
        assert (data["tt_labels"][tt_idx] == k).all()
        infl = data[f"infl_matrix_class{k}"]
        rows, columns = np.nonzero(infl * (data["tr_mem"][tr_idx] >= 0.25)[:, None] >= 0.15)
        found |= set(zip(tr_idx[rows].tolist(), tt_idx[columns].tolist(), strict=True))
    run_program("analysis.select_pairs", f"--estimates={out}", f"--out={tmp_path / 'pairs.npz'}")
    pairs = np.load(tmp_path / "pairs.npz")
    ours = list(zip(pairs["tr_idx"].tolist(), pairs["tt_idx"].tolist(), strict=True))
    assert set(ours) == found
    assert len(ours) == len(found) > 20


def test_importing_again_changes_nothing_and_another_source_is_refused(tmp_path, arrays):
    import_arrays(tmp_path, arrays)
    store = Store.open(tmp_path / "store")
    before = [store.trial_path(number).read_bytes() for number in range(6)]
    store.trial_path(4).unlink()
    store.trial_path(5).write_bytes(before[5][:50])
    import_arrays(tmp_path, arrays)
    assert [store.trial_path(number).read_bytes() for number in range(6)] == before
    changed = arrays["test_correct"].copy()
    changed[0, 0] ^= True
    done = import_arrays(tmp_path, {**arrays, "test_correct": changed}, check=False)
    assert done.returncode == 2
    assert "source_digest" in done.stderr


def test_the_dataset_is_checked(tmp_path, arrays, digits):
    labels = {"train_labels": digits.train.labels, "test_labels": digits.test.labels}
    rng = np.random.default_rng(0)
    right = {
        "subset_mask": rng.random((3, 1257)) < 0.7,
        "train_correct": rng.random((3, 1257)) < 0.7,
        "test_correct": rng.random((3, 540)) < 0.7,
        **labels,
    }
    import_arrays(tmp_path, right, "--dataset=digits")
    assert Store.open(tmp_path / "store").head.dataset_fingerprint == digits.fingerprint
    done = import_arrays(tmp_path, arrays, "--dataset=digits", check=False)
    assert "trials.npz has 10 training examples, digits has 1257" in done.stderr


def test_labels_are_given_once(tmp_path, arrays):
    done = import_arrays(tmp_path, arrays, f"--labels={tmp_path / 'trials.npz'}", check=False)
    assert done.returncode == 2
    assert f"--labels has no effect: {tmp_path / 'trials.npz'} has labels" in done.stderr
    only = {name: arrays[name] for name in ARRAYS[:3]}
    done = import_arrays(tmp_path, only, check=False)
    assert "trials.npz has neither labels nor predictions: give --dataset, such as" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_labels": None}, "lacks test_labels; it has subset_mask, train_correct,"),
        (
            {"train_correct": np.ones((6, 9), bool)},
            "train_correct has shape [6, 9], expected [6, 10]",
        ),
        ({"test_correct": np.ones((5, 4), bool)}, "test_correct has shape [5, 4], expected [6, 4]"),
        ({"subset_mask": np.ones((6, 10), bool)}, "trial 0 has all of the training examples"),
        ({"subset_mask": np.zeros((0, 10), bool)}, "subset_mask has no trials"),
        (
            {"train_correct": np.full((6, 10), 0.5)},
            "train_correct: trial 0 has values of float64, expected bool or 0 and 1",
        ),
        ({"train_labels": np.arange(10) / 2}, "train_labels has label 0.5 at 1, expected whole"),
        ({"train_labels": np.arange(10) - 1}, "train_labels has label -1 at 0, expected 0 or more"),
        ({"subset_mask": np.array([{}] * 6, object)}, "allow_pickle"),
    ],
)
def test_bad_arrays_get_one_line_and_no_store(tmp_path, arrays, change, words):
    changed = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    done = import_arrays(tmp_path, changed, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.fixture
def released(tmp_path, rng):
    """A tree of 30 released runs, the arrays that they were made of, and the flags to import it."""
    arrays = foreign.random_arrays(rng, 30, 40, 20, classes=4)
    names = [str(7 * number) for number in range(30)]
    foreign.write_released_runs(tmp_path / "cifar100-inception" / "0.7", names, arrays, rng)
    labels = {name: arrays[name] for name in ("train_labels", "test_labels")}
    np.savez(tmp_path / "labels.npz", **labels)
    flags = ["--format=heldout", f"--source={tmp_path / 'cifar100-inception'}"]
    return arrays, [*flags, f"--labels={tmp_path / 'labels.npz'}", f"--store={tmp_path / 'store'}"]


def assert_estimates_are_those_of(folder, arrays):
    """Asserts that estimates follow from the store alone, and are those of the matrices."""
    out = folder / "estimates.npz"
    run_program("analysis.estimate", f"--store={folder / 'store'}", f"--out={out}")
    expected = trial_set(*(arrays[name] for name in ARRAYS))
    read = files.read(out)
    memorization = estimators.memorization(expected)
    np.testing.assert_array_equal(read.memorization, memorization.value)
    np.testing.assert_array_equal(read.details.heldout_accuracy, memorization.heldout_accuracy)
    np.testing.assert_array_equal(read.details.num_in, memorization.num_in)
    blocks = list(estimators.class_influences(expected))
    for ours, theirs in zip(read.influences, blocks, strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value)
        np.testing.assert_array_equal(ours.train_index, theirs.train_index)


ARRAYS = ("subset_mask", "train_correct", "test_correct", "train_labels", "test_labels")


def test_estimates_of_released_runs_need_no_training(tmp_path, released):
    arrays, flags = released
    done = run_program("launchers.import_trials", *flags)
    assert "30 trials in" in done.stdout
    assert_estimates_are_those_of(tmp_path, arrays)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.tfrecord")}
    run_program("launchers.import_trials", *flags)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # The command that check_store prints makes what is lost again.
    store = Store.open(tmp_path / "store")
    store.trial_path(7).unlink()
    done = run_program("launchers.check_store", f"--store={store.path}", check=False)
    command = done.stdout.splitlines()[-1].removeprefix("to complete it, run: ")
    run_printed(command)
    assert store.numbers() == list(range(30))
    # Another source is another store's.
    run = tmp_path / "cifar100-inception/0.7/14/aux_arrays.npz"
    with np.load(run) as archive:
        content = dict(archive)
    content["correctness_test"][3] ^= True
    np.savez(run, **content)
    done = run_program("launchers.import_trials", *flags, check=False)
    assert done.returncode == 2
    assert "source_digest" in done.stderr


def test_a_damaged_run_stops_an_import_that_then_goes_on(tmp_path, released):
    arrays, flags = released
    run = tmp_path / "cifar100-inception/0.7" / str(7 * 20) / "aux_arrays.npz"
    whole = run.read_bytes()
    with np.load(run) as archive:
        index = archive["index_train"].tobytes()
    run.write_bytes(whole.replace(index, index[::-1], 1))
    done = run_program("launchers.import_trials", *flags, check=False)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert f"{run}: index_train cannot be read" in said
    assert "20 of 30 trials are in" in said
    store = Store.open(tmp_path / "store")
    assert store.numbers() == list(range(20))
    run.write_bytes(whole[:500])
    done = run_program("launchers.import_trials", *flags, check=False)
    assert f"1 of 30 runs cannot be read: {run} is not an npz file" in done.stderr
    assert done.stderr.count("\n") == 1
    assert store.numbers() == list(range(20))
    assert store.damaged(range(20)) == {}
    run.write_bytes(whole)
    run_program("launchers.import_trials", *flags)
    assert_estimates_are_those_of(tmp_path, arrays)


def test_datamodels_of_a_dataset(tmp_path, digits, rng):
    arrays = foreign.random_arrays(rng, 12, 1257, 540)
    arrays |= {"train_labels": digits.train.labels, "test_labels": digits.test.labels}
    foreign.write_datamodels(tmp_path / "published", arrays, rng, "_70pct")
    flags = ["--format=datamodels", f"--source={tmp_path / 'published'}", "--dataset=digits"]
    done = run_program("launchers.import_trials", *flags, f"--store={tmp_path / 'store'}")
    # Random trials have nothing to do with the labels of digits: this is said.
    assert "CAUTION: no class is harder than another in trial 0" in done.stdout
    assert Store.open(tmp_path / "store").head.dataset_fingerprint == digits.fingerprint
    assert_estimates_are_those_of(tmp_path, arrays)
    margins = np.load(tmp_path / "published/train_margins_70pct.npy")
    margins[7, 1000] = np.nan
    np.save(tmp_path / "published/train_margins_70pct.npy", margins)
    done = run_program(
        "launchers.import_trials", *flags, f"--store={tmp_path / 'other'}", check=False
    )
    assert "train_margins_70pct.npy: trial 7 has NaN margins" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_runs():
    assert words.runs([3, 5, 6, 7, 8, 11]) == "3, 5:9, 11"
    assert words.runs([]) == ""


def test_check_store_names_what_is_missing_and_damaged(tmp_path, arrays):
    import_arrays(tmp_path, arrays)
    path = tmp_path / "store"
    done = run_program("launchers.check_store", f"--store={path}")
    assert "6 trials are there and sound" in done.stdout
    store = Store.open(path)
    store.trial_path(1).unlink()
    store.trial_path(4).write_bytes(b"")
    done = run_program("launchers.check_store", f"--store={path}", check=False)
    assert done.returncode == 1
    assert "4 trials are there and sound" in done.stdout
    assert "1 of 6 are missing: 1" in done.stdout
    assert "trial-000004.tfrecord is damaged" in done.stdout
    command = done.stdout.splitlines()[-1].removeprefix("to complete it, run: ")
    run_printed(command)
    assert (
        "6 trials are there and sound"
        in run_program("launchers.check_store", f"--store={path}", "--trials=0:6").stdout
    )


def test_a_store_is_complete_when_it_has_what_launches_asked_for(tmp_path, tiny, tiny_config):
    """The experiment has 1,000 trials."""
    path = tmp_path / "store"
    store = Store.create(path, tiny_config, tiny, ["train_trials"], trials=range(0, 3))

    def check(*flags):
        done = run_program("launchers.check_store", f"--store={path}", *flags, check=False)
        return done.returncode, done.stdout.splitlines()[1:]

    for number in (0, 1, 2, 5, 6, 8):
        store.write(racing.trial(number, tiny))
    assert check() == (0, ["6 trials are there and sound"])
    store.ask_for(range(5, 7))
    assert check() == (0, ["6 trials are there and sound"])
    for number in (1, 5):
        store.trial_path(number).unlink()
    command = f"to complete it, run: tfmem train_trials --store={path} --trials="
    there = "4 trials are there and sound"
    lacks = "2 of 5 are missing: 1, 5"
    assert check() == (1, [there, lacks, f"{command}1:2", f"{command}5:6"])
    assert check("--trials=2:3") == (0, [there])
    assert check("--trials=0:7") == (1, [there, "4 of 7 are missing: 1, 3:6", f"{command}1:6"])
    # What is damaged is made again, whoever asked for it.
    store.trial_path(8).write_bytes(b"")
    code, lines = check()
    assert (code, lines[-3:]) == (1, [f"{command}1:2", f"{command}5:6", f"{command}8:9"])
    done = run_program("launchers.check_store", f"--store={path}", "--watch", "--trials=6:7")
    assert "1 of 1 done, 0 running, 0 failed" in done.stderr


def test_check_store_watches_and_names_what_was_given_up(tmp_path, arrays):
    import_arrays(tmp_path, arrays)
    path = tmp_path / "store"
    done = run_program("launchers.check_store", f"--store={path}", "--watch")
    assert "6 of 6 done, 0 running, 0 failed" in done.stderr
    assert done.stdout == ""
    # It goes on until what nobody trains any more has been given up.
    store = Store.open(path)
    content = store.trial_path(3).read_bytes()
    store.trial_path(3).unlink()
    watching = subprocess.Popen(
        [sys.executable, "-m", "launchers.check_store", f"--store={path}", "--watch"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while "5 of 6 done, 0 running, 0 failed" not in said:
        said += watching.stderr.read(1)
        assert watching.poll() is None
    watching.terminate()
    assert "terminated; the same command continues" in watching.communicate()[1]
    assert watching.returncode == 143
    log = logs.Logs(store.path / logs.FOLDER)
    log.fail(3, "launch", "the GPU\nburns", limit=0)
    done = run_program("launchers.check_store", f"--store={path}", "--watch", check=False)
    assert done.returncode == 1
    assert "5 of 6 done, 0 running, 1 failed" in done.stderr
    done = run_program("launchers.check_store", f"--store={path}", check=False)
    line = f"trial 3 was given up: the GPU burns; log: {log.path(3)}"
    assert line in done.stdout.splitlines()
    store.trial_path(3).write_bytes(content)
    done = run_program("launchers.check_store", f"--store={path}")
    assert "given up" not in done.stdout


def test_check_store_removes_what_killed_programs_left(tmp_path, arrays):
    import_arrays(tmp_path, arrays)
    path = tmp_path / "store"
    ended = dataclasses.replace(processes.current(), pid=2**22 + 1)
    unique = f"{ended}.{'0' * 32}.tmp"
    names = [
        "claims/trial-000002.json",
        f"claims/.trial-000002.json.{unique}",
        f"logs/.trial-000002.log.{unique}",
        f"trials/.trial-000002.tfrecord.{unique}",
        f".experiment.json.{unique}",
    ]
    for name in names:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(Claim(2, ended, "0" * 32, "launch", 0.5).encode())
    kept = [path / "claims/trial-000003.json", path / "logs/trial-000002.log"]
    for entry in kept:
        entry.write_bytes(Claim(3, processes.current(), "0" * 32, "launch", 0.5).encode())
    run_program("launchers.check_store", f"--store={path}")
    assert not [name for name in names if (path / name).exists()]
    assert all(entry.exists() for entry in kept)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analysis.estimate", "--store={}", "--out=x.npz"], "is not a store"),
        (["analysis.convergence", "--store={}"], "is not a store"),
        (["analysis.report", "--store={}"], "is not a store"),
        (["launchers.check_store", "--store={}"], "is not a store"),
        (["launchers.check_store", "--store={}", "--watch"], "is not a store"),
        (
            ["launchers.check_store", "--store={}", "--watch", "--quarantine"],
            "--watch reads no trial, so it cannot go with --quarantine",
        ),
        (["analysis.select_pairs", "--estimates={}/e.npz", "--out=x"], "does not exist"),
        (["analysis.select_pairs", "--out=x"], "--estimates is required"),
        (["analysis.convergence", "--store={}", "--splits=0"], "a positive integer"),
        (["launchers.import_trials", "--format=csv", "--source=x"], "one of <arrays|heldout|"),
        (
            ["launchers.import_trials", "--format=heldout", "--source={}", "--store={}/s"],
            "--format=heldout has no labels: give --dataset, such as cifar100, or --labels=FILE",
        ),
        (
            [
                "launchers.import_trials",
                "--format=datamodels",
                "--source={}",
                "--store={}/s",
                "--dataset=cifar",
            ],
            "did you mean 'cifar10",
        ),
        (
            [
                "launchers.import_trials",
                "--format=heldout",
                "--source={}",
                "--store={}/s",
                "--dataset=digits",
            ],
            "has no aux_arrays.npz below it",
        ),
        (["launchers.benchmark"], "give either --experiment or --suite"),
        (["launchers.benchmark", "--suite", "--epochs=3"], "--epochs has no effect with --suite"),
        (["launchers.demo", "--num_trials=0"], "a positive integer"),
    ],
)
def test_bad_input_gets_one_line(words, said, tmp_path):
    done = run_program(*(word.format(tmp_path) for word in words), check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
