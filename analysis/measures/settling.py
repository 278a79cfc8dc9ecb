"""How estimates settle with the number of trials, and whether there are enough."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from etils import epath

from analysis.estimates import estimators, pairs
from analysis.estimates.values import CORRECTNESS, Estimates, influences_of
from analysis.measures import agreement
from tfmem import experiments, seeds
from tfmem.store.trials import TrialSet
from tfmem.words import number, table

_SMALLEST_HALF = 16
_FALSE_SHARE = 0.05  # The share of the pairs found that may be chance.
_HOPELESS = 100  # If so many times the trials are too few, the thresholds are too low.


@dataclasses.dataclass(frozen=True)
class SplitHalf:
    """Agreement of two disjoint sets of trials, the mean over several random splits.

    Attributes:
      num_trials: trials in each half.
      mem_jaccard: J_mem at the memorization threshold (Sec. 3.5); nan when both sets are empty.
      mem_difference: D_mem at that threshold (eq. 4); nan when both sets are empty.
      mem_size: examples at or above the threshold in a half.
      infl_jaccard: J_infl of the high-influence pairs; nan when there are none.
      infl_difference: D_infl; nan when there are none.
      infl_size: high-influence pairs in a half.
    """

    num_trials: int
    mem_jaccard: float
    mem_difference: float
    mem_size: float
    infl_jaccard: float
    infl_difference: float
    infl_size: float


@dataclasses.dataclass(frozen=True)
class Convergence:
    """How far a set of trials can be trusted at two thresholds.

    Attributes:
      halves: ascending in the number of trials; empty when there are too few to split.
      pairs: high-influence pairs found.
      chance_pairs: how many would be expected if no influence existed.
      mem_threshold: theta_mem.
      infl_threshold: theta_infl.
      enough: whether the verdict is yes.
      trials_needed: about how many trials would make it yes if all rates stay as they are; None if
        it is yes, or where that cannot be told.
      verdict: plain sentences.
    """

    halves: tuple[SplitHalf, ...]
    pairs: int
    chance_pairs: float
    mem_threshold: float
    infl_threshold: float
    enough: bool
    trials_needed: int | None
    verdict: str


def _split_half(
    a: TrialSet, b: TrialSet, mem_threshold: float, infl_threshold: float, estimator: str
) -> SplitHalf:
    mem_a, mem_b = (estimators.memorization(half, estimator).value for half in (a, b))
    known = ~np.isnan(mem_a - mem_b)  # In small halves, some examples are in all trials.
    chosen_a, chosen_b = (known & (mem >= mem_threshold) for mem in (mem_a, mem_b))
    mem_jaccard, mem_difference = agreement.compare(mem_a, mem_b, chosen_a, chosen_b)
    # Classes are compared one by one, so that no matrix of a whole dataset is in memory.
    either = chosen_a | chosen_b
    blocks_a, blocks_b = (
        influences_of(estimators.class_influences(half, estimator), either) for half in (a, b)
    )
    level = np.array([infl_threshold])
    found = agreement.block_curve(blocks_a, blocks_b, chosen_a, chosen_b, level)
    influence = found.at(infl_threshold)
    return SplitHalf(
        num_trials=len(a),
        mem_jaccard=mem_jaccard,
        mem_difference=mem_difference,
        mem_size=(np.count_nonzero(chosen_a) + np.count_nonzero(chosen_b)) / 2,
        infl_jaccard=influence.jaccard,
        infl_difference=influence.difference,
        infl_size=(influence.size_a + influence.size_b) / 2,
    )


def split_sizes(num_trials: int) -> list[int]:
    """Returns the numbers of trials a half to compare: num_trials / 2, / 4, ... down to 16."""
    size = num_trials // 2
    return [*split_sizes(size), size] if size >= _SMALLEST_HALF else []


def split_halves(
    trials: TrialSet,
    mem_threshold: float,
    infl_threshold: float,
    splits: int = 3,
    progress: Callable[[float], None] = lambda amount: None,
    estimator: str = CORRECTNESS,
) -> tuple[SplitHalf, ...]:
    """Compares disjoint random halves of the trials, at each of `split_sizes`.

    Args:
      trials: t trials.
      mem_threshold: theta_mem.
      infl_threshold: theta_infl.
      splits: how many random splits are averaged; where a set is empty, it does not count.
      progress: called with 1 after each split.
      estimator: `CORRECTNESS` or `PROBABILITY`; the splits are the same.
    """
    results = []
    for size in split_sizes(len(trials)):
        found = []
        for split in range(splits):
            order = seeds.generator(size, split, "split_halves").permutation(len(trials))
            a, b = (trials.take(np.sort(part)) for part in (order[:size], order[size : 2 * size]))
            found.append(_split_half(a, b, mem_threshold, infl_threshold, estimator))
            progress(1)
        names = (field.name for field in dataclasses.fields(SplitHalf)[1:])
        means = [_mean([getattr(half, name) for half in found]) for name in names]
        results.append(SplitHalf(size, *means))
    return tuple(results)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def chance_pairs(
    trials: TrialSet,
    memorization: np.ndarray,
    mem_threshold: float,
    infl: float,
    num_trials: int | None = None,
) -> float:
    """Returns how many high-influence pairs to expect if no influence existed.

    Without influence, the trials that saw i are a random subset of the trials for j: the number of
    them that got j right is hypergeometric, and its tail beyond the influence threshold, summed
    over all pairs of a memorized training example and a test example of its class, is exact.

    Args:
      trials: t trials.
      memorization: float [n], estimated from them; nan where there is no estimate.
      mem_threshold: theta_mem.
      infl: theta_infl.
      num_trials: t', for what to expect of that many trials instead, if all rates stay as they are:
        each test example is right in the same share of them, and each training example is in the
        share of them that all with an estimate are in on average. Counts are rounded to whole
        trials.
    """

    t = len(trials)
    successes = trials.test_correct.transposed.row_sums()
    counts_in = trials.subset.transposed.row_sums()
    if num_trials is not None:
        # All get the mean share: that of a single example is luck.
        mean = _mean_in(trials, memorization)
        counts_in = np.full_like(counts_in, round(num_trials * mean / t))
        successes = np.rint(successes * (num_trials / t)).astype(np.int64)
        t = num_trials
    memorized = (memorization >= mem_threshold) & (counts_in > 0) & (counts_in < t)
    train_labels, test_labels = trials.train_labels[memorized], trials.test_labels
    # Equal counts have equal tails: each is computed once.
    num_in, in_place = np.unique(counts_in[memorized], return_inverse=True)
    right, right_place = np.unique(successes, return_inverse=True)
    tail = _tails(t, num_in[:, None], right[None, :], infl)
    total = 0.0
    for label in np.unique(train_labels):
        in_times = np.bincount(in_place[train_labels == label], minlength=len(num_in))
        right_times = np.bincount(right_place[test_labels == label], minlength=len(right))
        total += float(in_times @ tail @ right_times)
    return total


def _tails(t: int, num_in: np.ndarray, right: np.ndarray, infl: float) -> np.ndarray:
    """Returns how likely an influence of at least `infl` is by chance; see `chance_pairs`.

    It is the hypergeometric tail, summed term by term away from the mean: each is a known multiple
    of the one before.

    Args:
      t: trials.
      num_in: int [a, 1], those that saw a training example, at least 1 and less than t.
      right: int [1, b], those that got a test example right.
      infl: theta_infl.
    """
    from scipy import special

    # The fewest right trials among those that saw i for which `difference` reaches infl.
    per_in, per_out = 1 / num_in, 1 / (t - num_in)
    fewest = np.ceil((infl + right * per_out) / (per_in + per_out) - 1e-9)
    is_upper = fewest > right * (num_in / t)  # Else what is below `fewest` is summed.
    k = np.where(is_upper, fewest, fewest - 1)

    def log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
        return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)

    possible = (k >= np.maximum(0, num_in + right - t)) & (k <= np.minimum(num_in, right))
    some = np.where(possible, k, np.maximum(0, num_in + right - t))
    log_first = log_choose(right, some) + log_choose(t - right, num_in - some)
    term = np.where(possible, np.exp(log_first - log_choose(np.array(t), num_in)), 0)
    total = term.copy()
    while (term > total * np.finfo(float).eps).any():
        left, wrong = t - right, num_in - k
        with np.errstate(divide="ignore", invalid="ignore"):  # In the direction not taken.
            up = (right - k) * wrong / ((k + 1) * (left - wrong + 1))
            down = k * (left - wrong) / ((right - k + 1) * (wrong + 1))
        term = term * np.where(is_upper, up, down)
        total += term
        k = k + np.where(is_upper, 1, -1)
    return np.where(is_upper, total, 1 - total)


def _mean_in(trials: TrialSet, memorization: np.ndarray) -> float:
    """Returns how many trials an example is in on average, of those that have an estimate."""
    counts, known = trials.subset.transposed.row_sums(), ~np.isnan(memorization)
    return float((counts[known] if known.any() else counts).mean())


def fewest_trials(enough: Callable[[int], bool], num_trials: int) -> int | None:
    """Returns the fewest trials that are enough: hundreds, and more than there are.

    Args:
      enough: whether a number of trials is; if one is, then more are.
      num_trials: t, which are not.

    Returns:
      None if not even 100 t are enough.
    """
    few, most = num_trials // 100, _HOPELESS * num_trials // 100
    many = min(max(2 * few, 1), most)
    while not enough(100 * many):
        if many == most:
            return None
        few, many = many, min(2 * many, most)
    while many - few > 1:
        middle = (few + many) // 2
        if enough(100 * middle):
            many = middle
        else:
            few = middle
    return 100 * many


def worst_standard_error(num_trials: int, subset_ratio: float) -> float:
    """Returns the standard error of an influence whose probabilities are 1/2.

    It is sqrt(1 / (4 p t) + 1 / (4 (1 - p) t)) for t trials on a share p of the training set.
    """
    p = subset_ratio
    return math.sqrt(1 / (4 * p * num_trials) + 1 / (4 * (1 - p) * num_trials))


def measure(
    trials: TrialSet,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
    splits: int = 3,
    progress: Callable[[float], None] = lambda amount: None,
    estimates: Estimates | None = None,
) -> Convergence:
    """Measures how far trials can be trusted at these thresholds; see `Convergence`.

    Args:
      trials: t trials.
      mem_threshold: theta_mem.
      infl_threshold: theta_infl.
      splits: how many random splits are averaged.
      progress: called with 1 after each split.
      estimates: of these trials, where they are known already.
    """
    if estimates is None:
        estimates = estimators.estimate(trials)
    memorization = estimates.memorization
    selected = pairs.select(memorization, estimates.influences, mem_threshold, infl_threshold)
    found = len(selected)

    def by_chance(num_trials: int | None = None) -> float:
        return chance_pairs(trials, memorization, mem_threshold, infl_threshold, num_trials)

    expected = by_chance()
    beyond_chance = None
    if found and _may_be_chance(expected, found):
        beyond_chance = fewest_trials(
            lambda t: not _may_be_chance(by_chance(t), found), len(trials)
        )
    ratio = _mean_in(trials, memorization) / len(trials)
    halves = split_halves(trials, mem_threshold, infl_threshold, splits, progress)
    verdict = judge(len(trials), ratio, found, expected, halves, infl_threshold, beyond_chance)
    return Convergence(halves, found, expected, mem_threshold, infl_threshold, *verdict)


def judge(
    num_trials: int,
    subset_ratio: float,
    found: int,
    by_chance: float,
    halves: Sequence[SplitHalf],
    infl_threshold: float,
    beyond_chance: int | None,
) -> tuple[bool, int | None, str]:
    """Says in plain sentences whether there are enough trials.

    Enough means: at most 5% of the pairs found would be there by chance, and two halves agree on
    the pairs with the Jaccard similarity of 0.7 that the paper asked of its threshold (Sec. 2).

    Args:
      num_trials: t.
      subset_ratio: the share of the training set that a trial sees.
      found: high-influence pairs.
      by_chance: how many would be expected if no influence existed.
      halves: ascending in the number of trials.
      infl_threshold: theta_infl.
      beyond_chance: where more than 5% may be chance, the number of trials at which it would be
        less; None if no number would do.

    Returns:
      `enough`, `trials_needed` and `verdict` of `Convergence`.
    """
    error = worst_standard_error(num_trials, subset_ratio)
    facts = (
        f"With {num_trials:,} trials the standard error of an influence is at most {error:.3f}, "
        f"and the threshold of {infl_threshold:g} is {infl_threshold / error:.1f} of those. "
        f"If no influence existed, {_approximately(by_chance)} pairs would pass by chance; "
        f"{found:,} passed."
    )
    agreeing = _agreeing(num_trials, halves)
    if not found:
        reason = "There are no pairs to agree on: lower the thresholds or add trials."
        return False, None, f"{facts} Not enough to judge. {reason}"
    if _may_be_chance(by_chance, found):
        facts += f" Not enough: more than {_FALSE_SHARE:.0%} of the pairs may be chance."
        if beyond_chance is None:
            facts += f" Raise the thresholds: {infl_threshold:g} is too low for any number of "
            return False, None, f"{facts}trials, as not even {_HOPELESS} times as many would do."
        facts += " Add trials or raise the thresholds: if all rates stay as they are, about "
        facts += f"{beyond_chance:,} trials would do"
        if agreeing is not None and agreeing > beyond_chance:
            facts += f", and about {agreeing:,} for two halves to agree as well"
        return False, max(beyond_chance, agreeing or 0), f"{facts}."
    if agreeing is None:
        reason = "There are too few trials to compare two halves: add trials."
        return False, None, f"{facts} Not enough to judge. {reason}"
    facts += (
        f" Two halves of {halves[-1].num_trials:,} trials agree on pairs with a Jaccard similarity "
        f"of {halves[-1].infl_jaccard:.2f} (the paper asked for "
        f"{experiments.JACCARD_AT_INFL_THRESHOLD:g})."
    )
    if agreeing:
        facts += " The pairs are real, but which ones pass the threshold still depends on the "
        return False, agreeing, f"{facts}trials: about {agreeing:,} trials would settle it."
    return True, None, f"{facts} Enough for these thresholds."


def _agreeing(num_trials: int, halves: Sequence[SplitHalf]) -> int | None:
    """Returns about how many trials it takes until two halves agree; None if none were compared.

    It is 0 where they do. Disagreement comes from noise, which shrinks with the root of the number
    of trials.
    """
    if not halves or math.isnan(halves[-1].infl_jaccard):
        return None
    jaccard, target = halves[-1].infl_jaccard, experiments.JACCARD_AT_INFL_THRESHOLD
    if jaccard >= target:
        return 0
    return math.ceil(num_trials * ((1 - jaccard) / (1 - target)) ** 2 / 100) * 100


def _may_be_chance(by_chance: float, found: int) -> bool:
    """Returns whether more than 5% of the pairs found may be chance."""
    return by_chance > _FALSE_SHARE * found


def present(num_trials: int, asked_for: int, path: epath.PathLike) -> str:
    """Says how many of an experiment's trials are in the store at `path`."""
    if num_trials > asked_for:
        return f"{num_trials:,} trials are in {path}, more than the experiment's {asked_for:,}"
    return f"{num_trials:,} of {asked_for:,} trials are in {path}"


def _approximately(count: float) -> str:
    if count >= 10:
        return f"{count:,.0f}"
    return f"{count:.1f}" if count >= 0.1 else "fewer than 0.1"


def split_table(halves: Sequence[SplitHalf], mem_threshold: float, infl_threshold: float) -> str:
    """Returns split-half comparisons as aligned text."""
    mem, infl = f"mem >= {mem_threshold:g}", f"pairs, infl >= {infl_threshold:g}"
    rows = [
        ("trials", mem, "", "", infl, "", ""),
        ("a half", *("number", "Jaccard", "difference") * 2),
    ]
    for half in halves:
        of_mem = f"{half.mem_size:,.1f}", number(half.mem_jaccard), number(half.mem_difference)
        of_infl = f"{half.infl_size:,.1f}", number(half.infl_jaccard), number(half.infl_difference)
        rows.append((f"{half.num_trials:,}", *of_mem, *of_infl))
    return table(rows, left=0)
