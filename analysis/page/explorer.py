"""What the report's explorer holds: pairs and examples, chosen by rules so that a page holds them.

Whoever moves a slider compares estimates with a threshold, inclusively. Estimates are therefore
rounded down to ten-thousandths: every comparison with a threshold of at most four decimals stays
what it is for the estimate itself. A training example without an estimate is nowhere in it.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.estimates.pairs import select
from analysis.estimates.values import (
    CORRECTNESS,
    Estimates,
    Influences,
    Pairs,
    influences_of,
)
from analysis.measures.votes import Votes
from analysis.page.text import LONGEST_ID
from analysis.page.thumbnails import Key
from tfmem.datasets import Dataset

MAX_PAIRS = 10_000
MAX_MEMORIZED = 2_000
LOWEST_MEMORIZED = 0.1  # Or the page's threshold, if that is lower.
MAX_SAMPLED = 2_000  # Or one of every class and tenth of memorization, if that is more.
LOWEST_INFLUENCE = 0.05  # Or the page's threshold, if that is lower.
STEPS = 100  # A slider has so many from 0 to 1.
UNITS = 10_000  # The page counts estimates in ten-thousandths.
_TENTHS = 11  # One group is below 0, and ten are from 0 to 1.
_MEM_STEP = 5  # By how many steps the lowest memorization of the pairs is raised.


@dataclasses.dataclass(frozen=True)
class Contents:
    """The pairs and examples of the explorer.

    Attributes:
      pairs: all with mem >= lowest_memorization and infl >= lowest_influence but those left out,
        the most influential first.
      lowest_memorization: a whole number of steps; -1 where pairs of all training examples are in.
      lowest_influence: a whole number of steps.
      pairs_left_out: how many with these values are left out all the same.
      order: the examples, those first whose pictures matter most.
      least_memorized: training examples with this memorization are in, the most memorized first.
      sampled: of others, how many of a class and a tenth of memorization are in.
    """

    pairs: Pairs
    lowest_memorization: float
    lowest_influence: float
    pairs_left_out: int
    order: tuple[Key, ...]
    least_memorized: float
    sampled: int

    def index(self, wanted: str) -> np.ndarray:
        """Returns the `train` or the `test` examples in order, int64 [k]."""
        return np.array([index for split, index in self.order if split == wanted], np.int64)


def rounded_down(values: np.ndarray | float, parts: int) -> np.ndarray:
    """Returns, int64, the largest k with k / parts <= value, exactly.

    k / parts is the float nearest to that decimal, so that `value >= 0.15` is `k >= 15` for 100.
    """
    values = np.asarray(values, np.float64)
    whole = np.floor(values * parts).astype(np.int64)
    whole += (whole + 1) / parts <= values
    whole -= whole / parts > values
    return whole


def lowest_values(
    estimates: Estimates, mem_threshold: float, infl_threshold: float
) -> tuple[int, int]:
    """Returns from which memorization and influence on all pairs fit into a page, in steps.

    With an influence of at least 0.05 there are often too many, most of them by chance. Those of
    hardly memorized training examples go first, up to the page's threshold, then those of the
    lowest influence.
    """
    lowest = int(min(rounded_down(LOWEST_INFLUENCE, STEPS), rounded_down(infl_threshold, STEPS)))
    memorization = rounded_down(np.where(estimates.known, estimates.memorization, 0), STEPS)
    highest = int(rounded_down(mem_threshold, STEPS))
    levels = [-STEPS, *range(_MEM_STEP, highest, _MEM_STEP), highest]
    table = np.zeros((2 * STEPS + 1, STEPS + 1 - lowest), np.int64)
    width = table.shape[1]
    fits = None
    for above, level in _parts(memorization[estimates.known], levels, estimates):
        chosen = estimates.known & (memorization >= level) & (memorization < above)
        for block in influences_of(estimates.influences, chosen):
            row, column = np.nonzero(block.value >= lowest / STEPS)
            influence = rounded_down(block.value[row, column], STEPS) - lowest
            cell = (memorization[block.train_index[row]] + STEPS) * width + influence
            table += np.bincount(cell, minlength=table.size).reshape(table.shape)
            if level == levels[0] and above == levels[1] and table.sum() > MAX_PAIRS:
                break  # All do not fit, and nothing else is asked of the rest.
        at_least = table[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
        fitting = [mem for mem in levels if mem >= level and at_least[mem + STEPS, 0] <= MAX_PAIRS]
        fits = fitting[0] if fitting else None
        if fits != level:  # What is less memorized makes it more still.
            break
    if fits is not None:
        return fits, lowest
    reached = np.flatnonzero(at_least[highest + STEPS] <= MAX_PAIRS)
    return highest, (lowest + int(reached[0]) if len(reached) else STEPS)


def _parts(
    memorization: np.ndarray, levels: Sequence[int], estimates: Estimates
) -> Iterator[tuple[int, int]]:
    """Yields from which memorization up to below which examples are looked at together.

    The most memorized come first, and each part doubles them, since mostly the first suffice; the
    lowest level has a part of its own. What is read from a file is read once.

    Args:
      memorization: int, in steps.
      levels: ascending.
      estimates: whose influences are looked at.
    """
    above = 2 * STEPS
    influences = estimates.influences
    if not (isinstance(influences, Influences) and influences.are_computed):
        yield above, levels[0]
        return
    looked_at = np.count_nonzero(memorization >= levels[-1])
    for level in reversed(levels):
        count = np.count_nonzero(memorization >= level)
        if level in (*levels[:2], levels[-1]) or count >= 2 * looked_at:
            yield above, level
            above, looked_at = level, count


def sample(memorization: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Chooses training examples at every level: of each class and each tenth the first few.

    Args:
      memorization: float [n]; an example whose memorization is nan is not chosen.
      labels: int [n].

    Returns:
      int64 [s], the first of every class and tenth before any second; and how many of a class and
      a tenth there are at most.
    """
    known = np.flatnonzero(~np.isnan(memorization))
    tenth = np.clip(rounded_down(memorization[known], 10), -1, 9) + 1
    group = labels[known] * _TENTHS + tenth
    order = np.argsort(group, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    fitting = np.bincount(place).cumsum() <= MAX_SAMPLED
    most = max(int(fitting.sum()), 1)
    chosen = place < most
    return known[order[chosen][np.argsort(place[chosen], kind="stable")]], most


def choose(
    estimates: Estimates,
    mem_threshold: float,
    infl_threshold: float,
    first: Iterable[Key] = (),
    hidden: bool = False,
) -> Contents:
    """Chooses what the explorer holds, in the order in which it may have pictures.

    Args:
      estimates: with the influences of every class.
      mem_threshold: theta_mem of the page.
      infl_threshold: theta_infl of the page.
      first: examples whose pictures the page shows elsewhere.
      hidden: whether pairs are hidden until they are asked for: the cards of the most memorized
        examples are then seen first, and those of pairs after a click.
    """
    mem, infl = lowest_values(estimates, mem_threshold, infl_threshold)
    found = select(estimates.memorization, estimates.influences, mem / STEPS, infl / STEPS)
    pairs = found.take(np.arange(min(len(found), MAX_PAIRS)))
    passes = (pairs.memorization >= mem_threshold) & (pairs.influence >= infl_threshold)
    sampled, most = sample(estimates.memorization, estimates.train_labels)
    memorized = np.argsort(-estimates.memorization, kind="stable")[:MAX_MEMORIZED]
    lowest = min(LOWEST_MEMORIZED, mem_threshold)
    memorized = memorized[estimates.memorization[memorized] >= lowest]
    of_pairs = _members(pairs.take(passes))
    of_samples, of_memorized = (
        [("train", index) for index in some.tolist()] for some in (sampled, memorized)
    )
    if hidden:
        turns = itertools.zip_longest(of_memorized, of_pairs)
        order = [*first, *(key for both in turns for key in both if key), *of_samples]
    else:
        order = [*first, *of_pairs, *of_samples, *of_memorized]
    order += _members(pairs.take(~passes))
    return Contents(
        pairs=pairs,
        lowest_memorization=mem / STEPS,
        lowest_influence=infl / STEPS,
        pairs_left_out=len(found) - len(pairs),
        order=tuple(dict.fromkeys(order)),
        least_memorized=lowest,
        sampled=most,
    )


def _members(pairs: Pairs) -> list[Key]:
    examples = zip(pairs.train_index.tolist(), pairs.test_index.tolist(), strict=True)
    return [key for train, test in examples for key in (("train", train), ("test", test))]


def histogram(
    memorization: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[int, np.ndarray]:
    """Counts training examples by class and memorization, rounded down to a step.

    Those whose memorization is nan are not counted.

    Returns:
      The lowest step, and int64 [K, steps from there to 1].
    """
    known = ~np.isnan(memorization)
    step = rounded_down(memorization[known], STEPS)
    lowest = int(step.min(initial=0))
    width = STEPS + 1 - lowest
    cell = labels[known] * width + step - lowest
    return lowest, np.bincount(cell, minlength=num_classes * width).reshape(-1, width)


def page_data(
    contents: Contents,
    dataset: Dataset,
    estimates: Estimates,
    mem_threshold: float,
    infl_threshold: float,
    pictures: Mapping[Key, str],
    called: Votes | None = None,
) -> dict[str, Any]:
    """Returns what the page's script reads, as JSON has it: columns, estimates in whole units.

    Args:
      contents: of these estimates.
      dataset: with class names and ids.
      estimates: of the dataset.
      mem_threshold: where the memorization slider starts.
      infl_threshold: where the influence slider starts.
      pictures: the URIs of examples that have a picture, the first of `contents.order`.
      called: what the training examples in it are called by trials that left them out, in the order
        of `contents`; None where that is not known.
    """
    train, test, pairs = contents.index("train"), contents.index("test"), contents.pairs
    details = estimates.details
    lowest, counts = histogram(estimates.memorization, estimates.train_labels, dataset.num_classes)
    columns = {
        "index": train,
        "id": dataset.train.ids[train],
        "label": estimates.train_labels[train],
        "mem": rounded_down(estimates.memorization[train], UNITS),
    }
    if details is not None:
        columns["se"] = _units(details.standard_error[train])
        # Memorization is the accuracy with an example minus that without it.
        if estimates.estimator == CORRECTNESS:
            columns |= {
                "heldout": _units(details.heldout_accuracy[train]),
                "in": details.num_in[train],
                "out": details.num_out[train],
            }
    if called is not None:
        columns |= {"called": called.label, "votes": _units(np.nan_to_num(called.share))}
    pair_columns = {
        "train": _places(train, len(dataset.train))[pairs.train_index],
        "test": _places(test, len(dataset.test))[pairs.test_index],
        "infl": rounded_down(pairs.influence, UNITS),
    }
    errors = estimates.influence_errors(pairs.train_index, pairs.test_index)
    if errors is not None:
        pair_columns["se"] = _units(errors)
    return {
        "classes": list(dataset.class_names),
        "steps": STEPS,
        "units": UNITS,
        "longest_id": LONGEST_ID,
        "thresholds": {
            "mem": int(rounded_down(mem_threshold, STEPS)),
            "infl": int(rounded_down(infl_threshold, STEPS)),
        },
        "lowest": {
            "mem": lowest,
            "infl": round(contents.lowest_influence * STEPS),
            "pairs_mem": round(contents.lowest_memorization * STEPS),
        },
        "counts": counts.tolist(),
        "pictures": {
            name: [uri for (split, _), uri in pictures.items() if split == name]
            for name in ("train", "test")
        },
        "train": {name: column.tolist() for name, column in columns.items()},
        "test": {
            "index": test.tolist(),
            "id": dataset.test.ids[test].tolist(),
            "label": estimates.test_labels[test].tolist(),
        },
        "pairs": {name: column.tolist() for name, column in pair_columns.items()},
    }


def _units(values: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(values, np.float64) * UNITS).astype(np.int64)


def _places(index: np.ndarray, count: int) -> np.ndarray:
    places = np.full(count, -1)
    places[index] = np.arange(len(index))
    return places
