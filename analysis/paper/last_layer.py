"""Does the last layer suffice? The numbers of Sec. 3.6 beside the paper's."""

import math

from analysis.estimates.values import Estimates
from analysis.measures.comparison import Comparison
from analysis.paper import published
from tfmem import experiments
from tfmem.words import number, table

WHOLE, LINEAR = "whole networks", "linear classifiers"


def paper_table(
    whole: Estimates, linear: Estimates, comparison: Comparison, network_accuracy: float
) -> str:
    """Returns the numbers of Sec. 3.6 beside the paper's, as aligned text.

    Args:
      whole: estimates of whole networks.
      linear: estimates of linear classifiers.
      comparison: of the first (a) with the second (b); pairs whatever is memorized.
      network_accuracy: test accuracy of the network, trained on everything, whose features the
        linear classifiers see; nan where it is not known.
    """
    mem, infl = comparison.mem_threshold, comparison.infl_threshold
    memorized, pairs = comparison.memorized, comparison.pairs
    asked_mem, asked_infl = mem == experiments.MEM_THRESHOLD, infl == experiments.INFL_THRESHOLD
    of_mem = ("memorized", "last_layer_memorized") if asked_mem else ("", "")
    of_infl = "last_layer_pairs" if asked_infl else ""
    network = number(network_accuracy, ".1%")
    # What is measured, here, and the paper's name for it. At other thresholds it has no numbers.
    rows = [
        (f"test accuracy of {WHOLE}", _accuracy(whole), "trials_accuracy"),
        ("test accuracy of the network on all examples", network, "network_accuracy"),
        (f"test accuracy of {LINEAR} on its features", _accuracy(linear), "last_layer_accuracy"),
        (f"examples with mem >= {mem:g}, {WHOLE}", f"{memorized.size_a:,}", of_mem[0]),
        (f"examples with mem >= {mem:g}, {LINEAR}", f"{memorized.size_b:,}", of_mem[1]),
        (f"pairs with infl >= {infl:g}, {WHOLE}", f"{pairs.size_a:,}", ""),
        (f"pairs with infl >= {infl:g}, {LINEAR}", f"{pairs.size_b:,}", of_infl),
    ]
    stated = [(what, here, _stated(key) if key else "-") for what, here, key in rows]
    return table([("", "here", "paper, CIFAR-100"), *stated])


def _accuracy(estimates: Estimates) -> str:
    mean, deviation = estimates.test_accuracy, estimates.test_accuracy_deviation
    return "-" if mean is None or deviation is None else _percent(mean, deviation)


def _stated(key: str) -> str:
    stated = published.RESULTS["cifar100"][key]
    if not stated.unit:
        return f"{stated.value:,.0f}"
    return _percent(stated.value / 100, float(stated.deviation or math.nan) / 100)


def _percent(value: float, deviation: float) -> str:
    if math.isnan(deviation):
        return number(value, ".1%")
    return f"{100 * value:.1f} ± {deviation:.1%}"
