"""What the paper found: every number that Feldman & Zhang (2020) state about results, once.

Sections and figures are those of arXiv:2008.03703v1; "Supp." is the supplement of the NeurIPS
version. Where both state a number, they agree. Thresholds, runs, costs and those results that other
programs need too are in `experiments`.

Numbers that are only drawn (Figs. 2, 7, 8) are not here, nor is the histogram of MNIST's influences
(Fig. 3): its bars are 18, 9, 6, 1 and 1, but not legibly of which bins.
"""

import dataclasses
import math
from collections.abc import Mapping

from tfmem import experiments


@dataclasses.dataclass(frozen=True)
class Stated:
    """A number as the paper prints it.

    Attributes:
      number: such as `76.06`; its digits say how it is rounded.
      section: where.
      unit: `%`, or nothing.
      relation: `≈`, `>`, `≥`, `<` or nothing, before the number.
      deviation: the standard deviation over runs, in the same unit, or nothing.
      runs: how many, where there is a deviation.
    """

    number: str
    section: str
    unit: str = ""
    relation: str = ""
    deviation: str = ""
    runs: int = 0

    @property
    def value(self) -> float:
        return float(self.number)

    @property
    def decimals(self) -> int:
        return len(self.number.partition(".")[2])

    @property
    def standard_error(self) -> float:
        """Of the mean over the runs and of rounding; 0 of a count, which is exact.

        A rounded number is off by at most half a unit of its last digit, and no place is likelier:
        a standard deviation of 1 / sqrt(12) units.
        """
        exact = not (self.unit or self.relation or self.decimals)
        rounding = 0.0 if exact else 10.0**-self.decimals / math.sqrt(12)
        mean = float(self.deviation) / math.sqrt(self.runs) if self.deviation else 0.0
        return math.hypot(rounding, mean)


# The paper's datasets: its name for each, n and n'.
TITLES: Mapping[str, str] = {"mnist": "MNIST", "cifar100": "CIFAR-100", "imagenet2012": "ImageNet"}
SIZES: Mapping[str, tuple[int, int]] = {
    "mnist": (60_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet2012": (1_281_167, 50_000),
}
# Fig. 7: its name for each, all on CIFAR-100, and the one that all are compared to.
ARCHITECTURES: Mapping[str, str] = {
    "resnet50": "ResNet50",
    "resnet18": "ResNet18",
    "inception": "Inception",
    "densenet100": "DenseNet100",
}
REFERENCE = "resnet50"
UTILITY_THRESHOLD = 0.3  # Sec. 1.1: of memorization, where the marginal utility is stated.
SELECTION_BIAS_THRESHOLD = 0.1  # Sec. 3.5: of influence, around which consistency drops.
HISTOGRAM_EDGES = tuple(edge / 20 for edge in range(3, 21))  # Fig. 3: bins of influence.
MOST_INFLUENCERS = 4  # Supp. C: no test example has more.


def histogram_key(bin_number: int) -> str:
    """Returns the key of a bin of Fig. 3."""
    return f"histogram_{HISTOGRAM_EDGES[bin_number]:.2f}"


def _selection(
    pairs: str, test_examples: str, test_share: str, *influenced: str
) -> dict[str, Stated]:
    """What Sec. 3.3 counts of a dataset's pairs.

    Args:
      pairs: how many.
      test_examples: different ones in them.
      test_share: the same in percent of the test set.
      *influenced: test examples that 1, 2, ... training examples influence. They add up to all test
        examples of the pairs, so that none is left for higher numbers.
    """
    found = {
        "pairs": Stated(pairs, "Sec. 3.3"),
        "test_examples": Stated(test_examples, "Sec. 3.3"),
        "test_share": Stated(test_share, "Sec. 3.3", "%"),
    }
    rest = ["0"] * (MOST_INFLUENCERS - len(influenced))
    for number, examples in enumerate((*influenced, *rest), 1):
        section = "Sec. 3.3" if number == 1 else "Supp. C"
        found[f"influenced_by_{number}"] = Stated(examples, section)
    return found | {
        "influenced_by_more": Stated("0", "Supp. C"),
        # Said of the influences of all datasets.
        "below_near_duplicates": Stated("80", "Sec. 3.4", "%", ">"),
    }


def _histogram(*counts: int) -> dict[str, Stated]:
    return {histogram_key(k): Stated(str(count), "Fig. 3") for k, count in enumerate(counts)}


def _percent(
    number: str, section: str, deviation: str = "", runs: int = 0, relation: str = ""
) -> Stated:
    return Stated(number, section, "%", relation, deviation, runs)


_RUNS = experiments.REMOVAL_RUNS
_TRIALS = experiments.get("cifar100_last_layer").num_trials  # And as many of whole networks.

# By dataset and quantity.
RESULTS: Mapping[str, Mapping[str, Stated]] = {
    "mnist": _selection("35", "33", "0.33", "31", "2"),
    "cifar100": {
        "memorized": Stated("18099", "Sec. 3.6"),
        "trials_accuracy": _percent("72.3", "Sec. 3.6", "0.3", _TRIALS),
        "full_accuracy": _percent("76", "Sec. B", relation="≈"),
        **_selection("1015", "888", "8.88", "774", "101", "13"),
        **_histogram(509, 196, 101, 48, 26, 20, 19, 24, 11, 12, 10, 10, 4, 7, 7, 5, 6),
        "high_influence_whole": _percent("76.06", "Sec. 3.3", "0.28", _RUNS),
        "high_influence_without": _percent("73.52", "Sec. 3.3", "0.25", _RUNS),
        "high_influence_difference": _percent("2.54", "Sec. 3.3", "0.2", _RUNS),
        "influenced_whole": _percent("72.14", "Sec. 3.3", "1.32", _RUNS),
        "influenced_without": _percent("45.38", "Sec. 3.3", "1.45", _RUNS),
        "contribution": _percent("2.38", "Sec. 3.3", "0.17", _RUNS),
        # The only number here that the paper leaves to its reader: 2.38 of 2.54.
        "contribution_share": _percent("94", "Sec. 3.3", relation="≈"),
        "first_run_pairs": Stated("1095", "Sec. 2"),
        "second_run_pairs": Stated("1062", "Sec. 2"),
        "first_run_shared": _percent("82", "Sec. 2", relation="≈"),
        "second_run_shared": _percent("82", "Sec. 2", relation="≈"),
        "runs_infl_jaccard": Stated(
            str(experiments.JACCARD_AT_INFL_THRESHOLD), "Secs. 2, 3.5", relation="≥"
        ),
        "runs_infl_difference": Stated("0.015", "Sec. 3.5", relation="<"),
        "resnet50_pairs": Stated("1062", "Fig. 7"),
        "resnet50_accuracy": _percent("72", "Fig. 7"),
        "resnet18_pairs": Stated("864", "Fig. 7"),
        "resnet18_accuracy": _percent("70", "Fig. 7"),
        "inception_pairs": Stated("599", "Fig. 7"),
        "inception_accuracy": _percent("67", "Fig. 7"),
        "densenet100_pairs": Stated("576", "Fig. 7"),
        "densenet100_accuracy": _percent("65", "Fig. 7"),
        "network_accuracy": _percent("75.9", "Sec. 3.6"),
        "last_layer_accuracy": _percent("75.8", "Sec. 3.6", "0.1", _TRIALS),
        "last_layer_memorized": Stated("38", "Sec. 3.6"),
        "last_layer_pairs": Stated("457", "Sec. 3.6"),
        "last_layer_speedup": Stated("720", "Sec. 3.6"),
    },
    "imagenet2012": {
        "utility_share": _percent("32", "Sec. 1.1", relation="≈"),
        "utility_memorized": _percent("3.4", "Sec. 1.1", relation="≈"),
        "utility_random": _percent("2.6", "Sec. 1.1", relation="≈"),
        "full_accuracy": _percent("73", "Sec. B", relation="≈"),
        **_selection("1641", "1462", "2.92", "1298", "150", "13", "1"),
        **_histogram(825, 381, 168, 93, 58, 43, 23, 19, 13, 6, 5, 5, 1, 1, 0, 0, 0),
    },
}


def runs_sentence() -> str:
    """Returns what Sec. 2 says of two runs as one line."""
    stated = RESULTS["cifar100"]
    first, second = (stated[f"{run}_run_pairs"].value for run in ("first", "second"))
    shared, jaccard = stated["first_run_shared"], stated["runs_infl_jaccard"]
    return (
        f"the paper's two runs of 2,000 trials of ResNet50 on CIFAR-100: {first:,.0f} and "
        f"{second:,.0f} pairs, {shared.relation} {shared.number}% of each also in the other, "
        f"Jaccard similarity {jaccard.relation} {jaccard.number} ({jaccard.section})"
    )
