"""The numbers of the table: what each is, in which unit, and in which order they are shown."""

import dataclasses
import itertools
from collections.abc import Mapping

from analysis.paper import published
from tfmem import experiments
from tfmem.words import counted

_MEMORIZED = f"mem >= {experiments.MEM_THRESHOLD:g}"
_OF_UTILITY = f"mem >= {published.UTILITY_THRESHOLD:g}"


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number that the paper states, or that belongs beside those that it does.

    Attributes:
      what: it is, in words.
      unit: `%` or nothing.
      decimals: that a measured one is shown with.
    """

    what: str
    unit: str = ""
    decimals: int = 0


def _percent(what: str) -> Quantity:
    return Quantity(what, "%", 2)


def _architectures() -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for name, title in published.ARCHITECTURES.items():
        found |= {
            f"{name}_pairs": Quantity(f"{title}: high-influence pairs"),
            f"{name}_accuracy": _percent(f"{title}: test accuracy of the trials"),
        }
        if name != published.REFERENCE:
            reference = published.ARCHITECTURES[published.REFERENCE]
            beside = f"{title} and {reference}: Jaccard similarity of "
            found |= {
                f"{name}_mem_jaccard": Quantity(f"{beside}{_MEMORIZED}", decimals=3),
                f"{name}_infl_jaccard": Quantity(f"{beside}the pairs", decimals=3),
            }
    return found


# The table is in this order.
QUANTITIES: Mapping[str, Quantity] = {
    "memorized": Quantity(f"training examples with {_MEMORIZED}"),
    "utility_share": _percent(f"share of training examples with {_OF_UTILITY}"),
    "utility_memorized": _percent(f"accuracy lost without training examples of {_OF_UTILITY}"),
    "utility_random": _percent("accuracy lost without as many random ones"),
    "trials_accuracy": _percent("test accuracy of the trials"),
    "full_accuracy": _percent("test accuracy when trained on all examples"),
    "pairs": Quantity("high-influence pairs"),
    "test_examples": Quantity("different test examples in pairs"),
    "test_share": _percent("share of the test set in pairs"),
    **{
        f"influenced_by_{number}": Quantity(f"test examples with {counted(number, 'influencer')}")
        for number in range(1, published.MOST_INFLUENCERS + 1)
    },
    "influenced_by_more": Quantity("test examples with more influencers"),
    **{
        published.histogram_key(k): Quantity(f"pairs with infl {low:.2f} to {high:.2f}")
        for k, (low, high) in enumerate(itertools.pairwise(published.HISTOGRAM_EDGES))
    },
    "below_near_duplicates": _percent(
        f"share of pairs with infl < {experiments.NEAR_DUPLICATES:g}"
    ),
    "known_duplicates": Quantity(
        f"share of pairs with infl >= {experiments.NEAR_DUPLICATES:g} that are known duplicates "
        "(Sec. 3.4: almost always)",
        "%",
        1,
    ),
    "high_influence_whole": _percent("test accuracy with all training examples, S"),
    "high_influence_without": _percent("test accuracy without those of the pairs, S_h"),
    "high_influence_difference": _percent("difference of these two"),
    "influenced_whole": _percent("accuracy on the pairs' test examples, S'_h, with S"),
    "influenced_without": _percent("accuracy on S'_h without S_h"),
    "contribution": _percent("what S'_h contributes to the difference"),
    "contribution_share": _percent("share of the difference that S'_h contributes"),
    "first_run_pairs": Quantity("two runs: pairs of the first"),
    "second_run_pairs": Quantity("two runs: pairs of the second"),
    "first_run_shared": _percent("two runs: share of the first's pairs that the second has"),
    "second_run_shared": _percent("two runs: share of the second's pairs that the first has"),
    "runs_infl_jaccard": Quantity("two runs: Jaccard similarity of the pairs", decimals=3),
    "runs_infl_difference": Quantity(
        f"two runs: mean difference of infl where it is >= {published.SELECTION_BIAS_THRESHOLD:g}",
        decimals=4,
    ),
    "runs_mem_jaccard": Quantity(f"two runs: Jaccard similarity of {_MEMORIZED}", decimals=3),
    "runs_mem_difference": Quantity(
        f"two runs: mean difference of mem where it is >= {experiments.MEM_THRESHOLD:g}", decimals=4
    ),
    **_architectures(),
    "network_accuracy": _percent("last layer: test accuracy of its network, trained on all"),
    "last_layer_accuracy": _percent("last layer: test accuracy of the linear trials"),
    "last_layer_memorized": Quantity(f"last layer: training examples with {_MEMORIZED}"),
    "last_layer_pairs": Quantity(
        f"last layer: pairs with infl >= {experiments.INFL_THRESHOLD:g}, of any mem"
    ),
    "last_layer_jaccard": Quantity(
        "last layer and whole network: Jaccard similarity of such pairs", decimals=3
    ),
    "last_layer_speedup": Quantity("time of a trial over that of a linear one", decimals=1),
}
