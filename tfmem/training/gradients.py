"""Statistics of per-example gradients: Liu, Lin & Jaggi (2021), eqs. 3 and 4.

With v_i the gradient of example i's loss and u_i = v_i / |v_i|, the mean cosine similarity over all
pairs i != j of n examples is (|sum u_i|^2 - n) / (n (n - 1)): linear in n, where the sum over pairs
is quadratic. The contribution of v_i is its projection (v_i . g) / |g| on the gradient g of its
mini-batch.

Of a dense ReLU network no v_i is ever formed: the gradient of a layer's kernel is the outer product
of its input a_i and of the loss's gradient d_i at its output. So |v_i|^2 is the sum over layers of
(|a_i|^2 + 1) |d_i|^2, and sums over examples are matrix products. Of every other network the v_i
are formed in chunks of bounded memory.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmem.training import batches
from tfmem.training.optimizers import smoothed
from tfmem.training.stacked import dense_layers

_CHUNK_BYTES = 256 * 2**20  # Of per-example gradients that are in memory at once.


class MiniBatch(NamedTuple):
    """Examples whose mean loss is what a step would descend.

    Attributes:
      images: what the network takes, float32 [b, ...].
      labels: int [b].
      groups: bool [g, b], which examples are in which group.
    """

    images: tf.Tensor
    labels: np.ndarray
    groups: np.ndarray


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What was measured of each of g groups; nan where too few examples were seen.

    Attributes:
      similarity: float64 [g], mean cosine over pairs of different examples (eq. 3). A gradient that
        is 0 has no direction and is left out.
      contribution: float64 [g], mean over examples of (v_i . g) / |g| (eq. 4).
      gradients: int64 [g], how many examples were seen.
    """

    similarity: np.ndarray
    contribution: np.ndarray
    gradients: np.ndarray


class Measurement:
    """Measures the gradients of one network's examples, in evaluation mode.

    Args:
      network: images -> logits; its loss is the cross-entropy. What a recipe adds to the gradient
        of a batch, such as l2, is of no example.
      dense: whether gradients are never formed; None is wherever they need not be.
      chunk_bytes: memory for gradients that are formed.
      label_smoothing: of the loss.

    Raises:
      ValueError: `dense` for a network that is not a dense ReLU network.
    """

    def __init__(
        self,
        network: keras.Model,
        dense: bool | None = None,
        chunk_bytes: int = _CHUNK_BYTES,
        label_smoothing: float = 0.0,
    ):
        layers = dense_layers(network)
        if dense and layers is None:
            raise ValueError(f"{network.name} is not a dense ReLU network")
        # Takes images, labels and weights [g, b] of unit gradients; returns |v_i| [b], (v_i . g) /
        # |g| [b] and the weighted sums of unit gradients [g, parameters].
        self._of_batch: Callable[..., tuple] = (
            _formed(network, chunk_bytes, label_smoothing)
            if layers is None or dense is False
            else _factored(layers, label_smoothing)
        )

    def __call__(self, batches: Iterable[MiniBatch], groups: int) -> Statistics:
        """Returns the statistics of all examples of some mini-batches.

        Args:
          batches: each has its own g.
          groups: how many.
        """
        directed, seen = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
        projected = np.zeros(groups)
        sums: np.ndarray | float = 0.0
        for batch in batches:
            labels = tf.constant(np.asarray(batch.labels, np.int32))
            members = batch.groups.astype(np.float32)
            found = self._of_batch(batch.images, labels, tf.constant(members))
            norms, projections, unit_sums = (part.numpy() for part in found)
            seen += batch.groups.sum(axis=1)
            directed += batch.groups[:, norms > 0].sum(axis=1)
            projected += batch.groups @ projections.astype(np.float64)
            sums = sums + unit_sums.astype(np.float64)
        squares = np.square(sums).sum(axis=-1) if directed.any() else np.zeros(groups)
        pairs = np.where(directed > 1, directed * (directed - 1.0), np.nan)
        similarity = (squares - directed) / pairs
        return Statistics(similarity, projected / np.where(seen > 0, seen, np.nan), seen)


def _factored(layers: list[keras.layers.Dense], smoothing: float):
    """Returns `Measurement._of_batch` of dense layers, ReLU between them."""

    @tf.function(reduce_retracing=True)
    def of_batch(images, labels, members):
        inputs = [tf.reshape(images, [tf.shape(images)[0], -1])]
        for index, layer in enumerate(layers):
            outputs = inputs[-1] @ layer.kernel + layer.bias
            inputs.append(tf.nn.relu(outputs) if index + 1 < len(layers) else outputs)
        *inputs, logits = inputs
        deltas = [tf.nn.softmax(logits) - smoothed(labels, logits.shape[-1], smoothing)]
        for layer, x in zip(reversed(layers[1:]), reversed(inputs[1:]), strict=True):
            back = tf.matmul(deltas[0], layer.kernel, transpose_b=True)
            deltas.insert(0, tf.where(x > 0, back, 0.0))
        squared = sum(
            (tf.reduce_sum(x**2, axis=1) + 1) * tf.reduce_sum(delta**2, axis=1)
            for x, delta in zip(inputs, deltas, strict=True)
        )
        norms = tf.sqrt(squared)
        weights = members * tf.math.divide_no_nan(1.0, norms)  # 0 of a gradient that is 0.
        count = tf.cast(tf.shape(labels)[0], tf.float32)
        products, squared_mean, sums = 0.0, 0.0, []
        for x, delta in zip(inputs, deltas, strict=True):
            kernel = tf.matmul(x, delta, transpose_a=True) / count
            bias = tf.reduce_mean(delta, axis=0)
            products += tf.reduce_sum((x @ kernel + bias) * delta, axis=1)
            squared_mean += tf.reduce_sum(kernel**2) + tf.reduce_sum(bias**2)
            weighted = weights[:, :, None] * delta  # [g, b, out]
            unit_kernel = tf.einsum("bi,gbo->gio", x, weighted)
            sums.append(tf.reshape(unit_kernel, [tf.shape(members)[0], -1]))
            sums.append(tf.reduce_sum(weighted, axis=1))
        projections = tf.math.divide_no_nan(products, tf.sqrt(squared_mean))
        return norms, projections, tf.concat(sums, axis=1)

    return of_batch


def _formed(network: keras.Model, chunk_bytes: int, smoothing: float):
    """Returns `Measurement._of_batch` of any network, whose gradients are formed in chunks."""
    variables = [weight.value for weight in network.trainable_weights]
    parameters = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    chunk = max(1, chunk_bytes // (4 * parameters))

    def gradient(images, labels) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = tf.cast(network(images, training=False), tf.float32)
            truth = smoothed(labels, logits.shape[-1], smoothing)
            losses = tf.nn.softmax_cross_entropy_with_logits(labels=truth, logits=logits)
            loss = tf.reduce_mean(losses)
        found = tape.gradient(loss, variables, unconnected_gradients="zero")
        return tf.concat([tf.reshape(part, [-1]) for part in found], axis=0)

    mean_gradient = tf.function(gradient, reduce_retracing=True)

    @tf.function(reduce_retracing=True)
    def of_chunk(images, labels, members, mean):
        each = tf.vectorized_map(
            lambda example: gradient(example[0][None], example[1][None]), (images, labels)
        )
        norms = tf.norm(each, axis=1)
        weights = members * tf.math.divide_no_nan(1.0, norms)
        return norms, tf.linalg.matvec(each, mean), weights @ each

    def of_batch(images, labels, members):
        mean = mean_gradient(images, labels)
        count, size = len(labels), min(chunk, len(labels))
        parts = []
        for index in batches.padded_batches(count, size):  # Chunks of one size, compiled once.
            # What repeats the last example is in no group.
            weights = tf.gather(members, index, axis=1) * (np.diff(index, prepend=-1) > 0)
            chosen = tf.gather(images, index), tf.gather(labels, index)
            parts.append(of_chunk(*chosen, weights, mean))
        norms, products, sums = zip(*parts, strict=True)
        norms, products = (tf.concat(part, axis=0)[:count] for part in (norms, products))
        projections = tf.math.divide_no_nan(products, tf.sqrt(tf.reduce_sum(mean**2)))
        return norms, projections, tf.add_n(sums)

    return of_batch
