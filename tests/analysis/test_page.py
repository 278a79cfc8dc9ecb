"""The report shows exactly the examples, pictures and numbers that it was given."""

import base64
import dataclasses
import functools
import html
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from analysis import estimators, files, page, pairs, report
from analysis.convergence import Convergence, SplitHalf
from analysis.estimators import ClassInfluence
from tfmem.bits import BitMatrix
from tfmem.config import ImportConfig
from tfmem.datasets import Dataset, Split
from tfmem.store import Predictions, Store, Trial, TrialSet

ROOT = pathlib.Path(__file__).parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

# Six training and five test examples of two classes. With the thresholds 0.25 and 0.15 the pairs
# are, by hand: t2 -> v2 0.50, t0 -> v0 0.30, t0 -> v4 0.15. t1 has influence but no memorization,
# t4 has memorization but no influence.
TRAIN_LABELS = np.array([0, 0, 1, 1, 1, 0])
TEST_LABELS = np.array([0, 0, 1, 1, 0])
MEMORIZATION = np.array([0.9, 0.24, 0.25, -0.001, 1.0, 0.52])
INFLUENCES = (
    ClassInfluence(
        np.array([0, 1, 5]),
        np.array([0, 1, 4]),
        np.array([[0.30, -0.02, 0.15], [0.80, 0.0, 0.0], [0.149, 0.1, 0.0]]),
        np.full((3, 3), 0.031, np.float32),
    ),
    ClassInfluence(
        np.array([2, 3, 4]),
        np.array([2, 3]),
        np.array([[0.50, 0.01], [0.0, 0.0], [0.02, 0.1]]),
        np.full((3, 2), 0.042, np.float32),
    ),
)
ESTIMATES = files.Estimates(
    MEMORIZATION,
    TRAIN_LABELS,
    TEST_LABELS,
    INFLUENCES,
    estimators.Memorization(
        MEMORIZATION, np.full(6, 0.011), np.full(6, 0.75), np.full(6, 70), np.full(6, 30)
    ),
    100,
)
CONVERGENCE = Convergence(
    num_trials=100,
    halves=(
        SplitHalf(25, 0.5, 0.2, 3.0, 0.25, 0.3, 4.0),
        SplitHalf(50, 0.6, 0.1, 3.5, 0.4, 0.2, 3),
    ),
    worst_standard_error=0.109,
    pairs=3,
    chance_pairs=0.5,
    mem_threshold=0.25,
    infl_threshold=0.15,
    enough=False,
    verdict="More trials, please.",
)


def _dataset(images=True, channels=1, names=("plain", '<b>bees</b> & "co"'), pixel_max=16):
    rng = np.random.default_rng(0)

    def split(prefix, labels):
        pixels = rng.integers(0, pixel_max + 1, (len(labels), 8, 6, channels), np.uint8)
        ids = [f"{prefix}{index}" for index in range(len(labels))]
        return Split(labels, ids, pixels if images else None)

    return Dataset("toy", split("t", TRAIN_LABELS), split("v", TEST_LABELS), names, pixel_max)


def _render(dataset=None, estimates=ESTIMATES, convergence=CONVERGENCE, **changes):
    found = pairs.select(
        estimates.memorization,
        estimates.influences,
        convergence.mem_threshold,
        convergence.infl_threshold,
    )
    arguments = {
        "config": ImportConfig("arrays", "runs.npz", "ab" * 32, "toy", 100),
        "dataset": dataset or _dataset(),
        "fingerprint": "cd" * 32,
        "trials": page.TrialSummary(
            np.full(100, 4), np.repeat([0.8, 0.6], 50), np.repeat([0.5, 0.7], 50)
        ),
        "estimates": estimates,
        "pairs": found,
        "convergence": convergence,
        "versions": {"tfmem": "0.0"},
    }
    return page.render(**(arguments | changes))


@functools.cache
def _page():
    return _render()


def _section(text, name):
    return re.search(rf'<section id="{name}">.*?(?=<section id=|</main>)', text, re.DOTALL)[0]


def _words(fragment):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", fragment)).split())


def _cards(text):
    return [
        _words(caption)
        for caption in re.findall(
            r"<figcaption>(.*?)</figcaption>", _section(text, "pairs"), re.DOTALL
        )
    ]


def test_pairs_are_exactly_those_selected():
    assert _cards(_page()) == [
        'infl 0.50 ± 0.042 mem 0.25 ± 0.011 class <b>bees</b> & "co" t2 → v2',
        "infl 0.30 ± 0.031 mem 0.90 ± 0.011 class plain t0 → v0",
        "infl 0.15 ± 0.031 mem 0.90 ± 0.011 class plain t0 → v4",
    ]


def test_pairs_beyond_the_maximum_are_counted(monkeypatch):
    monkeypatch.setattr(page, "MAX_PAIRS", 2)
    text = _render()
    assert len(_cards(text)) == 2
    assert "the first 2 of 3 pairs; the other 1," in _words(_section(text, "pairs"))


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


def test_panels_without_enough_examples_show_all():
    panel = _section(_page(), "panels")
    rows = [_words(row) for row in re.findall(r"<li>(.*?)</li>", panel, re.DOTALL)]
    # By the highest influence: t2 before t0. Test examples descend, those below 0.15 included.
    assert rows == [
        '0.25 0.50 0.01 class <b>bees</b> & "co" · t2',
        "0.90 0.30 0.15 −0.02 class plain · t0",
    ]


def test_panels_follow_appendix_c():
    rng = np.random.default_rng(1)
    count, num_test = 23, 7
    value = np.round(rng.uniform(-0.1, 1, (count, num_test)), 6)
    value[[3, 8]] = 0.1  # In no pair.
    labels, test_labels = np.zeros(count, np.int64), np.zeros(num_test, np.int64)
    estimates = files.Estimates(
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
    text = _section(_render(dataset, estimates), "panels")
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
            numbers = " ".join(page.number(number) for number in numbers)
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
        "plain | – | 0.52 | 0.90",
        '<b>bees</b> & "co" | 0.00 | – | 1.00',
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_has_the_pixels_of_its_example(channels):
    dataset = _dataset(channels=channels)
    text = _render(dataset)
    uris = set(re.findall(r'"(data:[^"]*)"', text))
    images = re.findall(r'<img src="([^"]+)" alt="(training|test) example (\w)(\d+), class', text)
    assert len(images) == text.count("<img ")
    assert uris == {uri for uri, *_ in images}
    for uri, split, prefix, index in images:
        assert prefix == {"training": "t", "test": "v"}[split]
        kind, content = uri.split(",")
        assert kind == "data:image/png;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        source = dataset.train if split == "training" else dataset.test
        expected = np.round(source.images[int(index)] / 16 * 255)
        np.testing.assert_array_equal(shown.reshape(8, 6, channels), expected)


def test_large_pictures_are_reduced():
    uri = page.png_data_uri(np.zeros((224, 168, 3), np.uint8), 255)
    assert Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size == (84, 112)


def test_png_rejects_other_channels():
    with pytest.raises(ValueError, match="2 channels, expected 1 or 3"):
        page.png_data_uri(np.zeros((8, 8, 2), np.uint8), 255)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((8, 8), (64, 64)), ((28, 28), (56, 56)), ((32, 32), (64, 64)), ((224, 112), (112, 56))],
)
def test_display_size_magnifies_by_whole_factors(shape, size):
    assert page.display_size(*shape) == size


def test_page_needs_nothing_else():
    text = re.sub(r'"data:image/png;base64,[^"]*"', '""', _page())
    assert re.findall(r"<(?:script|link|iframe|object|embed)\b", text) == []
    assert re.findall(r"@import|@font-face", text) == []
    references = re.findall(r'(?:src|href)="([^"#][^"]*)"|url\(([^#)][^)]*)', text)
    assert references == [("https://arxiv.org/abs/2008.03703", "")]


def test_page_is_stable():
    assert _render() == _page()


def test_names_are_escaped():
    assert "<b>bees" not in _page()
    assert "&lt;b&gt;bees&lt;/b&gt; &amp; &#34;co&#34;" in _page()
    evil = dataclasses.replace(CONVERGENCE, verdict="<script>alert(1)</script>")
    assert "<script" not in _render(convergence=evil, notes=["<script>"])


def test_without_images_ids_stand_in_their_place():
    text = _render(_dataset(images=False), notes=["Why there are none."])
    assert "<img" not in text
    assert "data:image" not in text
    assert "Why there are none." in text
    assert '<span class="no-picture">t2</span>' in text
    assert len(_cards(text)) == 3


def test_page_without_pairs_or_halves():
    lonely = dataclasses.replace(CONVERGENCE, infl_threshold=0.99, halves=())
    text = _render(convergence=lonely)
    assert _words(text).count("No pair reaches both thresholds.") == 3
    assert "too few trials to split" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-0.004, "0.00"), (-0.06, "−0.06"), (0.995, "0.99"), (float("nan"), "–"), (None, "–")],
)
def test_number(value, expected):
    assert page.number(value) == expected


def test_percent_does_not_hide_small_shares():
    assert page.percent(0.971) == "97.1%"
    assert page.percent(0) == "0.0%"
    assert page.percent(0.00004) == "0.004%"


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
    summary = page.summarize(trials)
    for row in range(40):
        assert summary.subset_size[row] == sum(subset[row])
        assert summary.test_accuracy[row] == pytest.approx(sum(test[row]) / 5)
        if row:
            heldout = train[row][~subset[row]]
            assert summary.heldout_accuracy[row] == pytest.approx(sum(heldout) / len(heldout))
    assert np.isnan(summary.heldout_accuracy[0])


def _store(path, count=40):
    dataset = dataclasses.replace(_dataset(images=False, pixel_max=16), name="")
    store = Store.create(path, ImportConfig("arrays", "runs.npz", "ab" * 32, "", count), dataset)
    for number, (subset, train, test) in enumerate(zip(*_trials(count), strict=True)):
        store.write(Trial(number, None, subset, Predictions(train), Predictions(test)))
    return store


def test_make_report_of_a_store_of_unknown_origin(tmp_path):
    store = _store(tmp_path / "store")
    seen = []
    summary = report.make_report(store, tmp_path / "out" / "page.html", progress=seen.append)
    _, _, test = _trials()
    trials = store.load()
    assert summary.test_accuracy == pytest.approx(test.mean())
    assert summary.test_accuracy_deviation == pytest.approx(test.mean(axis=1).std())
    assert summary.num_memorized == (estimators.memorization(trials).value >= 0.25).sum()
    assert summary.num_trials == 40
    assert sum(seen) == report.steps(store)
    text = (tmp_path / "out" / "page.html").read_text()
    assert len(_cards(text)) == summary.num_pairs
    assert "the store does not know which dataset" in text


def test_report_uses_given_estimates(tmp_path):
    store = _store(tmp_path / "store")
    files.write_estimates(
        tmp_path / "given.npz", ESTIMATES.details, TRAIN_LABELS, TEST_LABELS, INFLUENCES, None, 100
    )
    report.make_report(store, tmp_path / "page.html", estimates=tmp_path / "given.npz")
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
    other = 1 - TRAIN_LABELS
    files.write_estimates(tmp_path / "other.npz", ESTIMATES.details, other, TEST_LABELS)
    done = _run(f"--store={tmp_path / 'store'}", f"--estimates={tmp_path / 'other.npz'}")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "other.npz labels training example 0 1" in last


def test_importing_the_program_is_light():
    heavy = {"matplotlib", "tensorflow", "jinja2"}
    code = f"import sys, analysis.report; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_browser_shows_the_page_on_a_telephone_without_scrolling_sideways(tmp_path):
    frames = "".join(
        f'<iframe style="width:{width}px" srcdoc="{html.escape(_page())}"></iframe>'
        for width in (390, 1400)
    )
    measure = """
    addEventListener("load", () => {
      const widths = [...document.querySelectorAll("iframe")].map(frame => {
        const images = [...frame.contentDocument.images];
        const whole = images.every(image => image.complete && image.naturalWidth > 0);
        return frame.contentDocument.documentElement.scrollWidth + ":" + (whole && images.length);
      });
      document.body.textContent = "measured " + widths.join(" ");
    });"""
    (tmp_path / "frames.html").write_text(
        f"<!DOCTYPE html><html><style>iframe{{border:0;height:900px}}</style>"
        f"<body>{frames}<script>{measure}</script></body></html>"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [
                CHROMIUM,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *(
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                ),
                *("--disable-sync", "--enable-logging=stderr", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom"),
                (tmp_path / "frames.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "HOME": profile},
        )
    images = _page().count("<img ")
    assert re.findall(r"measured [^<]*", done.stdout) == [f"measured 390:{images} 1400:{images}"], (
        done.stderr
    )
    assert "CONSOLE" not in done.stderr
