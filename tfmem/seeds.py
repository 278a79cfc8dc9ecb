"""Named random streams, each a pure function of (base seed, trial, purpose[, epoch]).

A trial's choices therefore do not depend on which trials run before it, beside it or on which
machine: NumPy's SeedSequence spreads the key, Philox turns it into an independent stream.
"""

import numpy as np

# Fixed for ever: a changed number would silently change every trial.
_PURPOSES = {
    "subset": 0,
    "initial_weights": 1,
    "batch_order": 2,
    "split_halves": 3,
    "augmentation": 4,
    "removal": 5,
    "label_corruption": 6,
    "followed_subsets": 7,
    "gradient_batches": 8,
    "layers": 9,
}


def _sequence(
    base_seed: int, trial: int, purpose: str, epoch: int | None
) -> np.random.SeedSequence:
    key = (_PURPOSES[purpose], trial) if epoch is None else (_PURPOSES[purpose], trial, epoch)
    return np.random.SeedSequence(base_seed, spawn_key=key)


def generator(
    base_seed: int, trial: int, purpose: str, epoch: int | None = None
) -> np.random.Generator:
    """Returns the random stream of that name.

    Args:
      base_seed: the experiment's seed, 0 or more.
      trial: the trial's number, 0 or more.
      purpose: a key of `_PURPOSES`.
      epoch: for what is drawn anew in each epoch.
    """
    return np.random.Generator(np.random.Philox(_sequence(base_seed, trial, purpose, epoch)))


def integers(
    base_seed: int, trial: int, purpose: str, count: int, epoch: int | None = None
) -> list[int]:
    """Returns `count` 32-bit seeds, for libraries that take integers (Keras, tf.data)."""
    return _sequence(base_seed, trial, purpose, epoch).generate_state(count, np.uint32).tolist()
