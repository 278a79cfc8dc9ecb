"""What `benchmark --experiment` says, without asking how long anything takes."""

import dataclasses
import os
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from launchers.benchmarks import choices, operations, speed
from launchers.benchmarks.choices import Choice
from launchers.benchmarks.operations import Operations
from launchers.benchmarks.speed import Rate, Speed
from tests.programs import run_process, run_program
from tests.sources import random_dataset
from tfmem import datasets, experiments
from tfmem.datasets.stream import ImageStream
from tfmem.subsets import FixedSubset, RandomSubsets
from tfmem.training import stacked, trainers

# Of 8 x 8 positions, 7 filters of 3 x 3 x 5, a multiplication and an addition each.
_CONVOLUTION = 2 * 8 * 8 * 7 * 3 * 3 * 5


def counted(*layers, inputs=(8, 8, 5)):
    return operations.count(keras.Sequential([keras.Input(inputs), *layers]))


def convolution(filters=7):
    return keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)


def test_operations_of_a_convolution_by_hand():
    """Backwards, the first layer has the gradient of its filters alone, others that of inputs."""
    assert counted(convolution()).evaluation == _CONVOLUTION
    # What adds up the outputs is in it too: 448 of them.
    assert counted(convolution()).training == pytest.approx(2 * _CONVOLUTION, rel=0.02)
    two = counted(convolution(), convolution(5))
    assert two.evaluation == 2 * _CONVOLUTION
    assert two.training == pytest.approx((2 + 3) * _CONVOLUTION, rel=0.02)


def test_operations_of_a_dense_layer_by_hand():
    found = counted(keras.layers.Dense(11, use_bias=False), inputs=(6,))
    assert found.evaluation == 2 * 6 * 11
    with_bias = counted(keras.layers.Dense(11), inputs=(6,))
    assert with_bias.evaluation == 2 * 6 * 11 + 11


@pytest.fixture(scope="module")
def big():
    """1,000 training and 100 test examples of three classes."""
    return random_dataset(np.random.default_rng(0), (1000, 100), (2, 2, 1))


def size(training, evaluation, at_once=8192):
    """As if the machine made one operation a second."""
    return speed.Size(Operations(training, evaluation), 1.0, at_once)


def cut(config, dataset, size):
    subset = RandomSubsets(len(dataset.train), config.subset_ratio, config.seed).mask(0)
    return speed.cut(config, dataset, subset, size)


def test_a_small_experiment_is_timed_whole(big, tiny_config):
    config = dataclasses.replace(tiny_config, batch_size=32, weight_decay=0.0)
    part = cut(config, big, size(1e-6, 1e-6))
    assert part.dataset is big
    assert part.subset.sum() == round(1000 * config.subset_ratio)
    assert part.config.batch_size == 32


def test_of_a_large_one_steps_and_batches_are_as_long(big, tiny_config):
    """6 s of training and 2 s of evaluation: 3 epochs of 200 examples, 200 examples."""
    config = dataclasses.replace(tiny_config, batch_size=32)
    part = cut(config, big, size(0.01, 0.01, at_once=50))
    assert part.config.batch_size == 32
    assert part.subset.sum() == 6 * 32
    assert len(part.dataset.train) == 200
    assert len(part.dataset.test) == 50
    np.testing.assert_array_equal(part.dataset.train.images, big.train.images[:200])


def test_batches_that_take_long_are_smaller(big, tiny_config):
    """A step of 32 examples would take 3.2 s: batches of 10 take 1 s, and two are an epoch."""
    part = cut(dataclasses.replace(tiny_config, batch_size=32), big, size(0.1, 0.05))
    assert part.config.batch_size == 10
    assert part.subset.sum() == 20


class Stream(ImageStream):
    image_shape, identity = (4, 4, 3), "test"

    def __init__(self):
        pass

    def read(self, split, seed=None, keep=None):
        count = {"train": 1000, "test": 100}[split]
        kept = np.arange(count) if keep is None else np.flatnonzero(keep)
        picture = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8))
        return tf.data.Dataset.from_tensor_slices(kept).map(lambda index: (index, picture))


def test_a_stream_is_read_in_part(big, tiny_config):
    train, test = big.train.without_images(), big.test.without_images()
    streamed = datasets.StreamedDataset("s", train, test, big.class_names, 255, stream=Stream())
    config = dataclasses.replace(tiny_config, batch_size=32)
    part = cut(config, streamed, size(0.01, 0.01, at_once=50))
    stream = part.dataset.stream
    trained = [int(index) for index, _ in stream.read("train", 0, part.subset)]
    assert len(trained) == part.subset.sum() == 6 * 32
    assert max(trained) < len(part.dataset.train) == 200
    assert [int(index) for index, _ in stream.read("test")] == list(range(50))


class Timed:
    """A clock, and a trainer that moves it: 2 s to begin, 3 epochs of 5 s, 7 s of evaluation."""

    batch_of_trials = 1

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(speed.time, "perf_counter", lambda: self.now)

    def train(self, trials, progress, checkpoints):
        for trial in trials:
            checkpoints.begin(trial)
            self.now += 2
            for _ in range(3):
                self.now += 5
                progress(0.1)
                assert not checkpoints.is_due(trial)
            self.now += 7
            progress(0.1)
            yield None


def test_what_a_round_took(monkeypatch):
    found = speed._round(Timed(monkeypatch), range(1))
    assert dataclasses.astuple(found) == (2, 5, 7)


def test_a_stack_is_timed_by_its_epochs(tiny, tiny_config, monkeypatch):
    """Two stacks of two trials tell their progress epoch by epoch, and nothing else."""
    config = dataclasses.replace(tiny_config, epochs=3)
    subset = FixedSubset(np.arange(21) < 15)
    trainer = trainers.make_trainer(config, tiny, trainers.Options(stack=2, cores=2), subset)
    assert isinstance(trainer, stacked.StackedTrainer)
    told = []
    list(trainer.train(range(4), told.append))
    assert len(told) == 2 * 3
    assert min(dataclasses.astuple(speed._round(trainer, range(4)))[1:]) > 0


@pytest.mark.parametrize("stack", ["--stack=auto", "--stack=none"])
def test_what_is_said_adds_up(stack, monkeypatch):
    monkeypatch.setattr(speed, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(operations, "_LONG_ENOUGH", 0.0)
    words = "launchers.benchmark", "--experiment=digits_mlp", "--epochs=2", stack
    said = run_program(*words).stdout
    trial = float(re.search(r"digits_mlp: (\S+) s a trial", said)[1])
    hourly = float(re.search(r"([\d,]+) trials an hour", said)[1].replace(",", ""))
    assert hourly * trial == pytest.approx(3600, rel=0.02)
    # 2 epochs of 880 examples, and 1,797 that are evaluated, take no longer than a trial.
    training, evaluation = (
        float(re.search(rf"{what}\s+([\d,]+)\s+\d+%", said)[1].replace(",", ""))
        for what in ("training", "evaluation")
    )
    assert 1760 / training + 1797 / evaluation <= trial * 1.01
    assert "billion operations a second" in said
    assert "GiB" in said
    assert "GPU" not in said  # Nothing is said of GPUs where none was measured.


def found(seconds, stack=1, gpus=0):
    rate = Rate(1.0, 1.0)
    return Speed(seconds, 1.0, rate, rate, 1.0, 64, stack, gpus, min(gpus, 1), 1.0, None)


def fastest(monkeypatch, times, **first):
    """Chooses with these seconds by flags; returns the best's flags, and what was said."""

    def measure(choice, data_dir):
        seconds = times[" ".join(choice.words)]
        if isinstance(seconds, str):
            raise ValueError(seconds)
        return found(seconds, **first)

    said = []
    monkeypatch.setattr(choices, "measure", measure)
    monkeypatch.setattr(choices.os, "sched_getaffinity", lambda pid: range(4), raising=False)
    best = choices.fastest(
        experiments.get("digits_mlp"),
        trainers.Options(),
        None,
        lambda choice, seconds: said.append((" ".join(choice.words), seconds)),
    )
    assert dict(said) == times
    return best


def test_each_choice_is_made_beside_the_best_before_it(monkeypatch):
    best = fastest(
        monkeypatch,
        {
            "": 10.0,
            "--stack=none": 30.0,
            "--stack=none --xla": 8.0,
            "--stack=none --xla --precision=mixed_bfloat16": 9.0,
            "--stack=none --xla --engine=ray --cpus_per_trial=1": 4.0,
        },
        stack=8,
    )
    assert best.processes == 4
    assert best.options == trainers.Options(stack="none", jit_compile=True, cores=1)
    assert best.config == experiments.get("digits_mlp")


def test_what_gains_little_or_cannot_be_is_not_chosen(monkeypatch):
    best = fastest(
        monkeypatch,
        {
            "": 10.0,
            "--xla": 9.6,
            "--precision=mixed_bfloat16": "no such thing here",
            "--precision=mixed_float16": 5.0,
            "--precision=mixed_float16 --engine=ray --trials_per_gpu=2": 4.9,
            "--precision=mixed_float16 --engine=ray --trials_per_gpu=4": 6.0,
        },
        gpus=1,
    )
    assert best.words == ["--precision=mixed_float16"]
    assert best.config.precision == "mixed_float16"


@pytest.mark.slow
def test_processes_side_by_side_each_train_their_own(monkeypatch, tmp_path):
    """Two processes whose trial takes 3 s make one in 1.5 s."""
    monkeypatch.setattr(choices, "_measure", _three_seconds)
    choice = Choice(experiments.get("digits_mlp"), trainers.Options(), processes=2)
    assert choices.measure(choice, str(tmp_path)).trial_seconds == 1.5
    assert len(list(tmp_path.iterdir())) == 2


def _three_seconds(config, data_dir, options):
    choices._others.wait(60)  # So that none of them is there alone.
    pathlib.Path(data_dir, str(os.getpid())).touch()
    return found(3.0)


@pytest.mark.slow
def test_the_fastest_command_runs(tmp_path):
    words = "launchers.benchmark", "--experiment=digits_mlp", "--epochs=2", "--try"
    said = run_process(*words).stdout
    command = re.search(r"the fastest: tfmem train_trials (.*) --store=STORE", said)[1].split()
    assert "--epochs=2" in command
    assert "--try" not in command
    rows = re.findall(r"^  (.+?)\s+(\S+) s a trial\s+(\S+) x$", said, re.M)
    assert [row[0] for row in rows][:3] == ["as given", "--stack=none", "--stack=none --xla"]
    assert rows[0][2] == "1.00"
    done = run_process(
        "launchers.train_trials", *command, "--trials=0:2", f"--store={tmp_path / 'store'}"
    )
    assert "2 trials" in done.stdout
