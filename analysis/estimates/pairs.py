"""High-influence pairs: selection (Sec. 2) and what is counted of them (Sec. 3.3)."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from analysis.estimates.values import ClassInfluence, Pairs, influences_of
from tfmem import experiments

_MOST_INFLUENCERS = 8  # Up to so many have a row of their own.


@dataclasses.dataclass(frozen=True)
class PairCounts:
    """What Sec. 3.3 counts.

    Attributes:
      pairs: how many.
      train_examples: different training examples in them.
      test_examples: different test examples in them.
      test_examples_by_influencers: `[k]` is the number of test examples that are influenced by
        exactly k training examples; `[0]` is unused and 0.
    """

    pairs: int
    train_examples: int
    test_examples: int
    test_examples_by_influencers: tuple[int, ...]

    def influencer_rows(self) -> list[tuple[str, int]]:
        """Returns (`a single training example`, `2`, ..., `more than 8`; test examples) to show.

        Rows without test examples are left out. With enough trials hardly any test example has
        more than 4 influencers (Sec. 3.3); with few, the numbers go into the thousands.
        """
        by_number = self.test_examples_by_influencers
        rows = [
            ("a single training example" if k == 1 else f"{k} training examples", number)
            for k, number in enumerate(by_number[: _MOST_INFLUENCERS + 1])
        ]
        rows.append(
            (f"more than {_MOST_INFLUENCERS} training examples", sum(by_number[len(rows) :]))
        )
        return [(name, number) for name, number in rows if number]


def select(
    memorization: np.ndarray,
    influences: Iterable[ClassInfluence],
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
) -> Pairs:
    """Returns the pairs with mem >= mem_threshold, infl >= infl_threshold and one class (Sec. 2).

    Args:
      memorization: float [n].
      influences: one per class.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.

    Returns:
      The pairs, the most influential first; equals by training and then test index.
    """
    parts = []
    for block in influences_of(influences, memorization >= mem_threshold):
        row, column = np.nonzero(block.value >= infl_threshold)
        parts.append((block.train_index[row], block.test_index[column], block.value[row, column]))
    train_index, test_index, influence = map(np.concatenate, zip(*parts, strict=True))
    pairs = Pairs(train_index, test_index, influence, memorization[train_index])
    return pairs.take(np.lexsort((test_index, train_index, -influence)))


def count(pairs: Pairs) -> PairCounts:
    """Counts pairs, examples, and test examples by the number of their influencers."""
    _, influencers = np.unique(pairs.test_index, return_counts=True)
    return PairCounts(
        pairs=len(pairs),
        train_examples=len(np.unique(pairs.train_index)),
        test_examples=len(influencers),
        test_examples_by_influencers=tuple(np.bincount(influencers).tolist()) or (0,),
    )


def describe(counts: PairCounts, num_test: int) -> str:
    """Returns the counts of Sec. 3.3 as text.

    Args:
      counts: of the pairs.
      num_test: n', the size of the test set.
    """
    lines = [
        f"{counts.pairs:,} high-influence pairs of {counts.train_examples:,} training examples "
        f"and {counts.test_examples:,} test examples ({counts.test_examples / num_test:.2%} of "
        "the test set)"
    ]
    for influencers, number in counts.influencer_rows():
        lines.append(f"{number:>8,} test examples influenced by {influencers}")
    return "\n".join(lines)
