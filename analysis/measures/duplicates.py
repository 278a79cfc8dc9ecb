"""How pairs that people judged to be duplicates stand out in influence, and the other way round.

What is listed was searched for, by the features of a classifier. So a pair of high influence that
is not listed may be a duplicate nonetheless: the share that is known is a lower bound.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from analysis.estimates.known_pairs import JUDGMENTS, KnownPairs
from analysis.estimates.values import ClassInfluence, Estimates, influences_of
from tfmem import experiments
from tfmem.words import counted, number, table

TOP = (1, 10)  # Among how many of the most influential a training example is looked for.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONFIDENCE = 0.95
_DECIMALS = 4  # To which the quantiles of all other pairs are known.
_UNITS = 10**_DECIMALS


@dataclasses.dataclass(frozen=True)
class Shares:
    """How many high-influence pairs are known, in b bins of influence.

    Attributes:
      edges: float64 [b], the lowest influence of each; the last bin has no end.
      pairs: int64 [b], high-influence pairs in the bin.
      known: int64 [b], those of them that are listed.
    """

    edges: np.ndarray
    pairs: np.ndarray
    known: np.ndarray

    def at_or_above(self, edge: float) -> tuple[int, int]:
        """Returns how many pairs, at or above an edge, are known, and how many there are."""
        above = self.edges >= edge
        return int(self.known[above].sum()), int(self.pairs[above].sum())


@dataclasses.dataclass(frozen=True)
class Found:
    """What estimates say of p known pairs, of q >= p pairs of one class in all.

    Attributes:
      judgment: int64 [p], of `JUDGMENTS`.
      influence: float64 [p]; nan where there is no estimate, and then all else is no matter.
      within: float64 [len(TOP), p], whether the training example is among the 1 and the 10 of its
        class with the most influence on the test example: 0 or 1, and where equals share the last
        places, the probability that it has one if they are given out at random.
      chance: float64 [len(TOP), p], the same of a random training example of the class.
      others: int64 [2 * 10^4 + 1], how many other pairs have each influence, rounded to 4 decimals,
        from -1 to 1.
      others_mean: of their influence; nan if there are none.
      shares: of the high-influence pairs.
    """

    judgment: np.ndarray
    influence: np.ndarray
    within: np.ndarray
    chance: np.ndarray
    others: np.ndarray
    others_mean: float
    shares: Shares


def interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95% interval of a share by Clopper & Pearson (1934); nan of nothing."""
    if not trials:
        return math.nan, math.nan
    from scipy import stats

    found = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)


def bin_edges(infl_threshold: float) -> np.ndarray:
    """Returns the threshold, and every tenth above it."""
    tenths = np.arange(-10, 10) / 10
    return np.concatenate([[infl_threshold], tenths[tenths > infl_threshold]])


def measure(
    estimates: Estimates,
    known: KnownPairs,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
) -> Found:
    """Returns what estimates say of known pairs; one class is in memory at a time.

    Args:
      estimates: with the influence of every class.
      known: pairs of one class, of its examples.
      mem_threshold: theta_mem of high-influence pairs, inclusive.
      infl_threshold: theta_infl, inclusive.
    """
    p, edges = len(known.judgment), bin_edges(infl_threshold)
    influence, within, chance = np.full(p, np.nan), np.zeros((len(TOP), p)), np.zeros((len(TOP), p))
    others, total = np.zeros(2 * _UNITS + 1, np.int64), 0.0
    of_bins = np.zeros((2, len(edges)), np.int64)
    memorized = estimates.memorization >= mem_threshold
    for chosen, rows, columns, block in _by_class(estimates, known):
        value = influence[chosen] = block.value[rows, columns]
        for pair, column in zip(chosen, columns, strict=True):
            its = block.value[:, column]
            within[:, pair], chance[:, pair] = _places(its[~np.isnan(its)], influence[pair])
        listed = ~np.isnan(value)
        total += np.nansum(block.value) - value[listed].sum()
        others += _histogram(block.value) - _histogram(value)
        high = block.value[memorized[block.train_index]]
        high_known = value[memorized[block.train_index[rows]]]
        for row, values in enumerate((high, high_known)):
            reach = values[values >= infl_threshold]
            of_bins[row] += np.bincount(
                np.searchsorted(edges, reach, side="right") - 1, minlength=len(edges)
            )
    count = others.sum()
    mean = total / count if count else math.nan
    shares = Shares(edges, *of_bins)
    return Found(known.judgment, influence, within, chance, others, float(mean), shares)


def _by_class(
    estimates: Estimates, known: KnownPairs
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, ClassInfluence]]:
    """Yields, class by class, which pairs are of it, their rows and columns, and the influences."""
    places = [
        np.zeros(len(labels), np.int64)
        for labels in (estimates.train_labels, estimates.test_labels)
    ]
    labels = estimates.test_labels[known.test_index]
    for label, block in enumerate(influences_of(estimates.influences, None)):
        for where, index in zip(places, (block.train_index, block.test_index), strict=True):
            where[index] = np.arange(len(index))
        chosen = np.flatnonzero(labels == label)
        rows = places[0][known.train_index[chosen]]
        yield chosen, rows, places[1][known.test_index[chosen]], block


def _places(influences: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns how likely one of some influences, and a random one, has one of the first places.

    Equals are in random order.

    Args:
      influences: float [a], on one test example, none of them nan.
      value: one of them; where it is nan, it has no place.

    Returns:
      float64 [len(TOP)] each.
    """
    first, equal = np.array(TOP), np.count_nonzero(influences == value)
    if not equal:
        return np.zeros(len(TOP)), np.zeros(len(TOP))
    left = first - np.count_nonzero(influences > value)  # Places for value and its equals.
    return np.clip(left / equal, 0, 1), np.minimum(first / len(influences), 1)


def _histogram(values: np.ndarray) -> np.ndarray:
    """Counts influences by their value in units of 1e-4, from -1 to 1; nan is none."""
    units = np.rint((values[~np.isnan(values)] + 1) * _UNITS).astype(np.int64)
    return np.bincount(np.clip(units, 0, 2 * _UNITS), minlength=2 * _UNITS + 1)


def _quantiles(histogram: np.ndarray) -> list[float]:
    """Returns for each of `QUANTILES` the lowest value that so many do not exceed."""
    cumulative = np.cumsum(histogram)
    if not cumulative[-1]:
        return [math.nan] * len(QUANTILES)
    ranks = np.ceil(np.array(QUANTILES) * cumulative[-1])
    return (np.searchsorted(cumulative, ranks) / _UNITS - 1).tolist()


def judged(found: Found) -> list[tuple[str, np.ndarray]]:
    """Returns each judgment that there is, and which of the pairs with an estimate are of it."""
    there = ~np.isnan(found.influence)
    parts = [(name, there & (found.judgment == k)) for k, name in enumerate(JUDGMENTS)]
    return [(name, chosen) for name, chosen in parts if chosen.any()]


def report(found: Found) -> str:
    """Returns what was found as text."""
    there = ~np.isnan(found.influence)
    parts = [*judged(found), ("all known pairs", there)]
    lines = [counted(len(there), "known pair")]
    if not there.all():
        lines[0] += f", of which {np.count_nonzero(~there):,} have no estimate"
    return "\n".join(
        [
            *lines,
            "\ntheir influence, and that of all other pairs of one class",
            _influence_table(found, parts),
            "\nhow often the training example is the most influential of its class on the test "
            "example,\nand among the first 10, with equals in random order",
            _rank_table(found, parts),
            "\nhigh-influence pairs that are known",
            _share_table(found.shares),
            _sentence(found.shares),
        ]
    )


def _influence_table(found: Found, parts: list[tuple[str, np.ndarray]]) -> str:
    heads = ("", "pairs", "mean", *(f"{quantile:.0%}" for quantile in QUANTILES))
    rows: list[tuple[str, ...]] = [heads]
    described = [
        (name, int(chosen.sum()), _mean(values), _quantiles(_histogram(values)))
        for name, chosen in parts
        for values in [found.influence[chosen]]
    ]
    others = ("other pairs", int(found.others.sum()), found.others_mean, _quantiles(found.others))
    for name, count, mean, quantiles in (*described, others):
        # Rounded first, so that there is no negative zero.
        rounded = (round(value, _DECIMALS) + 0.0 for value in (mean, *quantiles))
        cells = (number(value, f".{_DECIMALS}f") for value in rounded)
        rows.append((name, f"{count:,}", *cells))
    return table(rows)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _rank_table(found: Found, parts: list[tuple[str, np.ndarray]]) -> str:
    heads = [("the most influential", "by chance"), ("among the first 10", "by chance")]
    rows: list[tuple[str, ...]] = [("", "pairs", *(head for pair in heads for head in pair))]
    for name, chosen in parts:
        cells = []
        for row in range(len(TOP)):
            share, chance = _mean(found.within[row, chosen]), _mean(found.chance[row, chosen])
            cells += [number(share, ".1%"), number(chance, ".2%")]
        rows.append((name, f"{chosen.sum():,}", *cells))
    return table(rows)


def _share_table(shares: Shares) -> str:
    heads = ("pairs", "known", "share", "95% interval")
    rows: list[tuple[str, ...]] = [("influence", *heads, "at or above:", *heads)]
    ends = [*shares.edges[1:].tolist(), None]
    for k, (edge, end) in enumerate(zip(shares.edges.tolist(), ends, strict=True)):
        name = f"{edge:.2f} or more" if end is None else f"{edge:.2f} to {end:.2f}"
        within = _share_cells(int(shares.known[k]), int(shares.pairs[k]))
        rows.append((name, *within, "", *_share_cells(*shares.at_or_above(edge))))
    return table(rows)


def _share_cells(known: int, pairs: int) -> tuple[str, str, str, str]:
    share = number(known / pairs if pairs else math.nan, ".1%")
    return f"{pairs:,}", f"{known:,}", share, _interval_text(known, pairs)


def _interval_text(known: int, pairs: int) -> str:
    if not pairs:
        return "-"
    low, high = interval(known, pairs)
    return f"{100 * low:.1f}% to {100 * high:.1f}%"


def _sentence(shares: Shares) -> str:
    edge = experiments.NEAR_DUPLICATES
    known, pairs = shares.at_or_above(edge)
    what = f"influence of at least {edge:g}, almost always near duplicates in the paper (Sec. 3.4)"
    if edge not in shares.edges:
        return f"{what}: not counted, as --infl_threshold is above it"
    if not pairs:
        return f"{what}: there are no such pairs"
    return (
        f"{what}: {known:,} of {counted(pairs, 'pair')} known, {known / pairs:.1%} (95% interval "
        f"{_interval_text(known, pairs)}); others may be duplicates that nobody listed"
    )
