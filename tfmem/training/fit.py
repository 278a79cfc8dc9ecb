"""One trial at a time with Keras's training step under a tf.distribute strategy, for any model."""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from etils import epath

from tfmem import models
from tfmem.models import settings, turnover
from tfmem.store.epochs import Epoch
from tfmem.store.trials import Network, Trial
from tfmem.subsets import Subsets
from tfmem.training import batches, feeds, optimizers
from tfmem.training.checkpoints import Checkpoint, Checkpoints
from tfmem.training.executions import Executions
from tfmem.training.failures import Failed
from tfmem.training.problem import Problem
from tfmem.training.protocol import Progress

_TRAINING_PASSES = 3  # What a training step costs, in evaluations of as many examples, about.

# Called with the number of examples that were just evaluated.
Evaluated = Callable[[int], None]
# Applies a network to a batch of a feed's evaluation, on every replica.
Apply = Callable[[Any], Any]


def build_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of that name.

    Args:
      name: `default`, one device; `mirrored`, every GPU of this machine, or every logical CPU
        device where there is no GPU.
    """
    if name == "default":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


class _Fed(keras.Model):
    """A network that takes the batches of a feed, on the network's device."""

    def __init__(self, network: keras.Model, feed: feeds.Feed):
        super().__init__(name=network.name)
        self.network = network
        self._feed = feed

    def call(self, batch, training=False):
        return _apply(self.network, self._feed, batch, training=training)


def _apply(
    network: keras.Model,
    feed: feeds.Feed,
    batch: feeds.Batch,
    mode: str | None = None,
    training: bool = False,
):
    """Applies a network to a batch; with turn-over dropout, a sub-network of each example's own."""
    images = feed.inputs(batch)
    if not feed.problem.turnover:
        return network(images, training=training)
    return turnover.apply(network, images, batch["index"], mode or turnover.UNMUTED, training)


class _Rates(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule written out in a variable, so that another one compiles nothing anew."""

    def __init__(self, rates: tf.Variable):
        self._rates = rates

    def __call__(self, step):
        return tf.gather(self._rates, step)


class _LossScale(keras.optimizers.LossScaleOptimizer):
    """Scales the loss, so that float16 does not flush small gradients to 0; and by how much.

    A step whose gradients are not finite is left out and lowers the scale. Keras looks at those of
    the first replica alone.
    """

    def check_finite(self, grads):
        context = tf.distribute.get_replica_context()
        finite = tf.cast(super().check_finite(grads), tf.float32)
        return context.all_reduce("sum", finite) == context.num_replicas_in_sync


def _values(variables: Iterable[keras.Variable]) -> list[np.ndarray]:
    return [np.array(variable) for variable in variables]


class TrialProgress:
    """Reports the work of one trial as it is done: its steps, and examples that are evaluated.

    A continued trial is one trial's worth of work as well, so that all adds up.

    Args:
      problem: of the trial.
      first: the first epoch that is left.
      observed: how many examples are evaluated after each.
      progress: called with the work done since the last call.
    """

    def __init__(self, problem: Problem, first: int, observed: int, progress: Progress):
        epochs = problem.config.epochs - first
        steps = _TRAINING_PASSES * problem.subset_size * epochs
        ends = observed * epochs + len(problem.dataset.train) + len(problem.dataset.test)
        self._step = steps / (steps + ends) / max(epochs * problem.steps_per_epoch, 1)
        self._example = 1 / (steps + ends)
        self._progress = progress

    def end_steps(self, count: int) -> None:
        self._progress(count * self._step)

    def evaluated(self, count: int) -> None:
        self._progress(count * self._example)


class FitTrainer:
    """Trains trials of one problem one after another; a `Trainer`.

    The model is built and compiled once; each trial starts from its own initial weights and an
    optimizer that has forgotten the last one.

    Args:
      problem: any model.
      strategy: where the model lives.
      jit_compile: whether XLA compiles the training step and the evaluation step.
      tensorboard: folder for TensorBoard logs, one in it for each trial; None writes none.
      keep_networks: whether finished trials have their networks with them.

    Raises:
      ValueError: Keras runs on another backend than TensorFlow, the batch is not a multiple of
        the number of replicas, or the optimizer does not take its options.
    """

    def __init__(
        self,
        problem: Problem,
        strategy: tf.distribute.Strategy,
        jit_compile: bool = False,
        tensorboard: epath.PathLike | None = None,
        keep_networks: bool = False,
    ):
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"Keras runs on {keras.backend.backend()!r}; training needs TensorFlow: "
                "set KERAS_BACKEND=tensorflow"
            )
        config, replicas = problem.config, strategy.num_replicas_in_sync
        if config.batch_size % replicas:
            raise ValueError(
                f"a batch of {config.batch_size} cannot be spread evenly over {replicas} "
                "replicas: give a --batch_size that is a multiple of them"
            )
        optimizers.require(config)
        self._strategy = strategy
        self._jit_compile = jit_compile
        self._tensorboard = tensorboard
        self._keep_networks = keep_networks
        self._feed = feeds.build(problem, strategy)
        with settings.dtype_policy(), strategy.scope():
            self._network = problem.build_model()
            self._model = _Fed(self._network, self._feed)
            self._rates = tf.Variable(tf.zeros([1]), shape=[None], trainable=False)
            optimizer = optimizers.build(config, _Rates(self._rates))
            if config.precision == "mixed_float16":
                optimizer = _LossScale(optimizer)
            self._model.compile(
                optimizer=optimizer,
                loss=optimizers.loss(config),
                weighted_metrics=["accuracy"] if tensorboard else None,
                jit_compile=jit_compile,
            )
            self._model.optimizer.build(self._network.trainable_variables)
            self._build_losses(problem.dataset.num_classes)
            random = models.random_state(self._network)
        # All that training changes, in the order of a checkpoint's lists.
        self._state = self._network.weights, optimizers.state(self._model.optimizer), random
        # The state of a new optimizer: its step count, velocities and loss scale. The rate is a
        # schedule, never a variable.
        self._new_optimizer = _values(self._state[1])

        self._evaluated_at_once = feeds.evaluated_at_once(self._network)
        self._executions = Executions(self._model, self._feed, strategy, jit_compile)
        # What the predictions on each split come from.
        self._logits = dict.fromkeys(("train", "test"), self._on_replicas(self._network))
        self._take(problem)

    def _take(self, problem: Problem) -> None:
        self._problem = self._feed.problem = problem
        total_steps = problem.config.epochs * problem.steps_per_epoch
        # And one more: a log after the last step asks for the rate of the next one.
        self._rates.assign(problem.schedule()(tf.range(total_steps + 1)))

    def set_subsets(self, subsets: Subsets) -> None:
        """Trains on other subsets from now on, compiled as it is."""
        self._take(dataclasses.replace(self._problem, given_subsets=subsets))

    def _build_losses(self, num_classes: int) -> None:
        """Builds what Keras would build from symbolic inputs, which lose integer types."""
        self._model.built = True
        example = None, tf.zeros([1], tf.int64), tf.zeros([1, num_classes]), tf.ones([1])
        self._model.compute_loss(*example)
        self._model.compute_metrics(*example)
        self._model.reset_metrics()

    @property
    def batch_of_trials(self) -> int:
        return 1

    @property
    def observed(self) -> int:
        """How many examples `observe` evaluates after an epoch."""
        return 0

    def observe(self, trial: int, epoch: int, evaluated: Evaluated) -> Epoch | None:
        """Returns what is kept of an epoch; a trainer of runs that are followed overrides it.

        Args:
          trial: which one.
          epoch: how many epochs are finished; 0 is before training.
          evaluated: called with the number of examples that were just evaluated.

        Returns:
          Arrays by name in `epochs.FIELDS`, or None to keep nothing of this epoch.
        """
        return None

    @property
    def network(self) -> keras.Model:
        """The network, as the last trial left it."""
        return self._network

    def train(
        self,
        trials: Iterable[int],
        progress: Progress = lambda trials: None,
        checkpoints: Checkpoints | None = None,
    ) -> Generator[Trial | Failed, None, None]:
        """Yields each of the trials, in the order given (`Trainer.train`)."""
        for number in trials:
            result: Trial | Failed
            try:
                result = self._train(number, progress, checkpoints)
            except Exception as error:
                result = Failed(number, error)
            yield result

    def _train(self, number: int, progress: Progress, checkpoints: Checkpoints | None) -> Trial:
        """Trains a trial, from where it was left."""
        start = time.perf_counter()
        subset = self._start(number)
        first = 0
        epochs: dict[int, Epoch] = {}
        found = checkpoints.begin(number) if checkpoints else None
        if checkpoints and found:
            self._restore(found, checkpoints.path(number))
            start -= found.seconds
            first = found.epoch
            epochs |= found.epochs
        work = TrialProgress(self._problem, first, self.observed, progress)

        def keep(epoch: int) -> None:
            observed = self.observe(number, epoch, work.evaluated)
            if observed is not None:
                epochs[epoch] = observed

        def end_epoch(done: int, loss: float) -> None:
            self._average_replicas()
            keep(done)
            logging.info("epoch %d of %d: loss %.4g", done, self._problem.config.epochs, loss)
            if checkpoints and checkpoints.is_due(number):
                seconds = time.perf_counter() - start
                weights, optimizer, random = map(_values, self._state)
                state = Checkpoint(done, seconds, weights, optimizer, random, epochs)
                checkpoints.save(number, state)

        if not found:
            keep(0)
        self._fit(number, subset, first, work.end_steps, end_epoch)
        predicted, probability = self._evaluate(work.evaluated)
        seconds = time.perf_counter() - start
        trial = self._problem.to_trial(number, subset, predicted, probability, seconds, epochs)
        return dataclasses.replace(trial, network=self._network_of_trial())

    def _network_of_trial(self) -> Network | None:
        """Returns what is kept of the network, as it is now."""
        if not self._keep_networks:
            return None
        return Network(_values(self._network.weights), False, self._jit_compile)

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(variable.shape) for variable in self._network.weights]

    def evaluate(self, networks: Sequence[Network]) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for network in networks:
            for variable, value in zip(self._network.weights, network.weights, strict=True):
                variable.assign(value)
            found.append(self._evaluate(splits=("test",)))
        return found

    def warm_up(self, trials: Sequence[int]) -> None:
        """Compiles what `train` needs, at the cost of two steps and one evaluation."""
        self.weights_after(trials[0], steps=2)
        self._evaluate()

    def weights_after(self, trial: int, steps: int) -> list[np.ndarray]:
        """Returns one trial's weights after so many steps of its first epoch."""
        subset = self._start(trial)
        self._executions.take(self._feed.epoch(trial, subset, 0), steps)
        return self._network.get_weights()

    def _start(self, trial: int) -> np.ndarray:
        """Sets all that a trial begins with, whatever came before; returns its subset mask."""
        seed = self._problem.config.seed
        weights = self._problem.initial_weights(self._network, trial)
        random = models.initial_random_state(self._network, seed, trial)
        self._set_state((weights, self._new_optimizer, random))
        return self._problem.subset(trial)

    def _set_state(self, lists: Iterable[list[np.ndarray]]) -> None:
        for variables, values in zip(self._state, lists, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _restore(self, checkpoint: Checkpoint, path: epath.Path) -> None:
        lists = checkpoint.weights, checkpoint.optimizer, checkpoint.random
        for variables, values in zip(self._state, lists, strict=True):
            if [tuple(one.shape) for one in variables] != [value.shape for value in values]:
                raise ValueError(f"{path} holds the weights of another model: remove it")
        self._set_state(lists)

    def _fit(
        self,
        number: int,
        subset: np.ndarray,
        first: int,
        end_steps: Callable[[int], None],
        end_epoch: Callable[[int, float], None],
    ) -> None:
        """Trains the epochs that are left, from `first` on.

        Args:
          number: the trial.
          subset: of it.
          first: the first epoch that is left.
          end_steps: called with the number of steps that were just taken.
          end_epoch: called with the number of epochs that are finished, and the last one's loss.
        """
        boards = []
        if self._tensorboard:
            folder = epath.Path(self._tensorboard) / f"trial-{number:06d}"
            boards.append(keras.callbacks.TensorBoard(str(folder), write_graph=False))
        board = keras.callbacks.CallbackList(boards, model=self._model)
        board.on_train_begin()
        for epoch in range(first, self._problem.config.epochs):
            board.on_epoch_begin(epoch)
            examples, steps = self._feed.epoch(number, subset, epoch), self._problem.steps_per_epoch
            metrics = self._executions.take(examples, steps, end_steps)
            end_epoch(epoch + 1, metrics["loss"])
            board.on_epoch_end(epoch, metrics)
        board.on_train_end()

    def _average_replicas(self) -> None:
        """Gives all replicas the mean of their batch norm statistics, which each keeps by itself.

        Otherwise a prediction would depend on the replica that makes it.
        """
        for weight in self._network.non_trainable_weights:
            shares = self._strategy.experimental_local_results(weight.value)
            if len(shares) > 1 and weight.dtype == "float32":
                weight.assign(tf.add_n(list(map(tf.convert_to_tensor, shares))) / len(shares))

    def features(self, split: str, layer: str | None = None) -> Iterator[np.ndarray]:
        """Yields what a layer of the network makes of a split, in index order (Sec. 3.6).

        Args:
          split: `train` or `test`.
          layer: its name; None is the penultimate one.

        Yields:
          float32 [rows, d], the next examples.

        Raises:
          ValueError: the network has no such layer.
        """
        with self._strategy.scope():
            network = models.features(self._network, layer)
        return self._outputs(split, self._on_replicas(network))

    def _on_replicas(self, network: keras.Model, mode: str | None = None) -> Apply:
        """Returns what applies a network, in evaluation mode, to a batch on every replica."""

        @tf.function(jit_compile=self._jit_compile)
        def apply(batch: feeds.Batch) -> tf.Tensor:
            return tf.cast(_apply(network, self._feed, batch, mode), tf.float32)

        def evaluate(given: Any) -> tf.Tensor:
            return apply(self._feed.view(given))

        return tf.function(lambda given: self._strategy.run(evaluate, args=(given,)))

    def _outputs(
        self, split: str, apply: Apply, evaluated: Evaluated = lambda count: None
    ) -> Iterator[np.ndarray]:
        """Yields what `apply` makes of a split's examples, in index order, without the padding."""
        left = len(getattr(self._problem.dataset, split))
        for given in self._feed.evaluation(split, self._evaluated_at_once):
            shares = self._strategy.experimental_local_results(apply(given))
            output = np.concatenate([share.numpy() for share in shares])[:left]
            left -= len(output)
            evaluated(len(output))
            yield output

    def _correct(self, split: str, evaluated: Evaluated) -> np.ndarray:
        """Returns which examples of a split are predicted right, bool [n]."""
        outputs = self._outputs(split, self._logits[split], evaluated)
        predicted = np.concatenate([logits.argmax(axis=-1) for logits in outputs])
        return predicted == getattr(self._problem.dataset, split).labels

    def _evaluate(
        self,
        evaluated: Evaluated = lambda count: None,
        splits: Sequence[str] = ("train", "test"),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns predicted labels and probabilities of the true ones, on split after split."""
        parts = []
        for split in splits:
            labels = getattr(self._problem.dataset, split).labels
            for logits in self._outputs(split, self._logits[split], evaluated):
                part, labels = np.split(labels, [len(logits)])
                parts.append(batches.evaluate(logits, part))
        predicted, probability = zip(*parts, strict=True)
        return np.concatenate(predicted), np.concatenate(probability)
