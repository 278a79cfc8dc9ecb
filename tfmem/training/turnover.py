"""Models with turn-over dropout: training, losses, influence (Liu, Lin & Jaggi, 2021)."""

from collections.abc import Generator, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from tfmem.datasets import require_in_memory
from tfmem.models import turnover
from tfmem.models.turnover import FULL, MUTED, UNMUTED
from tfmem.store import artifacts
from tfmem.store.epochs import Epoch
from tfmem.store.trials import Trial
from tfmem.training.checkpoints import Checkpoints
from tfmem.training.failures import Failed
from tfmem.training.fit import Evaluated, FitTrainer
from tfmem.training.problem import Problem
from tfmem.training.protocol import Progress


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns cross-entropies in nats: float32 [k].

    Args:
      logits: float32 [k, classes].
      labels: int [k].
    """
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=-1))
    true = np.take_along_axis(shifted, np.asarray(labels)[:, None], axis=-1)[:, 0]
    return (log_sums - true).astype(np.float32)


def influence(
    model: keras.Model,
    ids: Sequence[int] | np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    num_examples: int = turnover.MAX_IDS,
    batch_size: int = 512,
) -> np.ndarray:
    """Estimates the influence of training examples on targets, by loss (eq. 5).

    I(z_target, z_i) = L(f^muted_i, z_target) - L(f^unmuted_i, z_target). With targets that are the
    training examples themselves, the diagonal is memorization (eq. 6).

    Args:
      model: trained with turn-over dropout.
      ids: int [k], of training examples.
      images: the targets as the model takes them, float32 [t, ...]: scaled, not augmented.
      labels: int [t], of the targets.
      num_examples: how many examples the model was trained on: ids beyond have no meaning.
      batch_size: targets that are evaluated at once.

    Returns:
      float32 [k, t], in nats; above 0 where having seen the example lowers the loss.

    Raises:
      ValueError: an id is out of range, or the model has no turn-over dropout.
    """
    turnover.layers(model)
    ids = turnover.require_ids(ids, num_examples)
    found = np.empty((len(ids), len(labels)), np.float32)
    for start in range(0, len(labels), batch_size):
        part = slice(start, start + batch_size)
        batch, truth = images[part], labels[part]
        # Every batch is as large as the first, so that nothing is compiled twice.
        short = min(batch_size, len(labels)) - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], short, axis=0)]) if short else batch
        for row, example in enumerate(ids):
            repeated = np.full(len(padded), example, np.int32)
            muted, unmuted = (
                losses(_predict(model, padded, repeated, mode)[: len(batch)], truth)
                for mode in (MUTED, UNMUTED)
            )
            found[row, part] = muted - unmuted
    return found


def _predict(model: keras.Model, images: np.ndarray, ids: np.ndarray, mode: str) -> np.ndarray:
    modes = np.full(len(ids), turnover.MODES[mode], np.float32)
    return model.predict_on_batch([images, ids, modes])


class TurnoverTrainer(FitTrainer):
    """Trains models with turn-over dropout (Liu et al., 2021, Sec. 2.2).

    Each example is seen by its unmuted sub-network alone. After every epoch it is evaluated by both
    sub-networks of its own, and every test example by the whole network. A finished trial has the
    predictions of the unmuted sub-networks on training examples, of the whole network on others.

    Args:
      problem: with turn-over dropout, on all training examples.
      strategy: where the model lives.
      jit_compile: whether XLA compiles the training step and the evaluation step.
      tensorboard: folder for TensorBoard logs, or None.
      store: where the network of each trial is kept, written before the trial is handed over.

    Raises:
      ValueError: the model has no turn-over layers or too few units, the dataset streams its
        images, or as `FitTrainer`.
    """

    def __init__(
        self,
        problem: Problem,
        strategy: tf.distribute.Strategy,
        jit_compile: bool = False,
        tensorboard: epath.PathLike | None = None,
        store: epath.PathLike | None = None,
    ):
        require_in_memory(problem.dataset, "turn-over dropout")
        super().__init__(problem, strategy, jit_compile, tensorboard)
        self._store = store
        self._halves = {mode: self._on_replicas(self._network, mode) for mode in (UNMUTED, MUTED)}
        whole = self._on_replicas(self._network, FULL)
        self._logits = {"train": self._halves[UNMUTED], "test": whole}

    def train(
        self,
        trials: Iterable[int],
        progress: Progress = lambda trials: None,
        checkpoints: Checkpoints | None = None,
    ) -> Generator[Trial | Failed, None, None]:
        for result in super().train(trials, progress, checkpoints):
            if self._store is not None and isinstance(result, Trial):
                artifacts.save(self.network, artifacts.network_path(self._store, result.number))
            yield result

    def _start(self, trial: int) -> np.ndarray:
        subset = super()._start(trial)
        turnover.require_distinct_masks(self._network, len(self._problem.dataset.train))
        return subset

    @property
    def observed(self) -> int:
        return 2 * len(self._problem.dataset.train) + len(self._problem.dataset.test)

    def observe(self, trial: int, epoch: int, evaluated: Evaluated) -> Epoch | None:
        if not epoch:
            return None
        labels = self._problem.dataset.train.labels
        kept = {}
        for mode, apply in self._halves.items():
            logits = np.concatenate(list(self._outputs("train", apply, evaluated)))
            kept[f"{mode}_loss"] = losses(logits, labels)
            kept[f"{mode}_predicted"] = logits.argmax(axis=-1).astype(np.uint16)
        kept["test_correct"] = self._correct("test", evaluated)
        return kept
