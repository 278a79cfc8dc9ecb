"""`tfmem table`: its rows from real trials, and what it says when something is missing."""

import csv
import importlib.util
import json
import shutil

import numpy as np
import pytest
from cleanlab.filter import find_label_issues

from analysis.estimates import estimators
from analysis.measures import votes
from tests.conftest import assert_refused, run_program
from tests.programs import run_process
from tfmem.disk import atomic
from tfmem.store.store import Store


def table(out, *stores, flags=(), check=True):
    words = [f"--store={store}" for store in stores]
    return run_program("analysis.table", *words, f"--out={out}", *flags, check=check)


def rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_rows_of_real_trials_are_what_plain_counting_says(random_subsets, tmp_path):
    store, out = random_subsets.store, tmp_path / "t.jsonl"
    said = table(out, store.path).stdout
    found, trials = rows(out), [store.read(number) for number in range(12)]
    estimates = estimators.estimate(store.load(), store.dataset)
    assert len(found) == 1257 + 540
    issues = 0
    for row in found:
        index, is_train = row["index"], row["split"] == "train"
        split = store.dataset.train if is_train else store.dataset.test
        of_trials = [trial.train if is_train else trial.test for trial in trials]
        left_out = [not is_train or not trial.subset[index] for trial in trials]
        calls = [its.predicted[index] for its, out in zip(of_trials, left_out, strict=True) if out]
        assert (row["id"], row["class"]) == (split.ids[index], str(split.labels[index]))
        assert (row["num_in"], row["num_out"]) == (12 - len(calls), len(calls))
        if not calls:
            assert row["suggested_label"] is row["votes"] is row["label_issue"] is None
            assert row["mem"] is row["heldout_accuracy"] is row["influence"] is None
            continue
        most = max(map(calls.count, calls))
        assert row["votes"] == most / len(calls)
        assert calls.count(int(row["suggested_label"])) == most
        assert row["label_issue"] == (calls.count(split.labels[index]) < most)
        assert row["heldout_accuracy"] == calls.count(split.labels[index]) / len(calls)
        issues += row["label_issue"]
        mem = estimates.memorization[index]
        assert row["mem"] == (mem if is_train and not np.isnan(mem) else None)
    assert said.splitlines()[0] == (
        f"12 trials, 1,797 examples, {issues:,} of them called something else than their label "
        f"when left out; table: {out}"
    )
    assert said.splitlines()[1].endswith("were never left out (or never trained on): no estimate")


def test_influence_of_real_trials_is_that_of_the_estimates(random_subsets, tmp_path):
    store, out = random_subsets.store, tmp_path / "t.jsonl"
    table(out, store.path, flags=["--class=3"])
    block = estimators.estimate(store.load()).influences[3]
    places = [
        {name: place for place, name in enumerate(split.ids[index])}
        for split, index in (
            (store.dataset.train, block.train_index),
            (store.dataset.test, block.test_index),
        )
    ]
    found = rows(out)
    assert len(found) == block.value.size / len(block.test_index) + len(block.test_index)
    for row in found:
        if row["split"] == "train":
            its = block.value[places[0][row["id"]]]
            assert row["influence"] == (None if np.isnan(its).any() else its.max())
            if row["influence"] is not None:
                assert its[places[1][row["most_influenced"]]] == its.max()
        else:
            its = block.value[:, places[1][row["id"]]]
            highest = sorted(its[~np.isnan(its)].tolist(), reverse=True)[:3]
            assert [row[f"influence_{rank}"] for rank in (1, 2, 3)] == highest
            named = [places[0][row[f"influencer_{rank}"]] for rank in (1, 2, 3)]
            assert its[named].tolist() == highest
            assert len(set(named)) == 3


def test_flags_choose_rows_of_the_whole_table(random_subsets, tmp_path):
    store, out = random_subsets.store.path, tmp_path / "t.jsonl"
    table(out, store)
    whole = rows(out)
    table(out, store, flags=["--split=train", "--class=3", "--class=1", "--top=5"])
    chosen = [row for row in whole if row["class"] in "31" and row["split"] == "train"]
    assert rows(out) == chosen[:5]
    table(out, store, flags=["--split=test", "--top=600"])
    assert rows(out) == [row for row in whole if row["split"] == "test"]


def test_parts_are_one_store_and_trials_can_be_chosen(random_subsets, tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for place, path in enumerate(paths):
        shutil.copytree(random_subsets.store.path, path)
        for number in range(place, 12, 2):
            (path / "trials" / f"trial-{number:06d}.tfrecord").unlink()
    whole, some = tmp_path / "whole.csv", tmp_path / "some.csv"
    table(whole, random_subsets.store.path)
    table(some, *paths)
    assert some.read_bytes() == whole.read_bytes()
    said = table(some, random_subsets.store.path, flags=["--trials=2:5"]).stdout
    assert said.startswith("3 trials, 1,797 examples")
    with open(some, newline="") as file:
        found = list(csv.DictReader(file))
    assert {int(row["num_in"]) + int(row["num_out"]) for row in found} == {3}
    done = table(some, *paths, random_subsets.store.path, check=False)
    assert_refused(done, "both have the trials")


def test_counts_that_do_not_fit_are_counted_in_turns(random_subsets, tmp_path, monkeypatch):
    whole, again = tmp_path / "whole.csv", tmp_path / "again.csv"
    table(whole, random_subsets.store.path)
    in_blocks = votes.in_blocks
    monkeypatch.setattr(votes, "in_blocks", lambda *how: in_blocks(*how, most_counts=5000))
    table(again, random_subsets.store.path)
    assert again.read_bytes() == whole.read_bytes()


def test_without_predictions_it_says_which_columns_are_missing_and_writes_the_others(
    imported, tmp_path
):
    out = tmp_path / "t.jsonl"
    done = table(out, imported.store.path)
    assert done.stdout.splitlines() == [
        "trial 0 has no predicted labels, since its source kept none: suggested_label, votes, "
        "label_issue cannot be had",
        f"6 trials, 14 examples; table: {out}",
    ]
    found = rows(out)
    assert len(found) == 14
    assert not {"suggested_label", "votes", "label_issue"} & found[0].keys()
    trials = [imported.store.read(number) for number in range(6)]
    right = np.mean([trial.test.correct for trial in trials], axis=0)
    for row in found[10:]:
        assert row["split"] == "test"
        assert row["heldout_accuracy"] == right[row["index"]]
    mem = [row["mem"] for row in found[:10]]
    assert mem == sorted(mem, reverse=True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--out={}/t.txt"], "expected a name that ends in .csv or .jsonl or .parquet"),
        (["--out={}"], "expected a name that ends in .csv or .jsonl or .parquet"),
        (["--out={}/t.csv", "--class=33"], "unknown class '33': did you mean '3'? the known ones"),
        (["--out={}/t.csv", "--top=0"], "--top"),
        (["--out={}/t.csv", "--top=many"], "--top"),
        (["--out={}/t.csv", "--split=trian"], "value should be one of <train|test|both>"),
        (["--out={}/t.csv", "--trials=90:99"], "--trials=90:99: "),
        (["--out={}/t.csv", "--trials=9"], "--trials=9: expected START:STOP"),
    ],
)
def test_a_wrong_flag_is_one_line_and_writes_nothing(random_subsets, tmp_path, flags, said):
    flags = [word.format(tmp_path) for word in flags]
    done = run_program(
        "analysis.table", f"--store={random_subsets.store.path}", *flags, check=False
    )
    assert_refused(done, said)
    assert atomic.names(tmp_path) == []


def test_a_store_of_another_kind_is_refused(turnover_models, tmp_path):
    done = table(tmp_path / "t.csv", turnover_models.store.path, check=False)
    assert_refused(done, "not trials on random subsets: tfmem turnover reads them")


def test_parquet_without_its_library_says_how_to_have_it(random_subsets, tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *how: (name != "pyarrow" and there(name, *how)) or None,
    )
    done = table(tmp_path / "t.parquet", random_subsets.store.path, check=False)
    assert_refused(done, "a parquet file needs pyarrow: pip install -e '.[pandas]'")


def held_out_probabilities(store):
    """Returns which share of the trials that left it out calls each training example what."""
    trials = map(store.read, store.numbers())
    counts = votes.held_out_counts(trials, store.dataset.num_classes)
    return counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def test_issues_are_what_another_library_calls_predicted_unlike_given(random_subsets):
    """But for equals, of which cleanlab takes the lowest, and examples never left out."""
    store = random_subsets.store
    labels = store.dataset.train.labels
    counts, probabilities = held_out_probabilities(store)
    ordered = np.sort(counts, axis=1)
    clear = ordered[:, -1] > ordered[:, -2]
    assert 1000 < np.count_nonzero(clear) < 1257
    theirs = find_label_issues(
        labels[clear], probabilities[clear], filter_by="predicted_neq_given", n_jobs=1
    )
    ours = votes.Votes.of(counts, labels).issues(labels)
    assert theirs.any()
    np.testing.assert_array_equal(ours[clear], theirs)


@pytest.mark.slow  # Trains 200 trials.
def test_planted_wrong_labels_are_found_beside_another_library(digits, tmp_path):
    """As docs/your_data.md says; the bounds leave room for other machines' arithmetic."""
    labels, rng = digits.train.labels.copy(), np.random.default_rng(0)
    planted = rng.permutation(len(labels))[:100]
    labels[planted] = (labels[planted] + rng.integers(1, 10, 100)) % 10
    np.savez(tmp_path / "planted.npz", labels=labels)
    path, out = tmp_path / "store", tmp_path / "planted.jsonl"
    how = ("--experiment=digits_mlp", f"--labels={tmp_path / 'planted.npz'}", "--epochs=150")
    run_process("launchers.train_trials", *how, "--trials=0:200", f"--store={path}")
    table(out, path, flags=["--split=train"])
    found = rows(out)
    is_wrong = np.array([row["class"] != row["true_label"] for row in found])
    issue = np.array([row["label_issue"] for row in found])
    assert np.count_nonzero(is_wrong) == 100
    is_true = [row["suggested_label"] == row["true_label"] for row in found]
    assert np.count_nonzero(is_true & is_wrong) >= 93  # Measured: 96.
    precision, recall = quality(issue, is_wrong)
    assert precision > 0.6  # 0.66
    assert recall > 0.97  # 1.00
    _, probabilities = held_out_probabilities(Store.open(path))
    theirs = find_label_issues(labels, probabilities, n_jobs=1)
    precision, recall = quality(theirs, labels != digits.train.labels)
    assert precision > 0.85  # 0.89
    assert 0.88 < recall < 0.98  # 0.93


def quality(found, wrong):
    """Returns precision and recall, of bool [n] and bool [n]."""
    both = np.count_nonzero(found & wrong)
    return both / np.count_nonzero(found), both / np.count_nonzero(wrong)
