"""From a dataset and a trial's subset to what the training and the evaluation step compute on.

A batch is a dict of tensors. `inputs` turns it into what the network takes, on the network's
device: examples in memory stay there as they are, and only their positions travel.
"""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmem import seeds
from tfmem.datasets import ArrayDataset, StreamedDataset
from tfmem.training import augmentation, batches
from tfmem.training.problem import Problem

# An evaluation batch is what keeps the widest layer's inputs and outputs within these bytes, and at
# most so many examples. It follows from the network alone, as last bits may depend on it.
_EVALUATION_BYTES = 2**29
_LARGEST_EVALUATION_BATCH = 8192
Batch = dict[str, tf.Tensor]
# A batch, its labels [batch] and weights [batch], which add up to 1 over all replicas.
Weighted = tuple[Batch, tf.Tensor, tf.Tensor]


class Feed:
    """What the sources of examples share.

    Args:
      problem: how trials are trained; its subsets may be replaced by others.
      strategy: its replicas share a batch.
    """

    def __init__(self, problem: Problem, strategy: tf.distribute.Strategy):
        self.problem = problem
        self._strategy = strategy
        self._replicas = strategy.num_replicas_in_sync
        self._augments = not augmentation.is_none(problem.config)

    def epoch(self, trial: int, subset: np.ndarray, epoch: int) -> Any:
        """Begins an epoch; returns what `step` takes its batches from, of one type for all."""
        raise NotImplementedError

    def step(self, epoch: Any, number: tf.Tensor) -> Weighted:
        """Returns what each replica trains on in a step of the epoch that was begun, traced."""
        raise NotImplementedError

    def evaluation(self, split: str, at_once: int) -> Iterable[Any]:
        """Yields what `view` takes, for batches of the split `train` or `test` in index order.

        Batches are of one size: the last repeats its last example.

        Args:
          split: all of it is evaluated.
          at_once: the most examples that a replica evaluates.
        """
        raise NotImplementedError

    def view(self, given: Any) -> Batch:
        """Returns what a replica evaluates, traced."""
        return given

    def images(self, batch: Batch) -> tf.Tensor:
        """Returns the examples of a batch, before cropping, flipping and scaling."""
        raise NotImplementedError

    def inputs(self, batch: Batch) -> tf.Tensor:
        """Returns what the network takes: float32 [batch, *input shape]."""
        images = self.images(batch)
        if "draws" in batch:
            padding = self.problem.config.crop_padding
            images = augmentation.crop_and_flip(images, batch["draws"], padding)
        return self.problem.scaled(images)


class ArrayFeed(Feed):
    """Examples in memory: images as they are, or representations.

    Args:
      problem: how trials are trained.
      dataset: of the problem.
      strategy: every device of it holds all examples.

    Raises:
      ValueError: the config crops in a way that takes the files of the images.
    """

    def __init__(self, problem: Problem, dataset: ArrayDataset, strategy: tf.distribute.Strategy):
        super().__init__(problem, strategy)
        if problem.config.crop == "area_aspect":
            raise ValueError(
                f"crop area_aspect is for images that are decoded while they are read, as those of "
                f"imagenet2012, and {dataset.name} is in memory: give --crop=padded or --crop=none"
            )
        example = {name: np.zeros(1, np.int64) for name in ("index", "labels")}
        example["weights"] = np.zeros(1, np.float32)
        if self._augments:
            example["draws"] = np.zeros((1, 3), np.int64)
        with strategy.scope():
            self._images = tf.Variable(
                np.concatenate([dataset.train.images, dataset.test.images]), trainable=False
            )
            # An epoch's examples in order, as many as its subset has: nothing is traced anew.
            self._epoch = {
                name: tf.Variable(value, shape=[None, *value.shape[1:]], trainable=False)
                for name, value in example.items()
            }

    def images(self, batch: Batch) -> tf.Tensor:
        return tf.gather(self._images, batch["index"])

    def epoch(self, trial, subset, epoch):
        config = self.problem.config
        order = batches.batch_order(config, subset, trial, epoch).astype(np.int64)
        slots, weights = batches.slots(len(order), config.batch_size, self._replicas)
        order = order[slots]
        found = {"index": order, "labels": self.problem.dataset.train.labels[order]}
        if self._augments:
            found["draws"] = augmentation.draw(config, len(subset), trial, epoch)[order]
        for name, values in {**found, "weights": weights}.items():
            self._epoch[name].assign(values)

    def step(self, epoch, number):
        share = self.problem.config.batch_size // self._replicas

        def slices() -> Weighted:
            first = share * (self._replicas * number + _replica())
            batch = {name: rows[first : first + share] for name, rows in self._epoch.items()}
            return batch, batch.pop("labels"), batch.pop("weights")

        return self._strategy.run(slices)

    def evaluation(self, split, at_once):
        before = len(self.problem.dataset.train) if split == "test" else 0
        count = len(getattr(self.problem.dataset, split))
        size = _even_size(count, at_once * self._replicas, self._replicas)
        last = before + count - 1
        for first in range(before, before + count, size):
            yield tf.constant([first, size // self._replicas, last], tf.int64)

    def view(self, given):
        first, share, last = tf.unstack(given)
        first += share * tf.cast(_replica(), tf.int64)
        return {"index": tf.minimum(tf.range(first, first + share), last)}


class StreamFeed(Feed):
    """Examples that are read and decoded as they are needed (ImageNet).

    Args:
      problem: how trials are trained.
      dataset: of the problem.
      strategy: its replicas share a batch.
    """

    def __init__(
        self, problem: Problem, dataset: StreamedDataset, strategy: tf.distribute.Strategy
    ):
        super().__init__(problem, strategy)
        self._dataset = dataset

    def images(self, batch: Batch) -> tf.Tensor:
        return batch["images"]

    def epoch(self, trial, subset, epoch):
        config, dataset = self.problem.config, self._dataset
        size = dataset.stream.image_shape[0]
        labels = tf.constant(dataset.train.labels)
        order_seed, view_seed = seeds.integers(
            config.seed, trial, "batch_order", count=2, epoch=epoch
        )
        draws = tf.constant(augmentation.draw(config, len(subset), trial, epoch))

        def example(index, encoded) -> Batch:
            if config.crop == "area_aspect":
                seed = tf.stack([view_seed, index])
                image = augmentation.area_aspect_view(encoded, size, seed)
            else:
                image = augmentation.center_view(encoded, size)
            found = {"images": image, "labels": tf.gather(labels, index)}
            if self._augments:
                found["draws"] = tf.gather(draws, index)
            return found

        in_order = (
            dataset.stream.read("train", seed=order_seed, keep=subset)
            .map(example, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(config.batch_size)
        )
        return iter(self._distributed(self._weighted(in_order)))

    def step(self, epoch, number):
        return next(epoch)

    def _distributed(self, dataset: tf.data.Dataset) -> Iterable[Any]:
        prefetched = dataset.prefetch(tf.data.AUTOTUNE)
        return self._strategy.experimental_distribute_dataset(prefetched)

    def _weighted(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        """Takes the labels out and adds weights.

        Several replicas get the short last batch of an epoch spread to full length.
        """
        size = self.problem.config.batch_size
        short = self.problem.subset_size % size
        spread = batches.spread(short or size, size, self._replicas)
        slots, spread_weights = map(tf.constant, spread)

        def weigh(batch: Batch) -> Weighted:
            count = tf.size(batch["labels"])
            weights = tf.fill([count], 1 / tf.cast(count, tf.float32))
            if self._replicas > 1 and count < size:
                batch = {name: tf.gather(value, slots) for name, value in batch.items()}
                weights = spread_weights
            return batch, batch.pop("labels"), weights

        return examples.map(weigh)

    def evaluation(self, split, at_once):
        dataset = self._dataset
        side = dataset.stream.image_shape[0]
        # One size for both splits: XLA compiles each by itself.
        count = max(len(dataset.train), len(dataset.test))
        size = _even_size(count, at_once * self._replicas, self._replicas)
        positions = tf.range(size)

        def padded(batch: Batch) -> Batch:
            last = tf.shape(batch["images"])[0] - 1
            return {"images": tf.gather(batch["images"], tf.minimum(positions, last))}

        in_order = dataset.stream.read(split).map(
            lambda index, encoded: {"images": augmentation.center_view(encoded, side)},
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return self._distributed(in_order.batch(size).map(padded))


def build(problem: Problem, strategy: tf.distribute.Strategy) -> Feed:
    """Returns what feeds the network of a problem, wherever its images are."""
    if isinstance(problem.dataset, StreamedDataset):
        return StreamFeed(problem, problem.dataset, strategy)
    return ArrayFeed(problem, problem.dataset, strategy)


def evaluated_at_once(network: keras.Model) -> int:
    """Returns how many examples a replica evaluates at once, as many as memory bears."""
    layers = network.operations
    shapes = [
        tensor.shape[1:]
        for layer in layers
        for tensor in keras.tree.flatten([layer.input, layer.output])
    ]
    hidden = any(layer._flatten_layers(include_self=False) for layer in layers)
    if hidden or any(None in shape for shape in shapes):
        values = _traced_values(network)
    else:
        values = max(map(_values_of, layers))
    return min(_LARGEST_EVALUATION_BATCH, max(1, _EVALUATION_BYTES // (4 * values)))


def _values_of(layer: keras.Operation) -> int:
    """Returns how many values go into a layer and come out, for each example."""
    tensors = keras.tree.flatten([layer.input, layer.output])
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)


def _traced_values(network: keras.Model) -> int:
    """Returns twice the most values that an op computes for each example.

    So what layers within layers compute counts too.
    """
    sizes: list[dict[str, int]] = []
    for count in (2, 3):  # What does not grow from one to the next is not an example's.
        given = [tf.TensorSpec([count, *one.shape[1:]], one.dtype) for one in network.inputs]
        traced = tf.function(lambda *inputs: network(inputs if inputs[1:] else inputs[0]))
        graph = traced.get_concrete_function(*given).graph
        tensors = [tensor for op in graph.get_operations() for tensor in op.outputs]
        sizes.append({tensor.name: tensor.shape.num_elements() or 0 for tensor in tensors})
    two, three = sizes
    return 2 * max(three[name] - two[name] for name in two.keys() & three.keys())


def _replica() -> tf.Tensor:
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def _even_size(count: int, largest: int, replicas: int) -> int:
    """Returns the size of as few batches as there can be: a multiple of the replicas."""
    size = -(-count // -(-count // largest))
    return -(-size // replicas) * replicas
