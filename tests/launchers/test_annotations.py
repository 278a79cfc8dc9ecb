"""Labels and candidates of one's own through the real programs, on real digits."""

import dataclasses

import numpy as np
import pytest

from analysis.estimates import scores
from analysis.measures import agreement
from tests.conftest import assert_refused, run_program
from tests.trials import assert_same_trial
from tfmem.datasets import Annotations
from tfmem.store.store import Store
from tfmem.training import trainers

QUICK = ("--experiment=digits_mlp", "--epochs=1")
WRONG = 100


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """Labels of which 100 are wrong, shuffled, with ids; and 200 candidates, these among them."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    labels = digits.train.labels.copy()
    order = rng.permutation(len(labels))
    labels[order[:WRONG]] = (labels[order[:WRONG]] + rng.integers(1, 10, WRONG)) % 10
    rows = [f"{digits.train.ids[i]},{labels[i]}" for i in rng.permutation(len(labels))]
    (folder / "labels.csv").write_text("id,label\n" + "\n".join(rows))
    (folder / "candidates.txt").write_text("\n".join(map(str, order[: 2 * WRONG])))
    return folder, order


def train(store, *flags, program="train_trials", check=True):
    return run_program(f"launchers.{program}", f"--store={store}", *flags, check=check)


def both(folder):
    return f"--labels={folder / 'labels.csv'}", f"--candidates={folder / 'candidates.txt'}"


@pytest.fixture(scope="module")
def made(tmp_path_factory, files):
    """A store of four trials with labels and candidates of one's own."""
    path = tmp_path_factory.mktemp("stores") / "store"
    train(path, *QUICK, *both(files[0]), "--trials=0:4")
    return Store.open(path)


def test_candidates_alone_are_left_out_and_the_labels_are_those_of_the_file(made, files, digits):
    _, order = files
    candidates = np.zeros(len(digits.train), bool)
    candidates[order[: 2 * WRONG]] = True
    train_split = made.dataset.train
    np.testing.assert_array_equal(train_split.candidates, candidates)
    np.testing.assert_array_equal(train_split.true_labels, digits.train.labels)
    assert np.flatnonzero(train_split.corrupted).tolist() == sorted(order[:WRONG])
    for number in range(4):
        trial = made.read(number)
        assert trial.subset[~candidates].all()
        assert trial.subset[candidates].sum() == 140
        np.testing.assert_array_equal(
            trial.train.correct, trial.train.predicted == train_split.labels
        )


def test_one_at_a_time_gives_the_same_trials(made, files, tmp_path):
    train(tmp_path, *QUICK, *both(files[0]), "--trials=3:4", "--stack=none")
    ours, theirs = Store.open(tmp_path).read(3), made.read(3)
    np.testing.assert_array_equal(ours.subset, theirs.subset)
    assert (ours.test.predicted == theirs.test.predicted).mean() >= 0.99


def test_a_store_goes_on_without_its_files(files, made, tmp_path):
    """Moved files are the same ones; of deleted ones the store has what they said."""
    folder, _ = files
    for name in ("labels.csv", "candidates.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    path = tmp_path / "store"
    train(path, *QUICK, *both(tmp_path), "--trials=0:1")
    train(path, *QUICK, *both(folder), "--trials=0:2")
    for name in ("labels.csv", "candidates.txt"):
        (tmp_path / name).unlink()
    done = train(path, *QUICK, *both(tmp_path), "--trials=0:3")
    assert f"{tmp_path / 'labels.csv'} is not there: what it said is in {path}" in done.stderr
    for number in range(3):
        assert_same_trial(Store.open(path).read(number), made.read(number))
    checked = run_program("launchers.check_store", f"--store={path}")
    assert "3 trials are there and sound" in checked.stdout
    done = train(tmp_path / "new", *QUICK, *both(tmp_path), check=False)
    assert_refused(done, f"{tmp_path / 'labels.csv'} does not exist", tmp_path / "new")


def test_a_changed_file_is_another_experiment(files, made, tmp_path):
    folder, order = files
    changed = tmp_path / "candidates.txt"
    changed.write_text("\n".join(map(str, order[:150])))
    flags = both(folder)[0], f"--candidates={changed}"
    done = train(made.path, *QUICK, *flags, "--trials=0:4", check=False)
    assert_refused(done, "candidates_digest: ")
    assert "labels_digest" not in done.stderr


def test_a_worker_needs_no_files(made):
    """What the files said goes with the work, to machines where they are not."""
    away = {"labels": "/nowhere/labels.csv", "candidates": "/nowhere/candidates.txt"}
    config = dataclasses.replace(made.config, **away)
    given = Annotations.of(made.dataset.train)
    trainer = trainers.load_trainer(config, None, given, trainers.Options(), None)
    (trial,) = trainer.train([2], lambda amount: None)
    np.testing.assert_array_equal(trial.subset, made.read(2).subset)
    np.testing.assert_array_equal(trial.train.correct, made.read(2).train.correct)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--labels={}/labels.csv", "--corrupted_labels=3"], "not both"),
        (["--labels={}/candidates.txt"], "has 200 labels, and digits has 1,257 training examples"),
        (["--labels={}/labels.csv:annotator"], "lacks annotator; it has id, label"),
        (["--labels={}/none.npz:x"], "none.npz does not exist"),
        (["--candidates={}/labels.csv:label"], "names "),
        (["--candidates={}/candidates.txt", "--subset_ratio=0.999"], "takes 200 of 200 candidates"),
    ],
)
def test_bad_files_leave_no_store(files, tmp_path, flags, words):
    store = tmp_path / "store"
    done = train(store, *QUICK, *(flag.format(files[0]) for flag in flags), check=False)
    assert_refused(done, words, store)


@pytest.mark.parametrize("program", ["train_removal", "train_turnover", "train_dynamics"])
def test_programs_with_subsets_of_their_own_have_no_candidates(files, tmp_path, program):
    store = tmp_path / "store"
    done = train(store, *QUICK, both(files[0])[1], program=program, check=False)
    assert done.returncode != 0
    assert "Unknown command line flag 'candidates'" in done.stderr
    assert not store.exists()


def test_last_layers_have_both(files, tmp_path):
    flags = ("--experiment=digits_last_layer", "--network_epochs=1", "--epochs=1", "--trials=0:2")
    train(tmp_path / "store", *flags, *both(files[0]), program="train_last_layer")
    store = Store.open(tmp_path / "store")
    config = store.config
    assert config.network.labels_digest == config.experiment.labels_digest != ""
    assert (config.network.candidates, config.network.candidates_digest) == ("", "")
    left_out = ~store.read(0).subset
    assert left_out.sum() == 60
    assert store.dataset.train.candidates[left_out].all()


def test_easy_and_difficult_are_told_apart_by_ones_own_labels(files, tmp_path):
    folder, order = files
    flags = (*QUICK, both(folder)[0], "--subset_size=40", "--conditions=difficult")
    train(tmp_path / "store", *flags, program="train_dynamics")
    kept = np.flatnonzero(Store.open(tmp_path / "store").read(0).subset)
    assert len(kept) == 40
    assert set(kept) <= set(order[:WRONG])
    said = run_program("analysis.dynamics", f"--store={tmp_path / 'store'}").stdout
    assert "; 100 training labels were replaced" in said.splitlines()[0]


def test_analysis_of_labels_and_candidates_of_ones_own(made, files, tmp_path):
    """Nobody but candidates has an estimate; figures and the report show pictures all the same."""
    subsets = np.stack([made.read(number).subset for number in range(4)])
    expected = ~subsets.all(axis=0) & subsets.any(axis=0)
    estimates, page = tmp_path / "estimates.npz", tmp_path / "report.html"
    words = f"--store={made.path}", f"--out={estimates}", "--allow_missing"
    said = run_program("analysis.estimate", *words)
    unknown = np.count_nonzero(~expected)
    assert f"{unknown:,} of 1,257 training examples were never left out" in said.stdout
    with np.load(estimates) as found:
        np.testing.assert_array_equal(np.isfinite(found["tr_mem"]), expected)
        assert not expected[~made.dataset.train.candidates].any()
        np.testing.assert_array_equal(found["num_out"][~made.dataset.train.candidates], 0)
        np.testing.assert_array_equal(found["tr_labels"], made.dataset.train.labels)
    run_program("analysis.report", f"--store={made.path}", f"--out={page}", "--allow_missing")
    assert "no pictures" not in page.read_text()
    figures = ("analysis.figures", f"--estimates={estimates}", "--dataset=digits")
    figures += (f"--out={tmp_path / 'figures'}", "--formats=png")
    assert_refused(run_program(*figures, check=False), "labels training example")
    done = run_program(*figures, both(files[0])[0])
    assert "fig1-memorization: " in done.stdout


@pytest.mark.slow
def test_wrong_labels_are_memorized_and_candidates_agree_with_the_full_run(files, tmp_path):
    """100 wrong labels of a file are found as --corrupted_labels finds those that it changed.

    Of the 200 candidates, 100 of which have wrong labels, the estimates agree with those of a run
    in which any example may be left out; all others have none.
    """
    recipe = ("--experiment=digits_mlp", "--epochs=150", "--trials=0:100")
    runs = {
        "own": both(files[0])[:1],
        "candidates": both(files[0]),
        "corrupted": [f"--corrupted_labels={WRONG}"],
    }
    memorization, changed = {}, {}
    for name, flags in runs.items():
        train(tmp_path / name, *recipe, *flags)
        out = tmp_path / f"{name}.npz"
        words = f"--store={tmp_path / name}", f"--out={out}", "--influence=none"
        run_program("analysis.estimate", *words)
        with np.load(out) as found:
            memorization[name] = found["tr_mem"]
        split = Store.open(tmp_path / name).dataset.train
        changed[name] = split.labels != split.true_labels
    areas = {name: scores.auc(memorization[name], changed[name]) for name in ("own", "corrupted")}
    known = np.isfinite(memorization["candidates"])
    correlation = agreement.rank_correlation(
        memorization["own"][known], memorization["candidates"][known]
    )
    assert changed["own"].sum() == WRONG
    assert areas["own"] > 0.9
    assert abs(areas["own"] - areas["corrupted"]) < 0.05
    np.testing.assert_array_equal(
        known, Store.open(tmp_path / "candidates").dataset.train.candidates
    )
    assert known.sum() == 2 * WRONG
    assert correlation > 0.9
