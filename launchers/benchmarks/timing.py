"""How benchmarks measure: seconds, ratios, and a process of its own for peak memory."""

import concurrent.futures
import dataclasses
import multiprocessing
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from tfmem.words import duration

T = TypeVar("T")
_ROOT = pathlib.Path(__file__).parents[2]  # Where `python -m` finds our programs, and no others.


def seconds(function: Callable[..., object], *args) -> float:
    """Returns how long a call takes."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def in_turn(measures: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Returns what each of some measures gives, taken in turn for so many rounds."""
    found = [{name: measure() for name, measure in measures.items()} for _ in range(rounds)]
    return {name: [values[name] for values in found] for name in measures}


def report(measures: Mapping[str, Callable[[], float]], rounds: int, per: str) -> None:
    """Measures in turn; prints each median and how many times longer than the first it took."""
    rows = in_turn(measures, rounds)
    first = next(iter(rows.values()))
    for name, row in rows.items():
        ratios = [other / own for other, own in zip(row, first, strict=True)]
        line = f"  {name:<58} {duration(statistics.median(row)):>8} {per}"
        if row is not first:
            line += f"  {statistics.median(ratios):6.1f} x ({min(ratios):.1f} to {max(ratios):.1f})"
        print(line, flush=True)


@dataclasses.dataclass(frozen=True)
class Cost:
    seconds: float
    peak_gib: float  # Of the whole process, its inputs included.


def alone(function: Callable[..., float], *args) -> Cost:
    """Runs a function that returns its own seconds in a process of its own."""
    return Cost(*result_and_peak(function, *args))


def result_and_peak(function: Callable[..., T], *args) -> tuple[T, float]:
    """Runs a function in a process of its own; returns its result and that process's peak GiB."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        result = pool.submit(function, *args).result()
        return result, pool.submit(peak_bytes).result() / 2**30


def peak_bytes() -> int:
    """Returns the peak memory of this process; Linux's ru_maxrss would count its parent's too."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].removesuffix("kB")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def program(name: str, *flags: str) -> Cost:
    """Runs a program as a user does, its output kept back; RuntimeError if it fails."""
    # From a small process: on Linux a child's ru_maxrss begins with what its parent had.
    return result_and_peak(_program, name, flags)[0]


def _program(name: str, flags: tuple[str, ...]) -> Cost:
    start = time.perf_counter()
    command = [sys.executable, "-m", name, *flags]
    done = subprocess.run(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stdout.strip().splitlines()[-1]}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # It is this process's only one.
    # Kibibytes on Linux, bytes on a Mac.
    return Cost(took, peak / (2**30 if sys.platform == "darwin" else 2**20))
