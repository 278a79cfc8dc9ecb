"""A store from somebody else's arrays, and what check_store says of stores."""

import numpy as np
import pytest

from analysis import estimators, files
from launchers import check_store
from tests.conftest import run_program
from tests.trials import trial_set
from tfmem.store import Store


@pytest.fixture
def arrays(rng):
    return {
        "subset_mask": np.arange(6 * 10).reshape(6, 10) % 3 != 0,
        "train_correct": rng.random((6, 10)) < 0.7,
        "test_correct": rng.random((6, 4)) < 0.7,
        "train_labels": np.arange(10) % 2,
        "test_labels": np.array([0, 1, 1, 0]),
    }


def import_arrays(folder, arrays, *flags, check=True):
    source = folder / "trials.npz"
    np.savez(source, **arrays)
    words = ("--format=arrays", f"--source={source}", f"--store={folder / 'store'}", *flags)
    return run_program("launchers.import_trials", *words, check=check)


def test_imported_trials_give_the_estimates_of_the_arrays(tmp_path, arrays):
    import_arrays(tmp_path, arrays)
    store, out = tmp_path / "store", tmp_path / "estimates.npz"
    run_program("analysis.estimate", f"--store={store}", f"--out={out}", "--influence=full")
    read = files.read_estimates(out)
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
    np.testing.assert_array_equal(files.read_estimates(part).memorization, some.value)
    only = tmp_path / "only.npz"
    run_program("analysis.estimate", f"--store={store}", f"--out={only}", "--influence=none")
    assert files.read_estimates(only).influences == ()
    done = run_program(
        "analysis.select_pairs", f"--estimates={only}", f"--out={tmp_path / 'p.npz'}", check=False
    )
    assert "has no influence: make it with analysis.estimate --influence=class" in done.stderr


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
    assert Store.open(tmp_path / "store").fingerprint == digits.fingerprint
    done = import_arrays(tmp_path, arrays, "--dataset=digits", check=False)
    assert "the source has 10 training examples, digits has 1257" in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_labels": None}, "lacks test_labels; it has subset_mask, train_correct,"),
        (
            {"train_correct": np.ones((6, 9), bool)},
            "train_correct has shape [6, 9], expected [6, 10]",
        ),
        ({"test_correct": np.ones((5, 4), bool)}, "test_correct has shape [5, 4], expected [6, 4]"),
        ({"subset_mask": np.ones((6, 10), bool)}, "has all or none of the training examples"),
        ({"subset_mask": np.zeros((0, 10), bool)}, "subset_mask has no trials"),
        ({"train_correct": np.full((6, 10), 0.5)}, "float64, expected bool or 0 and 1"),
        ({"train_labels": np.arange(10) / 2}, "train_labels is float64 [10], expected integers"),
        ({"train_labels": np.arange(10) - 1}, "train_labels has the negative label -1"),
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


def test_runs():
    assert check_store.runs([3, 5, 6, 7, 8, 11]) == "3, 5:9, 11"
    assert check_store.runs([]) == ""


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
    command = done.stdout.splitlines()[-1].removeprefix("to complete it, run: python -m ")
    run_program(*command.split())
    assert (
        "6 trials are there and sound"
        in run_program("launchers.check_store", f"--store={path}", "--trials=0:6").stdout
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analysis.estimate", "--store={}", "--out=x.npz"], "is not a store"),
        (["analysis.convergence", "--store={}"], "is not a store"),
        (["analysis.report", "--store={}"], "is not a store"),
        (["launchers.check_store", "--store={}"], "is not a store"),
        (["analysis.select_pairs", "--estimates={}/e.npz", "--out=x"], "does not exist"),
        (["analysis.select_pairs", "--out=x"], "--estimates is required"),
        (["analysis.convergence", "--store={}", "--splits=0"], "a positive integer"),
        (["launchers.import_trials", "--format=csv", "--source=x"], "one of <arrays>"),
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
