"""A report small enough to count by hand, and a browser to look at one."""

import contextlib
import dataclasses
import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from unittest import mock

import numpy as np
import pytest

from analysis.estimates import pairs
from analysis.estimates.values import ClassInfluence, Estimates, Memorization
from analysis.measures.settling import Convergence, SplitHalf
from analysis.page.render import TrialSummary, to_html
from tfmem.config import ImportConfig
from tfmem.datasets import ArrayDataset, ArraySplit, Dataset, Split

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

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
ESTIMATES = Estimates(
    MEMORIZATION,
    TRAIN_LABELS,
    TEST_LABELS,
    INFLUENCES,
    Memorization(MEMORIZATION, np.full(6, 0.011), np.full(6, 0.75), np.full(6, 70), np.full(6, 30)),
    100,
)
CONVERGENCE = Convergence(
    halves=(
        SplitHalf(25, 0.5, 0.2, 3.0, 0.25, 0.3, 4.0),
        SplitHalf(50, 0.6, 0.1, 3.5, 0.4, 0.2, 3),
    ),
    pairs=3,
    chance_pairs=0.6,
    mem_threshold=0.25,
    infl_threshold=0.15,
    enough=False,
    trials_needed=300,
    verdict="More trials, please.",
)
ENOUGH = dataclasses.replace(CONVERGENCE, enough=True)


def dataset_of(
    train_labels=TRAIN_LABELS,
    test_labels=TEST_LABELS,
    images=True,
    channels=1,
    names=("plain", '<b>bees</b> & "co"'),
    pixel_max=16,
):
    """Returns a dataset of random pictures of 8 x 6 pixels; ids are t0, t1, ... and v0, v1, ..."""
    rng = np.random.default_rng(0)

    def split(prefix, labels):
        pixels = rng.integers(0, pixel_max + 1, (len(labels), 8, 6, channels), np.uint8)
        ids = [f"{prefix}{index}" for index in range(len(labels))]
        return ArraySplit(labels, ids, pixels) if images else Split(labels, ids)

    kind = ArrayDataset if images else Dataset
    return kind("toy", split("t", train_labels), split("v", test_labels), names, pixel_max)


def render(dataset=None, estimates=ESTIMATES, convergence=CONVERGENCE, figures=False, **changes):
    """Returns the page of these estimates, by default of the six training examples above.

    Without figures, which take most of the time, unless they are asked for.
    """
    found = pairs.select(
        estimates.memorization,
        estimates.influences,
        convergence.mem_threshold,
        convergence.infl_threshold,
    )
    arguments = {
        "config": ImportConfig("arrays", "runs.npz", "ab" * 32, "toy", 100),
        "dataset": dataset or dataset_of(),
        "fingerprint": "cd" * 32,
        "trials": TrialSummary(
            np.full(100, 4), np.repeat([0.8, 0.6], 50), np.repeat([0.5, 0.7], 50)
        ),
        "estimates": estimates,
        "pairs": found,
        "settled": convergence,
        "versions": {"tfmem": "0.0"},
        "lookup": "tfmem table --store=toy --out=examples.csv",
    }
    with contextlib.ExitStack() as stack:
        if not figures:
            stack.enter_context(mock.patch("analysis.page.render._drawings", return_value=""))
        return to_html(**(arguments | changes))


def random_estimates(rng, n=120, n_test=80, classes=3):
    """Returns estimates of n training and n' test examples; some are exactly on a threshold."""
    train_labels, test_labels = rng.integers(0, classes, n), rng.integers(0, classes, n_test)
    memorization = np.round(np.clip(rng.normal(0.3, 0.4, n), -1, 1), 2)
    influences = []
    for label in range(classes):
        rows, columns = np.flatnonzero(train_labels == label), np.flatnonzero(test_labels == label)
        value = np.round(rng.normal(0, 0.15, (len(rows), len(columns))), 3)
        error = rng.uniform(0.01, 0.05, value.shape).astype(np.float32)
        influences.append(ClassInfluence(rows, columns, value, error))
    details = Memorization(
        memorization,
        rng.uniform(0.01, 0.05, n),
        rng.random(n),
        np.full(n, 70),
        np.full(n, 30),
    )
    return Estimates(memorization, train_labels, test_labels, tuple(influences), details, 100)


def browse(page_path: pathlib.Path, state: str = "") -> str:
    """Opens a page in headless Chromium; returns the document after its scripts have run.

    Args:
      page_path: of an HTML file.
      state: what follows # in the address.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [
                CHROMIUM,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--enable-logging=stderr", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom"),
                page_path.as_uri() + (f"#{state}" if state else ""),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "HOME": profile},
        )
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def in_frames(folder: pathlib.Path, page: str, widths: tuple[int, ...], found: str) -> str:
    """Opens a page in frames of several widths; returns what is found in each.

    Args:
      folder: where the page with the frames is written.
      page: its HTML.
      widths: of the frames, in pixels.
      found: JavaScript of the body of a function of `inner`, a frame's document.

    Returns:
      for each frame, after `measured`, the width that its document takes, a colon, and what the
      function returns.
    """
    text = html.escape(page)
    frames = "".join(
        f'<iframe style="width:{width}px" srcdoc="{text}"></iframe>' for width in widths
    )
    measure = f"""
    const found = (inner) => {{ {found} }};
    addEventListener("load", () => {{
      const words = [...document.querySelectorAll("iframe")].map(({{ contentDocument: inner }}) =>
        inner.documentElement.scrollWidth + ":" + found(inner));
      document.body.textContent = "measured " + words.join(" ");
    }});"""
    (folder / "frames.html").write_text(
        f"<!DOCTYPE html><html><style>iframe{{border:0;height:900px}}</style>"
        f"<body>{frames}<script>{measure}</script></body></html>"
    )
    (said,) = re.findall(r"measured [^<]*", browse(folder / "frames.html"))
    return said


_READ = """
const text = (place) => place.textContent.replaceAll(",", "");
const read = () => ({
  counts: Object.fromEntries(
    [...document.querySelectorAll("[data-count]")].map((dd) => [dd.dataset.count, Number(text(dd))])
  ),
  cards: [...document.querySelectorAll(".example-card")].map((card) => ({
    train: card.querySelector(".ids").textContent,
    said: [...card.querySelector(".facts").children].map((part) => part.textContent).join(" "),
    tests: [...card.querySelectorAll(".carried")].map((test) => test.title.split(/[ ,]/)[2]),
    picture: ["alt", "src"].map((name) => card.querySelector("img.picture")?.[name])
      .concat(card.querySelector("a").getAttribute("href")),
    kind: card.classList.contains("of-test") ? "test" : "train",
    lines: [...card.querySelectorAll("p")].map((line) => line.textContent),
    others: [...card.querySelectorAll(".carried")].map((part) => [...part.children].map(text)),
  })),
  status: document.querySelector(".status").textContent,
  missing: document.querySelector(".missing:not([hidden])")?.textContent ?? "",
  hash: location.hash,
});
const say = (value) => {
  const made = document.createElement("pre");
  made.id = "said";
  made.textContent = JSON.stringify(value);
  document.body.append(made);
};
"""


def answer(text):
    """Returns what a script in a page said."""
    return json.loads(html.unescape(re.search(r'<pre id="said">(.*?)</pre>', text)[1]))


def with_script(text, script):
    """Returns a page whose script may `say(read())`: the counts, the cards and what is said."""
    # What the page draws with the next picture on the screen it draws at once.
    at_once = "requestAnimationFrame = (draw) => draw();"
    text = text.replace("<head>", f"<head><script>{at_once}</script>")
    return text.replace("</body>", f"<script>{_READ}{script}</script></body>")


_GO = """
const seen = [];
const go = (hash) => {
  location.hash = hash;
  dispatchEvent(new Event("hashchange"));  // The browser's own comes too late.
  seen.push(read());
};
"""


def looked(tmp_path, text, *steps, at=""):
    """Returns what a page shows at each of these addresses, or after these statements."""
    script = _GO + "".join(
        f"go({step!r});" if step.startswith("#") else f"{step}; seen.push(read());"
        for step in steps
    )
    page = tmp_path / "page.html"
    page.write_text(with_script(text, script + "say(seen);"))
    return answer(browse(page, at))
