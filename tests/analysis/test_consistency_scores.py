"""Profiles and scores of four examples counted by hand; the program by its flags."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from analysis.estimates import consistency_scores, files
from analysis.estimates.consistency_scores import Profile
from analysis.estimates.values import Estimates
from analysis.measures import profiles
from tests.analysis.test_compare import details
from tests.analysis.test_consistency import squeezed
from tests.conftest import assert_refused, run_program
from tests.sources import random_dataset
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

# By the subset ratio: which examples each trial saw, and which it was right on.
TRIALS = {
    0.25: (("1000", "1100"), ("0100", "0101")),
    0.75: (("1110", "1110"), ("1101", "1110"), ("1011", "1100")),
}
# By hand: at 0.25 the trials that left example 2 out are two, and none is right.
PROFILE = [[0, 1, 0, 0.5], [np.nan, 1, 1, 0]]
NUM_OUT = [[1, 1, 2, 2], [0, 1, 1, 1]]
SCORES = [np.nan, 1, 0.5, 0.25]
FOUR = random_dataset(np.random.default_rng(1), (4, 3), (2, 2, 1))


def bits(text):
    return np.array([character == "1" for character in text])


@pytest.fixture
def make(tmp_path, tiny_config):
    """Makes a store of the trials of a ratio, numbered from a first one."""

    def made(ratio, seed=0, chosen=slice(None), dataset=FOUR, first=0, name="", **fields):
        path = tmp_path / (name or f"{ratio}-{seed}-{first}")
        config = dataclasses.replace(tiny_config, subset_ratio=ratio, seed=seed, **fields)
        found = TRIALS[ratio][chosen]
        store = Store.create(path, config, dataset, trials=range(first, first + len(found)))
        for number, (subset, correct) in enumerate(found, first):
            n = len(dataset.train)
            train = Predictions(np.resize(bits(correct), n))
            test = Predictions(np.ones(len(dataset.test), bool))
            store.write(Trial(number, seed, np.resize(bits(subset), n), train, test))
        return path

    return made


def run(*flags, check=True):
    return run_program("analysis.consistency_scores", *flags, check=check)


def test_profiles_and_scores_by_hand(make, tmp_path):
    out, figure = tmp_path / "scores.npz", tmp_path / "profile.png"
    words = [f"--store={make(0.75)}", f"--store={make(0.25)}", f"--out={out}"]
    done = run(*words, f"--figure={figure}")
    with np.load(out) as found:
        assert {name: found[name].dtype for name in ("labels", "scores")} == {
            "labels": np.int64,
            "scores": np.float64,
        }
        np.testing.assert_equal(found["scores"], SCORES)
        np.testing.assert_equal(found["profile"], PROFILE)
        assert found["num_out"].tolist() == NUM_OUT
        assert found["ratios"].tolist() == [0.25, 0.75]
        assert found["num_trials"].tolist() == [2, 3]
        assert found["labels"].tolist() == [0, 1, 2, 0]
        assert found["ids"].tolist() == [f"train_{number:05d}".encode() for number in range(4)]
    lines = squeezed(done.stdout)
    assert lines[:3] == [
        "ratio trials P[correct | left out] fewest left out never left out",
        "0.25 2 0.3750 1 0",
        "0.75 3 0.6667 0 1",
    ]
    assert lines[3] == (
        "consistency score, the mean over 2 ratios: mean 0.5833 over 3 training examples; "
        "1 of 4 have none: a ratio never left them out"
    )
    assert Image.open(figure).size[0] > 1000
    # compare reads it: of the three with a score, ranks 2, 1, 3 and 3, 2, 1: 1 - 6 * 6 / 24.
    estimates = tmp_path / "a.npz"
    labels = FOUR.train.labels, FOUR.test.labels
    of_examples = details(np.zeros(4), 0.1, [1, 0.2, 0.1, 0.3])
    made = Estimates(np.zeros(4), *labels, (), of_examples, train_ids=FOUR.train.ids)
    files.write(estimates, dataclasses.replace(made, test_ids=FOUR.test.ids))
    done = run_program(
        "analysis.compare", f"--estimates_a={estimates}", f"--consistency_scores={out}"
    )
    assert "rank correlation -0.500 over 3 examples\n" in done.stdout


def test_trials_of_one_ratio_count_together(make, tmp_path):
    """Parts of a store, and trials of another seed; the file is that of one store, to the byte."""
    out, expected = tmp_path / "scores.npz", tmp_path / "expected.npz"
    low = f"--store={make(0.25)}"
    done = run(low, f"--store={make(0.75, name='whole')}", f"--out={expected}")
    pieces = [
        make(0.75, chosen=slice(0, 1)),
        make(0.75, chosen=slice(1, 2), first=1, num_trials=100),
        make(0.75, chosen=slice(2, 3), seed=5),
    ]
    refused = run(low, *(f"--store={path}" for path in pieces), f"--out={out}", check=False)
    assert_refused(refused, "hold trials of different configurations: num_trials: 1000 and 100")
    pieces[1] = make(0.75, chosen=slice(1, 2), first=1, name="part")
    again = run(*(f"--store={path}" for path in pieces), low, f"--out={out}")
    assert out.read_bytes() == expected.read_bytes()
    assert again.stdout.replace("scores.npz", "expected.npz") == done.stdout


def test_chosen_and_missing_trials(make, tmp_path):
    out, low, high = tmp_path / "scores.npz", make(0.25), make(0.75)
    damaged = high / "trials" / "trial-000001.tfrecord"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    words = (f"--store={low}", f"--store={high}", f"--out={out}")
    assert "trial-000001.tfrecord" in run(*words, check=False).stderr.splitlines()[-1]
    assert not out.exists()
    done = run(*words, "--allow_missing")
    assert "left out: 1 damaged trial, 1: " in done.stdout
    assert "0.75 2 of 3 0.5000 0 2" in squeezed(done.stdout)
    run(*words, "--trials=0:1")
    np.testing.assert_equal(np.load(out)["scores"], [np.nan, np.nan, np.nan, 0])
    refused = run(*words, "--trials=2:4", check=False)
    assert_refused(refused, f"--trials=2:4: {low} has none of these")


def test_scores_of_others_are_compared_with(make, tmp_path):
    """Published is 0.2, 0.4, 0.9, 0.95: below 0.95, two with a score, in the other order."""
    published = tmp_path / "published.npy"
    np.save(published, np.array([0.2, 0.4, 0.9, 0.95]))
    words = [f"--store={make(0.25)}", f"--store={make(0.75)}", f"--out={tmp_path / 's.npz'}"]
    words.append(f"--published={published}")
    lines = squeezed(run(*words).stdout)
    assert lines[0].endswith(" never left out rank correlation")
    # At 0.25: ranks 1.5, 4, 1.5, 3; at 0.75: 2.5, 2.5, 1.
    assert [line.split()[-1] for line in lines[1:3]] == ["0.211", "-0.866"]
    assert "score and published score: rank correlation -1.000 over 3 examples" in lines
    lines = squeezed(run(*words, "--max_score=0.95").stdout)
    assert lines[0].endswith("rank correlation, below 0.95")
    assert [line.split()[-1] for line in lines[1:3]] == ["0.000", "-"]
    assert lines[-2].endswith("-1.000 over 2 examples with a score below 0.95")
    np.save(published, np.zeros(5))
    refused = run(*words, check=False)
    assert_refused(refused, "has 5 scores, expected one for each of the 4 training examples")
    np.savez(tmp_path / "other.npz", scores=np.zeros(4), labels=np.array([0, 1, 2, 1]))
    words[-1] = f"--published={tmp_path / 'other.npz'}"
    refused = run(*words, check=False)
    assert_refused(refused, "labels training example 3 1, and the stores 0: another dataset")
    refused = run(*words[:-1], "--max_score=0.9", check=False)
    assert_refused(refused, "--max_score is of --published")


def test_what_cannot_be_scored_gets_one_line(make, tmp_path, request):
    first = make(0.25)
    others = random_dataset(np.random.default_rng(2), (4, 3), (2, 2, 1))
    copy = shutil.copytree(first, tmp_path / "copy")
    of = {
        name: request.getfixturevalue(name).store.path
        for name in ("last_layer", "removal_runs", "turnover_models", "followed_runs", "imported")
    }
    for path, words in (
        (first, f"--store={first} is given twice"),
        (f"{tmp_path}/x/../{first.name}", f"{first.name} is given twice"),
        (copy, "both have the trials 0:2; each trial counts once"),
        (
            make(0.75, name="epochs", epochs=7, momentum=0.5),
            "and trials: epochs: 3 and 7; momentum: 0.9 and 0.5",
        ),
        (
            make(0.75, dataset=others, name="others"),
            f"others differ in more than subset_ratio, seed and trials: dataset fingerprint: "
            f"{FOUR.fingerprint[:12]} and {others.fingerprint[:12]}",
        ),
        (
            make(0.75, name="few", candidates="c.txt", candidates_digest="1"),
            "but the examples of --candidates",
        ),
        (of["imported"], "holds imported trials, whose subset ratio and recipe nobody knows"),
        (of["last_layer"], "holds trials of the last layer, whose network has seen every example"),
        (of["removal_runs"], "holds runs with chosen examples removed, not trials on random"),
        (of["turnover_models"], "holds models with turn-over dropout, not trials on random"),
        (of["followed_runs"], "holds runs that are followed epoch by epoch, not trials on random"),
        (tmp_path / "absent", "absent is not a store"),
    ):
        flags = (f"--store={first}", f"--store={path}", f"--out={tmp_path / 's.npz'}")
        assert_refused(run(*flags, check=False), words)
    empty = make(0.75, chosen=slice(0, 0), name="empty")
    done = run(f"--store={first}", f"--store={empty}", f"--out={tmp_path / 's.npz'}", check=False)
    assert_refused(done, "empty has no finished trials")
    assert not (tmp_path / "s.npz").exists()


def profile_of(value, labels, num_out=1):
    value = np.array(value, float)
    ids = np.array([f"e{number}" for number in range(value.shape[1])])
    ratios = np.arange(1, 1 + len(value)) / 10
    out = np.where(np.isnan(value), 0, num_out)
    return Profile(ratios, np.full(len(value), 9), out, value, np.array(labels), ids)


def test_groups_by_score_and_classes():
    """Of 200 examples the lowest 1% are two, and the next 4% eight; one more has no score."""
    scores = np.arange(200) / 200
    value = np.column_stack([np.stack([scores, scores]), [0.5, np.nan]])
    groups = profiles.by_score(profile_of(value, np.zeros(201, int)))
    assert [(group.start, group.stop) for group in groups] == [
        (0, 0.01),
        (0.01, 0.05),
        (0.05, 0.1),
        (0.1, 0.25),
        (0.25, 1),
    ]
    means = np.array([0.5, 5.5, 14.5, 34.5, 124.5]) / 200
    np.testing.assert_allclose([group.value for group in groups], np.stack([means] * 2, 1))
    found = profile_of([[0, 1, 0.5], [np.nan, 0, 0.5]], [0, 0, 2])
    np.testing.assert_equal(
        profiles.by_class(found, 4), [[0.5, 0], [np.nan] * 2, [0.5] * 2, [np.nan] * 2]
    )
    (few,) = profiles.by_score(profile_of([[0.25]], [0]))  # Too few for the others.
    assert (few.start, few.stop, few.value.tolist()) == (0.25, 1, [0.25])


def test_a_file_of_ours_is_found_by_ids_and_known_by_its_kind(tmp_path):
    path, profile = tmp_path / "s.npz", profile_of([[0.25, np.nan, 1]], [2, 0, 1])
    consistency_scores.write(path, profile)
    np.testing.assert_equal(files.read_consistency_scores(path), [0.25, np.nan, 1])
    order = np.array([2, 0, 1])
    found = files.read_consistency_scores(path, profile.labels[order], profile.ids[order])
    np.testing.assert_equal(found, [1, 0.25, np.nan])
    with pytest.raises(ValueError, match=r"s\.npz is consistency scores; expected an estimates"):
        files.read(path)
