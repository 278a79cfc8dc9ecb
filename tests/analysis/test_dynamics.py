"""Accuracies and epochs counted by hand on a tiny store; the program by its flags."""

import dataclasses
import hashlib

import numpy as np
import pytest
from matplotlib.legend import Legend
from PIL import Image

from analysis.measures import dynamics
from analysis.plots import gradients, style
from analysis.plots.dynamics import corruption_figure, figure
from tests.analysis.test_consistency import squeezed
from tests.conftest import run_program
from tfmem import datasets, experiments
from tfmem.config import FOLLOWED, DynamicsConfig
from tfmem.disk import npz
from tfmem.store import artifacts
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial

# Training examples: 4 easy, 13 others, 4 difficult. Test examples: 2, 5 and 2.
TRAIN, TEST = (4, 13, 4), (2, 5, 2)
# By condition and run: after each epoch, how many of the easy ones, the others and the difficult
# ones are right, of training and of test examples.
RIGHT = {
    "everything": [
        [
            ((1, 3, 0), (1, 2, 0)),
            ((3, 10, 1), (2, 4, 1)),
            ((4, 13, 2), (2, 5, 1)),
            ((4, 13, 4), (2, 3, 1)),
        ],
        [
            ((1, 3, 0), (0, 3, 0)),
            ((4, 10, 0), (2, 4, 0)),
            ((4, 13, 2), (2, 5, 1)),
            ((4, 13, 3), (2, 4, 0)),
        ],
    ],
    "without_difficult": [[((1, 3, 0), (1, 2, 0)), ((4, 13, end), (2, 5, 0))] for end in (1, 2)],
    "easy": [[((1, 3, start), (1, 2, 0)), ((4, 0, 1), (2, 0, 0))] for start in (1, 0)],
    "difficult": [[((1, 3, 0), (1, 2, 0)), ((end, 0, 4), (1, 1, 2))] for end in (3, 4)],
}
MADE_BY = ["train_dynamics", "--experiment=digits_mlp"]
NAN = np.nan
# Of everything, after each epoch: similarity and contribution of all, easy and difficult examples.
# Of the second run, what differs.
SIMILARITY = [(0.1, 0.2, 0.1), (0.1, 0.4, 0.2), (0.1, NAN, 0.1), (0.1, 0.1, 0.3)]
CONTRIBUTION = [(1, 0.5, 2), (1, 0.5, 0.25), (1, 0.25, 4), (1, 0.75, 1.75)]
SECOND = {"similarity": (0.3, 0.4, 0.1), "contribution": (1, 0.5, NAN)}
SUBSETS = {
    "tr_easy": np.arange(21) < 4,
    "tr_difficult": np.arange(21) >= 17,
    "tt_easy": np.arange(9) < 2,
    "tt_difficult": np.arange(9) >= 7,
}
TRAINED_ON = {
    "everything": np.ones(21, bool),
    "without_difficult": ~SUBSETS["tr_difficult"],
    "easy": SUBSETS["tr_easy"],
    "difficult": SUBSETS["tr_difficult"],
}


def correct(sizes, counts):
    """Returns which examples are right: the first ones of each part."""
    parts = [np.arange(size) < count for size, count in zip(sizes, counts, strict=True)]
    return np.concatenate(parts)


def trial(condition, run, number=0, with_gradients=True):
    epochs = {}
    for epoch, (train, test) in enumerate(RIGHT[condition][run]):
        kept = {"train_correct": correct(TRAIN, train), "test_correct": correct(TEST, test)}
        if condition == "everything" and with_gradients:
            kept["similarity"] = np.array(SIMILARITY[epoch])
            kept["contribution"] = np.array(CONTRIBUTION[epoch], float)
            kept["gradients"] = np.array([8, 2, 2])
            if run and not epoch:
                kept |= {name: np.array(values, float) for name, values in SECOND.items()}
        epochs[epoch] = kept
    ends = (Predictions(kept[f"{split}_correct"]) for split in ("train", "test"))
    return Trial(number, 0, TRAINED_ON[condition], *ends, epochs=epochs)


def curves(condition, subsets=SUBSETS, **more):
    runs = (trial(condition, run, **more) for run in range(2))
    return dynamics.follow(condition, runs, dynamics.group(subsets, 9))


def config(conditions=FOLLOWED, subsets=SUBSETS, gradient_batches=1, **changes):
    experiment = dataclasses.replace(experiments.get("digits_mlp"), dataset="tiny", **changes)
    return DynamicsConfig(
        experiment, conditions, 2, 4, gradient_batches, "", artifacts.subsets_digest(subsets)
    )


def make(path, dataset, conditions=FOLLOWED, subsets=SUBSETS, **changes):
    """Returns a store of two runs of each condition."""
    described = config(conditions, subsets, **changes)
    store = Store.create(path, described, dataset, MADE_BY)
    npz.write_npz(path / "subsets.npz", subsets)
    for number in range(described.num_trials):
        condition = conditions[number // 2]
        with_gradients = described.gradient_batches > 0
        store.write(trial(condition, number % 2, number, with_gradients))
    return store


def test_curves_are_means_over_runs():
    found = curves("everything")
    assert (found.condition, found.num_runs, found.num_examples) == ("everything", 2, 21)
    assert found.epochs.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(
        found.train,
        [[4 / 21, 14 / 21, 19 / 21, 20.5 / 21], [0.25, 0.875, 1, 1], [0, 0.125, 0.5, 0.875]],
    )
    np.testing.assert_allclose(
        found.test, [[3 / 9, 6.5 / 9, 8 / 9, 6 / 9], [0.25, 1, 1, 1], [0, 0.25, 0.5, 0.25]]
    )
    np.testing.assert_allclose(found.train_shares, [1, 4 / 21, 4 / 21])
    np.testing.assert_allclose(found.test_shares, [1, 2 / 9, 2 / 9])
    similarity = [[0.2, 0.1, 0.1, 0.1], [0.3, 0.4, NAN, 0.1], [0.1, 0.2, 0.1, 0.3]]
    np.testing.assert_allclose(found.similarity, similarity)
    np.testing.assert_allclose(found.contribution[2], [2, 0.25, 4, 1.75])
    assert curves("without_difficult").num_examples == 17


def test_what_is_not_known_is_nan():
    train = {name: SUBSETS[name] for name in ("tr_easy", "tr_difficult")}
    found = curves("everything", train, with_gradients=False)
    np.testing.assert_array_equal(found.train, curves("everything").train)
    np.testing.assert_allclose(found.test[0], curves("everything").test[0])
    assert np.isnan(found.test[1:]).all()
    assert np.isnan(found.similarity).all()
    assert not found.has_gradients
    assert found.test_shares.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("window", "expected"),
    [(1, [0, 3, 6, NAN, 12]), (3, [1.5, 3, 4.5, 9, 12]), (9, [5.25] * 5)],
)
def test_sliding_means_by_hand(window, expected):
    values = np.array([0, 3, 6, NAN, 12])
    np.testing.assert_array_equal(dynamics.sliding_mean(values, window), expected)
    both = dynamics.sliding_mean(np.stack([values, np.full(5, NAN)]), window)
    np.testing.assert_array_equal(both, [expected, [NAN] * 5])


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        (0, [0]),
        (3, [0, 1, 2, 3]),
        (100, [0, 1, 2, 5, 10, 20, 50, 100]),
        (160, [0, 1, 2, 5, 10, 20, 50, 100, 160]),
    ],
)
def test_shown_epochs_are_dense_where_most_is_learnt(last, shown):
    assert dynamics.shown_epochs(np.arange(last + 1)).tolist() == shown


def test_levels_are_reached_inclusively():
    epochs, accuracy = np.array([0, 1, 2, 3]), np.array([0.1, 0.5, 0.4, 0.9])
    assert dynamics.first_epoch(epochs, accuracy, 0.1) == 0
    assert dynamics.first_epoch(epochs, accuracy, 0.5) == 1
    assert dynamics.first_epoch(epochs, accuracy, 0.51) == 3
    assert dynamics.first_epoch(epochs, accuracy, 0.91) is None


def test_the_first_of_equal_peaks_counts():
    found = curves("everything")
    test = np.array([[0.1, 0.7, 0.7, 0.6], *found.test[1:]])
    said = dynamics.peak_sentence(dataclasses.replace(found, test=test))
    assert said.startswith("test accuracy is highest after epoch 1: 70.00%")


def test_the_digest_is_of_names_sizes_and_bits():
    subsets = {"tr_easy": np.array([1, 1, 0], bool), "tr_difficult": np.array([0, 0, 1], bool)}
    content = b"tr_difficult(3,)\x04tr_easy(3,)\x03"
    known = artifacts.subsets_digest(subsets)
    assert known == hashlib.sha256(content).hexdigest()
    assert artifacts.subsets_digest(dict(reversed(subsets.items()))) == known
    others = [
        subsets | {"tr_easy": np.array([1, 1, 1], bool)},
        subsets | {"tr_easy": np.array([1, 1, 0, 0], bool)},
        subsets | {"tt_easy": np.array([1], bool)},
        {"tr_easy": subsets["tr_difficult"], "tr_difficult": subsets["tr_easy"]},
    ]
    assert len({known, *map(artifacts.subsets_digest, others)}) == 5


# Half of 4 difficult examples after epoch 2; 20.5 of 21 at the end.
EVERYTHING = [
    "trained on everything, 21 examples (2 runs); accuracy in %",
    "epoch train, all train, easy train, difficult test, all test, easy test, difficult",
    "0 19.05 25.00 0.00 33.33 25.00 0.00",
    "1 66.67 87.50 12.50 72.22 100.00 25.00",
    "2 90.48 100.00 50.00 88.89 100.00 50.00",
    "3 97.62 100.00 87.50 66.67 100.00 25.00",
    "test accuracy is highest after epoch 2: 88.89%; after the last, 3, it is 66.67%",
    "epochs until 50% / 90% of the training examples are right: all 1 / 2, easy 1 / 2, "
    "difficult 2 / never",
]
# Means over epochs: 0.5 / 4, 0.8 / 3 and 0.7 / 4; 1, 2 / 4 and 8 / 4.
GRADIENTS = [
    "gradients, mean over 4 measured epochs",
    "all easy difficult",
    "similarity 0.1250 0.2667 0.1750",
    "contribution 1.0000 0.5000 2.0000",
    "easy examples are more similar than difficult ones after 2 of 3 epochs, and difficult ones "
    "contribute more than easy ones after 3 of 4",
]


def test_the_program_says_what_was_counted(tmp_path, tiny):
    store = make(tmp_path / "store", tiny)
    out, gradients_out = tmp_path / "a.png", tmp_path / "b.pdf"
    words = (f"--store={store.path}", f"--out={out}", f"--gradients_out={gradients_out}")
    done = run_program("analysis.dynamics", *words, "--smooth=3")
    lines = squeezed(done.stdout)
    assert lines[0] == (
        "digits_mlp: of 21 training examples 4 easy, 4 difficult; of 9 test examples 2 easy, "
        "2 difficult"
    )
    assert lines[1:9] == EVERYTHING
    assert [line for line in lines if line.startswith("trained on")] == [
        EVERYTHING[0],
        "trained on everything but the difficult subset, 17 examples (2 runs); accuracy in %",
        "trained on the easy subset, 4 examples (2 runs); accuracy in %",
        "trained on the easy subset alone: 100.00% of it and 25.00% of the difficult subset are "
        "right after the last epoch, 25.00% and 12.50% after epoch 0",
        "trained on the difficult subset, 4 examples (2 runs); accuracy in %",
        "trained on the difficult subset alone: 100.00% of it and 87.50% of the easy subset are "
        "right after the last epoch, 0.00% and 25.00% after epoch 0",
    ]
    assert lines[-8:] == [
        "the difficult subset after the last epoch: 87.50% right when it is trained on, 37.50% "
        "when it is not",
        *GRADIENTS,
        f"figure: {out}",
        f"figure: {gradients_out}",
    ]
    assert Image.open(out).size[0] > 1000
    assert gradients_out.read_bytes().startswith(b"%PDF")


def test_incomplete_stores_and_several(tmp_path, tiny):
    """Without its second run, everything is right on all of the training examples at the end."""
    train = {name: SUBSETS[name] for name in ("tr_easy", "tr_difficult")}
    whole = make(tmp_path / "whole", tiny, ("everything",), train, gradient_batches=0)
    replaced = datasets.corrupt_labels(tiny, 8, base_seed=0)
    part = make(tmp_path / "part", replaced, ("difficult", "everything"), corrupted_labels=8)
    for number in (0, 1, 3):
        part.trial_path(number).unlink()
    out = tmp_path / "stores.svg"
    words = (f"--store={whole.path}", f"--store=random={part.path}", f"--out={out}")
    lines = squeezed(run_program("analysis.dynamics", *words).stdout)
    assert lines[0] == "digits_mlp: of 21 training examples 4 easy, 4 difficult"
    assert lines[2] == "epoch train, all train, easy train, difficult test, all"
    second = lines.index("") + 1
    assert lines[second].endswith("8 training labels were replaced")
    assert lines[second + 1] == (
        "incomplete: of 2 runs of a condition, there are: difficult 0, everything 1"
    )
    assert lines[second + 2].startswith(
        "to complete it, run: tfmem train_dynamics --experiment=digits_mlp"
    )
    assert lines[second + 3] == "trained on everything, 21 examples (1 run); accuracy in %"
    assert "3 100.00 100.00 100.00 66.67 100.00 50.00" in lines
    assert lines[-1] == f"figure: {out}"
    assert out.read_text().startswith("<?xml")


def test_what_cannot_be_read_gets_one_line(tmp_path, tiny, tiny_config):
    store = make(tmp_path / "store", tiny, ("everything", "easy"), gradient_batches=0)
    alone = make(tmp_path / "alone", tiny, ("easy",))
    empty, trials = tmp_path / "empty", tmp_path / "trials"
    Store.create(empty, config(), tiny, MADE_BY)
    Store.create(trials, tiny_config, tiny)
    for paths, flags, message in (
        ([empty], (), "has no finished runs yet: tfmem train_dynamics "),
        ([trials], (), "tfmem train_dynamics makes them, and tfmem estimate reads what is"),
        ([store.path], ("--out=a.png", "--smooth=4"), "--smooth=4: expected an odd number"),
        ([store.path], ("--out=a.png", "--smooth=-1"), "--smooth=-1: expected an odd number"),
        ([store.path], ("--smooth=3",), "--smooth is of figures: give --out or --gradients_out"),
        ([store.path], ("--gradients_out=a.png",), "has no gradients: its runs have"),
        ([alone.path], ("--gradients_out=a.png",), "has no runs on everything, which this figure"),
        ([store.path, alone.path], ("--out=a.png",), f"{alone.path} has no runs on everything"),
        ([store.path, alone.path], ("--gradients_out=a.png",), "draws one store, and --store"),
    ):
        words = [f"--store={path}" for path in paths]
        done = run_program("analysis.dynamics", *words, *flags, check=False)
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_subsets_are_those_that_the_runs_were_made_with(tmp_path, tiny):
    store = make(tmp_path, tiny, ("easy",))
    found = artifacts.read_subsets(store)
    assert found.keys() == SUBSETS.keys()
    for name, expected in SUBSETS.items():
        np.testing.assert_array_equal(found[name], expected)
    npz.write_npz(tmp_path / "subsets.npz", SUBSETS | {"tr_easy": np.arange(21) < 5})
    with pytest.raises(
        ValueError, match=r"subsets\.npz holds other subsets than those that the run"
    ):
        artifacts.read_subsets(store)
    (tmp_path / "subsets.npz").unlink()
    with pytest.raises(ValueError, match=r"does not exist.* run: tfmem train_dynamics "):
        artifacts.read_subsets(store)


def test_the_legend_of_several_stores():
    """By the name that was given, or the number of labels if no other store has it."""
    texts, names = ["a", "x=b", "c", "d"], ["a", "x", "c", "d"]
    labels = dynamics.curve_labels(texts, names, [0, 5, 2_000, 2_000])
    assert labels == ["0 corrupted labels", "x", "c", "d"]


def drawn(ax):
    """Returns the values of each curve and its colour, by what the legend says."""
    return {line.get_label(): (list(line.get_ydata()), line.get_color()) for line in ax.lines}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def explained(ax):
    """Returns the lines of the legend inside of the axes, which says what markers mean."""
    (found,) = (artist for artist in ax.artists if isinstance(artist, Legend))
    return found.get_lines()


def test_the_figure_draws_every_condition():
    """Figs. 5 and 6."""
    found = {name: curves(name) for name in FOLLOWED}
    train, test, easy, difficult = figure(list(found.values())).axes
    assert legend(train) == ["full", "easy (19.0%)", "difficult (19.0%)"]
    assert legend(test) == ["full", "easy (22.2%)", "difficult (22.2%)"]
    for ax, split in ((train, "train"), (test, "test")):
        assert ax.get_ylim() == (0, 1)
        assert ax.get_xlim() == (0, 3)
        colours = [line.get_color() for line in ax.lines]
        assert colours == 2 * [style.INK, style.EASY, style.DIFFICULT]
        plain, marked = ax.lines[:3], ax.lines[3:]
        for lines, name in ((plain, "everything"), (marked, "without_difficult")):
            expected = getattr(found[name], split)
            np.testing.assert_array_equal([line.get_ydata() for line in lines], expected)
            # Full, easy and difficult differ without their colours, and conditions by markers.
            assert len({str(line._unscaled_dash_pattern) for line in lines}) == 3
            assert lines[0].get_linestyle() == "-"
        assert {line.get_marker() for line in plain} == {"None"}
        assert {line.get_marker() for line in marked} == {"o"}
    markers = [line.get_marker() for line in explained(test)]
    assert markers == ["None", "o"]
    for ax, name in ((easy, "easy"), (difficult, "difficult")):
        assert ax.get_legend().get_title().get_text() == f"trained on the {name} subset alone"
        assert drawn(ax) == {
            "easy (19.0%)": (found[name].train[1].tolist(), style.EASY),
            "difficult (19.0%)": (found[name].train[2].tolist(), style.DIFFICULT),
        }


def test_the_figure_of_random_labels_is_smoothed():
    """Fig. 3: test accuracy of all examples alone; 3, 6.5, 8 and 6 of 9 are right."""
    train = {name: SUBSETS[name] for name in ("tr_easy", "tr_difficult")}
    training, test = figure([curves("everything", train)], 3).axes
    assert test.get_xlabel() == training.get_xlabel() == "epoch (sliding mean over 3)"
    (line,) = test.lines
    expected = [4.75 / 9, 17.5 / 27, 20.5 / 27, 7 / 9]
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert legend(test) == ["full"]
    difficult = drawn(training)["difficult (19.0%)"][0]
    assert difficult == pytest.approx([0.0625, 0.625 / 3, 0.5, 0.6875])


def test_the_figure_of_several_stores():
    """Fig. 10."""
    short = curves("without_difficult")
    named = [("0 corrupted labels", curves("everything")), ("x", short)]
    fig = corruption_figure(named)
    for ax, split in zip(fig.axes, ("train", "test"), strict=True):
        found = drawn(ax)
        for label, expected in named:
            assert found[label][0] == getattr(expected, split)[0].tolist()
        assert ax.get_xlim() == (0, 3)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["0 corrupted labels", "x"]


def test_the_figure_of_gradients():
    """Fig. 4."""
    found = curves("everything")
    for ax, name in zip(gradients.figure(found).axes, ("similarity", "contribution"), strict=True):
        lines = drawn(ax)
        for (label, colour, _), expected in zip(style.GROUPS, getattr(found, name), strict=True):
            np.testing.assert_array_equal(lines[label][0], expected)
            assert lines[label][1] == colour
        assert name in ax.get_ylabel()
    first = gradients.figure(found, 3).axes[0]
    smooth = dynamics.sliding_mean(found.similarity, 3)
    np.testing.assert_array_equal([line.get_ydata() for line in first.lines[:3]], smooth)
