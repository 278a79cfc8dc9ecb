"""From a dataset and a trial's subset to what the training and the evaluation step compute on.

A batch is a dict of tensors. `inputs` turns it into what the network takes, on the network's
device: examples in memory stay there as they are, and only their positions travel.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfmem import seeds
from tfmem.datasets import ArrayDataset, StreamedDataset
from tfmem.training import augmentation, batches
from tfmem.training.problem import Problem

_EVALUATION_BATCH = 512
Batch = dict[str, tf.Tensor]


class Feed:
    """What the sources of examples share.

    Args:
      problem: how trials are trained; its subsets may be replaced by others.
      replicas: how many share a batch.
    """

    def __init__(self, problem: Problem, replicas: int):
        self.problem = problem
        self._replicas = replicas
        self._augments = not augmentation.is_none(problem.config)

    def epochs(
        self, trial: int, subset: np.ndarray, start: int
    ) -> Iterator[tuple[int, int, tf.data.Dataset]]:
        """Yields (first epoch, end, their batches) until all epochs from `start` on are covered.

        An element is (batch, labels [batch], weights [batch]); the weights add up to 1.
        """
        raise NotImplementedError

    def evaluation(self) -> dict[str, tf.data.Dataset]:
        """Returns the batches of the splits `train` and `test`, in index order.

        Batches are full: the last repeats its last example.
        """
        raise NotImplementedError

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

    def _weighted(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        """Takes the labels out and adds weights.

        Several replicas get the short last batch of an epoch spread to full length.
        """
        size = self.problem.config.batch_size
        short = self.problem.subset_size % size
        spread = batches.spread(short or size, size, self._replicas)
        slots, spread_weights = map(tf.constant, spread)

        def weigh(batch: Batch) -> tuple[Batch, tf.Tensor, tf.Tensor]:
            count = tf.size(batch["labels"])
            weights = tf.fill([count], 1 / tf.cast(count, tf.float32))
            if self._replicas > 1 and count < size:
                batch = {name: tf.gather(value, slots) for name, value in batch.items()}
                weights = spread_weights
            return batch, batch.pop("labels"), weights

        return examples.map(weigh)


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
        super().__init__(problem, strategy.num_replicas_in_sync)
        if problem.config.crop == "area_aspect":
            raise ValueError(
                f"crop area_aspect is for images that are decoded while they are read, as those of "
                f"imagenet2012, and {dataset.name} is in memory: give --crop=padded or --crop=none"
            )
        with strategy.scope():
            self._images = tf.Variable(
                np.concatenate([dataset.train.images, dataset.test.images]), trainable=False
            )

    def images(self, batch: Batch) -> tf.Tensor:
        return tf.gather(self._images, batch["index"])

    def epochs(self, trial, subset, start):
        config, train, augments = self.problem.config, self.problem.dataset.train, self._augments

        # TensorFlow keeps the generator for good: it must not hold the images on the device.
        def arrays() -> Iterator[dict[str, np.ndarray]]:
            for epoch in range(start, config.epochs):
                order = batches.batch_order(config, subset, trial, epoch).astype(np.int64)
                found = {"index": order, "labels": train.labels[order]}
                if augments:
                    found["draws"] = augmentation.draw(config, len(subset), trial, epoch)[order]
                yield found

        signature = dict.fromkeys(("index", "labels"), tf.TensorSpec([None], tf.int64))
        if augments:
            signature["draws"] = tf.TensorSpec([None, 3], tf.int64)
        in_order = tf.data.Dataset.from_generator(arrays, output_signature=signature).flat_map(
            lambda epoch: tf.data.Dataset.from_tensor_slices(epoch).batch(config.batch_size)
        )
        yield start, config.epochs, self._weighted(in_order).prefetch(tf.data.AUTOTUNE)

    def evaluation(self):
        n, n_test = len(self.problem.dataset.train), len(self.problem.dataset.test)
        size = _full_batch(n + n_test, self._replicas)
        index = {
            "train": batches.padded_batches(n, size).astype(np.int64),
            "test": batches.padded_batches(n_test, size).astype(np.int64) + n,
        }
        positions = tf.data.Dataset.from_tensor_slices
        return {split: positions({"index": rows}) for split, rows in index.items()}


class StreamFeed(Feed):
    """Examples that are read and decoded as they are needed (ImageNet).

    Args:
      problem: how trials are trained.
      dataset: of the problem.
      replicas: how many share a batch.
    """

    def __init__(self, problem: Problem, dataset: StreamedDataset, replicas: int):
        super().__init__(problem, replicas)
        self._dataset = dataset

    def images(self, batch: Batch) -> tf.Tensor:
        return batch["images"]

    def epochs(self, trial, subset, start):
        config, dataset = self.problem.config, self._dataset
        size = dataset.stream.image_shape[0]
        labels = tf.constant(dataset.train.labels)
        for epoch in range(start, config.epochs):
            order_seed, view_seed = seeds.integers(
                config.seed, trial, "batch_order", count=2, epoch=epoch
            )
            draws = tf.constant(augmentation.draw(config, len(subset), trial, epoch))

            def example(index, encoded, draws=draws, view_seed=view_seed) -> Batch:
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
            yield epoch, epoch + 1, self._weighted(in_order).prefetch(tf.data.AUTOTUNE)

    def evaluation(self):
        dataset = self._dataset
        side = dataset.stream.image_shape[0]
        size = _full_batch(len(dataset.train), self._replicas)
        positions = tf.range(size)

        def padded(batch: Batch) -> Batch:
            last = tf.shape(batch["images"])[0] - 1
            return {"images": tf.gather(batch["images"], tf.minimum(positions, last))}

        return {
            split: dataset.stream.read(split)
            .map(
                lambda index, encoded: {"images": augmentation.center_view(encoded, side)},
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            .batch(size)
            .map(padded)
            .prefetch(tf.data.AUTOTUNE)
            for split in ("train", "test")
        }


def build(problem: Problem, strategy: tf.distribute.Strategy) -> Feed:
    """Returns what feeds the network of a problem, wherever its images are."""
    if isinstance(problem.dataset, StreamedDataset):
        return StreamFeed(problem, problem.dataset, strategy.num_replicas_in_sync)
    return ArrayFeed(problem, problem.dataset, strategy)


def _full_batch(count: int, replicas: int) -> int:
    """Returns the size of evaluation batches, a multiple of the replicas."""
    return -(-min(_EVALUATION_BATCH, count) // replicas) * replicas
