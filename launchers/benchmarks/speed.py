"""How long a trial of an experiment takes here, from some steps of it and some evaluation."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from launchers.benchmarks import operations, timing
from launchers.benchmarks.operations import Operations
from tfmem import datasets
from tfmem.datasets import ArrayDataset, ImageDataset, Split, StreamedDataset
from tfmem.datasets.stream import ImageStream
from tfmem.recipe import ExperimentConfig
from tfmem.subsets import FixedSubset
from tfmem.training import trainers
from tfmem.training.checkpoints import Checkpoints
from tfmem.training.failures import succeeded
from tfmem.training.protocol import Trainer

if TYPE_CHECKING:
    import tensorflow as tf

    from tfmem.training.problem import Problem

# What is timed is so small that it takes about so long, at the share of the machine's products that
# convolutional networks reach.
_SHARE = 0.5
_STEP_SECONDS = 1.0
_TRAINING_SECONDS = 6.0
_EVALUATION_SECONDS = 2.0
_LEAST_SECONDS = 6.0  # What takes less is timed again and again for so long.
_EPOCHS = 3  # The first tells what it costs to begin.
_FEWEST_STEPS = 2  # Of an epoch: a trainer compiles on so many.
_RATE = 1e-6  # Nothing diverges at it.


@dataclasses.dataclass(frozen=True)
class Rate:
    """How fast examples go through training, or through evaluation.

    Attributes:
      examples: a second, of all trials that are in training at once.
      share: of this machine's rate of matrix products.
    """

    examples: float
    share: float


@dataclasses.dataclass(frozen=True)
class Speed:
    """What was measured of an experiment.

    Attributes:
      trial_seconds: what a trial takes, as its share of those that are in training at once;
        compilation is not in it.
      compile_seconds: what compilation takes, once for all trials of a process.
      training: of its steps.
      evaluation: of its predictions.
      products: this machine's rate of matrix products, in operations a second.
      batch_size: of the steps that were timed: the experiment's, or less where a step is long.
      trials_at_once: how many are in training at once: a stack or more, or 1.
      gpus: of this machine.
      gpus_per_trial: that train a trial together, or 0 where there is none.
      peak_gib: of the process's memory.
      gpu_peak_gib: of the first GPU's memory, or None.
    """

    trial_seconds: float
    compile_seconds: float
    training: Rate
    evaluation: Rate
    products: float
    batch_size: int
    trials_at_once: int
    gpus: int
    gpus_per_trial: int
    peak_gib: float
    gpu_peak_gib: float | None


@dataclasses.dataclass(frozen=True)
class Size:
    """What decides how much is timed.

    Attributes:
      counted: what an example costs.
      rate: operations a second of one trial, about.
      evaluated_at_once: examples of an evaluation batch, which stays as large as it is.
    """

    counted: Operations
    rate: float
    evaluated_at_once: int


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of an experiment that is timed.

    Attributes:
      config: at a rate at which nothing diverges, with few epochs, and with smaller batches if a
        step is long.
      dataset: the first examples of both splits.
      subset: bool, which of the training examples are trained on.
    """

    config: ExperimentConfig
    dataset: ImageDataset
    subset: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Round:
    """Seconds of trials that are trained at once: before they train, an epoch, evaluation."""

    begin: float
    epoch: float
    evaluation: float


class _Clock(Checkpoints):
    """Notes when epochs end; nothing is saved."""

    def __init__(self):
        self.ends: list[float] = []

    def begin(self, trial: int) -> None:
        return None

    def is_due(self, trial: int) -> bool:
        self.ends.append(time.perf_counter())
        return False


class _Beginning(ImageStream):
    """As many images of a stream as are timed, read as the others are."""

    def __init__(self, stream: ImageStream, counts: dict[str, int], kept: np.ndarray):
        self.image_shape, self.identity = stream.image_shape, stream.identity
        self._stream, self._counts, self._kept = stream, counts, kept

    def read(
        self, split: str, seed: int | None = None, keep: np.ndarray | None = None
    ) -> "tf.data.Dataset":
        # A subset of the beginning is rare among all files, so that images of all of them are
        # taken for it: whose they are costs nothing.
        whole = self._stream.read(split, seed, None if keep is None else self._kept)
        count = self._counts[split]
        taken = whole.take(count if keep is None else int(keep.sum()))
        return taken.map(lambda index, encoded: (index % count, encoded))


def measure(
    config: ExperimentConfig,
    data_dir: str | None,
    options: trainers.Options,
    ready: Callable[[], Any] = lambda: None,
) -> Speed:
    """Measures an experiment, in a process that has only just begun.

    Args:
      config: what a trial is.
      data_dir: where TFDS keeps its data; None is TFDS's own default.
      options: how it is trained.
      ready: called when all is compiled; others may be waited for in it.

    Raises:
      ValueError: as `trainers.load_trainer`.
    """
    trainers.begin(options.cores)
    import tensorflow as tf

    from tfmem.training import feeds
    from tfmem.training.problem import Problem

    dataset = datasets.load_for(config, data_dir)
    gpus = len(tf.config.list_logical_devices("GPU"))
    products = operations.products(config.precision)
    if gpus:
        tf.config.experimental.reset_memory_stats("GPU:0")
    problem = Problem(config, dataset)
    network = problem.build_model()
    counted = operations.count(network)
    size = Size(counted, _SHARE * products, feeds.evaluated_at_once(network))
    part, trainer = _prepared(problem, size, options)
    trials = range(trainer.batch_of_trials)
    compile_seconds = timing.seconds(trainer.warm_up, trials)
    ready()
    taken = _rounds(trainer, trials)

    in_part, in_all = (len(given.train) + len(given.test) for given in (part.dataset, dataset))
    training = len(trials) * int(part.subset.sum()) / taken.epoch
    evaluation = len(trials) * in_part / taken.evaluation
    examples = config.epochs * problem.subset_size
    left_out = _image_bytes(dataset) - _image_bytes(part.dataset)
    on_gpu = tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else None
    return Speed(
        trial_seconds=taken.begin / len(trials) + examples / training + in_all / evaluation,
        compile_seconds=compile_seconds,
        training=Rate(training, training * counted.training / products),
        evaluation=Rate(evaluation, evaluation * counted.evaluation / products),
        products=products,
        batch_size=part.config.batch_size,
        trials_at_once=len(trials),
        gpus=gpus,
        gpus_per_trial=gpus if trainers.is_mirrored(dataset, options) else min(gpus, 1),
        peak_gib=(timing.peak_bytes() + left_out) / 2**30,
        gpu_peak_gib=None if on_gpu is None else (on_gpu + left_out) / 2**30,
    )


def _prepared(problem: "Problem", size: Size, options: trainers.Options) -> tuple[Part, Trainer]:
    """Returns what is timed, and its trainer."""

    def prepared(size: Size) -> tuple[Part, Trainer]:
        part = cut(problem.config, problem.dataset, problem.subset(0), size)
        subset = FixedSubset(part.subset)
        return part, trainers.make_trainer(part.config, part.dataset, options, subset)

    part, trainer = prepared(size)
    if trainer.batch_of_trials > 1:  # They share the time.
        return prepared(dataclasses.replace(size, rate=size.rate / trainer.batch_of_trials))
    return part, trainer


def cut(config: ExperimentConfig, dataset: ImageDataset, subset: np.ndarray, size: Size) -> Part:
    """Returns what is timed of an experiment: all of it, if it is small.

    Args:
      config: what a trial is.
      dataset: of the experiment.
      subset: bool [n], that of a trial.
      size: what decides how much is timed.
    """
    n, m = len(dataset.train), int(subset.sum())
    step_seconds = config.batch_size * size.counted.training / size.rate
    batch_size = max(1, math.floor(config.batch_size / max(1.0, step_seconds / _STEP_SECONDS)))
    affordable = _TRAINING_SECONDS * size.rate / size.counted.training / _EPOCHS
    kept = min(m, batch_size * max(_FEWEST_STEPS, int(affordable / batch_size)))
    # Batches as even as those of the whole.
    evaluated = math.ceil(n / math.ceil(n / size.evaluated_at_once))
    wanted = max(kept, _EVALUATION_SECONDS * size.rate / size.counted.evaluation)
    counts = {
        "train": min(n, evaluated * math.ceil(wanted / evaluated)),
        "test": min(len(dataset.test), evaluated),
    }
    if counts["train"] == n:
        counts["test"] = len(dataset.test)
    cut_config = dataclasses.replace(
        config,
        epochs=_EPOCHS,
        batch_size=batch_size,
        base_learning_rate=_RATE,
        schedule="constant",
        warmup_fraction=0.0,
        warmup_epochs=0,
        decay_epochs=(),
        decay_factor=0.0,
    )
    if kept == m and counts["train"] == n:
        return Part(cut_config, dataset, subset)
    return Part(cut_config, _first(dataset, counts, subset), np.arange(counts["train"]) < kept)


def _first(dataset: ImageDataset, counts: dict[str, int], kept: np.ndarray) -> ImageDataset:
    """Returns a dataset of the first examples of both splits."""
    if isinstance(dataset, ArrayDataset):
        arrays = {name: getattr(dataset, name).take(slice(k)) for name, k in counts.items()}
        return dataclasses.replace(dataset, **arrays)
    train, test = (
        Split(split.labels[:count], split.ids[:count])
        for split, count in ((dataset.train, counts["train"]), (dataset.test, counts["test"]))
    )
    stream = _Beginning(dataset.stream, counts, kept)
    names = dataset.class_names
    return StreamedDataset(dataset.name, train, test, names, dataset.pixel_max, stream=stream)


def _image_bytes(dataset: ImageDataset) -> int:
    if not isinstance(dataset, ArrayDataset):
        return 0
    return dataset.train.images.nbytes + dataset.test.images.nbytes


def _rounds(trainer: Trainer, trials: range) -> _Round:
    """Returns the median of what is measured in some seconds, of each part."""
    rounds: list[_Round] = []
    start = time.perf_counter()
    while not rounds or time.perf_counter() - start < _LEAST_SECONDS:
        rounds.append(_round(trainer, trials))
    # XLA compiles a short last batch in the first.
    rounds = rounds[1:] if len(rounds) > 2 else rounds
    columns = zip(*map(dataclasses.astuple, rounds), strict=True)
    return _Round(*map(statistics.median, columns))


def _round(trainer: Trainer, trials: range) -> _Round:
    clock, told = _Clock(), list[float]()
    start = time.perf_counter()
    for _ in succeeded(trainer.train(trials, lambda work: told.append(time.perf_counter()), clock)):
        pass
    end = time.perf_counter()
    # A stack tells its progress at the end of an epoch, and saves nothing.
    ends = clock.ends or told
    together = len(ends) // _EPOCHS
    first, last = ends[together - 1], ends[-1]
    epoch = (last - first) / (_EPOCHS - 1)
    return _Round(max(0.0, first - start - epoch), epoch, end - last)
