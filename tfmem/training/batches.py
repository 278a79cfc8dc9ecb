"""From a dataset and a trial's subset to batches; evaluation that misses nobody."""

import numpy as np

from tfmem import seeds
from tfmem.recipe import ExperimentConfig


def steps_per_epoch(config: ExperimentConfig, subset_size: int) -> int:
    """Returns how many batches an epoch has; the last one may be short."""
    return -(-subset_size // config.batch_size)


def batch_order(config: ExperimentConfig, subset: np.ndarray, trial: int, epoch: int) -> np.ndarray:
    """Returns the training examples of one epoch, in the order they are seen.

    Args:
      config: gives the base seed.
      subset: bool [n], the trial's subset of m examples.
      trial: the trial's number.
      epoch: from 0.

    Returns:
      int32 [m], a uniform random permutation of the subset: batches are consecutive slices.
    """
    order = np.flatnonzero(subset).astype(np.int32)
    return seeds.generator(config.seed, trial, "batch_order", epoch).permutation(order)


def padded_batches(count: int, batch_size: int) -> np.ndarray:
    """Returns int32 [batches, batch_size]: 0..count-1 in order, the rest repeating the last.

    Every batch is full, so that no replica of a distributed model is ever left with nothing;
    whoever evaluates keeps the first `count` results.
    """
    total = -(-count // batch_size) * batch_size
    return np.minimum(np.arange(total, dtype=np.int32), count - 1).reshape(-1, batch_size)


def spread(count: int, batch_size: int, replicas: int) -> tuple[np.ndarray, np.ndarray]:
    """Spreads a short batch over replicas, so that none of them is left with nothing.

    tf.distribute hands out consecutive shares of batch_size / replicas until nothing is left, which
    breaks batch norm on the last replicas. Here every replica gets its even part of the examples
    and repeats them, weightless, up to its share.

    Args:
      count: examples in the batch, 1 to batch_size.
      batch_size: a multiple of replicas.
      replicas: how many.

    Returns:
      Positions in the short batch, int32 [batch_size], and weights, float32 [batch_size], which are
      1 / count once for each example and 0 for its repetitions.
    """
    slots, weights, share = [], [], batch_size // replicas
    for part in np.array_split(np.arange(count), replicas):
        slots.append(np.resize(part if len(part) else [0], share))
        weights.append((np.arange(share) < len(part)) / count)
    return np.concatenate(slots).astype(np.int32), np.concatenate(weights).astype(np.float32)


def slots(count: int, batch_size: int, replicas: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of an epoch's examples its batches hold, and how much each weighs.

    Args:
      count: examples in the epoch, at least 1.
      batch_size: a multiple of replicas.
      replicas: several get a short last batch spread to full length.

    Returns:
      Positions in the epoch, int32 [k], batch after batch, and weights, float32 [k], which add up
      to 1 in each batch.
    """
    short = count % batch_size
    positions, weights = np.arange(count, dtype=np.int32), np.full(count, 1 / batch_size)
    if short:
        weights[-short:] = 1 / short
        if replicas > 1:
            spread_positions, spread_weights = spread(short, batch_size, replicas)
            positions = np.append(positions[:-short], count - short + spread_positions)
            weights = np.append(weights[:-short], spread_weights)
    return positions, weights.astype(np.float32)


def evaluate(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns logits into what a trial stores.

    Args:
      logits: float32 [..., n, classes].
      labels: int [n], the true labels.

    Returns:
      The predicted labels, uint16 [..., n] (the first of equals), and the softmax probability of
      the true label, float16 [..., n], NaN where a logit is not finite.
    """
    predicted = logits.argmax(axis=-1).astype(np.uint16)
    finite = np.isfinite(logits).all(axis=-1)
    logits = np.where(finite[..., None], logits, 0)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    index = np.broadcast_to(labels, predicted.shape)[..., None]
    true = np.take_along_axis(exponentials, index, axis=-1)[..., 0]
    probability = np.where(finite, true / exponentials.sum(axis=-1), np.nan)
    return predicted, probability.astype(np.float16)
