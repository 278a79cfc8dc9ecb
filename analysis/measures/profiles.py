"""Consistency profiles of many examples as a few curves: of groups by score, and of classes."""

import itertools
from typing import NamedTuple

import numpy as np

from analysis.estimates.consistency_scores import Profile
from analysis.measures.agreement import rank_correlation
from tfmem.words import counted, number, of_expected, table

# Groups of examples by their score, the lowest first: where each ends, as a share of all.
SHARES = (0.01, 0.05, 0.1, 0.25, 1.0)


class Group(NamedTuple):
    """Examples whose scores are neighbours.

    Attributes:
      start: the share of the examples whose scores are lower.
      stop: that share and the group's.
      value: float64 [r], the mean of its profiles.
    """

    start: float
    stop: float
    value: np.ndarray


def by_score(profile: Profile) -> list[Group]:
    """Returns the mean profile of groups by score; what has no score is in none.

    So Jiang et al. (2021) draw profiles: by the area under each. The groups come from the same
    trials as the profiles, so that with few trials they lie apart by chance too.
    """
    scores = profile.scores
    order = np.argsort(scores, kind="stable")[: np.count_nonzero(~np.isnan(scores))]
    found = []
    for start, stop in itertools.pairwise((0.0, *SHARES)):
        members = order[round(start * len(order)) : round(stop * len(order))]
        if len(members):
            found.append(Group(start, stop, profile.value[:, members].mean(axis=1)))
    return found


def by_class(profile: Profile, num_classes: int) -> np.ndarray:
    """Returns the mean profile of each class, float64 [classes, r]; nan where nobody was left out.

    An example counts at the ratios at which it was left out.
    """
    return np.stack([_class_means(row, profile.labels, num_classes) for row in profile.value], 1)


def _class_means(values: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    known = ~np.isnan(values)
    sums = np.bincount(labels[known], values[known], num_classes)
    counts = np.bincount(labels[known], minlength=num_classes)
    return sums / np.where(counts > 0, counts, np.nan)


def mean(values: np.ndarray) -> float:
    """Returns the mean of what is known of float [n], and nan if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def report(
    profile: Profile,
    num_expected: tuple[int, ...],
    published: np.ndarray | None = None,
    max_score: float | None = None,
) -> str:
    """Returns a row for each ratio, and a line about the scores, as text.

    Args:
      profile: of n examples at r ratios.
      num_expected: how many trials each ratio should have.
      published: scores of others, float [n], with which each ratio is compared; nan for none.
      max_score: only examples are compared that they give less; None is all.
    """
    heads = ["ratio", "trials", "P[correct | left out]", "fewest left out", "never left out"]
    if published is not None:
        below = "" if max_score is None else f", below {max_score:g}"
        heads.append(f"rank correlation{below}")
    rows = [tuple(heads)]
    for row, ratio in enumerate(profile.ratios.tolist()):
        value, out = profile.value[row], profile.num_out[row]
        trials = of_expected(int(profile.num_trials[row]), num_expected[row])
        never = np.count_nonzero(out == 0)
        cells = [f"{ratio:g}", trials, number(mean(value), ".4f"), f"{out.min():,}", f"{never:,}"]
        if published is not None:
            chosen = ~np.isnan(value + published)
            if max_score is not None:
                chosen &= published < max_score
            cells.append(number(rank_correlation(value[chosen], published[chosen])))
        rows.append(tuple(cells))
    scores, n = profile.scores, len(profile.labels)
    known = np.count_nonzero(~np.isnan(scores))
    over = counted(len(profile.ratios), "ratio")
    line = (
        f"consistency score, the mean over {over}: mean {number(mean(scores), '.4f')} over "
        f"{known:,} training examples"
    )
    if known < n:
        line += f"; {n - known:,} of {n:,} have none: a ratio never left them out"
    return "\n".join([table(rows, left=0), line])
