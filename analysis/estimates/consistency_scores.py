"""Consistency profiles and scores, as Jiang, Zhang, Talwar & Mozer (2021) define them.

The profile of an example is P[correct | left out] by the share of the training set that models are
trained on. Its consistency score (C-score) is the expectation over that share, here the plain mean
over the ratios that there are trials of.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from etils import epath

from analysis.estimates.estimators import rate
from tfmem.datasets import Dataset
from tfmem.disk import npz


@dataclasses.dataclass(frozen=True)
class Profile:
    """The consistency profiles of n training examples at r subset ratios.

    Attributes:
      ratios: float64 [r], ascending.
      num_trials: int64 [r].
      num_out: int64 [r, n], how many of these left an example out.
      value: float64 [r, n], P[correct | left out]; nan where `num_out` is 0.
      labels: int64 [n].
      ids: text [n], the examples' stable ids.
    """

    ratios: np.ndarray
    num_trials: np.ndarray
    num_out: np.ndarray
    value: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """float64 [n], the mean over the ratios; nan for what one of them never left out.

        A mean over fewer ratios would be another quantity: models that see more get more right.
        """
        return self.value.mean(axis=0)


def from_counts(
    ratios: Sequence[float], num_trials: Sequence[int], counts: Sequence[np.ndarray], of: Dataset
) -> Profile:
    """Returns the profiles that counts give.

    Args:
      ratios: r different ones, ascending.
      num_trials: of each.
      counts: of each, int64 [3, n], the sums of `estimators.train_counts` over its trials.
      of: the dataset of the trials.
    """
    seen, right, both = np.stack(counts, axis=1)
    trials = np.array(num_trials, np.int64)
    num_out = trials[:, None] - seen
    value = rate(right - both, num_out)
    return Profile(np.array(ratios), trials, num_out, value, of.train.labels, of.train.ids)


def write(path: epath.PathLike, profile: Profile) -> None:
    """Writes a file of consistency scores, `labels` and `scores` as published and ours beside."""
    arrays = {
        "labels": profile.labels,
        "scores": profile.scores,
        "ids": np.char.encode(profile.ids, "utf-8"),
        "ratios": profile.ratios,
        "num_trials": profile.num_trials,
        "profile": profile.value,
        "num_out": profile.num_out,
    }
    npz.write_npz(path, arrays)
