"""Trials whose training ends in an error, without importing TensorFlow."""

import dataclasses
from collections.abc import Iterable, Iterator

from tfmem.store.trials import Trial


class DivergedError(ValueError):
    """A trial whose model gives no numbers any more."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """A trial whose training ended in an error.

    Attributes:
      number: the trial.
      error: what happened. It may not be the trial's own fault: trials of one stack fail together.

    Raises:
      ValueError: the error itself, if it is about the input.
    """

    number: int
    error: Exception

    def __post_init__(self):
        # What is wrong with the input is wrong for all trials.
        if isinstance(self.error, ValueError) and not isinstance(self.error, DivergedError):
            raise self.error


def succeeded(results: Iterable[Trial | Failed]) -> Iterator[Trial]:
    """Yields what a trainer's `train` does, and raises the error of the first that failed."""
    for result in results:
        if isinstance(result, Failed):
            raise result.error
        yield result
