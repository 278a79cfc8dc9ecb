"""No step of any recipe has an op that a GPU cannot run and the host would have to."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests import slow
from tests.kernels import without_gpu_kernel
from tfmem import datasets, experiments
from tfmem.models import cct, densenet, inception, resnet, vgg
from tfmem.subsets import FixedSubset
from tfmem.training import fit
from tfmem.training.problem import Problem
from tfmem.training.turnover import TurnoverTrainer

_BATCH = 4
_SIZES = ("hidden", "norm_decay")  # Options of which no op depends.


def decisive(name):
    """Returns what the ops of a recipe's steps follow from, but for the size of its layers."""
    config = experiments.get(name)
    options = {key: value for key, value in config.model_options.items() if key not in _SIZES}
    streams = config.dataset == "imagenet2012"
    return config.model, str(options), config.crop, config.flip, streams


# One recipe of those whose ops are the same.
RECIPES = list({decisive(name): name for name in experiments.EXPERIMENTS}.values())
# All their ops and types are also in the steps of others.
COVERED = ("mnist_inception", "cifar100_resnet18", "cifar100_resnet50")
CASES = [*RECIPES, "cifar100_inception mixed_float16"]


class Stream:
    """Images that nobody reads."""

    image_shape = (32, 32, 3)
    identity = "test"


@pytest.fixture
def shallow(monkeypatch):
    """The architectures with one block where they have several of a kind."""
    monkeypatch.setattr(densenet, "_DEPTH", 10)
    monkeypatch.setattr(inception, "_STAGES", tuple(stage[:1] for stage in inception._STAGES))
    monkeypatch.setattr(vgg, "_GROUPS", vgg._GROUPS[:2])
    monkeypatch.setattr(resnet, "_WIDTHS", resnet._WIDTHS[:2])
    blocks = dict.fromkeys(resnet._BLOCKS_PER_GROUP, (1, 1))
    monkeypatch.setattr(resnet, "_BLOCKS_PER_GROUP", blocks)
    small = dataclasses.replace(cct.VARIANTS["2/3x2"], blocks=1, convolutions=1)
    monkeypatch.setitem(cct.VARIANTS, "2/3x2", small)


def dataset_of(config):
    side = 32 if config.dataset == "imagenet2012" else 8
    count = 2 * _BATCH
    labels, ids = np.arange(count) % 3, datasets.numbered_ids("train", count)
    names = ("a", "b", "c")
    if config.dataset == "imagenet2012":
        split = datasets.Split(labels, ids)
        return datasets.StreamedDataset("tiny", split, split, names, 255, stream=Stream())
    if config.model == "linear":
        images, largest = np.zeros((count, 16), np.float32), None
    else:
        images, largest = np.zeros((count, side, side, 3), np.uint8), 255
    split = datasets.ArraySplit(labels, ids, images)
    return datasets.ArrayDataset("tiny", split, split, names, largest)


def batch_of(config, dataset, training):
    batch = {"index": tf.zeros(_BATCH, tf.int64)}
    if isinstance(dataset, datasets.StreamedDataset):
        batch = {"images": tf.zeros((_BATCH, *dataset.input_shape), tf.uint8)}
    if training and (config.crop != "none" or config.flip):
        batch["draws"] = tf.zeros((_BATCH, 3), tf.int64)
    return batch


@pytest.mark.parametrize("case", slow.some(CASES, lambda case: case in COVERED))
def test_a_gpu_has_a_kernel_for_every_op(case, shallow):
    """Stacked steps are not among them: XLA compiles those, and has kernels of its own."""
    name, _, precision = case.partition(" ")
    changes = {"precision": precision or "float32", "batch_size": _BATCH}
    config = dataclasses.replace(experiments.get(name), **changes)
    dataset, default = dataset_of(config), fit.build_strategy("default")
    trainers = [fit.FitTrainer(Problem(config, dataset), default)]
    if config.model == "mlp":  # Turn-over dropout is the same ops in every model.
        everything = FixedSubset(np.ones(len(dataset.train), bool))
        trainers.append(TurnoverTrainer(Problem(config, dataset, everything, True), default))
    for trainer in trainers:
        if isinstance(dataset, datasets.ArrayDataset):  # Batches are made on the device.
            numbers = tf.constant(0), tf.constant(1)
            steps = [trainer._executions.steps.get_concrete_function(None, *numbers)]
            given = tf.zeros(3, tf.int64)
        else:
            example = batch_of(config, dataset, True), tf.zeros(_BATCH, tf.int64), tf.ones(_BATCH)
            steps = [tf.function(trainer._model.train_step).get_concrete_function(example)]
            given = batch_of(config, dataset, False)
        for apply in {id(apply): apply for apply in trainer._logits.values()}.values():
            steps.append(apply.get_concrete_function(given))
        assert [without_gpu_kernel(step) for step in steps] == [set()] * len(steps)


def test_what_no_gpu_runs_is_found_in_nested_functions():
    @tf.function
    def inner(images, index):
        return tf.gather(images, index, batch_dims=1)

    @tf.function
    def on_host(images, index):
        with tf.device("CPU"):
            return tf.gather(images, index, batch_dims=1)

    def found(gather, dtype):
        whole = tf.function(lambda x, i: tf.cond(tf.size(i) > 1, lambda: gather(x, i), lambda: x))
        return without_gpu_kernel(
            whole.get_concrete_function(tf.zeros((2, 3), dtype), tf.zeros((2, 3), tf.int64))
        )

    assert found(inner, tf.uint8) == {("GatherV2", "uint8", "int64", "int32")}
    assert found(inner, tf.float32) == found(on_host, tf.uint8) == set()
