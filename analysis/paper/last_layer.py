"""Does the last layer suffice? The numbers of Sec. 3.6 beside the paper's."""

import dataclasses
import math

from analysis.estimates.values import Estimates
from analysis.measures import comparison
from analysis.measures.comparison import Comparison
from analysis.paper import published
from tfmem import experiments
from tfmem.words import number, table

WHOLE, LINEAR = "whole networks", "linear classifiers"


@dataclasses.dataclass(frozen=True)
class LastLayer:
    """The numbers of Sec. 3.6.

    Attributes:
      whole_accuracy: test accuracy of the whole networks, mean and standard deviation over the
        trials; nan where their file has none.
      linear_accuracy: the same of the linear classifiers.
      network_accuracy: test accuracy of the network, trained on everything, whose features the
        linear classifiers see; nan where it is not known.
      comparison: of the whole networks (a) with the linear classifiers (b); pairs whatever is
        memorized.
    """

    whole_accuracy: tuple[float, float]
    linear_accuracy: tuple[float, float]
    network_accuracy: float
    comparison: Comparison


def measure(
    whole: Estimates,
    linear: Estimates,
    network_accuracy: float = math.nan,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
) -> LastLayer:
    """Compares two estimates of the same examples; see `LastLayer`."""
    return LastLayer(
        whole_accuracy=_accuracy(whole),
        linear_accuracy=_accuracy(linear),
        network_accuracy=network_accuracy,
        comparison=comparison.compare(
            whole, linear, LINEAR, mem_threshold, infl_threshold, only_memorized=False
        ),
    )


def _accuracy(estimates: Estimates) -> tuple[float, float]:
    if estimates.test_accuracy is None or estimates.test_accuracy_deviation is None:
        return math.nan, math.nan
    return estimates.test_accuracy, estimates.test_accuracy_deviation


def paper_table(found: LastLayer) -> str:
    """Returns the numbers of Sec. 3.6 beside the paper's, as aligned text."""
    mem, infl = found.comparison.mem_threshold, found.comparison.infl_threshold
    memorized, pairs = found.comparison.memorized, found.comparison.pairs
    # At other thresholds the paper has no numbers.
    asked_mem, asked_infl = mem == experiments.MEM_THRESHOLD, infl == experiments.INFL_THRESHOLD
    rows = [
        ("", "here", "paper, CIFAR-100"),
        (
            f"test accuracy of {WHOLE}",
            _percent(*found.whole_accuracy),
            _stated("trials_accuracy"),
        ),
        (
            "test accuracy of the network on all examples",
            _percent(found.network_accuracy),
            _stated("network_accuracy"),
        ),
        (
            f"test accuracy of {LINEAR} on its features",
            _percent(*found.linear_accuracy),
            _stated("last_layer_accuracy"),
        ),
        (
            f"examples with mem >= {mem:g}, {WHOLE}",
            f"{memorized.size_a:,}",
            _stated("memorized") if asked_mem else "-",
        ),
        (
            f"examples with mem >= {mem:g}, {LINEAR}",
            f"{memorized.size_b:,}",
            _stated("last_layer_memorized") if asked_mem else "-",
        ),
        (f"pairs with infl >= {infl:g}, {WHOLE}", f"{pairs.size_a:,}", "-"),
        (
            f"pairs with infl >= {infl:g}, {LINEAR}",
            f"{pairs.size_b:,}",
            _stated("last_layer_pairs") if asked_infl else "-",
        ),
    ]
    return table(rows)


def _stated(key: str) -> str:
    stated = published.RESULTS["cifar100"][key]
    if not stated.unit:
        return f"{stated.value:,.0f}"
    return _percent(stated.value / 100, float(stated.deviation or math.nan) / 100)


def _percent(value: float, deviation: float = math.nan) -> str:
    if math.isnan(deviation):
        return number(value, ".1%")
    return f"{100 * value:.1f} ± {deviation:.1%}"
