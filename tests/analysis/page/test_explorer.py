"""The explorer holds what it says, and in a browser its counts and cards are those of Python."""

import dataclasses
import html
import json
import re

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from analysis.estimates import estimators, pairs
from analysis.estimates.values import PROBABILITY, ClassInfluence, Estimates
from analysis.page import explorer, thumbnails
from tests.pages import (
    ENOUGH,
    ESTIMATES,
    answer,
    browse,
    dataset_of,
    in_frames,
    looked,
    needs_browser,
    random_estimates,
    render,
    with_script,
)
from tests.trials import trial_set


@hypothesis.given(st.floats(-1, 1), st.integers(-100, 100))
@hypothesis.example(0.7 - 0.4, 30)  # 0.29999999999999993
@hypothesis.example(0.8 - 0.5, 30)  # 0.30000000000000004
@hypothesis.example(0.29, 29)  # times 100 is 28.999999999999996
def test_rounding_down_keeps_every_comparison_with_a_threshold(value, step):
    threshold = float(f"{step / 100:.2f}")
    for parts in (explorer.STEPS, explorer.UNITS):
        whole = explorer.rounded_down(value, parts)
        assert (whole >= step * parts // 100) == (value >= threshold)


def _estimates(memorization, influence):
    """One class; influence [n, n']."""
    memorization, influence = np.array(memorization, float), np.array(influence, float)
    n, n_test = influence.shape
    block = ClassInfluence(np.arange(n), np.arange(n_test), influence, None)
    return Estimates(memorization, np.zeros(n, np.int64), np.zeros(n_test, np.int64), (block,))


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (8, (-100, 5)),  # All.
        (7, (5, 5)),  # All 5 but those of the first training example.
        (5, (5, 5)),
        (4, (15, 5)),  # The 3 of the last training example.
        (2, (25, 12)),  # Without 0.119.
        (1, (25, 16)),  # Not even the page's own two.
        (0, (25, 30)),
    ],
)
def test_lowest_values_let_as_much_in_as_fits(monkeypatch, most, expected):
    monkeypatch.setattr(explorer, "MAX_PAIRS", most)
    estimates = _estimates(
        [0.02, 0.1, 0.9], [[0.05, 0.15, 0.11], [0.05, 0.12, 0.04], [0.29, 0.15, 0.119]]
    )
    assert explorer.lowest_values(estimates, 0.25, 0.15) == expected


@pytest.mark.parametrize("most", [0, 5, 20, 50, 100, 200, 400, 700, 1500, 10**6])
@pytest.mark.parametrize("trials", [30, 200])
def test_what_is_computed_on_demand_is_looked_at_from_the_top(monkeypatch, rng, most, trials):
    """The same as if all was there, and the less memorized are not computed where nothing fits."""
    monkeypatch.setattr(explorer, "MAX_PAIRS", most)
    subset = rng.random((trials, 90)) < 0.7
    chance = np.linspace(0, 1, 90) ** 2
    correct = subset * chance + rng.random((trials, 90)) * (1 - chance) > 0.5
    tests = subset[:, ::3] * chance[::3] + rng.random((trials, 30)) * (1 - chance[::3]) > 0.5
    labels = np.arange(90) % 2, np.arange(0, 90, 3) % 2
    lazy = estimators.estimate(trial_set(subset, correct, tests, *labels))
    whole = dataclasses.replace(lazy, influences=tuple(lazy.influences))
    computed = []
    compute = estimators.class_influence

    def counting(trials, label, estimator, chosen, errors):
        computed.append(np.count_nonzero(chosen))
        return compute(trials, label, estimator, chosen, errors)

    monkeypatch.setattr(estimators, "class_influence", counting)
    expected = explorer.lowest_values(whole, 0.25, 0.15)
    assert not computed
    assert explorer.lowest_values(lazy, 0.25, 0.15) == expected
    everything = sum(computed[::2]) == 90  # Each part is asked for by class.
    assert everything or expected[0] > -100
    if most == 0:
        assert sum(computed[::2]) == np.count_nonzero(lazy.memorization >= 0.25)


def test_lower_thresholds_of_the_page_lower_the_limits():
    estimates = _estimates([-0.5, 0.5], [[-0.2, 0.01], [0.02, 0.5]])
    assert explorer.lowest_values(estimates, 0.25, 0.015) == (-100, 1)
    contents = explorer.choose(estimates, -0.5, -1)
    assert (len(contents.pairs), contents.lowest_influence) == (4, -1)


def test_pairs_beyond_the_most_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(explorer, "MAX_PAIRS", 2)
    contents = explorer.choose(_estimates([1.0], [[1.0, 1.0, 1.0, 0.3]]), 0.25, 0.15)
    assert contents.lowest_influence == 1
    assert contents.pairs.test_index.tolist() == [0, 1]
    assert contents.pairs_left_out == 1


def test_sample_takes_the_first_of_every_class_and_tenth(monkeypatch):
    memorization = np.array([0.0, 0.01, 0.05, -0.2, 0.09, 1.0, 0.95, 0.1])
    labels = np.array([0, 0, 0, 0, 1, 0, 0, 0])
    # Class 0: [-1, 0): 3; [0, 0.1): 0, 1, 2; [0.1, 0.2): 7; [0.9, 1]: 5, 6. Class 1: 4.
    for most, expected in (
        (1, ([3, 0, 7, 5, 4], 1)),  # One of each, even if that is more.
        (6, ([3, 0, 7, 5, 4], 1)),
        (7, ([3, 0, 7, 5, 4, 1, 6], 2)),
        (8, ([3, 0, 7, 5, 4, 1, 6, 2], 3)),
    ):
        monkeypatch.setattr(explorer, "MAX_SAMPLED", most)
        chosen, number = explorer.sample(memorization, labels)
        assert (chosen.tolist(), number) == expected


def test_order_puts_the_pictures_that_matter_first(monkeypatch):
    monkeypatch.setattr(explorer, "MAX_SAMPLED", 1)
    monkeypatch.setattr(explorer, "MAX_MEMORIZED", 3)
    contents = explorer.choose(ESTIMATES, 0.25, 0.15, [("test", 1)])
    train, test = (lambda index: ("train", index)), (lambda index: ("test", index))
    assert contents.order == (
        test(1),  # Shown elsewhere.
        *(train(2), test(2), train(0), test(0), test(4)),  # The three pairs.
        *(train(1), train(5), train(3), train(4)),  # One of each class and tenth: 0.24, 0.52 ...
        # Then the three most memorized, all there. 1 -> 0, 0.80, has no memorization; 4 -> 3, 0.1.
        test(3),
    )
    assert contents.index("train").tolist() == [2, 0, 1, 5, 3, 4]
    assert contents.index("test").tolist() == [1, 2, 0, 4, 3]
    # Where pairs are hidden, the three most memorized and the pairs take turns.
    hidden = explorer.choose(ESTIMATES, 0.25, 0.15, [("test", 1)], hidden=True)
    turns = train(4), train(2), train(0), test(2), train(5), test(0), test(4)
    assert hidden.order == (test(1), *turns, train(1), train(3), test(3))


def test_histogram_counts_every_training_example():
    lowest, counts = explorer.histogram(ESTIMATES.memorization, ESTIMATES.train_labels, 2)
    assert lowest == -1
    assert counts.shape == (2, 102)
    filled = [(k, step + lowest, int(counts[k, step])) for k, step in np.argwhere(counts).tolist()]
    assert filled == [(0, 24, 1), (0, 52, 1), (0, 90, 1), (1, -1, 1), (1, 25, 1), (1, 100, 1)]


def test_page_data_by_hand():
    contents = explorer.choose(ESTIMATES, 0.25, 0.15)
    found = explorer.page_data(
        contents, dataset_of(), ESTIMATES, 0.25, 0.15, {("train", 2): "data:x"}
    )
    found = json.loads(json.dumps(found))
    assert found["train"]["id"][:2] == ["t2", "t0"]
    assert found["train"]["mem"][:2] == [2500, 9000]
    assert {key: found["train"][key][0] for key in ("se", "heldout", "in", "out")} == {
        "se": 110,
        "heldout": 7500,
        "in": 70,
        "out": 30,
    }
    named = [
        (found["train"]["id"][i], found["test"]["id"][j], infl, se)
        for i, j, infl, se in zip(*found["pairs"].values(), strict=True)
    ]
    assert named == [
        ("t1", "v0", 8000, 310),
        ("t2", "v2", 5000, 420),
        ("t0", "v0", 3000, 310),
        ("t0", "v4", 1500, 310),
        ("t5", "v0", 1490, 310),
        ("t4", "v3", 1000, 420),
        ("t5", "v1", 1000, 310),
    ]
    assert found["pictures"] == {"train": ["data:x"], "test": []}
    assert found["test"] == {
        "index": [2, 0, 4, 3, 1],
        "id": ["v2", "v0", "v4", "v3", "v1"],
        "label": [1, 0, 0, 1, 0],
    }
    assert found["lowest"] == {"mem": -1, "infl": 5, "pairs_mem": -100}
    assert found["thresholds"] == {"mem": 25, "infl": 15}


def test_page_data_of_published_estimates_has_no_errors():
    blocks = tuple(
        dataclasses.replace(block, standard_error=None) for block in ESTIMATES.influences
    )
    estimates = dataclasses.replace(ESTIMATES, influences=blocks, details=None)
    contents = explorer.choose(estimates, 0.25, 0.15)
    found = explorer.page_data(contents, dataset_of(), estimates, 0.25, 0.15, {})
    assert set(found["train"]) == {"index", "id", "label", "mem"}
    assert set(found["pairs"]) == {"train", "test", "infl"}


def test_page_data_of_probabilities_has_no_rates_of_right_predictions():
    estimates = dataclasses.replace(ESTIMATES, estimator=PROBABILITY)
    contents = explorer.choose(estimates, 0.25, 0.15)
    found = explorer.page_data(contents, dataset_of(), estimates, 0.25, 0.15, {})
    assert set(found["train"]) == {"index", "id", "label", "mem", "se"}


def test_the_page_says_what_it_holds(monkeypatch):
    rng = np.random.default_rng(3)
    estimates = random_estimates(rng)
    dataset = _dataset(estimates)

    def held(text):
        part = re.search(r"<summary>What this page holds</summary>(.*?)</details>", text, re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part[1])).split())

    total = len(pairs.select(estimates.memorization, estimates.influences, -1, 0.05))
    assert held(render(dataset, estimates)) == (
        f"Pairs: all {total:,} with influence of at least 0.05. Training examples: all 120. "
        "Test examples: all 80. All examples are in the table that this command writes: "
        "tfmem table --store=toy --out=examples.csv"
    )
    monkeypatch.setattr(explorer, "MAX_PAIRS", 300)
    monkeypatch.setattr(explorer, "MAX_SAMPLED", 1)
    monkeypatch.setattr(explorer, "MAX_MEMORIZED", 2)
    contents = explorer.choose(estimates, 0.25, 0.15)
    assert contents.lowest_memorization > -1
    text = held(render(dataset, estimates))
    assert (
        f"Pairs: all {len(contents.pairs)} with influence of at least "
        f"{contents.lowest_influence:.2f} and memorization of at least "
        f"{contents.lowest_memorization:.2f}. There are too many others"
    ) in text
    assert "up to 2 with memorization of at least 0.10" in text
    assert "of every class the first 1 in each tenth" in text


def _dataset(estimates):
    return dataset_of(estimates.train_labels, estimates.test_labels, names=("a", "b", "c"))


def _explored(estimates):
    """Returns the page of trials that are enough to show its pairs."""
    return render(_dataset(estimates), estimates, ENOUGH)


def _within(values, low, high):
    return (values >= low) & ((values < high) | (high >= 1))


def _expected(estimates, mem, infl, label=None):
    """Counts and pairs with values in these ranges, from the matrices themselves."""
    found, memorized = [], _within(estimates.memorization, *mem)
    if label is not None:
        memorized &= estimates.train_labels == label
    for block in estimates.influences:
        chosen = _within(block.value, *infl) & memorized[block.train_index][:, None]
        for row, column in np.argwhere(chosen):
            found.append((f"t{block.train_index[row]}", f"v{block.test_index[column]}"))
    tests = [test for _, test in found]
    return {
        "memorized": int(memorized.sum()),
        "pairs": len(found),
        "train": len({train for train, _ in found}),
        "test": len(set(tests)),
        "single": sum(tests.count(test) == 1 for test in set(tests)),
    }, sorted(found)


@needs_browser
def test_the_address_holds_the_state(tmp_path):
    estimates = random_estimates(np.random.default_rng(5))
    others = (
        "#mem=-0.2..0.3&infl=0.1..0.25&pairs=1&sort=mem",
        "#mem=x&infl=..&class=length&sort=best",
    )
    first, second, third = looked(
        tmp_path, _explored(estimates), "1", *others, at="mem=0.5&infl=0.2&class=1"
    )
    counts, _ = _expected(estimates, (0.5, 1), (0.2, 1), 1)
    assert counts["pairs"] > 5
    assert first["counts"] == counts
    counts, found = _expected(estimates, (-0.2, 0.3), (0.1, 0.25))
    assert second["counts"] == counts
    ours = {train for train, _ in found}
    order = sorted(ours, key=lambda name: -estimates.memorization[int(name[1:])])
    values = [estimates.memorization[int(card["train"][1:])] for card in second["cards"]]
    assert len(values) == 24  # Until a button asks for more.
    assert values == [estimates.memorization[int(name[1:])] for name in order[:24]]
    # What makes no sense is as if it were not there.
    assert third["counts"] == _expected(estimates, (0.25, 1), (0.15, 1))[0]


_STEPS = """
const form = document.querySelector("#explore form");
const set = (place, value) => {
  const input = form.querySelector(place);
  if (input.type === "checkbox") input.checked = value; else input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  input.dispatchEvent(new Event("change", { bubbles: true }));
};
const all = () => {
  for (const name of [".all", ".some"]) {
    const button = document.querySelector(`#explore ${name}`);
    if (!button.hidden) button.click();
  }
  for (const button of document.querySelectorAll(".rest")) button.click();
};
const seen = [];
const look = () => { all(); seen.push(read()); };
look();
set(".mem .from", 40); look();
set(".infl .from", 5); set(".infl .to", 20); look();
set("[name=class]", "2"); look();
set("[name=pairs]", true); look();
set(".mem .to", 30); look();
set(".mem .from", 100); look();
form.querySelector(".reset").click(); look();
say(seen);
"""


@needs_browser
def test_sliders_class_and_buttons(tmp_path):
    """More than 1,000 pairs; after every step the counts and cards are those of the matrices."""
    rng = np.random.default_rng(6)
    estimates = random_estimates(rng, 300, 150)
    (tmp_path / "page.html").write_text(with_script(_explored(estimates), _STEPS))
    seen = answer(browse(tmp_path / "page.html"))
    steps = [
        ("", (0.25, 1), (0.15, 1), None, False),
        ("#mem=0.4&infl=0.15", (0.4, 1), (0.15, 1), None, False),
        ("#mem=0.4&infl=0.05..0.2", (0.4, 1), (0.05, 0.2), None, False),
        ("#mem=0.4&infl=0.05..0.2&class=2", (0.4, 1), (0.05, 0.2), 2, False),
        ("#mem=0.4&infl=0.05..0.2&class=2&pairs=1", (0.4, 1), (0.05, 0.2), 2, True),
        # A thumb that would pass the other one pushes it.
        ("#mem=0.29..0.3&infl=0.05..0.2&class=2&pairs=1", (0.29, 0.3), (0.05, 0.2), 2, True),
        ("#mem=1&infl=0.05..0.2&class=2&pairs=1", (1, 1), (0.05, 0.2), 2, True),
        ("#mem=0.25&infl=0.15", (0.25, 1), (0.15, 1), None, False),
    ]
    assert len(seen) == len(steps)
    images = _dataset(estimates).train.images
    uris = [thumbnails.data_uri(image, 16) for image in images]
    for said, (address, mem, infl, label, only_pairs) in zip(seen, steps, strict=True):
        counts, found = _expected(estimates, mem, infl, label)
        assert said["counts"] == counts
        assert said["hash"] == address
        shown = [(card["train"], test) for card in said["cards"] for test in card["tests"]]
        assert sorted(shown) == found
        assert len(said["cards"]) == counts["train" if only_pairs else "memorized"]
        for card in said["cards"]:
            alt, source, address = card["picture"]
            index = int(card["train"][1:])
            assert alt == f"training example t{index}, class {'abc'[estimates.train_labels[index]]}"
            assert source == uris[index]
            assert address == (said["hash"] or "#mem=0.25&infl=0.15") + f"&id=t{index}"
    assert seen[0]["counts"]["pairs"] > 1000
    # The most influential first, with value, standard error, interval and label.
    first = seen[0]["cards"][0]
    index = int(first["train"][1:])
    passing = pairs.select(estimates.memorization, estimates.influences, 0.25, 0.15)
    assert index == passing.train_index[0]
    value, error = estimates.memorization[index], estimates.details.standard_error[index]
    numbers = r"mem ([\d.]+) ± ([\d.]+) 95%: ([\d.]+) to ([\d.]+)"
    match = re.fullmatch(rf"{numbers} class (\w) t\d+", first["said"])
    assert float(match[1]) == pytest.approx(value, abs=0.0051)
    assert float(match[2]) == pytest.approx(error, abs=0.00051)
    assert float(match[3]) == pytest.approx(value - 1.96 * error, abs=0.0052)
    assert float(match[4]) == pytest.approx(min(value + 1.96 * error, 1), abs=0.0052)
    assert match[5] == "abc"[estimates.train_labels[index]]


@needs_browser
def test_pairs_that_are_not_held_are_said_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "MAX_PAIRS", 300)
    estimates = random_estimates(np.random.default_rng(3))
    lowest = explorer.choose(estimates, 0.25, 0.15).lowest_memorization
    (tmp_path / "page.html").write_text(with_script(_explored(estimates), "say(read());"))
    said = answer(browse(tmp_path / "page.html", "mem=-1"))
    assert f"Pairs are listed and counted from memorization {lowest:.2f} up." in said["status"]
    assert said["counts"]["memorized"] == 120


@needs_browser
def test_no_window_scrolls_sideways_and_every_example_has_its_picture(tmp_path):
    pictures = """
    return [...inner.querySelectorAll("img.picture")].filter(({ src, alt, naturalHeight }) =>
      src.startsWith("data:image/png;base64,") && alt && naturalHeight === 8
    ).length;"""
    page = render(convergence=ENOUGH, figures=True)
    found = in_frames(tmp_path, page, (390, 800, 1400), pictures)
    # 4 in the gallery, 7 in the panels, and in the explorer t2, t0, t4, t5 with v2, v0, v4.
    assert found == "measured 390:18 800:18 1400:18"
