"""Two methods against each other: memorization from subsets, and scores of turn-over dropout.

Memorization is estimated from trials on random subsets (Feldman & Zhang, 2020), the scores of Liu,
Lin & Jaggi (2021) from models that are trained on everything (eq. 6).
"""

import dataclasses

import numpy as np

from analysis.estimates.scores import Scores, auc, top_overlap
from analysis.estimates.values import Estimates
from analysis.measures import agreement
from tfmem.words import counted, number

# Shares of the examples whose highest values are compared.
TOP_SHARES = (0.01, 0.05, 0.1)
METHODS = ("memorization", "turn-over score")


@dataclasses.dataclass(frozen=True)
class Values:
    """What both methods say of the examples of which both know something.

    Attributes:
      memorization: float64 [k].
      score: float64 [k], of turn-over dropout, in nats.
      changed: bool [k], whose label was corrupted to another one, or None where none were.
      replaced: bool [k], whose label was replaced, by itself too, or None.
    """

    memorization: np.ndarray
    score: np.ndarray
    changed: np.ndarray | None
    replaced: np.ndarray | None

    def __len__(self) -> int:
        return len(self.memorization)


def align(estimates: Estimates, scores: Scores, name_a: str, name_b: str) -> Values:
    """Returns the values of both methods for the same examples.

    An example that all trials or none were trained on has no memorization and is left out.

    Args:
      estimates: of one dataset with its labels.
      scores: of the same one.
      name_a: what the message calls the estimates.
      name_b: what it calls the scores.

    Raises:
      ValueError: examples, their labels or ids differ; the message names the first that does.
    """
    agreement.require_same_examples(estimates, scores, name_a, name_b)
    known = np.isfinite(estimates.memorization) & np.isfinite(scores.train.score)
    if estimates.details is not None:
        known &= (estimates.details.num_in > 0) & (estimates.details.num_out > 0)
    return Values(
        estimates.memorization[known],
        scores.train.score[known],
        *(None if part is None else part[known] for part in (scores.changed, scores.corrupted)),
    )


def overlaps(values: Values) -> dict[float, tuple[int, float]]:
    """Returns, by share, how many examples are the highest, and how much of them is so by both."""
    both = values.memorization, values.score
    return {share: top_overlap(*both, share) for share in TOP_SHARES}


def detection(values: Values, positive: np.ndarray) -> dict[str, float]:
    """Returns, by method, the area under the ROC curve of finding the positive, bool [k]."""
    both = zip(METHODS, (values.memorization, values.score), strict=True)
    return {name: auc(value, positive) for name, value in both}


def roc(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ROC curve of finding the positive by a high score.

    Args:
      score: float [k].
      positive: bool [k], neither all true nor all false.

    Returns:
      Of each threshold, descending, the share found of the others and of the positive, float.
    """
    from sklearn import metrics

    others, found, _ = metrics.roc_curve(positive, score)
    return others, found


def costs(estimates: Estimates, scores: Scores) -> dict[str, str]:
    """Returns, by method, how many trainings it took, in words."""
    if estimates.num_trials is None:
        trials = "an unknown number of trials"
    else:
        trials = counted(estimates.num_trials, "trial")
    return dict(zip(METHODS, (trials, counted(scores.num_models, "model")), strict=True))


def cost_sentence(estimates: Estimates, scores: Scores) -> str:
    """Returns what both methods cost as one line."""
    trials, models = costs(estimates, scores).values()
    subsets = "random subsets"
    if estimates.details is not None and estimates.num_trials is not None:
        share = estimates.details.num_in.mean() / estimates.num_trials
        subsets = f"{share:.0%} of the training examples"
    return (
        f"cost: {trials} on {subsets} for memorization, {models} on everything, after epoch "
        f"{scores.epoch}, for turn-over scores"
    )


def report(values: Values) -> str:
    """Returns how far the two methods agree, and how well each finds corrupted labels, as text."""
    correlation = agreement.rank_correlation(values.memorization, values.score)
    lines = [
        f"memorization and turn-over score: rank correlation {number(correlation)} "
        f"over {len(values):,} examples",
        "highest by both: "
        + ", ".join(
            f"{shared:.1%} of the top {share:.0%} ({counted(count, 'example')})"
            for share, (count, shared) in overlaps(values).items()
        ),
    ]
    for positive, what in (
        (values.changed, "labels that were changed"),
        (values.replaced, "labels that were replaced, some by themselves"),
    ):
        if positive is not None:
            found = detection(values, positive).items()
            areas = ", ".join(f"{name} {number(area, '.4f')}" for name, area in found)
            lines.append(f"AUC of finding the {np.count_nonzero(positive):,} {what}: {areas}")
    return "\n".join(lines)
