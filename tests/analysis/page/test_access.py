"""Who sees little, uses no mouse, or has a narrow window can use the page."""

import pathlib
import re

import numpy as np
import pytest

from analysis import page
from analysis.measures.votes import Votes
from analysis.plots import style
from tests.pages import (
    ENOUGH,
    ESTIMATES,
    answer,
    browse,
    dataset_of,
    in_frames,
    needs_browser,
    render,
    with_script,
)
from tfmem.datasets import ArrayDataset, ArraySplit, Dataset, Split

SHEET = (pathlib.Path(page.__file__).parent / "templates" / "report.css.j2").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(
        r":root \{(.*?)\}", SHEET.replace("{{ picture_size[1] }}", ""), re.DOTALL
    )
)


def contrast(one, other):
    """Returns the contrast ratio of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#777777") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("colours", [LIGHT, {**LIGHT, **DARK}], ids=["light", "dark"])
def test_colours_have_enough_contrast(colours):
    """WCAG 1.4.3: text 4.5; WCAG 1.4.11: borders of controls, and bars, 3."""
    for ground in ("paper", "card"):
        for name in ("ink", "quiet", "mem", "infl", "good", "bad"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in ("edge", "mem-pale", "infl-pale"):
            assert contrast(colours[name], colours[ground]) >= 3, (name, ground)


def test_both_schemes_have_all_colours_and_controls_use_them():
    assert LIGHT.keys() == DARK.keys()
    assert all(LIGHT[name] == colour for colour, name in style._CSS_NAMES.items())
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", SHEET)
    borders = {
        selector.strip(): re.search(r"border: 1px \w+ var\(--(\w+)\)", rule)[1]
        for selector, rule in rules
        if "border: 1px" in rule and re.search(r"select|button|search|no-picture", selector)
    }
    assert borders == {"select, button, [type=search]": "edge", ".no-picture": "edge"}
    grounds = {
        selector.strip(): re.search(r"background: var\(--([\w-]+)\)", rule)[1]
        for selector, rule in rules
        if re.match(r"\.(bars i|thumbs::before|chosen)", selector.strip()) and "background" in rule
    }
    assert grounds == {
        ".bars i": "pale",
        ".bars i.in": "strong",
        ".thumbs::before, .chosen": "edge",
        ".chosen": "strong",
    }


_KEYBOARD = """
const reached = [...document.querySelectorAll("*")].filter((part) =>
  part.tabIndex >= 0 && part.checkVisibility() && !part.closest("noscript"));
const named = (part) =>
  part.ariaLabel || part.name || part.querySelector("img")?.alt || part.textContent;
const outlined = reached.filter((part) => {
  part.focus({ focusVisible: true });
  return document.activeElement === part && getComputedStyle(part).outlineStyle === "solid";
});
say({
  names: reached.map((part) => `${part.localName}: ${named(part)}`),
  outlined: outlined.length,
  sliders: reached.filter((part) => part.type === "range").length,
  unreached: [...document.querySelectorAll("img")].filter(
    (image) => image.checkVisibility() && !reached.includes(image.parentElement)).length,
  types: [...document.querySelectorAll("#explore button")].map((button) => button.type),
});
"""


@needs_browser
def test_everything_is_reached_by_keyboard(tmp_path):
    dataset = dataset_of(names=("plain", "bees"))
    (tmp_path / "page.html").write_text(with_script(render(dataset, convergence=ENOUGH), _KEYBOARD))
    said = answer(browse(tmp_path / "page.html"))
    names = said["names"]
    assert names[:8] == [
        f"a: {title}"
        for title in (
            "Explore",
            "Counts",
            "Memorization",
            "Influence",
            "From typical to atypical",
            "Who helps whom",
            "How far to trust it",
            "How it was made",
        )
    ]
    assert names[8:19] == [
        *(
            f"input: {name}, {end}"
            for name in ("memorization", "influence")
            for end in ("at least", "below")
        ),
        *("select: view", "select: class", "select: sort", "input: id", "input: pairs"),
        "button: Back to 0.25 and 0.15",
        "a: training example t2, class bees",
    ]
    assert said["unreached"] == 0
    assert said["outlined"] == len(names) - said["sliders"]  # Of a slider its thumb is outlined.
    assert said["sliders"] == 4
    assert "input:focus-visible::-webkit-slider-thumb { outline: 2px solid" in SHEET
    assert set(said["types"]) == {"button"}


def _long(images):
    """Returns the dataset of six training examples with ids and classes that nothing breaks."""
    known = dataset_of(names=("Donau" + "dampfschifffahrts" * 4, "c" * 70), images=images)

    def split(name):
        part = getattr(known, name)
        ids = [f"{name}/n01440764/" + "long" * 25 + f"/{index}.JPEG" for index in range(len(part))]
        return ArraySplit(part.labels, ids, part.images) if images else Split(part.labels, ids)

    kind = ArrayDataset if images else Dataset
    return kind("toy" * 40, split("train"), split("test"), known.class_names, 16)


@needs_browser
@pytest.mark.parametrize("images", [True, False], ids=["pictures", "ids"])
def test_long_ids_and_names_do_not_break_the_page(tmp_path, images):
    """No window scrolls sideways, and no text leaves its card."""

    def votes(train):
        return Votes(1 - ESTIMATES.train_labels[train], np.ones(len(train)), np.zeros(len(train)))

    outside = """
    const out = [...inner.querySelectorAll(".card *, .card, header *")].filter((part) =>
      !part.closest(".scroll, svg, select, .thumbs") && part.checkVisibility() &&
      part.clientWidth > 1 && part.scrollWidth > part.clientWidth);
    return out.map((part) => `${part.localName}.${part.className} ${part.textContent}`).join("+");
    """
    page_text = render(_long(images), convergence=ENOUGH, votes=votes)
    found = in_frames(tmp_path, page_text, (390, 900, 1400), outside)
    assert found == "measured 390: 900: 1400:"
