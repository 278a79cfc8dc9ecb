"""The paper's numbers as measured from trials: pure functions on estimates, pairs and runs.

Every function returns what it can measure, by the names of `quantities.QUANTITIES`. Standard errors
are over trials or runs: how far another set of as many, on the same examples, would give another
number.

The standard error of a count comes from those of the estimates that are counted, taken as normal
and independent. A count changes by the elements that would no longer be counted and by those that
newly would; of the latter as many are expected as of the former. An element that would be counted
again with probability p adds min(1, 2 (1 - p)) to the variance. On disjoint sets of 50 and of 100
trials of digits, this lies between 0.7 and 1.6 times the standard deviation of the counts. It is
too small where most pairs are noise, which shares whole trials: tfmem convergence tells.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from analysis.estimates.known_pairs import KnownPairs
from analysis.estimates.pairs import select
from analysis.estimates.values import Estimates, Pairs
from analysis.measures import agreement, duplicates, removal
from analysis.measures.removal import Mean, Runs
from analysis.paper import published
from tfmem import experiments
from tfmem.config import Condition

_MEM, _INFL = experiments.MEM_THRESHOLD, experiments.INFL_THRESHOLD
_UTILITY = published.UTILITY_THRESHOLD
_DUPLICATES = experiments.NEAR_DUPLICATES
_BIAS = published.SELECTION_BIAS_THRESHOLD
_SMALLEST = 1e-12  # A standard error that is lower counts as this: files of others may hold zeros.


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number that was measured.

    Attributes:
      value: in the unit of its quantity.
      standard_error: nan where the source does not tell.
      deviation: standard deviation over runs or trials, of a mean; or nan.
      count: of runs or trials, of a mean; or 0.
      interval: of 95%, of a share that has one instead of a standard error; or None.
    """

    value: float
    standard_error: float = math.nan
    deviation: float = math.nan
    count: int = 0
    interval: tuple[float, float] | None = None


Numbers = Mapping[str, Measured]


def count_error(again: np.ndarray) -> float:
    """Returns the standard error of a count; see the module. Nobody knows that of a count of 0.

    Args:
      again: float [k], the probability that an element which is counted would be counted again.
    """
    return math.sqrt(np.minimum(1, 2 * (1 - again)).sum()) if len(again) else math.nan


def _within(values: np.ndarray, errors: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns P[low <= x < high] of normal x, float [k]."""
    errors = np.maximum(errors, _SMALLEST)
    return special.ndtr((high - values) / errors) - special.ndtr((low - values) / errors)


def from_mean(mean: Mean) -> Measured:
    """Returns a mean of shares over runs, in percent."""
    return Measured(100 * mean.value, 100 * mean.standard_error, 100 * mean.deviation, mean.count)


def percent_mean(values: np.ndarray) -> Measured:
    """Returns the mean of shares, float [k] of k runs, in percent."""
    return from_mean(removal.mean(values))


def _known(**found: Measured | None) -> dict[str, Measured]:
    return {name: each for name, each in found.items() if each and not math.isnan(each.value)}


def _trials_accuracy(estimates: Estimates) -> Measured | None:
    """Returns the mean test accuracy of the trials that estimates come from, in percent."""
    value, deviation = estimates.test_accuracy, estimates.test_accuracy_deviation
    if value is None:
        return None
    if deviation is None or estimates.num_trials is None:
        return Measured(100 * value)
    return from_mean(Mean(value, deviation, estimates.num_trials))


def _memorized(estimates: Estimates, threshold: float) -> Measured:
    """Counts the training examples with mem >= threshold."""
    chosen = estimates.memorization >= threshold
    if estimates.details is None:
        return Measured(float(np.count_nonzero(chosen)))
    errors = estimates.details.standard_error
    return _counted(chosen, _within(estimates.memorization, errors, threshold, math.inf))


def _scaled(measured: Measured, factor: float) -> Measured:
    return Measured(factor * measured.value, factor * measured.standard_error)


def pair_errors(estimates: Estimates, pairs: Pairs) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the standard errors of mem and of infl of each pair, float [p] both, if known.

    Args:
      estimates: what the pairs were selected from.
      pairs: p of them.
    """
    of_influence = estimates.influence_errors(pairs.train_index, pairs.test_index)
    if estimates.details is None or of_influence is None:
        return None
    return estimates.details.standard_error[pairs.train_index], of_influence


def pair_numbers(
    pairs: Pairs,
    errors: tuple[np.ndarray, np.ndarray] | None = None,
    num_test: int | None = None,
    mem_threshold: float = _MEM,
) -> Numbers:
    """Returns what Secs. 3.3 and 3.4 count of high-influence pairs.

    Args:
      pairs: p of them; those below the paper's thresholds do not count.
      errors: the standard errors of their mem and infl, float [p] both, or None.
      num_test: n', or None where nobody knows.
      mem_threshold: the lowest mem; -inf is any.
    """
    unknown = np.full(len(pairs), math.nan)
    mem_error, infl_error = errors or (unknown, unknown)
    reach = np.flatnonzero((pairs.influence >= _INFL) & (pairs.memorization >= mem_threshold))
    pairs, infl_error = pairs.take(reach), infl_error[reach]
    memorized = _within(pairs.memorization, mem_error[reach], mem_threshold, math.inf)

    def again(low: float, high: float) -> np.ndarray:
        return memorized * _within(pairs.influence, infl_error, low, high)

    def in_bin(low: float, high: float) -> Measured:
        return _counted((pairs.influence >= low) & (pairs.influence < high), again(low, high))

    _, of_test, influencers = np.unique(pairs.test_index, return_inverse=True, return_counts=True)
    # For each test example, the probabilities that one of its pairs, and that all, are there again.
    one = 1 - _products(1 - again(_INFL, math.inf), of_test)
    every = _products(again(_INFL, math.inf), of_test)
    found = {"pairs": in_bin(_INFL, math.inf), "test_examples": _counted(influencers > 0, one)}
    if num_test is not None:
        found["test_share"] = _scaled(found["test_examples"], 100 / num_test)
    most = published.MOST_INFLUENCERS
    for number in range(1, most + 1):
        found[f"influenced_by_{number}"] = _counted(influencers == number, every)
    found["influenced_by_more"] = _counted(influencers > most, every)
    edges = (*published.HISTOGRAM_EDGES[:-1], math.inf)  # The last bin has both of its edges.
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        found[published.histogram_key(number)] = in_bin(low, high)
    if len(pairs):
        below, above = in_bin(_INFL, _DUPLICATES), in_bin(_DUPLICATES, math.inf)
        share = below.value / len(pairs)
        # A pair that crosses changes both counts, in opposite directions.
        error = (1 - share) * below.standard_error + share * above.standard_error
        found["below_near_duplicates"] = _scaled(Measured(share, error / len(pairs)), 100)
    return found


def _counted(chosen: np.ndarray, again: np.ndarray) -> Measured:
    """Counts what is chosen, bool [k], of probabilities [k] to be chosen again."""
    return Measured(float(np.count_nonzero(chosen)), count_error(again[chosen]))


def _products(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the product of the values of each group 0, 1, ..."""
    products = np.ones(1 + group.max(initial=-1))
    np.multiply.at(products, group, values)
    return products


def _selected(estimates: Estimates, mem_threshold: float = _MEM) -> Numbers:
    """Returns `pair_numbers` of estimates, nothing if they have no influence."""
    if not estimates.influences:
        return {}
    pairs = select(estimates.memorization, estimates.influences, mem_threshold, _INFL)
    errors = pair_errors(estimates, pairs)
    return pair_numbers(pairs, errors, len(estimates.test_labels), mem_threshold)


def estimates_numbers(estimates: Estimates) -> Numbers:
    """Returns what Secs. 1.1, 3.3 and 3.4 say of one dataset's estimates."""
    known = int(np.count_nonzero(estimates.known))
    per_cent = 100 / known if known else math.nan
    return _known(
        memorized=_memorized(estimates, _MEM),
        utility_share=_scaled(_memorized(estimates, _UTILITY), per_cent),
        trials_accuracy=_trials_accuracy(estimates),
        **_selected(estimates),
    )


def known_numbers(estimates: Estimates, known: KnownPairs) -> Numbers:
    """Returns which share of the pairs of very high influence is known (Sec. 3.4), in percent."""
    shares = duplicates.measure(estimates, known, _MEM, _INFL).shares
    listed, pairs = shares.at_or_above(_DUPLICATES)
    if not pairs:
        return {}
    low, high = duplicates.interval(listed, pairs)
    share = Measured(100 * listed / pairs, interval=(100 * low, 100 * high))
    return {"known_duplicates": share}


def removal_numbers(groups: Sequence[Runs], pairs: Pairs | None) -> Numbers:
    """Returns what Secs. 1.1, 3.3 and B say of runs with examples removed.

    Args:
      groups: the runs by condition; see `analysis.removal.group`.
      pairs: the paper's high-influence pairs, whose training examples some runs were without; None
        if there are no such runs.
    """
    by_condition = {runs.condition: runs for runs in groups}
    whole = by_condition[Condition("nothing")]
    found: dict[str, Measured | None] = {"full_accuracy": percent_mean(whole.accuracy())}
    for removed in ("memorized", "random"):
        runs = by_condition.get(Condition(removed, _UTILITY))
        if runs is None:
            continue
        found[f"utility_{removed}"] = percent_mean(removal.paired_difference(whole, runs))
        if len(runs):
            found["utility_share"] = Measured(100 * (1 - float(runs.remaining[0])))
    if pairs is not None:
        effect = removal.high_influence_effect(groups, pairs)
        for name in ("whole", "without", "difference"):
            found[f"high_influence_{name}"] = from_mean(getattr(effect, name))
        for name in ("influenced_whole", "influenced_without", "contribution"):
            found[name] = from_mean(getattr(effect, name))
        without = by_condition[Condition("high_influence")]
        influenced = np.unique(pairs.test_index)
        found["contribution_share"] = _ratio(
            removal.paired_difference(whole, without, influenced)
            * (len(influenced) / whole.test_correct.count),
            removal.paired_difference(whole, without),
        )
    return _known(**found)


def _ratio(a: np.ndarray, b: np.ndarray) -> Measured | None:
    """Returns mean a / mean b in percent, its error to first order; None where b is nothing."""
    if not len(b) or not b.mean():
        return None
    ratio = a.mean() / b.mean()
    error = removal.mean(a - ratio * b).standard_error / abs(b.mean())
    return Measured(float(100 * ratio), float(100 * error))


def runs_numbers(a: Estimates, b: Estimates) -> Numbers:
    """Returns what Secs. 2 and 3.5 say of two independent runs of the same."""
    mem = agreement.memorization_curve(a, b, np.array([_MEM])).at(_MEM)
    found = {
        "first_run_pairs": _selected(a).get("pairs"),
        "second_run_pairs": _selected(b).get("pairs"),
        "runs_mem_jaccard": Measured(mem.jaccard),
        "runs_mem_difference": Measured(mem.difference),
    }
    if a.influences and b.influences:
        curve = agreement.influence_curve(a, b, np.array([_BIAS, _INFL]), _MEM)
        at_threshold = curve.at(_INFL)
        found |= {
            "first_run_shared": Measured(100 * at_threshold.share_of_a),
            "second_run_shared": Measured(100 * at_threshold.share_of_b),
            "runs_infl_jaccard": Measured(at_threshold.jaccard),
            "runs_infl_difference": Measured(curve.at(_BIAS).difference),
        }
    return _known(**found)


def architecture_numbers(name: str, estimates: Estimates) -> Numbers:
    """Returns what Fig. 7 says of an architecture, by its name in `published.ARCHITECTURES`."""
    pairs, accuracy = _selected(estimates).get("pairs"), _trials_accuracy(estimates)
    return _known(**{f"{name}_pairs": pairs, f"{name}_accuracy": accuracy})


def architecture_agreement(name: str, estimates: Estimates, reference: Estimates) -> Numbers:
    """Returns how an architecture agrees with the one that all are compared to (Sec. 3.5)."""
    mem = agreement.memorization_curve(reference, estimates, np.array([_MEM])).at(_MEM)
    infl_jaccard = _infl_jaccard(reference, estimates, _MEM)
    found = {f"{name}_mem_jaccard": Measured(mem.jaccard), f"{name}_infl_jaccard": infl_jaccard}
    return _known(**found)


def _infl_jaccard(a: Estimates, b: Estimates, mem_threshold: float | None) -> Measured | None:
    if not (a.influences and b.influences):
        return None
    curve = agreement.influence_curve(a, b, np.array([_INFL]), mem_threshold)
    return Measured(curve.at(_INFL).jaccard)


def last_layer_numbers(estimates: Estimates) -> Numbers:
    """Returns what Sec. 3.6 says of the estimates of linear models.

    It says of its 457 pairs "those with influence estimates above 0.15", while only 38 training
    examples are memorized: they are taken to be of any memorization, as those of Fig. 8 are.
    """
    return _known(
        last_layer_accuracy=_trials_accuracy(estimates),
        last_layer_memorized=_memorized(estimates, _MEM),
        last_layer_pairs=_selected(estimates, -math.inf).get("pairs"),
    )


def last_layer_agreement(whole: Estimates, linear: Estimates) -> Numbers:
    """Returns how linear models agree with whole networks (Fig. 8)."""
    return _known(last_layer_jaccard=_infl_jaccard(whole, linear, None))


def last_layer_store_numbers(accuracies: np.ndarray, network_accuracy: float) -> Numbers:
    """Returns what Sec. 3.6 says of accuracies.

    Args:
      accuracies: of the linear trials, float [t].
      network_accuracy: of the network whose features they are trained on; nan where unknown.
    """
    network = Measured(100 * network_accuracy)
    return _known(network_accuracy=network, last_layer_accuracy=percent_mean(accuracies))


def speedup(seconds: np.ndarray, linear_seconds: np.ndarray) -> Numbers:
    """Returns how much longer a trial of a whole network takes than a linear one (Sec. 3.6).

    Args:
      seconds: of each trial, float [t]; nan where unknown.
      linear_seconds: the same of linear trials.
    """
    return _known(last_layer_speedup=Measured(float(seconds.mean() / linear_seconds.mean())))
