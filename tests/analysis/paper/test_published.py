"""The paper's numbers against each other: what one says follows from others."""

import math

import pytest

from analysis.paper import published
from analysis.paper.published import RESULTS, Stated
from tfmem import experiments


def number(dataset, name):
    return RESULTS[dataset][name].value


def influenced(dataset):
    names = [f"influenced_by_{k}" for k in range(1, published.MOST_INFLUENCERS + 1)]
    return [number(dataset, name) for name in names]


@pytest.mark.parametrize("dataset", RESULTS)
def test_pairs_add_up(dataset):
    examples = influenced(dataset)
    assert sum(examples) == number(dataset, "test_examples")
    assert sum(k * count for k, count in enumerate(examples, 1)) == number(dataset, "pairs")
    share = 100 * number(dataset, "test_examples") / published.SIZES[dataset][1]
    assert f"{share:.2f}" == RESULTS[dataset]["test_share"].number


@pytest.mark.parametrize("dataset", ["cifar100", "imagenet2012"])
def test_histograms_add_up(dataset):
    """Fig. 3; "more than 80% of influences we found are below 0.4" (Sec. 3.4)."""
    bins = len(published.HISTOGRAM_EDGES) - 1
    counts = [number(dataset, published.histogram_key(k)) for k in range(bins)]
    assert sum(counts) == number(dataset, "pairs")
    below = published.HISTOGRAM_EDGES.index(experiments.NEAR_DUPLICATES)
    assert sum(counts[:below]) / sum(counts) > 0.8
    assert not any("histogram" in name for name in RESULTS["mnist"])


def test_what_high_influence_examples_are_worth():
    whole, without, difference, on_whole, on_without, contribution, share = (
        number("cifar100", name)
        for name in (
            "high_influence_whole",
            "high_influence_without",
            "high_influence_difference",
            "influenced_whole",
            "influenced_without",
            "contribution",
            "contribution_share",
        )
    )
    assert whole - without == pytest.approx(difference)
    of_test_set = number("cifar100", "test_share") / 100
    assert of_test_set * (on_whole - on_without) == pytest.approx(contribution, abs=0.005)
    assert round(100 * contribution / difference) == share


def test_two_runs_share_what_their_similarity_says():
    """About 82% of each is also in the other, and their Jaccard similarity is 0.7 (Sec. 2)."""
    names = "first", "second"
    sizes = [number("cifar100", f"{name}_run_pairs") for name in names]
    shares = [number("cifar100", f"{name}_run_shared") / 100 for name in names]
    both = sum(share * size for share, size in zip(shares, sizes, strict=True)) / 2
    jaccard = both / (sum(sizes) - both)
    assert jaccard == pytest.approx(number("cifar100", "runs_infl_jaccard"), abs=0.01)


def test_the_last_layer_is_faster_by_its_epochs():
    """Secs. 3.6 and B: 160 epochs of 90 seconds, 40 of half a second."""
    whole, linear = (
        experiments.PAPER_EPOCH_SECONDS[name] * experiments.get(name).epochs
        for name in ("cifar100_resnet50", "cifar100_last_layer")
    )
    assert whole / linear == number("cifar100", "last_layer_speedup")


def test_numbers_that_more_than_one_place_states():
    pairs = [RESULTS["cifar100"][f"{name}_pairs"].number for name in ("second_run", "resnet50")]
    assert pairs == ["1062", "1062"]
    for name, accuracy, deviation in (("trials", "72.3", "0.3"), ("last_layer", "75.8", "0.1")):
        stated = RESULTS["cifar100"][f"{name}_accuracy"]
        assert (stated.number, stated.deviation, stated.runs) == (accuracy, deviation, 4000)
    assert RESULTS["cifar100"]["network_accuracy"].number == "75.9"


@pytest.mark.parametrize(
    ("stated", "decimals", "error"),
    [
        (Stated("1641", ""), 0, 0),
        (Stated("32", "", "%", "≈"), 0, 1 / math.sqrt(12)),
        (Stated("0.33", "", "%"), 2, 0.01 / math.sqrt(12)),
        (
            Stated("76.06", "", "%", deviation="0.28", runs=100),
            2,
            math.hypot(0.028, 0.01 / 12**0.5),
        ),
    ],
)
def test_how_sure_a_stated_number_is(stated, decimals, error):
    assert stated.decimals == decimals
    assert stated.standard_error == pytest.approx(error)
