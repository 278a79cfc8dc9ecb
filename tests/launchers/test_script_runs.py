"""Runs of adaptations of the authors' script: its files are read as they are."""

import pathlib

import numpy as np
import pytest

from analysis.estimates import files
from tests import foreign
from tests.conftest import run_program
from tests.printed import run_printed
from tfmem.store.store import Store


@pytest.fixture
def arrays(rng):
    """60 runs of 40 training and 12 test examples in 3 classes, each example right in some run."""
    return foreign.random_arrays(rng, 60, 40, 12, classes=3)


def import_runs(folder, source, *flags, check=True):
    words = ("--format=arrays", f"--source={source}", f"--store={folder / 'store'}", *flags)
    return run_program("launchers.import_trials", *words, check=check)


def write_labels(folder, arrays):
    np.savez(folder / "labels.npz", **{name: arrays[name] for name in LABELS})
    return f"--labels={folder / 'labels.npz'}"


LABELS = ("train_labels", "test_labels")


def estimates(folder):
    """Returns memorization [n] and influence [n', n] of the store in a folder."""
    out = folder / "estimates.npz"
    words = (f"--store={folder / 'store'}", f"--out={out}", "--influence=full")
    run_program("analysis.estimate", *words)
    with np.load(out) as archive:
        return files.read(out).memorization, archive["infl_matrix"].T


def assert_holds(folder, content):
    """Asserts that the store's trials are the runs, predictions and all, in their order."""
    store = Store.open(folder / "store")
    assert store.numbers() == list(range(len(content["trainset_mask"])))
    for number in store.numbers():
        trial = store.read(number)
        np.testing.assert_array_equal(trial.subset, content["trainset_mask"][number])
        for split, found in (("train", trial.train), ("test", trial.test)):
            np.testing.assert_array_equal(found.correct, content[f"{split}set_correctness"][number])
            predicted = content.get(f"{split}set_predictions")
            if predicted is None:
                assert found.predicted is None
            else:
                np.testing.assert_array_equal(found.predicted, predicted[number])


@pytest.mark.parametrize("right", [bool, np.int64, np.float32])
@pytest.mark.parametrize("runs_a_file", [60, 2, 1])
def test_estimates_are_those_of_the_script(tmp_path, arrays, rng, runs_a_file, right):
    """In one file, in 30 of two runs each and in 60 of one; labels follow from predictions."""
    content = foreign.script_arrays(arrays, rng, right)
    foreign.write_script_runs(tmp_path / "runs", content, runs_a_file)
    source = tmp_path / "runs"
    if runs_a_file == 60:
        source /= "mlp-0-59-infl-mem.npz"
    done = import_runs(tmp_path, source)
    assert "60 trials in" in done.stdout
    assert "CAUTION" not in done.stdout
    for ours, theirs in zip(estimates(tmp_path), foreign.script_estimates(content), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert_holds(tmp_path, content)
    dataset = Store.open(tmp_path / "store").dataset
    np.testing.assert_array_equal(dataset.train.labels, arrays["train_labels"])
    np.testing.assert_array_equal(dataset.test.labels, arrays["test_labels"])


def test_the_same_runs_in_other_files_are_the_same_source(tmp_path, arrays, rng):
    """In a folder, by a glob, packed, turned, under our names: nothing is imported again."""
    content = foreign.script_arrays(arrays, rng)
    foreign.write_script_runs(tmp_path / "runs", content, 3)
    import_runs(tmp_path, tmp_path / "runs")
    trial = pathlib.Path(Store.open(tmp_path / "store").trial_path(7))
    before = trial.stat().st_mtime_ns
    foreign.write_script_runs(tmp_path / "many/of/one", content, 1, np.savez_compressed)
    ours = {"subset_mask": "trainset_mask"}
    for split in foreign.SPLITS:
        ours[f"{split}_correct"] = f"{split}set_correctness"
        ours[f"{split}_predicted"] = f"{split}set_predictions"
    named = {name: np.asfortranarray(content[theirs]) for name, theirs in ours.items()}
    np.savez(tmp_path / "ours.npz", **named)
    for source in ("runs/mlp-*.npz", "many/*/*/*-infl-mem.npz", "ours.npz", "r*/*[0-9]-infl*"):
        import_runs(tmp_path, tmp_path / source)
    assert trial.stat().st_mtime_ns == before
    # What is lost is made again, by the command that check_store prints: the glob is in quotes.
    import_runs(tmp_path / "more", tmp_path / "runs/*.npz")
    store = Store.open(tmp_path / "more/store")
    store.trial_path(7).unlink()
    done = run_program("launchers.check_store", f"--store={store.path}", check=False)
    command = done.stdout.splitlines()[-1].removeprefix("to complete it, run: ")
    run_printed(command)
    assert_holds(tmp_path / "more", content)


def test_runs_of_a_dataset(tmp_path, digits, rng):
    """Without predictions, as half of these files are; and with those of the training set alone."""
    arrays = foreign.random_arrays(rng, 6, 1257, 540, classes=10)
    arrays |= {"train_labels": digits.train.labels, "test_labels": digits.test.labels}
    content = foreign.script_arrays(arrays, rng)
    del content["testset_predictions"]
    foreign.write_script_runs(tmp_path / "runs", content, 2)
    import_runs(tmp_path, tmp_path / "runs", "--dataset=digits")
    assert_holds(tmp_path, content)
    store = Store.open(tmp_path / "store")
    assert store.head.dataset_fingerprint == digits.fingerprint
    assert store.config.dataset == "digits"
    # Labels that models were not trained on, or in another order, are found out.
    content["trainset_predictions"] = (content["trainset_predictions"] + 1) % 10
    foreign.write_script_runs(tmp_path / "others", content, 6)
    done = import_runs(tmp_path, tmp_path / "others", "--dataset=digits", check=False)
    assert done.returncode == 2
    assert "others/mlp-0-5-infl-mem.npz: trainset_predictions: trial 0 predicts cl" in done.stderr


def test_predictions_are_brought_into_the_order_of_a_dataset(tmp_path, digits, rng):
    """Labels with ids say in which order the runs count the examples."""
    orders = {"train": rng.permutation(1257), "test": rng.permutation(540)}
    splits = {"train": digits.train, "test": digits.test}
    labels = {}
    for split, order in orders.items():
        labels[f"{split}_labels"] = splits[split].labels[order]
        labels[f"{split}_ids"] = splits[split].ids[order]
    np.savez(tmp_path / "labels.npz", **labels)
    arrays = foreign.random_arrays(rng, 4, 1257, 540, classes=10) | labels
    content = foreign.script_arrays(arrays, rng)
    foreign.write_script_runs(tmp_path / "runs", content, 1)
    flags = ("--dataset=digits", f"--labels={tmp_path / 'labels.npz'}")
    import_runs(tmp_path, tmp_path / "runs", *flags)
    places = {split: np.argsort(order) for split, order in orders.items()}
    assert_holds(
        tmp_path,
        {
            name: array[:, places["test" if name.startswith("test") else "train"]]
            for name, array in content.items()
        },
    )


def test_examples_that_are_in_every_trial_have_no_estimate(tmp_path, arrays, rng):
    """Some hold out chosen examples alone; the script's formula takes 0 for what is not known."""
    candidates = np.argsort(rng.random((60, 10)), axis=1) < 7
    arrays["subset_mask"] = np.concatenate([candidates, np.ones((60, 30), bool)], axis=1)
    content = foreign.script_arrays(arrays, rng)
    content |= {"memorization": np.zeros(40), "total_runs": np.array(60)}  # As aggregates have.
    np.savez(tmp_path / "all.npz", **content)
    import_runs(tmp_path, tmp_path / "all.npz")
    memorization, influence = estimates(tmp_path)
    expected = foreign.script_estimates(content)
    np.testing.assert_allclose(memorization[:10], expected[0][:10], rtol=0, atol=1e-6)
    np.testing.assert_allclose(influence[:, :10], expected[1][:, :10], rtol=0, atol=1e-6)
    assert np.isnan(memorization[10:]).all()
    assert np.isnan(influence[:, 10:]).all()


# The same run twice.


def test_runs_that_are_there_twice_are_refused(tmp_path, arrays, rng):
    content = foreign.script_arrays(arrays, rng)
    foreign.write_script_runs(tmp_path / "runs", content, 10)
    folder = tmp_path / "runs"
    twice = {name: np.concatenate([array, array[7:9]]) for name, array in content.items()}
    np.savez(tmp_path / "twice.npz", **twice)
    done = import_runs(tmp_path, tmp_path / "twice.npz", check=False)
    file = tmp_path / "twice.npz"
    said = f"{file}: trial 60 is {file}: trial 7; {file}: trial 61 is {file}: trial 8; a run"
    assert f"error: 2 of 62 trials are there twice, by equal masks: {said}" in done.stderr
    # A file under two names; and trained anew with the same masks.
    first, copy = folder / "mlp-0-9-infl-mem.npz", folder / "mlp-60-69-infl-mem.npz"
    copy.write_bytes(first.read_bytes())
    again = {name: array[:10] for name, array in content.items()}
    again["testset_correctness"] = 1 - again["testset_correctness"]
    del again["testset_predictions"], again["trainset_predictions"]
    for count in range(2):
        done = import_runs(tmp_path, folder, write_labels(tmp_path, arrays), check=False)
        assert done.returncode == 2
        assert f"10 of 70 trials are there twice, by equal masks: {copy}: trial 0" in done.stderr
        assert f"{copy}: trial 0 is {first}: trial 0; {copy}: trial 1 is {first}" in done.stderr
        assert "trial 2; and 7 more; a run counts once" in done.stderr
        assert done.stderr.count("\n") == 1
        if not count:
            plain = {name: content[name] for name in content if "predictions" not in name}
            foreign.write_script_runs(folder, plain, 10)
            np.savez(copy, **again)
    assert not (tmp_path / "store").exists()


def test_few_candidates_have_equal_masks_by_chance(tmp_path, rng):
    """Of 4 candidates half are left out: 6 masks, for 30 trials that differ in what is right."""
    arrays = foreign.random_arrays(rng, 30, 40, 12)
    arrays["subset_mask"] = np.ones((30, 40), bool)
    arrays["subset_mask"][:, :4] = np.argsort(rng.random((30, 4)), axis=1) < 2
    content = foreign.script_arrays(arrays, rng)
    np.savez(tmp_path / "runs.npz", **content)
    import_runs(tmp_path, tmp_path / "runs.npz")
    assert_holds(tmp_path, content)
    content = {name: np.concatenate([array, array[4:5]]) for name, array in content.items()}
    np.savez(tmp_path / "runs.npz", **content)
    done = import_runs(tmp_path, tmp_path / "runs.npz", check=False)
    assert "1 of 31 trials are there twice, by equal masks" in done.stderr


# Bad input.


def change(content, row=slice(None), **values):
    """Returns the arrays with others in place; None takes one away."""
    changed = {name: array[row] for name, array in content.items()} | values
    return {name: array for name, array in changed.items() if array is not None}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda content: change(content, testset_correctness=None),
            "lacks testset_correctness; it has trainset_mask, trainset_correctness, trainset_pre",
        ),
        (
            lambda content: change(content, trainset_mask=None),
            "lacks subset_mask or trainset_mask, expected one of them; it has trainset_correctness",
        ),
        (
            lambda content: change(content, subset_mask=content["trainset_mask"]),
            "has both subset_mask and trainset_mask, expected one of them; it has",
        ),
        (
            lambda content: {name: array[:, 1:] for name, array in content.items()},
            "trainset_mask has shape [10, 39], expected [10, 40] (trials of trainset_mask, "
            "examples of {}/mlp-0-9-infl-mem.npz)",
        ),
        (
            lambda content: change(content, testset_correctness=np.ones((10, 11))),
            "testset_correctness has shape [10, 11], expected [10, 12] (trials of trainset_mask",
        ),
        (
            lambda content: change(content, trainset_correctness=np.ones(40)),
            "trainset_correctness has shape [40], expected [10, 40] (trials of trainset_mask",
        ),
        (
            lambda content: change(content, trainset_mask=np.ones(40)),
            "trainset_correctness has shape [10, 40], expected [40] (the one trial of trai",
        ),
        (
            lambda content: change(content, trainset_predictions=None),
            "mlp-10-19-infl-mem.npz has trainset_mask, trainset_correctness, testset_correctness, "
            "testset_predictions, and {}/mlp-0-9-infl-mem.npz has trainset_mask, trainset_correc",
        ),
        (
            lambda content: change(content, trainset_mask=content["trainset_mask"] * 0.5),
            "trainset_mask: trial 0 has values of float64, expected bool or 0 and 1; the first",
        ),
        (
            lambda content: change(content, trainset_correctness=np.full((10, 40), np.nan)),
            "trainset_correctness: trial 0 has values of float64, expected bool or 0 and 1; the fi",
        ),
        (
            lambda content: change(content, testset_correctness=np.full((10, 12), "yes")),
            "testset_correctness is <U3, expected numbers",
        ),
        (
            lambda content: change(content, trainset_predictions=np.full((10, 40), -1)),
            "trainset_predictions: trial 0 predicts -1, expected classes from 0 to 65535",
        ),
        (
            lambda content: change(content, trainset_predictions=np.full((10, 40), 0.5)),
            "trainset_predictions: trial 0 predicts 0.5, expected classes from 0 to 65535",
        ),
        (
            lambda content: change(content, trainset_predictions=np.zeros((10, 40, 3))),
            "trainset_predictions has shape [10, 40, 3], expected [10, 40]",
        ),
        (
            lambda content: change(content, slice(0, 0)),
            "trainset_mask has no trials",
        ),
        (
            lambda content: change(content, trainset_mask=np.ones((10, 40), bool)),
            "trainset_mask: trial 0 has all of the training examples",
        ),
        (
            lambda content: change(
                content, testset_correctness=1 - np.array(content["testset_correctness"])
            ),
            "testset_predictions: trial 0 predicts class",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path, arrays, rng, spoil, said):
    content = foreign.script_arrays(arrays, rng)
    foreign.write_script_runs(tmp_path / "runs", content, 10)
    file = tmp_path / "runs/mlp-10-19-infl-mem.npz"
    np.savez(file, **spoil({name: array[10:20] for name, array in content.items()}))
    labels = write_labels(tmp_path, arrays)
    done = import_runs(tmp_path, tmp_path / "runs", labels, check=False)
    assert done.returncode == 2
    assert said.format(tmp_path / "runs") in done.stderr
    assert f"error: {file}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_files_of_other_names_or_labels_are_refused(tmp_path, arrays, rng):
    content = foreign.script_arrays(arrays, rng)
    folder = tmp_path / "runs"
    foreign.write_script_runs(folder, content, 30)
    ours = {name: array[:5] if array.ndim == 2 else array for name, array in arrays.items()}
    np.savez(folder / "ours.npz", **ours)
    done = import_runs(tmp_path, folder, check=False)
    assert f"{folder / 'ours.npz'} has subset_mask, train_correct, test_corr" in done.stderr
    assert f"and {folder / 'mlp-0-29-infl-mem.npz'} has trainset_mask, trainset" in done.stderr
    later = {name: array[5:9] if array.ndim == 2 else array for name, array in arrays.items()}
    np.savez(folder / "ours-2.npz", **later)
    import_runs(tmp_path, folder / "ours*.npz")
    later["train_labels"] = 2 - later["train_labels"]
    np.savez(folder / "ours-2.npz", **later)
    done = import_runs(tmp_path, folder / "ours*.npz", check=False)
    said = f"{folder / 'ours.npz'} has other labels than {folder / 'ours-2.npz'}: expected the same"
    assert said in done.stderr


def test_labels_that_predictions_do_not_fix(tmp_path, arrays, rng):
    arrays["train_correct"][:, 5] = arrays["train_correct"][:, 9] = False
    content = foreign.script_arrays(arrays, rng)
    foreign.write_script_runs(tmp_path / "runs", content, 60)
    done = import_runs(tmp_path, tmp_path / "runs", check=False)
    assert done.returncode == 2
    assert (
        "mlp-0-59-infl-mem.npz: predictions do not fix all labels, since no trial is right of 2 of "
        "40 training examples, such as 5: give --dataset, such as cifar10, or --labels=FILE.npz"
    ) in done.stderr
    import_runs(tmp_path, tmp_path / "runs", write_labels(tmp_path, arrays))
    assert_holds(tmp_path, content)
    # Right of one example in two runs, as of two classes.
    content["trainset_predictions"][:, 3] = np.arange(60) % 3
    content["trainset_correctness"][:, [3, 5, 9]] = 1
    np.savez(tmp_path / "odd.npz", **content)
    done = import_runs(tmp_path, tmp_path / "odd.npz", check=False)
    assert done.returncode == 2
    assert "odd.npz: trainset_predictions: trial 0 predicts class" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{}/none-*.npz", "{}/none-*.npz matches no file"),
        ("{}", "{} has no npz files; those in its folders are {}/*/*.npz, in quotes"),
        ("{}/**/x.npz", "{}/**/x.npz has **, expected a * for each folder on the way"),
        ("{}/none.npz", "{}/none.npz does not exist"),
        ("{}/text.npz", "{}/text.npz is not an npz file"),
        ("{}/one.npy", "{}/one.npy is not an npz file (it is a single array)"),
    ],
)
def test_sources_that_are_none(tmp_path, source, said):
    folder = tmp_path / "runs"
    folder.mkdir()
    if not source.endswith("{}"):
        (folder / "text.npz").write_text("text")
        np.save(folder / "one.npy", np.ones(3))
    done = import_runs(tmp_path, source.format(folder), check=False)
    assert done.returncode == 2
    assert said.format(folder, folder) in done.stderr
    assert done.stderr.count("\n") == 1
