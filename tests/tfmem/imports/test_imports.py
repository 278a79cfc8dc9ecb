"""Other people's trials: every format gives the arrays that went in, or says what is wrong."""

import dataclasses
import hashlib
import shutil

import numpy as np
import pytest
from scipy import stats

from tests import foreign
from tests.memory import peak_memory
from tfmem import config, datasets
from tfmem.config import ImportConfig
from tfmem.imports import FORMATS, released
from tfmem.imports.arrays import open_arrays
from tfmem.imports.datamodels import open_datamodels
from tfmem.imports.examples import class_difference_by_chance, find_examples, read_labels
from tfmem.store.trials import Predictions, Trial

NAMES = [str(number) for number in range(6)]


@pytest.fixture
def arrays(rng):
    return foreign.random_arrays(rng, 6, 10, 4)


def check(source, num_train=10, num_test=4):
    labels = (np.arange(count) % 2 for count in (num_train, num_test))
    return source.check(*labels, lambda share: None)


def assert_gives(source, arrays, numbers=range(6)):
    trials = list(source.trials(numbers))
    assert [trial.number for trial in trials] == sorted(numbers)
    for trial in trials:
        np.testing.assert_array_equal(trial.subset, arrays["subset_mask"][trial.number])
        np.testing.assert_array_equal(trial.train.correct, arrays["train_correct"][trial.number])
        np.testing.assert_array_equal(trial.test.correct, arrays["test_correct"][trial.number])
        assert trial.base_seed is None


# The formats.


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays(tmp_path, arrays, save):
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    counted = {name: array.astype(np.uint8) for name, array in arrays.items()}
    digests = set()
    for written in (arrays, turned, counted):
        save(tmp_path / "trials.npz", **written)
        source = open_arrays(tmp_path / "trials.npz")
        digests.add(check(source))
        assert_gives(source, arrays)
        assert_gives(source, arrays, {4, 1})
        np.testing.assert_array_equal(source.labels.test, arrays["test_labels"])
    # It is of the values, so that stores know their source again.
    expected = hashlib.sha256(b"6 10 4\n")
    for name in sorted(released_names(arrays)):
        digest = hashlib.sha256(arrays[name].tobytes()).hexdigest()
        expected.update(f"{name} {digest}\n".encode())
    assert digests == {expected.hexdigest()}


def test_released_runs(tmp_path, arrays, rng):
    names = ["0", "2", "10", "3", "100", "20"]
    foreign.write_released_runs(tmp_path / "cifar100-inception" / "0.7", names, arrays, rng)
    by_number = [0, 1, 3, 2, 5, 4]  # 0, 2, 3, 10, 20, 100
    ordered = {name: arrays[name][by_number] for name in released_names(arrays)}
    digests = set()
    for source in (tmp_path, tmp_path / "cifar100-inception", tmp_path / "cifar100-inception/0.7"):
        runs = released.ReleasedRuns(source)
        digests.add(check(runs))
        assert_gives(runs, ordered)
        assert_gives(runs, ordered, {5, 2})
        assert [(source / run).name for run in runs.runs] == ["0", "2", "3", "10", "20", "100"]
    assert len(digests) == 1
    assert released.find_runs(tmp_path)[3] == "cifar100-inception/0.7/10"
    (tmp_path / "cifar100-inception/0.7/3").rename(tmp_path / "cifar100-inception/0.7/x3")
    runs = released.find_runs(tmp_path / "cifar100-inception/0.7")
    assert runs == ["0", "10", "100", "2", "20", "x3"]


def released_names(arrays):
    return [name for name in arrays if "labels" not in name]


def test_datamodels(tmp_path, arrays, rng):
    foreign.write_datamodels(tmp_path, arrays, rng)
    source = open_datamodels(tmp_path)
    digest = check(source)
    assert_gives(source, arrays)
    assert source.labels is None
    foreign.write_datamodels(tmp_path / "more", arrays, rng, "_50pct")
    assert check(open_datamodels(tmp_path / "more")) == digest
    changed = {**arrays, "test_correct": ~arrays["test_correct"]}
    foreign.write_datamodels(tmp_path / "more", changed, rng, "_75pct")
    with pytest.raises(ValueError, match=r"several .*train_masks_50pct.npy, train_masks_75pct.npy"):
        open_datamodels(tmp_path / "more")
    source = open_datamodels(tmp_path / "more" / "train_masks_75pct.npy")
    assert check(source) != digest
    assert_gives(source, changed)


@pytest.mark.parametrize("ending", ["", "_50pct"])
def test_datamodels_that_are_still_trained(tmp_path, arrays, rng, caplog, ending, monkeypatch):
    """Rows of models that are not finished hold nothing, or half of it; they are counted."""
    monkeypatch.setattr("tfmem.disk.npz._BLOCK_BYTES", 45)  # Few rows to a block.
    finished = np.array([False, True, True, False, False, True])
    foreign.write_datamodels(tmp_path, arrays, rng, ending)
    for name, row in (("train_masks", 0), ("train_masks", 3), ("test_margins", 4)):
        array = np.load(tmp_path / f"{name}{ending}.npy")
        array[row] = 0 if name == "train_masks" else np.nan
        np.save(tmp_path / f"{name}{ending}.npy", array)
    for dtype in (bool, np.uint8):
        np.save(tmp_path / f"_completed{ending}.npy", finished.astype(dtype))
        caplog.clear()
        source = open_datamodels(tmp_path)
        assert source.num_trials == 3
        assert "3 of 6 models are not finished, and left out" in caplog.text
    digest = check(source)
    done = {name: arrays[name][finished] for name in released_names(arrays)}
    assert_gives(source, done, range(3))
    assert_gives(source, done, {2})
    # They are what they would be without the others; more of them are another source.
    foreign.write_datamodels(tmp_path / "done", {**arrays, **done}, rng)
    assert check(open_datamodels(tmp_path / "done")) == digest
    np.save(
        tmp_path / f"_completed{ending}.npy", np.array([False, True, True, False, False, False])
    )
    assert check(open_datamodels(tmp_path)) != digest
    # What is wrong with a finished one is said of its row in the files.
    np.save(tmp_path / f"_completed{ending}.npy", np.array([False, True, True, True, False, True]))
    with pytest.raises(ValueError, match=r"npy: trial 3 has none of the training examples"):
        check(open_datamodels(tmp_path))
    np.save(tmp_path / f"_completed{ending}.npy", np.array([False, True, True, False, True, True]))
    with pytest.raises(ValueError, match=r"npy: trial 4 has NaN margins"):
        check(open_datamodels(tmp_path))


def test_all_models_are_finished_or_none(tmp_path, arrays, rng, caplog):
    foreign.write_datamodels(tmp_path, arrays, rng)
    digest = check(open_datamodels(tmp_path))
    np.save(tmp_path / "_completed.npy", np.ones(6, bool))
    assert check(open_datamodels(tmp_path)) == digest
    assert caplog.text == ""
    for wrong, said in (
        (np.zeros(6, bool), r"_completed\.npy: none of 6 models is finished"),
        (np.ones(5, bool), r"_completed\.npy has shape \[5\], expected \[6\]: which of the models"),
        (np.full(6, 2), r"_completed\.npy has values of int64, expected bool or 0 and 1"),
    ):
        np.save(tmp_path / "_completed.npy", wrong)
        with pytest.raises(ValueError, match=said):
            open_datamodels(tmp_path)


def test_a_margin_of_zero_is_wrong(tmp_path, arrays, rng):
    foreign.write_datamodels(tmp_path, arrays, rng)
    margins = np.full((6, 4), 1, np.float16)
    margins[2] = 0, -0.0, np.inf, -np.inf
    np.save(tmp_path / "test_margins.npy", margins)
    source = open_datamodels(tmp_path)
    check(source)
    (trial,) = source.trials([2])
    assert trial.test.correct.tolist() == [False, False, True, False]


# What tells sources apart.


def test_a_tree_is_known_by_the_content_of_its_runs(tmp_path, arrays, rng):
    foreign.write_released_runs(tmp_path / "a" / "0.7", NAMES, arrays, rng)
    digest = check(released.ReleasedRuns(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "moved" / "here")
    for run in (tmp_path / "moved").rglob("aux_arrays.npz"):
        with np.load(run) as archive:
            np.savez_compressed(run, **archive)
    assert check(released.ReleasedRuns(tmp_path / "moved")) == digest
    run = tmp_path / "a/0.7/4/aux_arrays.npz"
    content = load(run)
    content["correctness_test"][0] ^= True
    np.savez(run, **content)
    assert check(released.ReleasedRuns(tmp_path / "a")) != digest
    shutil.copytree(tmp_path / "moved/here/0.7/5", tmp_path / "moved/here/0.7/6")
    said = r"0.7/6/aux_arrays.npz is the run of .*0.7/5/aux_arrays.npz: a run counts once"
    with pytest.raises(ValueError, match=said):
        check(released.ReleasedRuns(tmp_path / "moved"))
    shutil.rmtree(tmp_path / "moved/here/0.7/5")  # Now it is of another name.
    assert check(released.ReleasedRuns(tmp_path / "moved")) != digest
    shutil.rmtree(tmp_path / "moved/here/0.7/6")
    assert check(released.ReleasedRuns(tmp_path / "moved")) != digest


def load(path):
    with np.load(path) as archive:
        return dict(archive)


# Bad input.


def test_trees_that_will_not_do(tmp_path, arrays, rng):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        released.find_runs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no aux_arrays.npz below it: expected SUBSET_RATIO"):
        released.find_runs(tmp_path)
    for ratio in ("cifar/0.7", "cifar/0.5"):
        foreign.write_released_runs(tmp_path / ratio, NAMES, arrays, rng)
    with pytest.raises(ValueError, match=r"has runs in 0.5, 0.7; .*one experiment and subset rat"):
        released.find_runs(tmp_path / "cifar")
    with pytest.raises(ValueError, match=r"runs in cifar/0.5, cifar/0.7; .* as in .*cifar/0.5"):
        released.find_runs(tmp_path)
    with pytest.raises(ValueError, match=r"0.7/3 is a single run"):
        released.find_runs(tmp_path / "cifar/0.7/3")


BAD_RUNS = {
    "no subsample": ({"subsample_idx": None}, "lacks subsample_idx"),
    "other subset": (
        {"subsample_idx": lambda index: (index + 1) % 10},
        "index_train and subsample_idx name different examples",
    ),
    "smaller subset": ({"subsample_idx": lambda index: index[1:]}, "name different examples"),
    "not in both": (
        {"index_train": lambda index: index[1:], "correctness_train": lambda right: right[1:]},
        "index_train with index_removed has 9 examples, the labels are of 10 training",
    ),
    "in both": (
        {"index_removed": lambda index: np.full(3, 6)},
        r"has training example \d+ [02-9] times, expected each once",
    ),
    "outside": ({"index_removed": lambda index: index + 10}, "has the index 1., expected 0 to 9"),
    "negative": ({"index_test": lambda index: index - 1}, "index_test has the index -1"),
    "no permutation": (
        {"index_test": lambda index: np.array([0, 0, 2, 3])},
        "index_test has test example 0 2 times",
    ),
    "fewer tests": (
        {"index_test": lambda index: np.arange(3), "correctness_test": lambda right: right[:3]},
        "index_test has 3 examples, the labels are of 4 test examples",
    ),
    "lengths": (
        {"correctness_removed": lambda right: right[1:]},
        "correctness_removed has 2 entries, index_removed has 3",
    ),
    "not binary": (
        {"correctness_test": lambda right: right + 1},
        "correctness_test has the value 2, expected 0 and 1",
    ),
    "not a number": (
        {"correctness_test": lambda right: np.full(4, np.nan)},
        "correctness_test has the value nan",
    ),
    "texts": ({"correctness_test": lambda right: np.array(["a"] * 4)}, "expected 0 and 1"),
    "floats": (
        {"index_test": lambda index: index / 1},
        r"index_test is float64 \[4\], expected integers",
    ),
    "a matrix": ({"index_test": lambda index: index[None]}, r"index_test is int64 \[1, 4\]"),
    "a pickle": ({"index_test": lambda index: index.astype(object)}, "allow_pickle=False"),
    "all": (
        {
            "index_train": lambda index: np.arange(10),
            "correctness_train": lambda right: np.ones(10, bool),
            "index_removed": lambda index: index[:0],
            "correctness_removed": lambda right: right[:0],
            "subsample_idx": lambda index: np.arange(10),
        },
        "index_train has all of the training examples: it says nothing of memorization",
    ),
    "other ratio": (
        {
            "index_train": lambda index: np.arange(5),
            "correctness_train": lambda right: right[:5],
            "index_removed": lambda index: np.arange(5, 10),
            "correctness_removed": lambda right: np.ones(5, bool),
            "subsample_idx": lambda index: np.arange(5),
        },
        "a subset of 5 of 10 examples, that of 0 has 7: estimates need one subset ratio",
    ),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_a_bad_run_is_named(tmp_path, arrays, rng, case):
    foreign.write_released_runs(tmp_path / "0.7", NAMES, arrays, rng)
    run = tmp_path / "0.7/4/aux_arrays.npz"
    changes, said = BAD_RUNS[case]
    content = load(run)
    for name, change in changes.items():
        array = content.pop(name)
        if change:
            content[name] = change(array)
    np.savez(run, **content)

    def read():
        source = released.ReleasedRuns(tmp_path / "0.7")
        check(source)
        for trial in source.trials(range(6)):
            assert trial.number < 4

    with pytest.raises(ValueError, match=said) as error:
        read()
    assert "0.7/4/aux_arrays.npz" in str(error.value)


def test_index_and_correctness_have_any_type(tmp_path, arrays, rng):
    foreign.write_released_runs(tmp_path, NAMES, arrays, rng)
    for number, (index, correct) in enumerate(
        [("u1", "u1"), ("<i2", "f4"), (">i8", "?"), ("u8", ">f8"), ("i4", "f2"), ("i1", "i8")]
    ):
        run = tmp_path / str(number) / "aux_arrays.npz"
        content = {
            name: array.astype(correct if name.startswith("correctness") else index)
            for name, array in load(run).items()
        }
        np.savez(run, **content)
    source = released.ReleasedRuns(tmp_path)
    check(source)
    assert_gives(source, arrays)


def test_files_that_are_cut_off_are_all_named_at_once(tmp_path, arrays, rng):
    foreign.write_released_runs(tmp_path, NAMES, arrays, rng)
    for number in (1, 4):
        run = tmp_path / str(number) / "aux_arrays.npz"
        run.write_bytes(run.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"2 of 6 runs cannot be read: .*1/aux.*; .*4/aux"):
        check(released.ReleasedRuns(tmp_path))


def test_a_changed_byte_is_found_when_its_run_is_read(tmp_path, arrays, rng):
    foreign.write_released_runs(tmp_path, NAMES, arrays, rng)
    digest = check(released.ReleasedRuns(tmp_path))
    run = tmp_path / "3" / "aux_arrays.npz"
    content = run.read_bytes()
    index = load(run)["index_test"].tobytes()
    place = content.index(index)
    run.write_bytes(content[:place] + index[::-1] + content[place + len(index) :])
    source = released.ReleasedRuns(tmp_path)
    assert check(source) == digest
    trials = source.trials(range(6))
    assert [next(trials).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"3/aux_arrays.npz: index_test cannot be read .*CRC"):
        next(trials)


def test_names_in_an_archive_are_only_looked_up(tmp_path, arrays, rng):
    tree = tmp_path / "deep" / "tree"
    foreign.write_released_runs(tree, NAMES, arrays, rng)
    run = tree / "2" / "aux_arrays.npz"
    more = {"../../outside": np.arange(3), "/tmp/outside": np.arange(3)}
    np.savez(run, **load(run), **more)
    source = released.ReleasedRuns(tree)
    check(source)
    assert_gives(source, arrays)
    assert [path.name for path in tmp_path.rglob("*outside*")] == []


BAD_DATAMODELS = {
    "no masks": ("train_masks.npy", None, r"has no train_masks.npy \(or train_masks_ENDING.npy"),
    "no margins": ("test_margins.npy", None, "test_margins.npy does not exist"),
    "integers": ("test_margins.npy", np.ones((6, 4), int), "test_margins.npy is int64, expected"),
    "fewer": ("test_margins.npy", np.ones((5, 4)), r"\[5, 4\], expected \[6, 4\] \(trials of tr"),
    "wider": ("train_margins.npy", np.ones((6, 11)), r"npy has shape \[6, 11\], expected \[6, 10"),
    "numbers": ("train_masks.npy", np.full((6, 10), 2), "trial 0 has values of int64, expected b"),
    "no trials": ("train_masks.npy", np.ones((0, 10), bool), "train_masks.npy has no trials"),
    "flat": ("train_masks.npy", np.ones(10, bool), r"shape \[10\], expected \[10, 10\]"),
    "a pickle": ("train_masks.npy", np.array([[{}]]), "allow_pickle=False"),
    "nothing": ("train_masks.npy", np.zeros((6, 10), bool), "trial 0 has none of the training"),
}


@pytest.mark.parametrize("case", BAD_DATAMODELS)
def test_bad_datamodels_are_named(tmp_path, arrays, rng, case):
    foreign.write_datamodels(tmp_path, arrays, rng)
    name, array, said = BAD_DATAMODELS[case]
    (tmp_path / name).unlink()
    if array is not None:
        np.save(tmp_path / name, array)
    with pytest.raises(ValueError, match=said) as error:
        check(open_datamodels(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_nan_margins_name_the_trial(tmp_path, arrays, rng, monkeypatch):
    monkeypatch.setattr("tfmem.disk.npz._BLOCK_BYTES", 45)  # Two rows of float16 to a block.
    foreign.write_datamodels(tmp_path, arrays, rng)
    margins = np.load(tmp_path / "train_margins.npy")
    margins[3, 9] = np.nan
    np.save(tmp_path / "train_margins.npy", margins)
    with pytest.raises(ValueError, match=r"train_margins.npy: trial 3 has NaN margins"):
        check(open_datamodels(tmp_path))


def test_masks_that_are_no_such_file(tmp_path):
    with pytest.raises(ValueError, match=r"trials.npz is no train_masks.npy"):
        open_datamodels(tmp_path / "trials.npz")
    with pytest.raises(ValueError, match=r"train_masks.npy does not exist"):
        open_datamodels(tmp_path / "train_masks.npy")


# Memory.


def read_all(layout, path, num_train, num_test):
    source = FORMATS[layout].open(path)
    check(source, num_train, num_test)
    for _ in source.trials(range(source.num_trials)):
        pass


@pytest.mark.parametrize("layout", ["arrays", "packed", "datamodels"])
def test_memory_does_not_grow_with_the_number_of_trials(tmp_path, rng, layout):
    """500 trials take about as much as 50; of 11 MB of matrices (or 17) less than 4 are held."""
    n, n_test = 10_000, 1_000
    peaks = []
    for trials in (50, 500):
        folder = tmp_path / str(trials)
        folder.mkdir()
        arrays = foreign.random_arrays(np.random.default_rng(0), 5, n, n_test)
        arrays |= {name: np.tile(arrays[name], (trials // 5, 1)) for name in released_names(arrays)}
        for row, subset in enumerate(arrays["subset_mask"]):
            subset[:] = np.roll(subset, row // 5)  # No run is there twice.
        if layout == "datamodels":
            foreign.write_datamodels(folder, arrays, rng)
            path, layout_name = folder, layout
        else:
            path, layout_name = folder / "trials.npz", "arrays"
            (np.savez_compressed if layout == "packed" else np.savez)(path, **arrays)
        peaks.append(peak_memory(lambda: read_all(layout_name, path, n, n_test)))  # noqa: B023
    assert peaks[1] < 2 * peaks[0]
    assert peaks[1] < 4e6


def test_files_are_read_one_after_the_other(tmp_path, rng):
    """Of each file of 143 kB no more than its place and its shapes are in memory."""
    peaks = []
    for trials in (3, 18):
        arrays = foreign.random_arrays(rng, trials, 10_000, 1_000)
        content = foreign.script_arrays(arrays, rng)
        foreign.write_script_runs(tmp_path / str(trials), content, 1)
        source = tmp_path / str(trials)
        peaks.append(peak_memory(lambda: read_all("arrays", source, 10_000, 1_000)))  # noqa: B023
    assert peaks[1] - peaks[0] < 15 * 20_000


def test_one_released_run_is_in_memory(tmp_path, rng):
    """40 runs of 20,000 examples take as much as 4."""
    peaks = []
    arrays = foreign.random_arrays(rng, 4, 20_000, 1_000)
    for repeats in (1, 10):
        tree = tmp_path / str(repeats)
        for repeat in range(repeats):
            names = [str(4 * repeat + number) for number in range(4)]
            foreign.write_released_runs(tree, names, arrays, rng)
        peaks.append(peak_memory(lambda: read_all("heldout", tree, 20_000, 1_000)))  # noqa: B023
    assert peaks[1] < 1.2 * peaks[0]


# Labels, ids and order.


@pytest.fixture
def shuffled(tiny, rng, tmp_path):
    """A file of the tiny dataset's labels and ids in another order, and that order."""
    train, test = (rng.permutation(len(split)) for split in (tiny.train, tiny.test))
    content = {
        "tr_labels": tiny.train.labels[train],
        "tt_labels": tiny.test.labels[test],
        "tr_filenames": np.char.encode(tiny.train.ids[train]),
        "tt_filenames": np.char.encode(tiny.test.ids[test]),
    }
    np.savez(tmp_path / "index.npz", **content)
    return tmp_path / "index.npz", content, (train, test)


@pytest.fixture
def known_tiny(tiny, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, data_dir: tiny)
    return tiny


def test_a_source_in_another_order_is_matched_by_id(known_tiny, shuffled, rng):
    path, _, (train, test) = shuffled
    labels = read_labels(path)
    examples = find_examples(labels, "tiny", None)
    subset, train_correct, test_correct = (rng.random(count) < 0.5 for count in (21, 21, 9))
    # The source's example k is our example train[k].
    trial = Trial(
        3, None, subset[train], Predictions(train_correct[train]), Predictions(test_correct[test])
    )
    placed = examples.in_order(trial)
    np.testing.assert_array_equal(placed.subset, subset)
    np.testing.assert_array_equal(placed.train.correct, train_correct)
    np.testing.assert_array_equal(placed.test.correct, test_correct)
    assert placed.number == 3
    plain = find_examples(None, "tiny", None)
    assert plain.in_order(trial) is trial
    assert plain.digest("ab") == "ab" != examples.digest("ab")


def test_without_a_dataset_ids_are_kept(shuffled):
    path, content, _ = shuffled
    dataset = find_examples(read_labels(path), "", None).dataset
    assert (dataset.name, dataset.num_classes) == ("", 3)
    np.testing.assert_array_equal(dataset.test.labels, content["tt_labels"])
    np.testing.assert_array_equal(dataset.train.ids, np.char.decode(content["tr_filenames"]))


def test_labels_may_be_names_of_classes(known_tiny, shuffled):
    path, content, _ = shuffled
    plain = find_examples(read_labels(path), "tiny", None)
    names = np.array(plain.dataset.class_names)
    texts = {name: names[content[name]][:, None] for name in ("tr_labels", "tt_labels")}
    np.savez(path, **{**content, **texts})
    found = find_examples(read_labels(path), "tiny", None)
    assert found.dataset is plain.dataset
    for places, expected in zip(found.order, plain.order, strict=True):
        np.testing.assert_array_equal(places, expected)
    alone = find_examples(read_labels(path), "", None).dataset
    assert alone.class_names == tuple(sorted(names))
    of_test = np.array(alone.class_names)[alone.test.labels]
    np.testing.assert_array_equal(of_test, names[content["tt_labels"]])


@pytest.mark.parametrize(
    "written",
    [
        lambda labels: labels[:, None],
        lambda labels: labels.astype(np.float32),
        lambda labels: np.eye(3, dtype=bool)[labels],
        lambda labels: labels.astype(str),
    ],
    ids=["column", "floats", "one-hot", "decimal texts"],
)
def test_labels_as_people_write_them(known_tiny, shuffled, written):
    path, content, _ = shuffled
    changed = {name: written(content[name]) for name in ("tr_labels", "tt_labels")}
    np.savez(path, **{**content, **changed})
    labels = read_labels(path)
    np.testing.assert_array_equal(labels.train, content["tr_labels"])
    np.testing.assert_array_equal(labels.test, content["tt_labels"])
    assert labels.train.dtype == np.int64
    find_examples(labels, "tiny", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"tr_labels": np.array(["yak"] * 21), "tt_labels": np.array(["yak"] * 9)},
            "has the label 'yak', which is no class of tiny: expected names such as a, b, c, or",
        ),
        ({"tr_labels": None}, "lacks train_labels and test_labels; it has tt_labels"),
        ({"tr_labels": np.arange(21) / 2}, "tr_labels has label 0.5 at 1, expected whole numbers"),
        ({"tr_labels": np.arange(21) - 1}, "tr_labels has label -1 at 0, expected 0 or more"),
        ({"tr_labels": np.arange(21) % 3}, "index.npz labels training example"),
        ({"tt_filenames": np.arange(9)}, r"tt_filenames is int64 \[9\], expected texts"),
        ({"tt_filenames": np.array([b"a"])}, "tt_filenames has 1 ids for 9 labels"),
        ({"tt_filenames": np.array([b"a"] * 9)}, "test ids: tiny has no example a"),
        (
            {"tt_filenames": np.array([b"test_00002"] * 9)},
            "test ids: test_00000 is there 0 times, expected each example of tiny once",
        ),
    ],
)
def test_bad_labels_are_named(known_tiny, shuffled, change, said):
    path, content, _ = shuffled
    content = {name: array for name, array in {**content, **change}.items() if array is not None}
    np.savez(path, **content)
    with pytest.raises(ValueError, match=said) as error:
        find_examples(read_labels(path), "tiny", None)
    assert "index.npz" in str(error.value)


def test_repeated_ids_without_a_dataset(shuffled):
    path, content, _ = shuffled
    np.savez(path, **{**content, "tt_filenames": np.array([b"a"] * 9)})
    with pytest.raises(ValueError, match=r"index\.npz: example ids repeat"):
        find_examples(read_labels(path), "", None)


def test_imagenet_needs_to_know_the_order(known_tiny):
    with pytest.raises(ValueError, match=r"--labels=imagenet_index\.npz"):
        find_examples(None, "imagenet2012", None)


def test_unrelated_labels_are_found_out(rng):
    """Classes of 95% and 60% accuracy; of shuffled labels, p is uniform."""
    labels = np.repeat([0, 1], 500)
    ids = datasets.numbered_ids("train", 1000), datasets.numbered_ids("test", 1000)
    dataset = datasets.Dataset(
        "", datasets.Split(labels, ids[0]), datasets.Split(labels, ids[1]), ("a", "b")
    )
    subset = np.arange(1000) % 10 < 7
    right = rng.random((2, 1000)) < np.where(labels, 0.6, 0.95)
    trial = Trial(0, None, subset, Predictions(right[0]), Predictions(right[1]))
    assert class_difference_by_chance(trial, dataset) < 1e-20
    seen_labels = np.concatenate([labels[~subset], labels])
    found = []
    for _ in range(200):
        mixed = rng.permutation(labels)
        other = datasets.Dataset(
            "", datasets.Split(mixed, ids[0]), datasets.Split(mixed, ids[1]), ("a", "b")
        )
        found.append(class_difference_by_chance(trial, other))
    assert stats.kstest(found, "uniform").pvalue > 0.001
    # The textbook's table of right and wrong by class.
    correct = np.concatenate([right[0][~subset], right[1]])
    table = [[np.sum(correct[seen_labels == k] == right) for right in (0, 1)] for k in (0, 1)]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert class_difference_by_chance(trial, dataset) == pytest.approx(expected, rel=1e-6)


def test_too_few_examples_tell_nothing(tiny):
    right = Predictions(np.arange(21) % 2 == 0), Predictions(np.arange(9) % 2 == 0)
    assert class_difference_by_chance(Trial(0, None, np.ones(21, bool), *right), tiny) is None


def test_a_store_may_be_completed_from_labels_elsewhere():
    here = ImportConfig("heldout", "tree", "ab12", "", 7, "labels.npz")
    moved = dataclasses.replace(here, source="other", labels="elsewhere/labels.npz")
    assert config.digest(here, "f") == config.digest(moved, "f")
    assert config.differences(here, moved) == []
    # As stores have it that were made before there were labels.
    values = config.to_dict(here)
    del values["labels"]
    assert config.digest(config.from_dict(values), "f") == config.digest(here, "f")
