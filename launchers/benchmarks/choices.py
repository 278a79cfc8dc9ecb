"""Which way to train an experiment's trials is the fastest here: measured one after the other."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator

from launchers.benchmarks import speed
from launchers.benchmarks.speed import Speed
from tfmem.recipe import PRECISIONS, ExperimentConfig
from tfmem.training import trainers

_WORTH = 0.95  # What saves less than a twentieth of the time is left as it was.
_SHARING_A_GPU = (2, 4)
_PATIENCE = 600.0  # Seconds in which the slowest of those that are timed together has compiled.
_others = threading.Barrier(1)  # Where processes that are timed together wait for each other.


@dataclasses.dataclass(frozen=True)
class Choice:
    """A way to train trials.

    Attributes:
      config: what a trial is; of what is chosen here, its precision alone.
      options: how it is trained.
      processes: how many of them train side by side, each trials of its own.
      flags: what it adds to a command line, by name.
    """

    config: ExperimentConfig
    options: trainers.Options
    processes: int = 1
    flags: dict[str, str] = dataclasses.field(default_factory=dict)

    def with_flags(self, **flags: str) -> "Choice":
        return dataclasses.replace(self, flags={**self.flags, **flags})

    @property
    def words(self) -> list[str]:
        """The flags, as they are given; those without a value switch something on."""
        return [f"--{name}={value}" if value else f"--{name}" for name, value in self.flags.items()]


# Takes a choice, and the seconds of a trial or the reason why there are none.
Say = Callable[[Choice, float | str], None]


def fastest(config: ExperimentConfig, options: trainers.Options, data_dir: str | None, say: Say):
    """Returns the fastest choice: each kind of choice is made beside the best of those before it.

    Args:
      config: what a trial is.
      options: how it is trained where nothing is chosen.
      data_dir: where TFDS keeps its data; None is TFDS's own default.
      say: called with each choice when it is measured.

    Raises:
      ValueError: as `speed.measure`, of what was given.
    """
    best = Choice(config, options)
    first = measure(best, data_dir)
    seconds = first.trial_seconds
    say(best, seconds)
    for choices in (_steps, _precisions, _processes):
        base = best
        for choice in choices(base, first):
            try:
                found = measure(choice, data_dir).trial_seconds
            except (ValueError, RuntimeError, concurrent.futures.BrokenExecutor) as error:
                say(choice, str(error).strip().splitlines()[0])
                continue
            say(choice, found)
            if found < _WORTH * seconds:
                best, seconds = choice, found
    return best


def _steps(base: Choice, first: Speed) -> Iterator[Choice]:
    """Yields other ways to take steps: unstacked, and compiled by XLA."""
    options = base.options
    if first.trials_at_once > 1:
        options = dataclasses.replace(options, stack=trainers.STACK_NONE)
        base = dataclasses.replace(base, options=options).with_flags(stack=trainers.STACK_NONE)
        yield base
    if not options.jit_compile:
        options = dataclasses.replace(options, jit_compile=True)
        yield dataclasses.replace(base, options=options).with_flags(xla="")


def _precisions(base: Choice, first: Speed) -> Iterator[Choice]:
    for precision in PRECISIONS:
        # On CPUs float16 is emulated.
        if precision != base.config.precision and (first.gpus or precision != "mixed_float16"):
            config = dataclasses.replace(base.config, precision=precision)
            yield dataclasses.replace(base, config=config).with_flags(precision=precision)


def _processes(base: Choice, first: Speed) -> Iterator[Choice]:
    """Yields processes that share a GPU, or the cores where there is none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if first.gpus_per_trial > 1:
        return
    if first.gpus:
        for count in _SHARING_A_GPU:
            shared = base.with_flags(engine="ray", trials_per_gpu=str(count))
            yield dataclasses.replace(shared, processes=count)
    elif cores and cores > 1:
        options = dataclasses.replace(base.options, cores=1)
        shared = base.with_flags(engine="ray", cpus_per_trial="1")
        yield dataclasses.replace(shared, options=options, processes=cores)


def measure(choice: Choice, data_dir: str | None) -> Speed:
    """Measures a choice in processes of its own; of several it returns what they do together.

    Raises:
      ValueError: as `speed.measure`.
    """
    context = multiprocessing.get_context("spawn")
    count = choice.processes
    began = context.Barrier(count), count > 1
    with concurrent.futures.ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=began
    ) as pool:
        given = choice.config, data_dir, choice.options
        found = [
            future.result() for future in [pool.submit(_measure, *given) for _ in range(count)]
        ]
    seconds = sum(one.trial_seconds for one in found) / count**2
    return dataclasses.replace(found[0], trial_seconds=seconds)


def _begin(barrier: threading.Barrier, shares_gpu: bool) -> None:
    global _others
    _others = barrier
    if shares_gpu:
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"


def _measure(config: ExperimentConfig, data_dir: str | None, options: trainers.Options) -> Speed:
    try:
        return speed.measure(config, data_dir, options, lambda: _others.wait(_PATIENCE))
    except BaseException:
        _others.abort()  # The others do not wait for it.
        raise
