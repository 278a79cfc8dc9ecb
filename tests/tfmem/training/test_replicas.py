"""MirroredStrategy on logical CPU devices, each script in a process of its own.

Logical devices must be made before TensorFlow starts, and two mirrored models in one process
mistake each other's all-reduces.
"""

import os

import pytest

from tests import forked, slow

_DEVICES = """
import dataclasses
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
devices = {}
made_up = [tf.config.LogicalDeviceConfiguration()] * devices
tf.config.set_logical_device_configuration(cpu, made_up)
from tests.networks import small_batch_norm
from tfmem import datasets, experiments, models
from tfmem.training import fit
from tfmem.training.problem import Problem

digits = datasets.load("digits")
config = dataclasses.replace(experiments.get("digits_mlp"), epochs=2)
models.BUILDERS["small_batch_norm"] = small_batch_norm
batch_norm = dataclasses.replace(config, model="small_batch_norm", model_options={{}})

def trainer(config, strategy, dataset=digits):
    return fit.FitTrainer(Problem(config, dataset), fit.build_strategy(strategy))
"""
_SAME_WEIGHTS = """
mirrored, single = trainer(config, "mirrored"), trainer(config, "default")
assert mirrored._strategy.num_replicas_in_sync == devices
for steps in (5, 14):  # The 14th batch has 48 examples, three quarters of the replicas' share.
    for one, two in zip(mirrored.weights_after(1, steps), single.weights_after(1, steps)):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
one, two = next(iter(mirrored.train([1]))), next(iter(single.train([1])))
assert np.mean(one.test.predicted == two.test.predicted) > 0.99
"""
_OWN_MODEL = """
import pathlib
from tests import own_models
file = pathlib.Path(own_models.__file__)
own = dict(model=f"{file}:subclassed", model_options={}, model_source=file.read_text())
config = dataclasses.replace(config, **own)
mirrored, single = trainer(config, "mirrored"), trainer(config, "default")
assert mirrored._strategy.num_replicas_in_sync == 2
for one, two in zip(mirrored.weights_after(1, 14), single.weights_after(1, 14)):
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
one, two = next(iter(mirrored.train([1]))), next(iter(single.train([1])))
assert np.mean(one.test.predicted == two.test.predicted) > 0.99
"""
_OF_KERAS = """
import pathlib
from tests.sources import random_dataset
from tests.tfmem.models import test_custom
file = pathlib.Path(test_custom.__file__)
own = dict(model=f"{file}:of_keras", model_options=dict(name="ConvNeXtTiny"))
config = dataclasses.replace(config, model_source=file.read_text(), batch_size=4, **own)
config = dataclasses.replace(config, base_learning_rate=0.001)
pictures = random_dataset(np.random.default_rng(0), (12, 6), (32, 32, 3))
mirrored, single = (trainer(config, name, pictures) for name in ("mirrored", "default"))
for one, two in zip(mirrored.weights_after(1, 2), single.weights_after(1, 2)):
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
"""
_SAME_WEIGHTS_AUGMENTED = """
config = dataclasses.replace(config, crop="padded", crop_padding=1, flip=True)
mirrored, single = trainer(config, "mirrored"), trainer(config, "default")
plain = trainer(dataclasses.replace(config, crop="none", crop_padding=0, flip=False), "default")
ours, theirs, others = (some.weights_after(1, 14) for some in (mirrored, single, plain))
for one, two in zip(ours, theirs):
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
assert np.abs(theirs[0] - others[0]).max() > 1e-3
"""
_SAME_ACCURACY = """
config = dataclasses.replace(batch_norm, epochs=8)
one = next(iter(trainer(config, "mirrored").train([0])))
two = next(iter(trainer(config, "default").train([0])))
assert min(one.test_accuracy, two.test_accuracy) > 0.93, (one.test_accuracy, two.test_accuracy)
assert abs(one.test_accuracy - two.test_accuracy) < 0.03
"""
_REPLICAS_LEFT_EMPTY = """
# 7 of 10 examples: in the last batch there is nothing for one replica. 10 and 541 examples are
# evaluated in batches that would leave replicas with nothing.
split, more = digits.train, digits.test
few = datasets.ArraySplit(split.labels[:10], split.ids[:10], split.images[:10])
odd = datasets.ArraySplit(
    np.append(more.labels, 0),
    np.append(more.ids, "again"),
    np.append(more.images, more.images[:1], 0),
)
dataset = dataclasses.replace(digits, train=few, test=odd)
some = trainer(dataclasses.replace(batch_norm, batch_size=devices, epochs=2), "mirrored", dataset)
trial = next(iter(some.train([0])))
for part, found in ((few, trial.train), (odd, trial.test)):
    logits = some.network(part.images.astype(np.float32) / 16, training=False).numpy()
    assert np.array_equal(found.predicted, logits.argmax(axis=1))
# Each replica keeps batch norm statistics of its own; in the end they agree.
(mean,) = [weight for weight in some.network.weights if "moving_mean" in weight.path]
shares = [share.numpy() for share in some._strategy.experimental_local_results(mean.value)]
assert len(shares) == devices and all(np.array_equal(share, shares[0]) for share in shares)
"""
_CONTINUES = """
import tempfile
from tests.interrupting import Interrupted, InterruptingCheckpoints
from tfmem.training.checkpoints import Checkpoints
config = dataclasses.replace(batch_norm, epochs=4)
folder = tempfile.mkdtemp()
some = trainer(config, "mirrored")
whole = next(iter(some.train([0])))
expected = some.network.get_weights()
try:
    next(iter(some.train([0], checkpoints=InterruptingCheckpoints(folder, after=2))))
except Interrupted:
    pass
continued = next(iter(some.train([0], checkpoints=Checkpoints(folder, "digest", 0))))
for one, two in zip(some.network.get_weights(), expected):
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
assert np.array_equal(continued.test.predicted, whole.test.predicted)
"""
_NETWORKS = """
problem = Problem(dataclasses.replace(batch_norm, epochs=1), digits)
some = fit.FitTrainer(problem, fit.build_strategy("mirrored"), keep_networks=True)
trial = next(iter(some.train([0])))
for found, expected in zip(trial.network.weights, some.network.get_weights(), strict=True):
    np.testing.assert_array_equal(found, expected)
next(iter(some.train([1])))
((predicted, probability),) = some.evaluate([trial.network])
assert np.array_equal(predicted, trial.test.predicted)
assert np.array_equal(probability, trial.test.label_probability)
"""
_FLOAT16 = """
config = dataclasses.replace(config, precision="mixed_float16")
mirrored, single = trainer(config, "mirrored"), trainer(config, "default")
for one, two in zip(mirrored.weights_after(1, 5), single.weights_after(1, 5)):
    np.testing.assert_allclose(one, two, rtol=0, atol=5e-4)
# One replica alone overflows: no replica takes the step, and all lower the scale.
@tf.function
def step():
    def replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        infinite = tf.where(number == 1, np.float32(np.inf), 0.0)
        variables = mirrored._network.trainable_variables
        gradients = [infinite + tf.zeros(variable.shape) for variable in variables]
        mirrored._model.optimizer.apply(gradients, variables)
    mirrored._strategy.run(replica)
before, optimizer = mirrored.network.get_weights(), mirrored._model.optimizer
step()
for one, two in zip(mirrored.network.get_weights(), before):
    np.testing.assert_array_equal(one, two)
shares = mirrored._strategy.experimental_local_results(optimizer.dynamic_scale.value)
assert [float(share) for share in shares] == [2.0**14] * 2, shares
"""
_WHOLE_BATCH = """
recipe = dict(l2=0.01, optimizer_options={"global_clipnorm": 0.2}, label_smoothing=0.1)
config = dataclasses.replace(config, schedule="constant", warmup_fraction=0.0, **recipe)
plain = trainer(dataclasses.replace(config, optimizer_options={}), "default").weights_after(1, 14)
config = dataclasses.replace(config, precision=precision)
mirrored, single = trainer(config, "mirrored"), trainer(config, "default")
close = 1e-6 if precision == "float32" else 1e-3
for one, two, other in zip(mirrored.weights_after(1, 14), single.weights_after(1, 14), plain):
    np.testing.assert_allclose(one, two, rtol=0, atol=close)
    assert np.abs(two - other).max() > 1e-3  # It was clipped.
"""
_CLIPPED = "precision = 'float32'" + _WHOLE_BATCH
_CLIPPED_FLOAT16 = "precision = 'mixed_float16'" + _WHOLE_BATCH
_TURNOVER = """
from tfmem.subsets import FixedSubset
from tfmem.training.turnover import TurnoverTrainer
everything = FixedSubset(np.ones(len(digits.train), bool))
problem = Problem(config, digits, everything, turnover=True)
mirrored, single = (
    TurnoverTrainer(problem, fit.build_strategy(name)) for name in ("mirrored", "default")
)
assert mirrored._strategy.num_replicas_in_sync == 2
# The 20th batch has 41 examples: they and their masks are spread together.
for one, two in zip(mirrored.weights_after(1, 20), single.weights_after(1, 20)):
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
"""
_UNEVEN = """
for batch in (66, 2):
    try:
        trainer(dataclasses.replace(config, batch_size=batch), "mirrored")
    except ValueError as error:
        assert f"{batch} cannot be spread evenly over {devices} replicas" in str(error), error
    else:
        raise AssertionError(f"a batch of {batch} over {devices} replicas")
"""


_SCRIPTS = {
    "weights": _SAME_WEIGHTS,
    "augmented": _SAME_WEIGHTS_AUGMENTED,
    "accuracy": _SAME_ACCURACY,
    "empty": _REPLICAS_LEFT_EMPTY,
    "continues": _CONTINUES,
    "float16": _FLOAT16,
    "clipped": _CLIPPED,
    "clipped_float16": _CLIPPED_FLOAT16,
    "turnover": _TURNOVER,
    "uneven": _UNEVEN,
    "own_model": _OWN_MODEL,
    "of_keras": _OF_KERAS,
    "networks": _NETWORKS,
}
_SLOW = ("augmented", "accuracy", "clipped_float16", "own_model", "of_keras")
# What is the same for two and for many is slow to trace on many.
_ON_FOUR = ("weights", "accuracy", "empty", "uneven")


def run(script, devices):
    # A thread for each replica: they wait for one another.
    environment = {**os.environ, "TF_NUM_INTEROP_THREADS": "8"}
    forked.run("-c", _DEVICES.format(devices) + script, env=environment)


@pytest.mark.parametrize("name", slow.some(_SCRIPTS, lambda name: name in _SLOW))
def test_replicas(name):
    run(_SCRIPTS[name], 4 if name in _ON_FOUR else 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", _ON_FOUR)
def test_eight_replicas(name):
    run(_SCRIPTS[name], 8)
