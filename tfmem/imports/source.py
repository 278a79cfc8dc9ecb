"""What somebody else's trials are to tfmem: checked, told from others, and read one by one."""

from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import numpy as np

from tfmem.imports.examples import Labels
from tfmem.store.trials import Trial


class Source(Protocol):
    """Trials 0, 1, ... of n training and n' test examples, of which few are in memory at a time.

    Attributes:
      num_trials: how many.
      labels: of the examples, or None if the source does not know them.
    """

    num_trials: int
    labels: Labels | None

    def fixed_labels(self, on_progress: Callable[[float], None]) -> Labels | None:
        """Returns the labels that follow from what trials predict and are right of.

        Args:
          on_progress: as `check` has it.

        Returns:
          None if it is not known what they predict.

        Raises:
          ValueError: labels of some examples do not follow; the message starts with the file.
        """
        ...

    def check(
        self,
        train_labels: np.ndarray,
        test_labels: np.ndarray,
        on_progress: Callable[[float], None],
    ) -> str:
        """Checks what can be checked before a trial is stored.

        Args:
          train_labels: int64 [n], in the order of the source.
          test_labels: int64 [n'].
          on_progress: called with the share of the work that was done since the last call.

        Returns:
          SHA-256, in hexadecimal, of what tells this source from others.

        Raises:
          ValueError: it is not as its format says, of other numbers of examples or of other
            labels, or has a trial twice; the message names the file.
        """
        ...

    def trials(self, numbers: Collection[int]) -> Iterator[Trial]:
        """Yields these trials in ascending order, examples in the source's order.

        Call it after `check`.

        Raises:
          ValueError: a trial is damaged or not as its format says; the message names it.
        """
        ...


def require_some(subset_size: int, num_train: int, what: str) -> None:
    """Raises ValueError, starting with `what`, if a trial saw no example or all of them."""
    if subset_size in (0, num_train):
        raise ValueError(
            f"{what} has {'all' if subset_size else 'none'} of the training examples: it says "
            "nothing of memorization"
        )
