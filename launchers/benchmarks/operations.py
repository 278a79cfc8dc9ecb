"""How many operations a network takes, and how many this machine can do."""

import dataclasses
from collections.abc import Callable, Iterator
from logging import LogRecord
from typing import TYPE_CHECKING, Any

from launchers.benchmarks import timing

if TYPE_CHECKING:  # It imports TensorFlow.
    import keras
    import tensorflow as tf

_EXAMPLES = 4  # Counted together: what is a batch's alone is nothing beside what is theirs.
_SMALLEST_SIDE = 512
_LARGEST_SIDE = 16_384
_LONG_ENOUGH = 0.03  # Seconds: a product that takes so long hides what it costs to begin it.
_PRODUCTS = 5


@dataclasses.dataclass(frozen=True)
class Operations:
    """Floating-point operations of one example; a multiplication and an addition are two.

    Attributes:
      training: forwards and backwards; the optimizer's are not an example's.
      evaluation: forwards alone.
    """

    training: float
    evaluation: float


def count(network: "keras.Model") -> Operations:
    """Returns what a network takes, as TensorFlow's profiler counts it.

    Loops, such as those of recurrent layers, are counted as if they had one round.
    """
    import tensorflow as tf

    tf.get_logger().addFilter(_is_news)
    images = tf.TensorSpec([_EXAMPLES, *network.input_shape[1:]], tf.float32)

    def train(images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(images, training=True))
        return loss, tape.gradient(loss, network.trainable_variables)

    def counted(function: Callable[[tf.Tensor], Any]) -> float:
        graph = tf.function(function).get_concrete_function(images).graph
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        found = tf.compat.v1.profiler.profile(graph, cmd="scope", options=options)
        computed = _computed(graph)
        return sum(node.float_ops for node in _all(found) if node.name in computed) / _EXAMPLES

    return Operations(counted(train), counted(lambda images: network(images, training=False)))


def _computed(graph: "tf.Graph") -> set[str]:
    """Returns the names of the ops that outputs need: others are traced, and never run."""
    found: set[str] = set()
    left = [tensor.op for tensor in graph.outputs]
    while left:
        op = left.pop()
        if op.name not in found:
            found.add(op.name)
            left += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return found


def _all(node: Any) -> Iterator[Any]:
    """Yields the profiler's node and all below it."""
    yield node
    for child in node.children:
        yield from _all(child)


def _is_news(record: LogRecord) -> bool:
    """Whether a message says more than that the profiler is deprecated in what it imports."""
    return "deprecat" not in record.getMessage()


def products(precision: str) -> float:
    """Returns this machine's rate of square matrix products, in operations a second.

    Args:
      precision: one of `recipe.PRECISIONS`; what it computes in.
    """
    import keras
    import tensorflow as tf

    dtype = keras.DTypePolicy(precision).compute_dtype
    best, side = 0.0, _SMALLEST_SIDE
    while True:
        factor = tf.cast(tf.random.stateless_uniform([side, side], seed=[0, 0]), dtype)

        def product(factor: tf.Tensor = factor) -> None:
            tf.matmul(factor, factor)[0, 0].numpy()  # Which waits for it.

        product()
        seconds = min(timing.seconds(product) for _ in range(_PRODUCTS))
        best = max(best, 2 * side**3 / seconds)
        if seconds > _LONG_ENOUGH or side >= _LARGEST_SIDE:
            return best
        side *= 2
