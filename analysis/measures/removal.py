"""What memorized examples are worth: accuracy of runs without them (Secs. 3.2 and 3.3)."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from etils import epath

from analysis.estimates import files
from analysis.estimates.values import Pairs
from tfmem.config import Condition, RemovalConfig
from tfmem.disk.bits import BitMatrix
from tfmem.store.trials import TrialSet
from tfmem.words import number, table


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of one condition that are there.

    Attributes:
      condition: what they were trained without.
      numbers: int64 [k], the runs, ascending; equal numbers share initial weights.
      remaining: float64 [k], the share of the training set that each was trained on.
      test_correct: [k, n'].
    """

    condition: Condition
    numbers: np.ndarray
    remaining: np.ndarray
    test_correct: BitMatrix

    def __len__(self) -> int:
        return len(self.numbers)

    def accuracy(self, test_index: np.ndarray | None = None) -> np.ndarray:
        """Returns each run's accuracy, float64 [k], on these test examples or on all."""
        if test_index is None:
            return self.test_correct.row_means()
        return self.test_correct.columns(test_index).mean(axis=1)


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over runs.

    Attributes:
      value: nan without runs.
      deviation: standard deviation, of a sample; nan with fewer than two runs.
      count: how many runs.
    """

    value: float
    deviation: float
    count: int

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return self.deviation / math.sqrt(self.count) if self.count else math.nan


@dataclasses.dataclass(frozen=True)
class ThresholdEffect:
    """What is lost at one memorization threshold (Fig. 2).

    Attributes:
      threshold: theta; examples with mem >= theta were removed, or as many random ones.
      remaining: share of the training set that remains; nan without runs.
      memorized: test accuracy without memorized examples.
      random: test accuracy without random examples.
      difference: random minus memorized, of runs with the same initial weights.
    """

    threshold: float
    remaining: float
    memorized: Mean
    random: Mean
    difference: Mean


@dataclasses.dataclass(frozen=True)
class HighInfluenceEffect:
    """What the training examples S_h of the high-influence pairs are worth (Sec. 3.3).

    Attributes:
      train_examples: |S_h|.
      test_examples: |S'_h|, the test examples of the pairs.
      whole: test accuracy of training on all of S.
      without: test accuracy of training without S_h.
      difference: whole minus without, of runs with the same initial weights.
      influenced_whole: accuracy on S'_h of training on all of S.
      influenced_without: the same without S_h.
      influenced_difference: their difference.
      contribution: what it is of `difference`: times |S'_h| / n'.
    """

    train_examples: int
    test_examples: int
    whole: Mean
    without: Mean
    difference: Mean
    influenced_whole: Mean
    influenced_without: Mean
    influenced_difference: Mean
    contribution: Mean


def group(config: RemovalConfig, trials: TrialSet) -> list[Runs]:
    """Returns the runs of each of the config's conditions, in their order, as far as they are."""
    of_condition, run = np.divmod(trials.numbers, config.runs)
    found = []
    for index, condition in enumerate(config.conditions):
        rows = np.flatnonzero(of_condition == index)
        rows = rows[np.argsort(run[rows])]
        remaining = trials.subset.rows(rows).row_means()
        found.append(Runs(condition, run[rows], remaining, trials.test_correct.rows(rows)))
    return found


def mean(values: np.ndarray) -> Mean:
    """Returns the mean and the standard deviation of float [k]; see `Mean`."""
    count = len(values)
    return Mean(
        value=float(np.mean(values)) if count else math.nan,
        deviation=float(np.std(values, ddof=1)) if count > 1 else math.nan,
        count=count,
    )


def paired_difference(a: Runs, b: Runs, test_index: np.ndarray | None = None) -> np.ndarray:
    """Returns the accuracy of a minus that of b, of each run that both have: float64 [k].

    Args:
      a: runs of one condition.
      b: runs of another.
      test_index: the test examples that count; all by default.
    """
    _, in_a, in_b = np.intersect1d(a.numbers, b.numbers, assume_unique=True, return_indices=True)
    return a.accuracy(test_index)[in_a] - b.accuracy(test_index)[in_b]


def threshold_effects(groups: list[Runs]) -> list[ThresholdEffect]:
    """Returns what is lost at each threshold, ascending (Sec. 3.2, Fig. 2)."""
    by_condition = {runs.condition: runs for runs in groups}
    effects = []
    for condition, memorized in by_condition.items():
        threshold = condition.threshold
        if condition.removed != "memorized" or threshold is None:
            continue
        random = by_condition[Condition("random", threshold)]
        remaining = np.concatenate([memorized.remaining, random.remaining])
        effects.append(
            ThresholdEffect(
                threshold=threshold,
                remaining=float(remaining[0]) if len(remaining) else math.nan,
                memorized=mean(memorized.accuracy()),
                random=mean(random.accuracy()),
                difference=mean(paired_difference(random, memorized)),
            )
        )
    return effects


def high_influence_effect(groups: Sequence[Runs], pairs: Pairs) -> HighInfluenceEffect:
    """Returns what the training examples of the pairs are worth (Sec. 3.3)."""
    by_condition = {runs.condition: runs for runs in groups}
    whole, without = (by_condition[Condition(name)] for name in ("nothing", "high_influence"))
    influenced = np.unique(pairs.test_index)
    on_influenced = paired_difference(whole, without, influenced)
    return HighInfluenceEffect(
        train_examples=len(np.unique(pairs.train_index)),
        test_examples=len(influenced),
        whole=mean(whole.accuracy()),
        without=mean(without.accuracy()),
        difference=mean(paired_difference(whole, without)),
        influenced_whole=mean(whole.accuracy(influenced)),
        influenced_without=mean(without.accuracy(influenced)),
        influenced_difference=mean(on_influenced),
        contribution=mean(on_influenced * (len(influenced) / whole.test_correct.count)),
    )


def threshold_table(effects: list[ThresholdEffect]) -> str:
    """Returns Fig. 2 as aligned text, in percent."""
    rows = [("mem >=", "remains", "memorized removed", "random removed", "difference")]
    for effect in effects:
        accuracies = with_deviation(effect.memorized), with_deviation(effect.random)
        name, remains = f"{effect.threshold:g}", number(effect.remaining, ".1%")
        rows.append((name, remains, *accuracies, _with_error(effect.difference)))
    return (
        "test accuracy in %, mean ± standard deviation over runs; the difference ± its standard "
        f"error\n{table(rows, left=0)}"
    )


def high_influence_table(effect: HighInfluenceEffect, num_test: int) -> str:
    """Returns the numbers of Sec. 3.3 as aligned text, in percent.

    Args:
      effect: of the removal.
      num_test: n'.
    """
    rows = [
        ("accuracy in % on", "S", f"S without {effect.train_examples:,}", "difference"),
        (
            f"all {num_test:,} test examples",
            with_deviation(effect.whole),
            with_deviation(effect.without),
            _with_error(effect.difference),
        ),
        (
            f"the {effect.test_examples:,} influenced ones",
            with_deviation(effect.influenced_whole),
            with_deviation(effect.influenced_without),
            _with_error(effect.influenced_difference),
        ),
    ]
    return (
        f"{effect.train_examples:,} training examples of high-influence pairs removed from S, "
        f"which influence {effect.test_examples:,} test examples\n{table(rows)}\n"
        f"of the difference of {_with_error(effect.difference)}, the influenced test examples "
        f"contribute {_with_error(effect.contribution)}"
    )


def with_deviation(mean: Mean) -> str:
    """Returns a mean of shares in percent, with the standard deviation over the runs."""
    return _percent(mean, mean.deviation)


def _with_error(mean: Mean) -> str:
    return _percent(mean, mean.standard_error)


def _percent(mean: Mean, error: float) -> str:
    if not mean.count:
        return "-"
    return f"{100 * mean.value:.2f} ± {number(100 * error, '.2f', unknown='?')}"


def read_pairs(config: RemovalConfig, path: epath.PathLike) -> Pairs:
    """Selects the pairs whose training examples were removed, again from the same estimates."""
    if not epath.Path(path).exists():
        raise ValueError(
            f"{path} does not exist, and the influenced test examples are in it: "
            "--estimates=PATH says where that file is now"
        )
    estimates = files.read(path)
    pairs = files.select_pairs(estimates, path, config.mem_threshold, config.infl_threshold)
    if files.estimates_digest(estimates.memorization, pairs) != config.estimates_digest:
        raise ValueError(
            f"{path} holds other estimates than those that the runs were made from "
            f"({config.estimates}): --estimates=PATH says where those are"
        )
    return pairs
