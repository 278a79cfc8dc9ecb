"""What trains trials, whatever it is; without importing TensorFlow."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol

import numpy as np

from tfmem.store.trials import Network, Trial
from tfmem.subsets import Subsets
from tfmem.training.checkpoints import Checkpoints
from tfmem.training.failures import Failed

# Called as trials advance, with the number of trials' worth of work just done (1 = one trial).
Progress = Callable[[float], None]


class Trainer(Protocol):
    """Trains trials of one problem; built once, it trains as many as it is given."""

    @property
    def batch_of_trials(self) -> int:
        """How many trials are in training at once."""

    def set_subsets(self, subsets: Subsets) -> None:
        """Trains on other subsets from now on; what they have in common stays compiled."""

    def warm_up(self, trials: Sequence[int]) -> None:
        """Compiles what `train` needs for so many trials."""

    def train(
        self,
        trials: Iterable[int],
        progress: Progress = lambda trials: None,
        checkpoints: Checkpoints | None = None,
    ) -> Generator[Trial | Failed, None, None]:
        """Yields each of the trials when it is finished or has failed.

        Args:
          trials: their numbers; each is taken when it is about to be trained.
          progress: called with the work done since the last call, from any thread.
          checkpoints: where a trial in training is saved, and from where it is continued.

        Raises:
          ValueError: an input is not what it should be.
        """

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        """Of the weights of a network, in the order of the model."""

    def evaluate(self, networks: Sequence[Network]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns what trained networks make of the test examples, to the bit as after training.

        Args:
          networks: with weights of `weight_shapes`.

        Returns:
          Of each network the predicted labels, uint16 [n'], and the probabilities of the true ones,
          float16 [n'], nan where a logit is not finite.
        """
