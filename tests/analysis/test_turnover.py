"""Tables and figures of turn-over dropout counted by hand; stores read through the real program."""

import dataclasses
import math

import numpy as np
import pytest

from analysis.estimates import scores
from analysis.estimates.scores import Scores, SplitScores
from analysis.measures import turnover
from tests.conftest import run_program
from tests.recording import recorded
from tests.trials import followed_trial
from tfmem import datasets, experiments
from tfmem.config import TurnoverConfig
from tfmem.disk import npz
from tfmem.store import artifacts
from tfmem.store.store import Store

NO_LABELS = np.zeros(0, np.int64)
MADE_BY = ["train_turnover", "--experiment=digits_mlp"]


def kept(score, unmuted_predicted, muted_predicted, test_correct):
    """Returns what is kept of an epoch whose scores are these."""
    return {
        "unmuted_loss": np.full(len(score), 0.5, np.float32),
        "muted_loss": (0.5 + np.asarray(score)).astype(np.float32),
        "unmuted_predicted": np.asarray(unmuted_predicted, np.uint16),
        "muted_predicted": np.asarray(muted_predicted, np.uint16),
        "test_correct": np.asarray(test_correct, bool),
    }


def squeezed(table):
    return [" ".join(line.split()) for line in table.splitlines()]


def of_score(score, labels=NO_LABELS, **changes):
    """Returns Scores of which only some fields matter."""
    score = np.asarray(score, np.float64)
    predicted = np.zeros(len(score), np.uint16)
    train = SplitScores(score, predicted, predicted)
    no_ids = np.zeros(0, np.str_)
    found = Scores(train, None, np.asarray(labels), NO_LABELS, no_ids, no_ids, 1, 1)
    return dataclasses.replace(found, **changes)


def test_accuracies_are_means_over_models(tiny):
    """Of 4 examples that count, unmuted 2 and 4, muted 1 and 3 are right; test 3 and 6 of 9."""
    trials = [
        followed_trial(
            number,
            tiny,
            {
                1: kept([0] * 5, [7] * 5, [7] * 5, [False] * 9),
                3: kept([0] * 5, unmuted, muted, np.arange(9) < right),
            },
        )
        for number, unmuted, muted, right in (
            (0, [0, 1, 0, 0, 9], [0, 2, 0, 0, 9], 3),
            (1, [0, 1, 2, 2, 9], [0, 1, 2, 0, 9], 6),
        )
    ]
    found = turnover.accuracies(trials, [1, 3], np.array([0, 1, 2, 2]))
    assert found.epochs.tolist() == [1, 3]
    assert found.unmuted.tolist() == [0, 0.75]
    assert found.muted.tolist() == [0, 0.5]
    np.testing.assert_allclose(found.test, [0, 0.5])
    lines = turnover.accuracy_lines(found, 4, 9, False).splitlines()
    assert lines == [
        "accuracy of the whole network on 9 test examples: 50.00%",
        "accuracy on 4 training examples: 75.00% of unmuted, 50.00% of muted sub-networks",
    ]
    trained_on = turnover.accuracy_lines(found, 4, 9, True).splitlines()[0]
    assert trained_on.endswith("9 test examples, which it was trained on too: 50.00%")


def test_scores_by_epoch_are_means_of_the_first_examples(tiny):
    trials = [
        followed_trial(
            number, tiny, {epoch: kept([epoch * step, step, 5], [0] * 3, [0] * 3, [True] * 9)}
        )
        for epoch in (2,)
        for number, step in ((0, 1), (1, 3))
    ]
    assert turnover.scores_by_epoch(trials, [2], 2).tolist() == [[4, 2]]


def test_early_stopping_by_hand():
    """Of 20 scores: reversed; the third highest first; in order. Top 1% is 1, top 10% is 2.

    Moving one rank by 2 and two by 1 gives 1 - 6 * (4 + 1 + 1) / (20 * 399).
    """
    final = np.arange(20.0)
    moved = final.copy()
    moved[17] = 30  # 17 before 19 and 18.
    found = turnover.early_stopping([1, 4, 9], np.stack([-final, moved, final**2]))
    assert found.epochs.tolist() == [1, 4, 9]
    np.testing.assert_allclose(found.correlation, [-1, 1 - 36 / 7980, 1])
    assert found.overlap.tolist() == [[0, 0, 1], [0, 0.5, 1]]
    assert found.settled == 4
    assert squeezed(turnover.early_stopping_table(found))[1:] == [
        "epoch Spearman top 1% top 10%",
        "1 -1.0000 0.0% 0.0%",
        "4 0.9955 0.0% 50.0%",
        "9 1.0000 100.0% 100.0%",
        "Spearman's rank correlation reaches 0.95 after 4 of 9 epochs",
    ]


def test_scores_that_settle_late_or_never():
    late = turnover.early_stopping([1, 2], np.array([[2.0, 1, 0], [0, 1, 2]]))
    assert late.settled == 2
    assert turnover.early_stopping_table(late).endswith(
        "reaches 0.95 after the last of 2 epochs alone"
    )
    constant = turnover.early_stopping([1, 2], np.zeros((2, 3)))
    assert constant.settled is None
    table = squeezed(turnover.early_stopping_table(constant))
    assert table[2:] == [
        "1 - 100.0% 100.0%",
        "2 - 100.0% 100.0%",
        "Spearman's rank correlation reaches 0.95 never",
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [0]),
        (3, [0, 1, 2]),
        # 1, 1.6, 2.6, 4.2, 6.9, 11.1, 18.0, 29.2, 47.2, 76.4, 123.6, 200
        (200, [0, 1, 2, 3, 6, 10, 17, 28, 46, 75, 123, 199]),
    ],
)
def test_epochs_of_the_table_are_dense_where_scores_change(count, expected):
    assert turnover.spread(range(count)).tolist() == expected


# Six examples; the labels of the last four were replaced, of which one by itself.
CORRUPTED = of_score(
    [0.1, 0.5, 0.3, 0.4, 2.0, 3.0],
    [0, 1, 1, 0, 0, 1],
    true_labels=np.array([0, 1, 1, 1, 1, 0]),
    corrupted=np.array([False, False, True, True, True, True]),
)


def test_corruption_by_hand():
    """Replaced 0.3, 0.4, 2, 3 and the others 0.1, 0.5: 6 of 8 pairs are in order.

    Changed 0.4, 2, 3 and the others 0.1, 0.3, 0.5: 8 of 9 are.
    """
    found = turnover.corruption(CORRUPTED)
    assert found.groups == {
        "real": (2, pytest.approx(0.3)),
        "replaced": (4, pytest.approx(5.7 / 4)),
        "  that is another one": (3, pytest.approx(1.8)),
    }
    assert found.auc_replaced == pytest.approx(6 / 8)
    assert found.auc_changed == pytest.approx(8 / 9)
    assert squeezed(turnover.corruption_table(found)) == [
        "label examples mean score",
        "real 2 0.300",
        "replaced 4 1.425",
        "that is another one 3 1.800",
        "ROC AUC of the score: 0.8889 for labels that are another one, 0.7500 for all that were "
        "replaced",
    ]


def test_if_all_labels_are_replaced_there_is_nothing_to_find():
    all_replaced = dataclasses.replace(CORRUPTED, corrupted=np.ones(6, bool))
    found = turnover.corruption(all_replaced)
    assert math.isnan(found.groups["real"][1])
    assert math.isnan(found.auc_replaced)
    lines = squeezed(turnover.corruption_table(found))
    assert lines[1] == "real 0 -"
    assert lines[-1].endswith("another one, - for all that were replaced")


def test_quantiles_of_both_splits():
    """Of 0 to 100 the quantiles are the percentages; negative zero is none."""
    zeros = np.full(4, -0.0001)
    found = of_score(np.arange(101), test=SplitScores(zeros, zeros, zeros))
    assert squeezed(turnover.quantile_table(found)) == [
        "scores in nats mean lowest 1% 10% 25% median 75% 90% 99% highest",
        "101 training examples 50.000 0.000 1.000 10.000 25.000 50.000 75.000 90.000 99.000 "
        "100.000",
        "4 test examples" + " 0.000" * 10,
    ]


def test_most_influential_examples_by_hand(tiny):
    """Training examples 3, 0 and 5 have influence; by score they are 5, 3 and 0."""
    influence = np.array(
        [
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
            [0.0] * 9,
            [0.5, 0.5, -1.0, 0.5, 0.25, 0.5, 0.0, 0.75, 0.0],
        ],
        np.float32,
    )
    score = np.array([1.0, 9.0, 9.0, 2.0, 9.0, 3.0])
    found = turnover.most_influential(np.array([3, 0, 5]), influence, score)
    by_index = {train: [test for test, _ in tests] for train, tests in found.items()}
    assert list(by_index.items()) == [(5, [7, 0, 1, 3]), (3, [8, 7, 6, 5]), (0, [0, 1, 2, 3])]
    assert [value for _, value in found[5]] == [0.75, 0.5, 0.5, 0.5]
    table = squeezed(turnover.influence_table({5: found[5]}, score, tiny, 4, 3))
    assert table == [
        "influence on test examples in nats, by model 4, of the 1 training examples with the "
        "highest scores of 3",
        "score training example: test examples that it influences most",
        "3.000 train_00005 (c): test_00007 (b) 0.750, test_00000 (a) 0.500, test_00001 (b) 0.500, "
        "test_00003 (a) 0.500",
    ]


def test_no_more_than_five_influential_examples():
    found = turnover.most_influential(np.arange(7), np.zeros((7, 2)), np.arange(7.0))
    assert list(found) == [6, 5, 4, 3, 2]
    assert [test for test, _ in found[6]] == [0, 1]


def config(dataset, **changes):
    experiment = dataclasses.replace(experiments.get("digits_mlp"), dataset=dataset, epochs=3)
    return TurnoverConfig(dataclasses.replace(experiment, **changes))


# Of 21 examples, example i has the mean score (i + 1) / 10.
RISING = np.arange(21) / 10


def write_models(store, numbers=(0, 1)):
    """Writes models whose scores are reversed, then all but final, then final."""
    labels = store.dataset.train.labels
    almost = RISING.copy()
    almost[[18, 19]] = almost[[19, 18]]
    wrong = (labels + 1) % 3
    for number in numbers:
        unmuted = np.where(np.arange(21) < 3 * (1 - number), wrong, labels)
        muted = np.where(np.arange(21) >= 15, wrong, labels)
        right = np.arange(9) < 8 - number
        offset = 0.2 * number
        store.write(
            followed_trial(
                number,
                store.dataset,
                {
                    1: kept(-RISING, wrong, wrong, [False] * 9),
                    2: kept(almost + offset, labels, labels, [True] * 9),
                    3: kept(RISING + offset, unmuted, muted, right),
                },
            )
        )


@pytest.fixture
def made(tmp_path, tiny):
    """A store of two models on the tiny dataset, which is an npz file."""
    np.savez(
        tmp_path / "tiny.npz",
        x_train=tiny.train.images,
        y_train=tiny.train.labels,
        x_test=tiny.test.images,
        y_test=tiny.test.labels,
        class_names=np.array(["a", "bee", "c"]),
    )
    found = config(f"npz:{tmp_path / 'tiny.npz'}")
    store = Store.create(tmp_path / "store", found, datasets.load_for(found), MADE_BY)
    write_models(store)
    return store


def test_the_program_says_what_was_counted(made, tmp_path):
    """By hand: 39 of 42, 30 of 42 and 15 of 18 are right; two neighbours are swapped in epoch 2."""
    npz.write_npz(
        made.path / "influence" / "trial-000000.npz",
        {"tr_idx": np.array([20]), "influence": np.arange(9, dtype=np.float32)[None] / 10},
    )
    out = tmp_path / "scores.npz"
    words = [f"--store={made.path}", f"--out={out}"]
    words += [f"--figures={tmp_path / 'figures'}", "--formats=png,svg"]
    done = run_program("analysis.turnover", *words)
    names = ("fig2-scores", "fig7-low", "fig7-high", "fig9-subnetworks", "early-stopping")
    figures = tmp_path / "figures"
    assert squeezed(done.stdout) == [
        "digits_mlp: 2 models with turn-over dropout, after epoch 3",
        "accuracy of the whole network on 9 test examples: 83.33%",
        "accuracy on 21 training examples: 92.86% of unmuted, 71.43% of muted sub-networks",
        "scores in nats mean lowest 1% 10% 25% median 75% 90% 99% highest",
        "21 training examples 1.100 0.100 0.120 0.300 0.600 1.100 1.600 1.900 2.080 2.100",
        "scores after fewer epochs and those after 3: rank correlation, and the share of the "
        "highest that is found",
        "epoch Spearman top 1% top 10%",
        "1 -1.0000 0.0% 0.0%",
        # 1 - 6 * 2 / (21 * 440); the two highest are 19 and 20, and 18 and 20.
        "2 0.9987 100.0% 50.0%",
        "3 1.0000 100.0% 100.0%",
        "Spearman's rank correlation reaches 0.95 after 2 of 3 epochs",
        "influence on test examples in nats, by model 0, of the 1 training examples with the "
        "highest scores of 1",
        "score training example: test examples that it influences most",
        "2.100 train_00020 (c): test_00008 (c) 0.800, test_00007 (bee) 0.700, test_00006 (a) "
        "0.600, test_00005 (c) 0.500",
        f"scores: {out}",
        *(f"{name}: {figures}/{name}.png, {figures}/{name}.svg" for name in names),
    ]
    found = scores.read(out)
    np.testing.assert_allclose(found.train.score, RISING + 0.1, atol=1e-6)
    np.testing.assert_allclose(found.train.standard_error, 0.1, atol=1e-6)
    assert found.train_ids.tolist() == made.dataset.train.ids.tolist()
    assert (found.epoch, found.num_models) == (3, 2)
    written = sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    assert sorted(path.name for path in figures.iterdir()) == written


def test_the_figures_of_the_program(made, tmp_path, tiny):
    found, said = recorded(
        "analysis.turnover", "--figures", tmp_path / "out", f"--store={made.path}", "--trials=0:1"
    )
    assert "digits_mlp: 1 model with turn-over dropout, after epoch 3" in said
    images = tiny.train.images[..., 0].tolist()
    lowest, highest = found["fig7-low"], found["fig7-high"]
    shown = [first + 3 * k for first in range(3) for k in range(5)]
    assert lowest.images == [images[i] for i in shown]
    assert [text for text in lowest.texts if text in ("a", "bee", "c")] == ["a", "bee", "c"]
    # Unmuted are wrong of 0 to 2, muted of 15 to 20.
    assert lowest.texts[2:7] == ["a", "(0, 1, 0)", "0.00", "(0, 0, 0)", "0.30"]
    shown = [last - 3 * k for last in (18, 19, 20) for k in range(5)]
    assert highest.images == [images[i] for i in shown]
    assert highest.texts[2:7] == ["a", "(0, 0, 1)", "1.80", "(0, 0, 1)", "1.50"]
    assert sum(found["fig2-scores"].heights) == 2 * 21  # What is filled, and its outline.
    curves = found["fig9-subnetworks"].lines
    assert curves["unmuted sub-network, training"] == pytest.approx([0, 1, 18 / 21])
    assert curves["muted sub-network, training"] == pytest.approx([0, 1, 15 / 21])
    assert curves["whole network, test"] == pytest.approx([0, 1, 8 / 9])
    settling = found["early-stopping"].lines
    assert settling["Spearman's rank correlation"] == pytest.approx([-1, 1 - 12 / 9240, 1])
    assert settling["share of the top 10% found"] == [0, 0.5, 1]


def test_scores_after_fewer_epochs_of_the_models_that_are_there(made, tmp_path):
    out = tmp_path / "scores.npz"
    words = (f"--store={made.path}", "--trials=1:3", "--epoch=2", f"--out={out}")
    lines = run_program("analysis.turnover", *words).stdout.splitlines()
    assert lines[0].startswith("incomplete: 1 of 2 models are there: tfmem train_turnover ")
    assert "--trials=1:3" in lines[0]
    assert lines[1] == "digits_mlp: 1 model with turn-over dropout, after epoch 2"
    assert "Spearman's rank correlation reaches 0.95 after the last of 2 epochs alone" in lines
    found = scores.read(out)
    assert found.train.score[18:20] == pytest.approx([1.9 + 0.2, 1.8 + 0.2])
    assert found.train.standard_error is None


def test_corrupted_labels_and_test_examples(tmp_path, tiny, made):
    """12 labels are replaced, and have the score 2; all others have 0.5, test examples 0.25."""
    found = dataclasses.replace(
        config(made.config.dataset, corrupted_labels=12), test_examples=True
    )
    dataset = datasets.load_for(found)
    store = Store.create(tmp_path / "corrupted", found, dataset)
    labels = dataset.train.labels
    score = np.where(dataset.train.corrupted, 2, 0.5)
    score[21:] = 0.25
    store.write(followed_trial(0, dataset, {1: kept(score, labels, labels, [True] * 9)}))
    drawn, said = recorded(
        "analysis.turnover", "--figures", tmp_path / "out", f"--store={store.path}"
    )
    changed = int(np.count_nonzero(labels[:21] != tiny.train.labels))
    kept_by_chance = 12 - changed
    assert kept_by_chance > 0
    # Every pair of a changed and a real label is in order, those with the other replaced are tied.
    area = (9 + kept_by_chance / 2) / (9 + kept_by_chance)
    lines = squeezed("\n".join(said))
    assert lines[1].endswith("on 9 test examples, which it was trained on too: 100.00%")
    assert lines[4:11] == [
        f"21 training examples {(9 * 0.5 + 12 * 2) / 21:.3f}" + " 0.500" * 4 + " 2.000" * 5,
        "9 test examples" + " 0.250" * 10,
        "label examples mean score",
        "real 9 0.500",
        "replaced 12 2.000",
        f"that is another one {changed} 2.000",
        f"ROC AUC of the score: {area:.4f} for labels that are another one, 1.0000 for all that "
        "were replaced",
    ]
    # Of what is filled and of its outline.
    assert [height for height in drawn["fig2-scores"].heights if height] == [9, 9, 12, 12]
    assert len(drawn["fig7-high"].images) == 15


def test_without_its_dataset_the_galleries_are_left_out(made, tmp_path, tiny):
    path = made.config.dataset.removeprefix("npz:")
    words = ("analysis.turnover", f"--store={made.path}", f"--figures={tmp_path}", "--formats=svg")
    other = tiny.train.images.copy()
    other[0, 0, 0] += 1
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **{**arrays, "x_train": other})
    said = run_program(*words).stdout.splitlines()
    assert said[-4:-2] == [
        f"{name} is left out: there are no pictures, the npz:{path} found here is not the one that "
        "the trials were made on"
        for name in ("fig7-low", "fig7-high")
    ]
    written = ["early-stopping.svg", "fig2-scores.svg", "fig9-subnetworks.svg"]
    assert sorted(found.name for found in tmp_path.glob("*.svg")) == written


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epoch=7"], "--epoch=7: {} has epochs 1 to 3"),
        (["--trials=2:4"], "{} has none of the models --trials=2:4 yet: tfmem train_turnover "),
        (["--formats=png"], "--formats is about figures, which --figures=DIR draws"),
        (["--figures=figures", "--formats=gif"], "--formats=gif: expected one or more of png, pdf"),
        (["--figures=setup.py"], "--figures=setup.py is a file, expected a folder"),
    ],
)
def test_bad_input_gets_one_line(made, flags, message):
    done = run_program("analysis.turnover", f"--store={made.path}", *flags, check=False)
    assert done.returncode == 2
    assert message.format(made.path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("index", "shape", "message"),
    [
        ([20], (1, 8), "influence has shape (1, 8), expected (1, 9)"),
        ([21], (1, 9), "tr_idx has numbers outside of 0 to 20"),
    ],
)
def test_influence_of_another_dataset_is_refused(made, index, shape, message):
    path = made.path / "influence" / "trial-000000.npz"
    npz.write_npz(path, {"tr_idx": np.array(index), "influence": np.zeros(shape, np.float32)})
    with pytest.raises(ValueError, match=r"trial-000000\.npz: ") as error:
        artifacts.read_influence(made, 0, 21)
    assert message in str(error.value)
    index, influence = artifacts.read_influence(made, 1, 21)
    assert (index.shape, influence.shape) == ((0,), (0, 9))


def test_an_empty_store_and_stores_of_another_kind(tmp_path, tiny, tiny_config):
    empty = Store.create(tmp_path / "empty", config("tiny"), tiny, MADE_BY)
    done = run_program("analysis.turnover", f"--store={empty.path}", check=False)
    assert done.returncode == 2
    command = "tfmem train_turnover --experiment=digits_mlp"
    assert f"{empty.path} has no finished models yet: {command}" in done.stderr
    assert done.stderr.count("\n") == 1
    other = Store.create(tmp_path / "other", tiny_config, tiny)
    done = run_program("analysis.turnover", f"--store={other.path}", check=False)
    assert done.returncode == 2
    assert (
        f"{other.path} holds no models with turn-over dropout: tfmem train_turnover makes "
        "them, and tfmem estimate reads what is there"
    ) in done.stderr
    assert done.stderr.count("\n") == 1
    words = ("analysis.estimate", f"--store={empty.path}", f"--out={tmp_path}/e.npz")
    done = run_program(*words, check=False)
    assert done.returncode == 2
    assert "not trials on random subsets: tfmem turnover reads them" in done.stderr
