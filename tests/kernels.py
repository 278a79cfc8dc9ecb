"""Which ops no GPU can run. TensorFlow's wheel registers its GPU kernels where there is no GPU."""

import functools

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph, kernels

_ENDS = ("Placeholder", "NoOp")  # What a graph is fed by and ends with, which nothing computes.


@functools.cache
def _kernels(op_type):
    """Returns the kernels of an op that a GPU has, `DEFAULT` being those of all devices."""
    found = kernels.get_registered_kernels_for_op(op_type).kernel
    return [one for one in found if one.device_type in ("GPU", "DEFAULT") and not one.label]


def _types(value):
    return {value} if isinstance(value, tf.DType) else set(value)


def _runs(op):
    return any(
        all(
            _types(op.get_attr(rule.name)) <= set(map(tf.as_dtype, rule.allowed_values.list.type))
            for rule in kernel.constraint
        )
        for kernel in _kernels(op.type)
    )


def without_gpu_kernel(function):
    """Returns what no GPU can run of a concrete function and of all that are called in it.

    Returns:
      A set of (op, types of its inputs). What is placed on the CPU on purpose is not in it.
    """
    library = function.graph.as_graph_def().library.function
    graphs = [function.graph, *map(function_def_to_graph.function_def_to_graph, library)]
    return {
        (op.type, *(tensor.dtype.name for tensor in op.inputs))
        for graph in graphs
        for op in graph.get_operations()
        if op.type not in _ENDS and "CPU" not in op.device and not _runs(op)
    }
