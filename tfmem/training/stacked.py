"""Many trials of a small model in one compiled step, each with its own subset, weights and order.

K trials of a multi-layer perceptron, or of a linear model on representations (Sec. 3.6), are one
batch of K matrix products. Several such stacks run side by side, one per CPU core, because a stack
whose state fits into a core's cache is faster than one large stack over all cores
(docs/measured.md). A trial too large for that is a stack of its own.
"""

import concurrent.futures
import dataclasses
import itertools
import operator
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfmem.datasets import ArrayDataset, ArraySplit
from tfmem.store.trials import Network, Trial
from tfmem.subsets import Subsets
from tfmem.training import batches, optimizers
from tfmem.training.checkpoints import Checkpoints
from tfmem.training.failures import Failed
from tfmem.training.problem import Problem
from tfmem.training.protocol import Progress

# On a CPU, a stack is as many trials as work within these bytes, at most 8: that is 8 trials of 38
# thousand weights on batches of 64, and one trial of 205 thousand on 512 representations of 2,048.
# On a GPU the step must be large enough to hide its launch.
_STACK_BYTES = 5 * 2**20
_LARGEST_STACK = 8
_GPU_STACK = 64
_EVALUATION_BATCH = 1024


def dense_layers(model: keras.Model) -> list[keras.layers.Dense] | None:
    """Returns the model's dense layers if it is a chain of ReLU layers and a linear one.

    Returns None for every other model: those cannot be stacked. What a layer may have beside its
    weights and activation, such as a regularizer or a random state, is another model.
    """
    layers = [layer for layer in model.layers if type(layer) is keras.layers.Dense]
    before = model.layers[: len(model.layers) - len(layers)]
    shapes = keras.layers.InputLayer, keras.layers.Flatten
    if not layers or model.layers != [*before, *layers] or len(layers[0].input.shape) != 2:
        return None
    if not all(type(layer) in shapes for layer in before) or not all(map(_is_plain, layers)):
        return None
    # Each takes one tensor, so that they are a chain if none is used twice.
    if any(len(layer["inbound_nodes"]) > 1 for layer in model.get_config()["layers"]):
        return None
    activations = [layer.activation for layer in layers]
    relu, linear = keras.activations.relu, keras.activations.linear
    return layers if activations == [relu] * (len(layers) - 1) + [linear] else None


def _is_plain(layer: keras.layers.Dense) -> bool:
    """Returns whether a layer is its kernel, bias and activation, and nothing else."""
    others = (f"{of}_{what}" for of in ("kernel", "bias") for what in ("regularizer", "constraint"))
    has_others = any(getattr(layer, name) for name in (*others, "activity_regularizer"))
    return layer.use_bias and layer.trainable and len(layer.weights) == 2 and not has_others


class NotStackableError(ValueError):
    """A problem whose trials cannot be stacked."""


def _stackable(problem: Problem) -> tuple[ArrayDataset, keras.Model, list[keras.layers.Dense]]:
    """Returns a problem's dataset, model and layers; NotStackableError if it cannot be stacked."""
    config, dataset = problem.config, problem.dataset
    optimizers.require(config)
    others = [name for name in config.optimizer_options if name != "nesterov"]
    if config.optimizer != "sgd":
        reason = f"stacked training has sgd, not {config.optimizer}"
    elif others:
        reason = f"stacked training has no {', '.join(others)}"
    elif not isinstance(dataset, ArrayDataset):
        reason = f"{config.dataset} does not fit into memory"
    elif config.precision != "float32":
        reason = f"stacked training computes in float32, not in {config.precision}"
    elif config.crop != "none" or config.flip:
        reason = "its training images are cropped or flipped"
    elif (layers := dense_layers(model := problem.build_model())) is not None:
        return dataset, model, layers
    else:
        reason = f"model {config.model!r} is not a dense ReLU network"
    raise NotStackableError(
        f"trials of {config.name} cannot be stacked: {reason}; use --stack=none"
    )


def _cpu_stack_size(layers: list[keras.layers.Dense], batch_size: int) -> int:
    """Returns how many trials keep what a step works on close to a core.

    That is a trial's weights, velocities and gradients, and the inputs of its layers.
    """
    weights = sum(layer.count_params() for layer in layers)
    inputs = batch_size * sum(layer.kernel.shape[0] for layer in layers)
    trial_bytes = 4 * (3 * weights + inputs)
    return max(1, min(_LARGEST_STACK, _STACK_BYTES // trial_bytes))


class StackedTrainer:
    """Trains trials of one problem, `stack_size` in one compiled step; a `Trainer`.

    Args:
      problem: its model must be one that `dense_layers` accepts.
      stack_size: trials in one step; None chooses by the device and the size of a trial.
      workers: stacks in training at once; None is one for each CPU core, or one on a GPU.
      keep_networks: whether finished trials have their networks with them.

    Raises:
      NotStackableError: the model cannot be stacked.
    """

    def __init__(
        self,
        problem: Problem,
        stack_size: int | None = None,
        workers: int | None = None,
        keep_networks: bool = False,
    ):
        self._keep_networks = keep_networks
        self._dataset, self._model, layers = _stackable(problem)
        # A kernel that narrows, [in, out] with in > out, is trained as [out, in]: its gradient is
        # then a product whose transposed operand is the narrower one, which is several times
        # faster with XLA on a CPU.
        self._narrows = [layer.kernel.shape[0] > layer.kernel.shape[1] for layer in layers]
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        has_affinity = hasattr(os, "sched_getaffinity")  # Not on a Mac.
        cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        self._workers = workers or (1 if on_gpu else cores)
        config, train = problem.config, self._dataset.train
        by_device = _GPU_STACK if on_gpu else _cpu_stack_size(layers, config.batch_size)
        self._stack_size = stack_size or by_device
        # Of the training examples only: the others are evaluated on and handed over batch by batch.
        self._images = tf.constant(train.images.reshape(len(train), -1))
        self._labels = tf.constant(train.labels.astype(np.int32))
        self._compile(layers)
        self._take(problem)

    def _compile(self, layers: list[keras.layers.Dense]) -> None:
        """Makes what is traced once, for stacks and subsets of any size.

        XLA compiles each size of a stack by itself.
        """
        variables = [variable for layer in layers for variable in layer.weights]
        zeros = self._turn([tf.zeros([1, *variable.shape]) for variable in variables])
        weights = [tf.TensorSpec([None, *zero.shape[1:]]) for zero in zeros]
        order = tf.TensorSpec([None, None, None], tf.int32)
        rates, example_weights = tf.TensorSpec([None]), tf.TensorSpec([None, None])
        steps = tf.TensorSpec([], tf.int32)
        self._epoch = tf.function(
            self._steps_of,
            input_signature=[weights, weights, order, rates, example_weights, steps],
            jit_compile=True,
        )
        images = tf.TensorSpec([None, *self._images.shape[1:]], self._images.dtype)
        self._logits = tf.function(
            self._logits_of, input_signature=[weights, images], jit_compile=True
        )

    def _take(self, problem: Problem) -> None:
        self._problem, config, steps = problem, problem.config, problem.steps_per_epoch
        # What is compiled has as many steps as all examples have, of which an epoch takes its own.
        most = batches.steps_per_epoch(config, len(self._dataset.train))
        rates = tf.reshape(problem.schedule()(tf.range(config.epochs * steps)), [-1, steps])
        self._rates = tf.pad(rates, [[0, 0], [0, most - steps]])
        self._steps = steps
        # The last batch of an epoch may be short: it is padded, and its padding weighs nothing.
        present = np.arange(most * config.batch_size) < problem.subset_size
        present = present.reshape(most, config.batch_size)
        weights = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
        self._example_weights = tf.constant(weights.astype(np.float32))

    def set_subsets(self, subsets: Subsets) -> None:
        """Trains on other subsets from now on, compiled as it is."""
        self._take(dataclasses.replace(self._problem, given_subsets=subsets))

    @property
    def batch_of_trials(self) -> int:
        return self._stack_size * self._workers

    def train(
        self,
        trials: Iterable[int],
        progress: Progress = lambda trials: None,
        checkpoints: Checkpoints | None = None,
    ) -> Generator[Trial | Failed, None, None]:
        """Yields each of the trials (`Trainer.train`); stacks end in any order.

        Checkpoints are not used: a stack takes a minute or so, and is begun anew.
        """
        stop = threading.Event()
        pool = concurrent.futures.ThreadPoolExecutor(self._workers)
        try:
            # Two stacks a worker: none of them waits for whoever takes the finished trials, and
            # these never pile up.
            groups = self._groups(trials)
            waiting: dict[concurrent.futures.Future[list[Trial | Failed]], Sequence[int]] = {}
            while True:
                for group in itertools.islice(groups, 2 * self._workers - len(waiting)):
                    waiting[pool.submit(self._train_group, group, progress, stop)] = group
                if not waiting:
                    break
                done, _ = concurrent.futures.wait(waiting, return_when="FIRST_COMPLETED")
                for future in done:
                    group = waiting.pop(future)
                    try:
                        results = future.result()
                    except Exception as error:
                        results = [Failed(number, error) for number in group]
                    yield from results
        finally:
            stop.set()  # Where this generator is left early, the stacks in training are dropped.
            pool.shutdown(wait=True, cancel_futures=True)

    def _networks_of(self, weights: list[tf.Tensor]) -> Sequence[Network | None]:
        """Returns what is kept of the networks of a stack."""
        if not self._keep_networks:
            return [None] * weights[0].shape[0]
        arrays = [weight.numpy() for weight in self._turn(weights)]
        return [Network(values, True, False) for values in map(list, zip(*arrays, strict=True))]

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(variable.shape) for variable in self._model.weights]

    def evaluate(self, networks: Sequence[Network]) -> list[tuple[np.ndarray, np.ndarray]]:
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for first in range(0, len(networks), self._stack_size):
            stack = (network.weights for network in networks[first : first + self._stack_size])
            weights = [tf.constant(np.stack(values)) for values in zip(*stack, strict=True)]
            found += zip(*self._evaluate(self._turn(weights), [self._dataset.test]), strict=True)
        return found

    def warm_up(self, trials: Sequence[int]) -> None:
        """Compiles what `train` needs for so many trials, at the cost of an epoch of one stack."""
        group = next(self._groups(trials))
        weights, velocities, subsets = self._start(group)
        order = self._order(group, subsets, epoch=0)
        weights, _ = self._take_steps(weights, velocities, order, epoch=0, count=self._steps)
        self._evaluate(weights)

    def weights_after(self, trial: int, steps: int) -> list[np.ndarray]:
        """Returns one trial's weights after so many steps of its first epoch."""
        weights, velocities, subsets = self._start([trial])
        order = self._order([trial], subsets, epoch=0)
        weights, _ = self._take_steps(weights, velocities, order, epoch=0, count=steps)
        return [weight[0].numpy() for weight in self._turn(weights)]

    def _groups(self, trials: Iterable[int]) -> Iterator[Sequence[int]]:
        """Yields the trials of one stack after the other; few of them are shared out evenly."""
        count = operator.length_hint(trials, self.batch_of_trials)
        size = min(self._stack_size, -(-count // self._workers)) or 1
        left = iter(trials)
        while group := list(itertools.islice(left, size)):
            yield group

    def _train_group(
        self, group: Sequence[int], progress: Progress, stop: threading.Event
    ) -> list[Trial | Failed]:
        """Trains the group; returns what became of each trial, or nothing if it was stopped."""
        start = time.perf_counter()
        epochs = self._problem.config.epochs
        weights, velocities, subsets = self._start(group)
        for epoch in range(epochs):
            order = self._order(group, subsets, epoch)
            weights, velocities = self._take_steps(weights, velocities, order, epoch, self._steps)
            weights[-1].numpy()  # Waits for the epoch, so that progress is what was done.
            progress(len(group) / epochs)
            if stop.is_set():
                return []
        predicted, probability = self._evaluate(weights)
        # Seconds of this machine: the other workers were training too.
        seconds = (time.perf_counter() - start) / len(group) / self._workers
        networks = self._networks_of(weights)
        results: list[Trial | Failed] = []
        for row, (number, subset) in enumerate(zip(group, subsets, strict=True)):
            found = predicted[row], probability[row]
            try:
                trial = self._problem.to_trial(number, subset, *found, seconds)
                results.append(dataclasses.replace(trial, network=networks[row]))
            except Exception as error:
                results.append(Failed(number, error))
        return results

    def _start(self, group: Sequence[int]):
        drawn = [self._problem.initial_weights(self._model, trial) for trial in group]
        weights = self._turn([tf.constant(np.stack(values)) for values in zip(*drawn, strict=True)])
        velocities = [tf.zeros_like(weight) for weight in weights]
        return weights, velocities, [self._problem.subset(trial) for trial in group]

    def _order(self, group: Sequence[int], subsets: list[np.ndarray], epoch: int) -> tf.Tensor:
        """Returns the epoch's batches: int32 [K, steps, batch], padded with example 0."""
        shape = self._example_weights.shape
        order = np.zeros((len(group), shape.num_elements()), np.int32)
        for row, (trial, subset) in enumerate(zip(group, subsets, strict=True)):
            examples = batches.batch_order(self._problem.config, subset, trial, epoch)
            order[row, : len(examples)] = examples
        return tf.constant(order.reshape(-1, *shape))

    def _forward(self, weights: list[tf.Tensor], x: tf.Tensor) -> list[tf.Tensor]:
        """Returns the layers' outputs, [K, batch, width] each: x first, the logits last."""
        outputs = [x]
        for layer, narrows in enumerate(self._narrows):
            kernel, bias = weights[2 * layer : 2 * layer + 2]
            output = tf.matmul(outputs[-1], kernel, transpose_b=narrows) + bias[:, None]
            last = layer == len(self._narrows) - 1
            outputs.append(output if last else tf.nn.relu(output))
        return outputs

    def _gradients(
        self, weights: list[tf.Tensor], index: tf.Tensor, example_weights: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns the gradients of the weighted cross-entropy, in the order of the weights."""
        images = tf.gather(self._images, index)
        *inputs, logits = self._forward(weights, self._problem.scaled(images))
        labels, smoothing = tf.gather(self._labels, index), self._problem.config.label_smoothing
        truth = optimizers.smoothed(labels, logits.shape[-1], smoothing)
        delta = (tf.nn.softmax(logits) - truth) * example_weights[:, None]
        gradients: list[tf.Tensor] = []
        for layer in reversed(range(len(inputs))):
            narrows = self._narrows[layer]
            left, right = (delta, inputs[layer]) if narrows else (inputs[layer], delta)
            kernel_gradient = tf.matmul(left, right, transpose_a=True)
            gradients = [kernel_gradient, tf.reduce_sum(delta, axis=1), *gradients]
            if layer:
                back = tf.matmul(delta, weights[2 * layer], transpose_b=not narrows)
                delta = tf.where(inputs[layer] > 0, back, 0.0)
        return gradients

    def _take_steps(
        self,
        weights: list[tf.Tensor],
        velocities: list[tf.Tensor],
        order: tf.Tensor,
        epoch: int,
        count: int,
    ):
        """Takes the first steps of an epoch."""
        how = self._rates[epoch], self._example_weights, tf.constant(count)
        return self._epoch(weights, velocities, order, *how)

    def _steps_of(
        self,
        weights: list[tf.Tensor],
        velocities: list[tf.Tensor],
        order: tf.Tensor,
        rates: tf.Tensor,
        example_weights: tf.Tensor,
        steps: tf.Tensor,
    ):
        """Takes SGD steps on the first batches of `order`, as `keras.optimizers.SGD` does."""
        config = self._problem.config
        nesterov = config.optimizer_options.get("nesterov") and config.momentum

        def step(number, weights, velocities):
            rate = rates[number]
            gradients = self._gradients(weights, order[:, number], example_weights[number])
            if config.l2:
                gradients = [
                    gradient + config.l2 * weight
                    for gradient, weight in zip(gradients, weights, strict=True)
                ]

            def moved(velocities):
                return [
                    config.momentum * velocity - rate * gradient
                    for velocity, gradient in zip(velocities, gradients, strict=True)
                ]

            velocities = moved(velocities)
            moves = moved(velocities) if nesterov else velocities
            if config.weight_decay:
                weights = [weight - weight * config.weight_decay * rate for weight in weights]
            return number + 1, list(map(operator.add, weights, moves)), velocities

        end = tf.while_loop(lambda number, *_: number < steps, step, [0, weights, velocities])
        return end[1:]

    def _turn(self, weights: list[tf.Tensor]) -> list[tf.Tensor]:
        """Turns the narrowing kernels among the weights, from Keras's layout or back to it."""
        turned = list(weights)
        for layer, narrows in enumerate(self._narrows):
            if narrows:
                turned[2 * layer] = tf.transpose(weights[2 * layer], [0, 2, 1])
        return turned

    def _evaluate(
        self, weights: list[tf.Tensor], splits: Iterable[ArraySplit] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the predicted labels and the probabilities of the true ones, [K, n + n'] each.

        Batch by batch: the logits of all examples at once would be most of the memory of a stack.

        Args:
          weights: of the stack.
          splits: both splits by default.
        """
        parts = []
        for split in splits or (self._dataset.train, self._dataset.test):
            # As few batches as there must be, of even size: next to nothing is padding.
            size = -(-len(split) // -(-len(split) // _EVALUATION_BATCH))
            for batch in batches.padded_batches(len(split), size):
                images = split.images[batch].reshape(size, -1)
                logits = self._logits(weights, tf.constant(images)).numpy()
                count = 1 + batch[-1] - batch[0]  # The last batch repeats its last example.
                parts.append(batches.evaluate(logits[:, :count], split.labels[batch[:count]]))
        predicted, probability = zip(*parts, strict=True)
        return np.concatenate(predicted, axis=1), np.concatenate(probability, axis=1)

    def _logits_of(self, weights: list[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        """Returns the logits of the same examples by every trial, [K, batch, classes]."""
        x = self._problem.scaled(images)
        shape = tf.concat([tf.shape(weights[0])[:1], tf.shape(x)], axis=0)
        return self._forward(weights, tf.broadcast_to(x, shape))[-1]
