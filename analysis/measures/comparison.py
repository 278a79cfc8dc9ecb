"""Two estimates of the same examples side by side (Sec. 3.5)."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from analysis.estimates.values import Estimates, influences_of
from analysis.measures import agreement
from analysis.measures.agreement import Agreement, Curve
from tfmem import experiments
from tfmem.words import counted, number, of_expected, table

_SHOWN = 10  # Examples that differ most.


@dataclasses.dataclass(frozen=True)
class PairValues:
    """The influence, by both estimates, of the pairs that at least one of the two selects.

    Attributes:
      a: float64 [p], by the first.
      b: float64 [p], by the second.
      in_a: bool [p], whether the first selects the pair.
      in_b: bool [p], whether the second does.
    """

    a: np.ndarray
    b: np.ndarray
    in_a: np.ndarray
    in_b: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outlier:
    """A training example on which two estimates of memorization differ.

    Attributes:
      index: which one.
      a: its memorization by the first.
      b: by the second.
      errors: |a - b| in standard errors of the difference, if the trials are not the same; nan
        where a file has no standard errors.
    """

    index: int
    a: float
    b: float
    errors: float


def selected_pairs(
    a: Estimates, b: Estimates, mem_threshold: float, infl_threshold: float
) -> PairValues:
    """Returns the influence of all pairs that are selected by at least one of two estimates.

    Pairs of which one of them has no estimate are left out.

    Args:
      a: estimates, with influence of every class.
      b: estimates of the same examples.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
    """
    parts, known = [], a.known & b.known
    memorized = [known & (side.memorization >= mem_threshold) for side in (a, b)]
    either = memorized[0] | memorized[1]
    sides = (influences_of(side.influences, either) for side in (a, b))
    for block_a, block_b in zip(*sides, strict=True):
        in_a, in_b = (
            (block.value >= infl_threshold) & may[block.train_index, None]
            for block, may in zip((block_a, block_b), memorized, strict=True)
        )
        union = (in_a | in_b) & ~np.isnan(block_a.value - block_b.value)
        parts.append((block_a.value[union], block_b.value[union], in_a[union], in_b[union]))
    return PairValues(*map(np.concatenate, zip(*parts, strict=True)))


def outliers(a: Estimates, b: Estimates, count: int = _SHOWN) -> list[Outlier]:
    """Returns the training examples whose memorization differs most, the most different first.

    One that has no estimate in one of the two is not among them.
    """
    gap = np.abs(a.memorization - b.memorization)
    errors = np.full(len(gap), np.nan)
    if a.details is not None and b.details is not None:
        errors = gap / np.hypot(a.details.standard_error, b.details.standard_error)
    return [
        Outlier(int(i), float(a.memorization[i]), float(b.memorization[i]), float(errors[i]))
        for i in np.argsort(-gap, kind="stable")[: min(count, np.count_nonzero(~np.isnan(gap)))]
    ]


def outlier_table(found: list[Outlier], estimates: Estimates) -> str:
    """Returns the examples that differ most as aligned text.

    Args:
      found: of `outliers`.
      estimates: whose labels and ids name the examples.
    """
    ids, labels = estimates.train_ids, estimates.train_labels
    heads = "label", "a", "b", "difference", "in standard errors"
    rows = [("example", *([] if ids is None else ["id"]), *heads)]
    for outlier in found:
        index, a, b = outlier.index, outlier.a, outlier.b
        name = [str(index)] if ids is None else [str(index), str(ids[index])]
        values = f"{a:.3f}", f"{b:.3f}", f"{b - a:+.3f}", number(outlier.errors, ".1f")
        rows.append((*name, str(labels[index]), *values))
    return table(rows, left=0)


def report(
    a: Estimates, b: Estimates, names: tuple[str, str], mem_threshold: float, infl_threshold: float
) -> str:
    """Returns how two estimates of the same examples agree, and where they differ most, as text.

    Args:
      a: estimates.
      b: others; high-influence pairs are compared if both have influence.
      names: of the two.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
    """
    known = a.known & b.known
    of_both = a.memorization[known], b.memorization[known]
    gap = float(np.abs(of_both[0] - of_both[1]).mean()) if known.any() else math.nan
    correlation = agreement.rank_correlation(*of_both)
    memorized = agreement.memorization_curve(a, b, np.array([mem_threshold])).at(mem_threshold)
    lines = [
        f"memorization: rank correlation {number(correlation, '.4f')}, mean difference "
        f"{number(gap, '.4f')} over {np.count_nonzero(known):,} examples",
        sentence(memorized, f"examples with mem >= {mem_threshold:g}"),
    ]
    if a.influences and b.influences:
        curve = agreement.influence_curve(a, b, np.array([infl_threshold]), mem_threshold)
        what = f"pairs with mem >= {mem_threshold:g} and infl >= {infl_threshold:g}"
        lines.append(sentence(curve.at(infl_threshold), what))
    else:
        lacking = names[1] if a.influences else names[0]
        lines.append(f"no pairs are compared: {lacking} has no influence")
    lines += [
        f"\nthe examples whose memorization differs most, {names[0]} (a) and {names[1]} (b):",
        outlier_table(outliers(a, b), a if a.train_ids is not None else b),
    ]
    return "\n".join(lines)


def consistency_report(
    heldout_accuracy: np.ndarray,
    consistency: np.ndarray,
    max_score: float | None,
    what_is_compared: str = "P[correct | left out] and score",
) -> str:
    """Returns how consistency scores agree with P[correct | left out], which they estimate.

    Args:
      heldout_accuracy: float [k], or scores.
      consistency: float [k], the scores of Jiang et al. (2021).
      max_score: scores below this one are compared too, if it is given.
      what_is_compared: both, in words.
    """
    parts = [("", np.ones(len(consistency), bool))]
    if max_score is not None:
        parts.append((f" with a score below {max_score:g}", consistency < max_score))
    lines = []
    for what, chosen in parts:
        correlation = agreement.rank_correlation(heldout_accuracy[chosen], consistency[chosen])
        lines.append(
            f"{what_is_compared}: rank correlation {number(correlation)} "
            f"over {np.count_nonzero(chosen):,} examples{what}"
        )
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one file of estimates agrees with another, the reference.

    Attributes:
      name: of the estimates.
      test_accuracy: their mean over the trials, or None where the file has none.
      memorization: at thresholds of memorization; the reference is a.
      influence: at thresholds of influence.
      mem_threshold: theta_mem of the selection, one of the first curve's thresholds.
      infl_threshold: theta_infl of the selection, one of the second curve's.
    """

    name: str
    test_accuracy: float | None
    memorization: Curve
    influence: Curve
    mem_threshold: float
    infl_threshold: float

    @property
    def memorized(self) -> Agreement:
        """On the examples with mem >= theta_mem."""
        return self.memorization.at(self.mem_threshold)

    @property
    def pairs(self) -> Agreement:
        """On the high-influence pairs."""
        return self.influence.at(self.infl_threshold)

    def text(self, influence: str, besides: str = "") -> str:
        """Returns both curves side by side, and a line about each at its threshold.

        Args:
          influence: the title of the second curve.
          besides: what is said of its pairs after their threshold.
        """
        lines = [
            curve_table({"memorization": self.memorization, influence: self.influence}),
            sentence(self.memorized, f"examples with mem >= {self.mem_threshold:g}"),
            sentence(self.pairs, f"pairs with infl >= {self.infl_threshold:g}{besides}"),
        ]
        return "\n".join(lines)


def compare(
    a: Estimates,
    b: Estimates,
    name: str,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
    only_memorized: bool = True,
) -> Comparison:
    """Compares two estimates of the same examples at all thresholds.

    Args:
      a: the reference.
      b: what is compared with it.
      name: of b.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
      only_memorized: whether a pair needs mem >= mem_threshold (Fig. 7), or not (Fig. 8).
    """
    thresholds = mem_threshold, infl_threshold
    of_mem, of_infl = (np.union1d(agreement.THRESHOLDS, [threshold]) for threshold in thresholds)
    needed = mem_threshold if only_memorized else None
    influence = agreement.influence_curve(a, b, of_infl, needed)
    memorization = agreement.memorization_curve(a, b, of_mem)
    return Comparison(name, b.test_accuracy, memorization, influence, *thresholds)


def legend(name: str, pairs: int, test_accuracy: float | None) -> str:
    """Returns a name with its high-influence pairs and test accuracy, as Fig. 7's legend."""
    accuracy = "" if test_accuracy is None else f", {test_accuracy:.1%} test accuracy"
    return f"{name} ({counted(pairs, 'pair')}{accuracy})"


def curve_table(curves: Mapping[str, Curve]) -> str:
    """Returns curves side by side as aligned text.

    Args:
      curves: by title; a threshold that only some have leaves the others' cells empty.
    """
    heads = "a", "b", "Jaccard", "difference"
    rows = [
        ("", *(cell for title in curves for cell in (title, "", "", ""))),
        ("threshold", *heads * len(curves)),
    ]
    thresholds = np.unique(np.concatenate([curve.thresholds for curve in curves.values()]))
    for threshold in thresholds.tolist():
        row = [f"{threshold:g}"]
        for curve in curves.values():
            if threshold in curve.thresholds:
                found = curve.at(threshold)
                row += [f"{found.size_a:,}", f"{found.size_b:,}"]
                row += [number(found.jaccard), number(found.difference)]
            else:
                row += [""] * len(heads)
        rows.append(tuple(row))
    return table(rows, left=0)


def sentence(found: Agreement, what: str) -> str:
    """Returns how two sets agree as one line.

    Args:
      found: at one threshold.
      what: the elements, such as `examples with mem >= 0.25`.
    """
    if math.isnan(found.jaccard):
        return f"{what}: none in either"
    both = ("a's also in b", found.share_of_a), ("b's also in a", found.share_of_b)
    shares = ", ".join(f"{share:.0%} of {of}" for of, share in both if not math.isnan(share))
    return (
        f"{what}: {found.size_a:,} in a, {found.size_b:,} in b, {shares}; Jaccard similarity "
        f"{found.jaccard:.3f}, mean difference {found.difference:.3f}"
    )


def describe(name: str, path: str, estimates: Estimates) -> str:
    """Returns where estimates come from, and what they lack, as one line."""
    words = [path]
    if estimates.num_trials is not None:
        words.append(f"{of_expected(estimates.num_trials, estimates.num_trials_expected)} trials")
    if estimates.test_accuracy is not None:
        words.append(f"test accuracy {estimates.test_accuracy:.1%}")
    return f"{name}: {', '.join([*words, *estimates.unknown_lines()])}"
