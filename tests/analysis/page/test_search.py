"""What is found by id and by test example, in which order, and what cannot be shown is said."""

import dataclasses
import re

import numpy as np

from analysis.measures.votes import Votes
from analysis.page import explorer
from tests.pages import (
    CONVERGENCE,
    ENOUGH,
    ESTIMATES,
    dataset_of,
    looked,
    needs_browser,
    render,
)


def cards(said):
    """Returns of each card whose it is and whom it has beside it."""
    return [(card["train"], *card["tests"]) for card in said["cards"]]


@needs_browser
def test_examples_are_found_by_id(tmp_path):
    """Whatever their memorization and class; of their pairs those of the influence slider."""
    found = looked(
        tmp_path,
        render(convergence=ENOUGH),
        "#mem=0.9&class=1&id=t1",
        "#id=v0",
        "#id=v0&infl=0.05",
        "#id=T",
        "#id=T&view=test&infl=0.5",
        "#id=0",
        "#id=t3",
        "#id=x%26%3C9",
    )
    assert [cards(said) for said in found] == [
        [("t1", "v0")],
        [("v0", "t1", "t0")],
        [("v0", "t1", "t0", "t5")],  # 0.80, 0.30 and 0.149.
        [("t1", "v0"), ("t2", "v2"), ("t0", "v0", "v4"), ("t4",), ("t5",), ("t3",)],
        # No test example's id has a t in it, nor has the order of memorization changed.
        [("t1", "v0"), ("t2", "v2"), ("t4",), ("t0",), ("t5",), ("t3",)],
        [("t0", "v0", "v4"), ("v0", "t1", "t0")],
        [("t3",)],
        [],
    ]
    assert [said["counts"]["memorized"] for said in found[:2]] == [1, 4]  # Those of the sliders.
    assert found[1]["cards"][0]["kind"] == "test"
    assert found[1]["status"].startswith("1 test example found by id.")
    assert found[5]["status"].startswith("1 training example and 1 test example found by id.")
    assert found[6]["cards"][0]["lines"][-1] == "no test example with this influence"
    assert found[7]["status"] == (
        "No example on this page has “x&<9” in its id. This command lists all examples by their "
        "ids: tfmem table --store=toy --out=examples.csv"
    )
    assert all(said["missing"] == "" for said in found)


@needs_browser
def test_an_id_is_typed_and_its_picture_followed(tmp_path):
    form = """
    const form = document.querySelector("#explore form");
    const type = (name, value) => {
      const field = form.elements[name];
      if (field.type === "checkbox") field.checked = value; else field.value = value;
      for (const event of ["input", "change"])
        field.dispatchEvent(new Event(event, { bubbles: true }));
    };"""
    found = looked(
        tmp_path,
        render(dataset_of(names=("plain", "bees")), convergence=ENOUGH),
        form + 'type("id", "t2")',
        'document.querySelector(".carried a").click(); dispatchEvent(new Event("hashchange"))',
        'form.querySelector(".reset").click()',
        'document.querySelector("#panels a").click(); dispatchEvent(new Event("hashchange"))',
        at="infl=0.2",
    )
    assert [said["hash"] for said in found] == [
        "#mem=0.25&infl=0.2&id=t2",
        "#mem=0.25&infl=0.2&id=v2",
        "#mem=0.25&infl=0.15",
        "#id=t2",
    ]
    assert [cards(said)[0] for said in found] == [
        ("t2", "v2"),
        ("v2", "t2"),
        ("t2", "v2"),
        ("t2", "v2"),
    ]
    assert found[0]["cards"][0]["picture"][0] == "training example t2, class bees"


@needs_browser
def test_test_examples_have_what_carries_them(tmp_path):
    found = looked(
        tmp_path,
        render(convergence=ENOUGH),
        "#view=test",
        "#view=test&mem=0&infl=0.05",
        "#view=test&mem=0&infl=0.05&sort=carried",
        "#view=test&mem=0&infl=0.05&class=1",
        "#view=test&mem=0.95&infl=0.15",
    )
    assert [cards(said) for said in found] == [
        [("v2", "t2"), ("v0", "t0"), ("v4", "t0")],
        [("v0", "t1", "t0", "t5"), ("v2", "t2"), ("v4", "t0"), ("v1", "t5"), ("v3", "t4")],
        [("v0", "t1", "t0", "t5"), ("v2", "t2"), ("v4", "t0"), ("v1", "t5"), ("v3", "t4")],
        [("v2", "t2"), ("v3", "t4")],
        [],
    ]
    first = found[1]["cards"][0]
    assert first["said"] == "test example class plain v0"
    assert first["lines"] == ["carried by 3 training examples"]
    # Influence, its error, memorization, its error, id; the picture has no text.
    assert first["others"] == [
        ["0.80", "", "± 0.031", "mem 0.24", "± 0.011", "t1"],
        ["0.30", "", "± 0.031", "mem 0.90", "± 0.011", "t0"],
        ["0.15", "", "± 0.031", "mem 0.52", "± 0.011", "t5"],
    ]
    assert found[0]["status"] == "3 test examples"
    assert found[4]["status"] == "No test example on this page has these values."


@needs_browser
def test_memorization_by_its_standard_error(tmp_path):
    """0.9 / 0.3 = 3, 0.25 / 0.05 = 5, 1 / 0.5 = 2 and 0.52 / 0.02 = 26."""
    errors = np.array([0.3, 0.01, 0.05, 0.01, 0.5, 0.02])
    details = dataclasses.replace(ESTIMATES.details, standard_error=errors)
    estimates = dataclasses.replace(ESTIMATES, details=details)
    text = render(estimates=estimates, convergence=ENOUGH)
    (said,) = looked(tmp_path, text, "#sort=mem_se")
    assert [card["train"] for card in said["cards"]] == ["t5", "t2", "t0", "t4"]
    assert 'value="mem_se"' in text
    published = dataclasses.replace(ESTIMATES, details=None)
    assert 'value="mem_se"' not in render(estimates=published)


def votes(train):
    """t0 is called bees by 3 of 4, t3 by nobody, since no trial left it out."""
    label = np.array([1, 0, 1, -1, 0, 0])
    share = np.array([0.75, 1, 0.5, np.nan, 2 / 3, 0.996])
    return Votes(label[train], share[train], share[train])


@needs_browser
def test_cards_say_what_an_example_is_called_when_left_out(tmp_path):
    dataset = dataset_of(names=("plain", "bees"))
    text = render(dataset, convergence=ENOUGH, votes=votes)
    (said,) = looked(tmp_path, text, "#id=t")
    assert {
        card["train"]: [w for w in card["lines"] if "called" in w] for card in said["cards"]
    } == {
        "t0": ["left out, it is called bees (75%)"],
        "t1": ["left out, it is called plain (100%)"],
        "t2": ["left out, it is called bees (50%)"],
        "t3": [],
        "t4": ["left out, it is called plain (67%)"],
        "t5": ["left out, it is called plain (100%)"],
    }
    # And without scripts, on the cards of t2, t0 and t0.
    called = re.findall(r"<span>left out, it is called ([^<]*)</span>", text)
    assert called == ["bees (50%)", "bees (75%)", "bees (75%)"]
    # Where the trials have no predictions, there is no such line.
    text = render(dataset, convergence=ENOUGH)
    assert not re.search(r"left out, it is called \w", text.partition("<script>")[0])
    (said,) = looked(tmp_path, text, "#id=t")
    assert not any("called" in line for card in said["cards"] for line in card["lines"])


@needs_browser
def test_pairs_of_too_few_trials_are_hidden_until_they_are_asked_for(tmp_path):
    is_open = """
    for (const part of document.querySelectorAll("details.unreliable")) document.title += part.open;
    seen.at(-1).open = document.title.match(/true|false/g)"""
    box = 'document.querySelector("[name=unreliable]")'
    click = f'{box}.click(); document.title = ""'
    hidden, opened, shown, tests, again = looked(
        tmp_path,
        render(),
        "#pairs=1",
        f'document.title = ""; {click}; {is_open}',
        "#unreliable=1",
        "#view=test&id=v0",
        "#view=test",
    )
    assert cards(hidden) == [("t4",), ("t0",), ("t5",), ("t2",)]  # By memorization.
    line = "its test examples are hidden: there are too few trials to rely on them"
    assert [card["lines"][-1] for card in hidden["cards"]] == [line] * 4
    assert hidden["counts"] == shown["counts"]
    assert hidden["counts"]["pairs"] == 3
    assert opened["hash"] == "#mem=0.25&infl=0.15&pairs=1&unreliable=1"
    assert cards(opened) == [("t2", "v2"), ("t0", "v0", "v4")]
    assert cards(shown) == [("t2", "v2"), ("t0", "v0", "v4"), ("t4",), ("t5",)]
    assert cards(tests) == [("v0",)]
    assert tests["cards"][0]["lines"] == [line.replace("test", "training")]
    assert cards(again) == []
    assert again["status"].endswith("there are too few trials to rely on those.")


def test_pairs_without_scripts_are_folded_where_trials_are_too_few():
    fold = '<details class="unreliable">'
    text = render(figures=True)
    # The list of pairs, the figure of their influence, and the panels.
    assert text.count(fold) == 3
    assert "Show the pairs, though 100 trials are too few to rely on them" in text
    for shown in ('<ul class="pairs">', "Histogram of the influence", '<div class="panels">'):
        before = text[: text.index(shown)]
        assert before.rindex(fold) > before.rfind("</details>")
    assert fold not in render(convergence=ENOUGH)
    none = dataclasses.replace(CONVERGENCE, infl_threshold=0.99)
    assert fold not in render(convergence=none)


@needs_browser
def test_what_the_address_asks_for_and_the_page_cannot_show_is_said(tmp_path, monkeypatch):
    def sentence(what, asked, shown, who="The address"):
        return f"{who} asks for {what} {asked}, which this page cannot show: it is {shown} here."

    asked = {
        "#infl=0.02": sentence("influence", "0.02", "≥ 0.05"),
        "#infl=0.02..0.04": sentence("influence", "0.02..0.04", "0.05 to 0.06"),
        "#mem=0.255": sentence("memorization", "0.255", "≥ 0.26"),
        "#mem=2": sentence("memorization", "2", "≥ 1.00"),
        "#mem=0.3..0.5..0.7": sentence("memorization", "0.3..0.5..0.7", "≥ 0.25"),
        "#infl=high": sentence("influence", "high", "≥ 0.15"),
        "#class=2": sentence("class", "2", "all"),
        "#view=both": sentence("view", "both", "training examples"),
        "#view=test&sort=mem": sentence("order", "mem", "most influential"),
        "#mem=0.5&infl=0": sentence("influence", "0", "≥ 0.05"),
        # All memorization that there is begins where its slider does.
        "#mem=-1": "",
        "#mem=0.25..1&infl=0.05..0.07&class=1&view=test&sort=carried": "",
        "#mem=0.29&infl=0.58..2": "",
    }
    text = render(convergence=ENOUGH)
    found = looked(tmp_path, text, *asked, "#infl=0", 'document.querySelector(".reset").click()')
    expected = [*asked.values(), asked["#infl=0.02"].replace("0.02", "0"), ""]
    assert [state["missing"] for state in found] == expected
    # Where not even the report's own threshold fits a page.
    monkeypatch.setattr(explorer, "MAX_PAIRS", 2)
    (state,) = looked(tmp_path, render(convergence=ENOUGH), "1")
    assert state["missing"] == sentence("influence", "≥ 0.15", "≥ 0.16", "The report")
