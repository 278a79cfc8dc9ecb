"""The report shows exactly the examples, pictures and numbers that it was given."""

import base64
import dataclasses
import functools
import html
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from analysis.estimates import estimators, files, pairs
from analysis.estimates.values import ClassInfluence, Estimates
from analysis.page import report, shown
from analysis.page.render import summarize
from analysis.page.text import false_pairs, interval, percent
from analysis.plots import style
from tests.conftest import ROOT
from tests.pages import (
    CONVERGENCE,
    ESTIMATES,
    TEST_LABELS,
    TRAIN_LABELS,
    dataset_of,
    render,
)
from tests.programs import run_program
from tests.stores import imported_arrays
from tfmem.config import ImportConfig
from tfmem.datasets import Dataset, Split, StreamedDataset
from tfmem.disk.bits import BitMatrix
from tfmem.store.store import Store
from tfmem.store.trials import Predictions, Trial, TrialSet


@functools.cache
def _page():
    return render(figures=True)


def _section(text, name):
    return re.search(rf'<section id="{name}".*?(?=<section id=|</main>)', text, re.DOTALL)[0]


def _words(fragment):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", fragment)).split())


def _data(text):
    """Returns what the page's script reads."""
    found = re.search(r'<script type="application/json" id="examples">(.*?)</script>', text)
    return json.loads(found[1])


def _pictures(text):
    """Returns the URIs of the explorer's pictures by split and index."""
    data = _data(text)
    return {
        (split, index): uri
        for split, uris in data["pictures"].items()
        for index, uri in zip(data[split]["index"], uris, strict=False)
    }


def _decoded(uri):
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def _cards(text):
    return [
        _words(caption)
        for caption in re.findall(
            r"<figcaption>(.*?)</figcaption>", _section(text, "explore"), re.DOTALL
        )
    ]


def test_pairs_without_scripts_are_exactly_those_selected():
    assert _cards(_page()) == [
        'infl 0.50 ± 0.042 mem 0.25 ± 0.011 class <b>bees</b> & "co" t2 → v2',
        "infl 0.30 ± 0.031 mem 0.90 ± 0.011 class plain t0 → v0",
        "infl 0.15 ± 0.031 mem 0.90 ± 0.011 class plain t0 → v4",
    ]


def test_pairs_beyond_the_maximum_are_counted(monkeypatch):
    monkeypatch.setattr(shown, "MAX_LISTED", 2)
    text = render()
    assert len(_cards(text)) == 2
    assert "here are the first 2 of the 3 pairs with" in _words(_section(text, "explore"))


def test_counts_are_those_of_section_3_3():
    words = _words(_section(_page(), "counts"))
    for expected in (
        "Training examples with memorization ≥ 0.25 4 66.67% of the training set",
        "different ones in the pairs 2 50.0% of them",
        "Pairs 3 with influence below 0.4 2 66.7% of the pairs",
        "Different test examples in the pairs 3 60.00% of the test set",
        "influenced by a single training example 3 100.0% of them",
        "0.2 5 83.33% 0.3 3 50.00%",
        "0.9 2 33.33% 1.0 1 16.67%",
        "plain 3 2 66.7% 0.553 75.0% 2 3 2",
    ):
        assert expected in words


def test_tiles_have_means_and_deviations_over_trials():
    tiles = _words(re.search(r'<dl class="tiles">.*?</dl>', _page(), re.DOTALL)[0])
    assert "test accuracy 70.0% ± 10.0%" in tiles
    assert "accuracy on held-out training examples 60.0% ± 10.0%" in tiles
    assert "trials 100" in tiles


def test_verdict_and_agreement_are_shown():
    words = _words(_section(_page(), "trust"))
    assert "Not enough trials More trials, please." in words
    assert "25 3.0 0.50 0.200 4.0 0.25 0.300 50 3.5 0.60 0.100 3.0 0.40 0.200" in words


def test_pairs_by_chance_and_the_share_that_may_be_false():
    words = _words(_section(_page(), "trust"))
    assert "pairs found 3 pairs to expect by chance 0.6" in words
    assert "false discovery rate, at most 20.0%" in words
    assert "Here about 1 of 3 may be." in words


@pytest.mark.parametrize(
    ("found", "by_chance", "words"),
    [
        (300, 12.4, "about 12 of 300"),
        (300, 0.06, "hardly any"),
        (300, 400.0, "all of them"),
        (0, 0.6, "none is found"),
    ],
)
def test_how_many_pairs_may_be_false(found, by_chance, words):
    measured = dataclasses.replace(CONVERGENCE, pairs=found, chance_pairs=by_chance)
    assert words in false_pairs(measured)


def test_titles_have_standard_error_and_interval():
    """1.96 * 0.031 = 0.06 around 0.3, 1.96 * 0.011 = 0.02 around 1, which is the highest."""
    text = _page()
    assert 'title="test example v0, class plain: infl 0.300 ± 0.031, 95%: 0.24 to 0.36"' in text
    assert re.search(r'title="training example t4, .*: mem 1.000 ± 0.011, 95%: 0.98 to 1.00"', text)
    assert interval(-0.99, 0.02) == (-1.0, pytest.approx(-0.9508))


def test_panels_without_enough_examples_show_all():
    panel = _section(_page(), "panels")
    rows = [_words(row) for row in re.findall(r"<li>(.*?)</li>", panel, re.DOTALL)]
    # By the highest influence: t2 before t0. Test examples descend, those below 0.15 included.
    assert rows == [
        '0.25 ± 0.011 0.50 ± 0.042 v2 0.01 ± 0.042 v3 class <b>bees</b> & "co" · t2',
        "0.90 ± 0.011 0.30 ± 0.031 v0 0.15 ± 0.031 v4 −0.02 ± 0.031 v1 class plain · t0",
    ]


def test_panels_follow_appendix_c():
    rng = np.random.default_rng(1)
    count, num_test = 23, 7
    value = np.round(rng.uniform(-0.1, 1, (count, num_test)), 6)
    value[[3, 8]] = 0.1  # In no pair.
    labels, test_labels = np.zeros(count, np.int64), np.zeros(num_test, np.int64)
    estimates = Estimates(
        memorization=np.round(rng.uniform(0.3, 1, count), 6),
        train_labels=labels,
        test_labels=test_labels,
        influences=(ClassInfluence(np.arange(count), np.arange(num_test), value, None),),
    )
    dataset = Dataset(
        "toy",
        Split(labels, [f"t{index}" for index in range(count)]),
        Split(test_labels, [f"v{index}" for index in range(num_test)]),
        ("one",),
    )
    text = _section(render(dataset, estimates), "panels")
    # The code of App. C.
    idx_train_selected = np.array([index for index in range(count) if value[index].max() >= 0.15])
    max_infl = value[idx_train_selected].max(axis=1)
    n_copies, n_egs, n_test_egs = 3, 5, 4
    idx_sort_selected = np.argsort(-max_infl)
    base_idxs = np.linspace(0, len(idx_train_selected) - n_copies, n_egs).astype(int)
    expected = []
    for i_copy in range(n_copies):
        for index in [idx_train_selected[idx_sort_selected[x + i_copy]] for x in base_idxs]:
            tests = np.argsort(-value[index])[:n_test_egs]
            numbers = [estimates.memorization[index], *value[index, tests]]
            numbers = " ".join(style.number(number) for number in numbers)
            expected.append((numbers, f"t{index}", [f"v{test}" for test in tests]))
    rows = []
    for row in re.findall(r"<li>(.*?)</li>", text, re.DOTALL):
        ids = re.findall(r'class="no-picture">([^<]+)', row)
        captions = re.findall(r"<figcaption[^>]*>([^<]+)", row)
        rows.append((" ".join(captions), ids[0], ids[1:]))
    assert rows == expected
    assert "Set 3 of 3" in text


def test_gallery_of_the_page():
    rows = re.findall(
        r'<div class="gallery-row">.*?(?=<div class="gallery-row">|$)',
        _section(_page(), "gallery"),
        re.DOTALL,
    )
    assert [re.sub(r"(≈ [\d.]+)", r"|", _words(row)) for row in rows] == [
        "plain | – | 0.52 ± 0.011 t5 | 0.90 ± 0.011 t0",
        '<b>bees</b> & "co" | 0.00 ± 0.011 t3 | – | 1.00 ± 0.011 t4',
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_has_the_pixels_of_its_example_and_its_text(channels):
    dataset = dataset_of(channels=channels)
    text = render(dataset)
    pictures = _pictures(text)
    assert sorted(pictures) == [
        *(("test", index) for index in range(5)),
        *(("train", index) for index in range(6)),
    ]
    for (split, index), uri in pictures.items():
        expected = np.round(getattr(dataset, split).images[index] / 16 * 255)
        np.testing.assert_array_equal(_decoded(uri).reshape(8, 6, channels), expected)
    shown = re.findall(r'<img class="picture" src="([^"]*)" alt="([^"]*)">', text)
    assert len(shown) == text.count("<img") == 17  # 4 in the gallery, 7 in panels, 6 of the pairs.
    assert text.count("data:image") == len(pictures) + len(shown)
    for uri, alt in shown:
        word, name, label = re.fullmatch(r"(\w+) example (\w\d), class (.*)", alt).groups()
        split, index = {"training": "train", "test": "test"}[word], int(name[1])
        assert name[0] == {"train": "t", "test": "v"}[split]
        assert html.unescape(label) == dataset.class_names[getattr(dataset, split).labels[index]]
        assert uri == pictures[split, index]


@pytest.mark.parametrize(("channels", "pictures"), [(2, False), (4, True), (5, False)])
def test_the_report_of_images_with_other_channels(tmp_path, rng, channels, pictures):
    arrays = imported_arrays(rng)
    pixels = np.zeros((14, 6, 6, channels), np.uint8)
    pixels[0, :3, :, -1] = 255  # Black above, nothing below.
    own = {"x_train": pixels[:10], "x_test": pixels[10:]}
    own |= {"y_train": arrays["train_labels"], "y_test": arrays["test_labels"]}
    np.savez(tmp_path / "own.npz", **own)
    np.savez(tmp_path / "trials.npz", **arrays)
    store, page = tmp_path / "store", tmp_path / "report.html"
    source = ("--format=arrays", f"--source={tmp_path}/trials.npz", f"--store={store}")
    run_program("launchers.import_trials", *source, f"--dataset=npz:{tmp_path}/own.npz")
    done = run_program("analysis.report", f"--store={store}", f"--out={page}")
    text = page.read_text()
    why = f"images have {channels} channels, expected 1 (grey), 3 (colour) or 4"
    assert (why in done.stderr, why in _words(text)) == (not pictures, not pictures)
    found = _pictures(text).get(("train", 0))
    assert bool(found) == pictures
    if found:
        np.testing.assert_array_equal(
            _decoded(found), np.repeat([0, 255], 3)[:, None, None] + pixels[0, ..., :3]
        )
    else:
        assert "train_00000" in text


def test_pictures_that_do_not_fit_are_ids(monkeypatch):
    monkeypatch.setattr("analysis.page.render.MAX_PICTURES", 1400)  # Characters: some of them.
    text = render()
    encoded = _pictures(text)
    assert 1 <= len(encoded) < 11
    assert set(re.findall(r'<img class="picture" src="([^"]*)"', text)) <= set(encoded.values())
    assert sum(map(len, re.findall(r"data:image[^\"]*", text))) <= 1400
    assert f"Pictures: of {len(encoded)} of the 11 examples" in _words(_section(text, "explore"))
    assert '<span class="no-picture">' in text


class _Files:
    """Stands in for `ImageStream`: pictures of one value each, in an order of its own."""

    image_shape = (8, 6, 3)
    identity = "files"

    def __init__(self):
        self.asked = []

    def pictures(self, split, index):
        self.asked.append((split, len(index)))
        for number in sorted(index, reverse=True):
            yield number, np.full(self.image_shape, 10 * number + (split == "test"), np.uint8)


def test_pictures_that_are_not_in_memory_are_read_from_their_files():
    stream = _Files()
    known = dataset_of(images=False)
    text = render(
        StreamedDataset("toy", known.train, known.test, known.class_names, 255, stream=stream)
    )
    pictures = _pictures(text)
    assert len(pictures) == 11
    for (split, index), uri in pictures.items():
        assert (_decoded(uri) == 10 * index + (split == "test")).all()
    assert sorted(stream.asked) == [("test", 5), ("train", 6)]  # One pass over each.


def test_page_needs_nothing_else():
    text = re.sub(r'src="data:image/png;base64,[^"]*"', "", _page())
    assert re.findall(r"<(?:link|iframe|object|embed)\b", text) == []
    assert re.findall(r"<script[^>]*>", text) == [
        '<script type="application/json" id="examples">',
        "<script>",
    ]
    assert re.findall(r"@import|@font-face|\bfetch\(|XMLHttpRequest|\bimport\(", text) == []
    references = re.findall(r'(?:src|href)="([^"#][^"]*)"|url\(([^#)][^)]*)', text)
    assert references == [("https://arxiv.org/abs/2008.03703", "")]
    assert "default-src 'none'; img-src data:" in text


def test_page_is_stable():
    assert render(figures=True) == _page()


def test_names_are_escaped():
    assert "<b>bees" not in _page()
    assert "&lt;b&gt;bees&lt;/b&gt; &amp; &#34;co&#34;" in _page()
    evil = dataclasses.replace(CONVERGENCE, verdict="<script>alert(1)</script>")
    assert render(convergence=evil, notes=["<script>"]).count("<script") == 2
    assert render(dataset_of(names=("</script>", "<!--"))).count("</script>") == 2


def test_without_images_ids_stand_in_their_place():
    text = render(dataset_of(images=False), notes=["Why there are none."])
    assert "<img" not in text
    assert "data:image" not in text
    assert "Why there are none." in text
    assert '<span class="no-picture">t2</span>' in text
    assert len(_cards(text)) == 3


def test_page_without_pairs_or_halves():
    lonely = dataclasses.replace(CONVERGENCE, infl_threshold=0.99, halves=())
    text = render(convergence=lonely)
    assert _words(text).count("No pair reaches both thresholds.") == 3
    assert "too few trials to split" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-0.004, "0.00"), (-0.06, "−0.06"), (0.995, "0.99"), (float("nan"), "–"), (None, "–")],
)
def test_number(value, expected):
    assert style.number(value) == expected


def test_percent_does_not_hide_small_shares():
    assert percent(0.971) == "97.1%"
    assert percent(0) == "0.0%"
    assert percent(0.00004) == "0.004%"


def _trials(count=40, seed=0):
    rng = np.random.default_rng(seed)
    subset = np.zeros((count, 6), bool)
    for row in subset:
        row[rng.permutation(6)[:4]] = True
    train, test = rng.random((count, 6)) < 0.7, rng.random((count, 5)) < 0.6
    return subset, train | subset, test


def test_summary_equals_its_slow_twin():
    subset, train, test = _trials()
    subset[0] = True  # A trial that saw everything has no held-out accuracy.
    trials = TrialSet(
        np.arange(40), *map(BitMatrix.from_bool, (subset, train, test)), TRAIN_LABELS, TEST_LABELS
    )
    summary = summarize(trials)
    for row in range(40):
        assert summary.subset_size[row] == sum(subset[row])
        assert summary.test_accuracy[row] == pytest.approx(sum(test[row]) / 5)
        if row:
            heldout = train[row][~subset[row]]
            assert summary.heldout_accuracy[row] == pytest.approx(sum(heldout) / len(heldout))
    assert np.isnan(summary.heldout_accuracy[0])


def _store(path, count=40):
    dataset = dataclasses.replace(dataset_of(images=False, pixel_max=16), name="")
    store = Store.create(path, ImportConfig("arrays", "runs.npz", "ab" * 32, "", count), dataset)
    for number, (subset, train, test) in enumerate(zip(*_trials(count), strict=True)):
        store.write(Trial(number, None, subset, Predictions(train), Predictions(test)))
    return store


def test_make_report_of_a_store_of_unknown_origin(tmp_path, monkeypatch):
    store = _store(tmp_path / "store")
    seen, estimated, estimate = [], [], estimators.memorization
    monkeypatch.setattr(
        estimators,
        "memorization",
        lambda trials, *more: estimated.append(len(trials)) or estimate(trials, *more),
    )
    report.make_report(store, tmp_path / "out" / "page.html", progress=seen.append)
    assert estimated.count(40) == 1  # And for halves, which have fewer trials.
    _, _, test = _trials()
    trials = store.load()
    found = estimators.estimate(trials, store.dataset)
    assert found.test_accuracy == pytest.approx(test.mean())
    assert found.test_accuracy_deviation == pytest.approx(test.mean(axis=1).std())
    assert found.num_trials == 40
    assert sum(seen) == report.steps(store.numbers())
    text = (tmp_path / "out" / "page.html").read_text()
    accuracy = f"{found.test_accuracy:.1%} <small>± {found.test_accuracy_deviation:.1%}</small>"
    assert f"<dt>test accuracy</dt><dd>{accuracy}</dd>" in text
    num_memorized = (found.memorization >= 0.25).sum()
    assert f'≥&nbsp;0.25</dt><dd class="mem">{num_memorized} <small>' in text
    assert "<dt>trials</dt><dd>40</dd>" in text
    assert len(_cards(text)) == len(pairs.select(found.memorization, found.influences))
    assert "the store does not know which dataset" in text
    # What is known already is neither read nor estimated again, and gives the same page.
    seen.clear()
    estimated.clear()
    again = tmp_path / "again.html"
    report.make_report(store, again, trials=trials, estimates=found, progress=seen.append)
    assert estimated.count(40) == 0
    assert sum(seen) == report.steps(store.numbers(), True) < report.steps(store.numbers())
    assert again.read_text() == text


def test_what_examples_are_called_is_counted_over_the_trials_that_left_them_out(tmp_path):
    """One pass over their predictions; without these, and without a vote, nothing is said."""
    dataset = dataclasses.replace(dataset_of(images=False, pixel_max=16), name="")
    config = ImportConfig("arrays", "runs.npz", "ab" * 32, "", 3)
    subset = np.array([[1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 1], [0, 0, 1, 1, 1, 1]], bool)
    predicted = np.array([[1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0]])
    for name, there in (("with", True), ("without", False)):
        store = Store.create(tmp_path / name, config, dataset)
        for number, row in enumerate(subset):
            train = Predictions(
                predicted[number] == TRAIN_LABELS, predicted[number] if there else None
            )
            test = Predictions(np.ones(5, bool), TEST_LABELS if there else None)
            store.write(Trial(number, None, row, train, test))
        seen = []
        report.make_report(store, tmp_path / "page.html", progress=seen.append)
        assert sum(seen) == report.steps(range(3))
        data = _data((tmp_path / "page.html").read_text())["train"]
        assert ("called" in data) == ("votes" in data) == there
        if there:
            called = zip(data["id"], data["called"], data["votes"], strict=True)
            # t0: 1 and 0, of which 0 is its own; t3, which no trial left out, has no estimate.
            assert {name: (label, votes) for name, label, votes in called} == {
                "t0": (0, 5000),
                "t1": (0, 10_000),
                "t2": (0, 10_000),
                "t4": (0, 10_000),
                "t5": (1, 10_000),
            }


def test_report_uses_given_estimates(tmp_path):
    store = _store(tmp_path / "store")
    files.write(tmp_path / "given.npz", ESTIMATES)
    report.make_report(store, tmp_path / "page.html", estimates_path=tmp_path / "given.npz")
    text = (tmp_path / "page.html").read_text()
    assert _cards(text) == _cards(_page())
    assert "come from given.npz (from 100 trials)" in text


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "analysis.report", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_program_makes_the_page(tmp_path):
    _store(tmp_path / "store")
    done = _run(f"--store={tmp_path / 'store'}", f"--out={tmp_path / 'page.html'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"report: {tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_program_refuses_estimates_of_another_dataset(tmp_path):
    _store(tmp_path / "store")
    other = dataclasses.replace(ESTIMATES, train_labels=1 - TRAIN_LABELS, influences=())
    files.write(tmp_path / "other.npz", other)
    done = _run(f"--store={tmp_path / 'store'}", f"--estimates={tmp_path / 'other.npz'}")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "other.npz labels training example 0 1" in last


def test_importing_the_program_is_light():
    heavy = {"matplotlib", "tensorflow", "jinja2"}
    code = f"import sys, analysis.page.report; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
