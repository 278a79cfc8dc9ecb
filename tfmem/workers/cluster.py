"""Trials on Ray: on every GPU of this machine, or of a cluster (the [cluster] extra).

Ray starts workers where there is room, spreads them, and starts them again when they die. Each
worker is a process that trains one trial (or one stack) after the other, whatever nobody else has
claimed, until none is left: it compiles once, and a machine that joins or leaves changes nothing
but the pace.
"""

import contextlib
import dataclasses
import functools
import logging as python_logging
import math
import os
import re
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from tfmem.disk import atomic
from tfmem.store.store import Store
from tfmem.workers import claims, logs
from tfmem.workers.launch import HOPELESS, HopelessError, Launch, Outcome
from tfmem.workers.logs import Failure, Logs

_POLL_SECONDS = 2.0
_LOOK_SECONDS = 10.0  # It looks into the store so often, and when a worker ends.
_SECONDS_TO_ANSWER = 10.0  # A cluster has so long.
_SECONDS_TO_STOP = 20.0  # Workers have so long to give their claims back.
_OBJECT_STORE_BYTES = 128 * 2**20  # Trials do not go through Ray: this is close to its minimum.
_LOOPBACK = "127.0.0.1"
# These make a Ray that is started here listen to this machine alone.
_OF_THIS_MACHINE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Training is what the machine is for.
}


@dataclasses.dataclass(frozen=True)
class WorkerResources:
    """What a worker takes of a machine.

    Attributes:
      gpus_per_trial: GPUs that train one trial together; None is one, or none where there is none.
      trials_per_gpu: workers that share a GPU, and its memory; None is one.
      cpus_per_trial: CPU cores; where there is no GPU, a worker computes on so many.
    """

    gpus_per_trial: int | None = None
    trials_per_gpu: int | None = None
    cpus_per_trial: int = 1

    def __post_init__(self):
        for name, count in dataclasses.asdict(self).items():
            if count is not None and count < 1:
                raise ValueError(f"--{name}={count}: expected at least 1")
        if self.gpus_per_trial and self.trials_per_gpu:
            raise ValueError(
                f"--gpus_per_trial={self.gpus_per_trial} and --trials_per_gpu="
                f"{self.trials_per_gpu} contradict each other: give one of them"
            )

    def of(self, resources: Mapping[str, float]) -> dict[str, float]:
        """Returns what a worker asks Ray for, on machines with these resources."""
        asked: dict[str, float] = {"num_cpus": self.cpus_per_trial}
        if resources.get("GPU", 0) or self.gpus_per_trial or self.trials_per_gpu:
            asked["num_gpus"] = (self.gpus_per_trial or 1) / (self.trials_per_gpu or 1)
        return asked

    def workers(self, resources: Mapping[str, float]) -> int:
        """Returns how many workers there is room for on one machine with these resources."""
        has, asked = _as_asked(resources), self.of(resources)
        return min(math.floor(has[name] / count + 1e-9) for name, count in asked.items())


@dataclasses.dataclass(frozen=True)
class Job:
    """How every worker trains.

    Attributes:
      make_trainer: returns what trains them, from how many CPU cores it may compute on (None: all).
      retries: how often a trial that failed is trained again.
      checkpoint_seconds: how much time passes between two checkpoints of a trial.
    """

    make_trainer: Callable[[int | None], Any]
    retries: int
    checkpoint_seconds: float


class _TryAgain(Exception):
    """A trial failed, and is to be tried again by a process that is not broken."""


def run(
    store: Store,
    job: Job,
    trials: Sequence[int],
    resources: WorkerResources,
    address: str | None,
    checking: Callable[[], contextlib.AbstractContextManager],
) -> Outcome:
    """Trains the trials on Ray and stores each one when it is finished.

    Args:
      store: where trials go.
      job: how workers train.
      trials: numbers of the store's trials that have to be trained.
      resources: what a worker takes.
      address: of a Ray cluster, or `auto` for the one that runs here; None starts a Ray of this
        machine alone, which listens to nobody else.
      checking: returns a context that is entered when Ray is there, and has set up how it handles
        signals. It yields what is called every two seconds; if that raises an exception, because
        the program was told to end, say, the workers give back their trials and end first.

    Raises:
      ValueError: Ray is not installed, cannot be reached or has no room for a worker; workers end
        before they train anything; or a worker says that the input is wrong.
      HopelessError: the first trials have all failed.
      OSError: the store cannot be read.
    """
    with _connected(address) as ray, checking() as check:
        has = ray.cluster_resources()
        if address is None and not resources.workers(has):
            raise ValueError(
                f"no worker has room here: each takes {_words(resources.of(has))}, and this "
                f"machine has {_words(_as_asked(has))}"
            )
        return _Driver(ray, store, job, trials, resources).run(check)


class _Driver:
    """Keeps as many workers as there is room for, until no trial is left."""

    def __init__(
        self, ray, store: Store, job: Job, trials: Sequence[int], resources: WorkerResources
    ):
        self._ray, self._store, self._job, self._resources = ray, store, job, resources
        self._logs = Logs(store.path / logs.FOLDER)
        self._name = uuid.uuid4().hex
        self._left = set(trials)
        self._damaged = self._left & set(store.numbers())
        self._failed: dict[int, Failure] = {}
        self._tasks: list = []
        self._crashes = 0
        self._any_stored = False
        self._watch: claims.Watch | None = None
        asked = resources.of(ray.cluster_resources())
        cores = None if "num_gpus" in asked else resources.cpus_per_trial
        self._worker = ray.remote(
            **asked,
            max_calls=1,  # Each has a fresh process: what broke may be the process.
            max_retries=max(job.retries, 1),
            retry_exceptions=[_TryAgain],
            scheduling_strategy="SPREAD",
        )(_work)
        self._how = cores, (resources.trials_per_gpu or 1) > 1

    def run(self, check: Callable[[], None]) -> Outcome:
        changed, next_look = True, 0.0
        try:
            while True:
                check()
                begin = time.monotonic()
                if changed or begin >= next_look:
                    free, elsewhere = self._look()
                    if self._is_done(free, elsewhere):
                        claims.remove_abandoned(self._store.path / claims.FOLDER)
                        return Outcome(self._failed, sorted(elsewhere))
                    self._submit(free)
                    # A slow file system is not kept busy by this.
                    next_look = begin + max(_LOOK_SECONDS, 20 * (time.monotonic() - begin))
                changed = self._wait()
        except BaseException:  # The workers give back their trials.
            for task in self._tasks:
                self._ray.cancel(task)
            if self._tasks:
                self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=_SECONDS_TO_STOP)
            raise

    def _is_done(self, free: set[int], elsewhere: set[int]) -> bool:
        """Returns whether what is left is in the living hands of others: see `Launch.rounds`."""
        if free or self._tasks or elsewhere != self._left:
            self._watch = None
            return False
        self._watch = self._watch or claims.Watch(self._store.path / claims.FOLDER)
        _, living = self._watch.look(elsewhere)
        return living == elsewhere

    def _look(self) -> tuple[set[int], set[int]]:
        """Returns which trials nobody trains, and which other launches train."""
        done = self._left & set(self._store.numbers())
        done -= self._store.damaged(done & self._damaged).keys()
        held = {claim.trial: claim for claim in claims.held(self._store.path / claims.FOLDER)}
        for failure in self._logs.failures():
            if failure.launch == self._name and failure.is_final and failure.trial in self._left:
                self._failed[failure.trial] = failure
        if done:
            self._crashes, self._any_stored = 0, True
        elif not self._any_stored and len(self._failed) >= HOPELESS:
            raise HopelessError(self._failed.values(), self._logs)
        self._left -= done | self._failed.keys()
        others = {trial for trial, claim in held.items() if claim.launch != self._name}
        return self._left - held.keys(), self._left & others

    def _capacity(self) -> int:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(map(self._resources.workers, nodes))

    def _submit(self, free: set[int]) -> None:
        # As many again wait: a cluster that grows on demand sees this as demand.
        wanted = min(len(free), 2 * max(self._capacity(), 1) - len(self._tasks))
        if wanted > 0:
            path = str(self._store.path)
            shared = self._ray.put((path, self._job, sorted(free), self._name, os.getcwd()))
            self._tasks += [self._worker.remote(shared, *self._how) for _ in range(wanted)]

    def _wait(self) -> bool:
        """Waits a little; returns whether a worker ended."""
        if not self._tasks:
            time.sleep(_POLL_SECONDS)
            return False
        done, self._tasks = self._ray.wait(self._tasks, timeout=_POLL_SECONDS)
        for task in done:
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)  # What the task raised, if it did.
                if isinstance(cause, ValueError | OSError):
                    raise cause from error
                if not isinstance(cause, _TryAgain):
                    self._crashed(error)
        return bool(done)

    def _crashed(self, error: Exception) -> None:
        self._crashes += 1
        logging.warning("a worker ended: %s", str(error).strip().splitlines()[-1])
        if self._crashes > 2 * max(self._capacity(), 1):
            printed = self._store.path / logs.FOLDER / "worker-*.log"
            raise ValueError(
                f"{self._crashes} workers ended one after the other and no trial was stored; the "
                f"last one: {error}; what they printed: {printed}"
            ) from error


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connects to a Ray cluster, or starts one on this machine; yields the module."""
    if address is None:
        os.environ.update(_OF_THIS_MACHINE)
    try:
        import ray
    except ImportError as error:
        raise ValueError('Ray is not installed: pip install -e ".[cluster]"') from error
    start = functools.partial(ray.init, log_to_driver=False, logging_level=python_logging.ERROR)
    if address is None:
        with _signals_kept_from_children():
            start("local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)
    else:
        try:
            _require_answer(address)
            start(address)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"--ray_address={address} cannot be reached: {reason}") from error
    try:
        if address is None and ray.util.get_node_ip_address() != _LOOPBACK:
            raise ValueError(
                f"Ray {ray.__version__} listens on {ray.util.get_node_ip_address()}, not on "
                f"{_LOOPBACK} alone: start it as you want it (ray start) and give --ray_address"
            )
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _signals_kept_from_children() -> Iterator[None]:
    """Lets processes that start in the context not hear what Slurm and terminals send to them all.

    The launcher hears it, and ends them in order.
    """
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _require_answer(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT: Ray itself would go on trying for minutes."""
    match = re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address)
    if match:
        socket.create_connection((match[1], int(match[2])), timeout=_SECONDS_TO_ANSWER).close()


def _as_asked(resources: Mapping[str, float]) -> dict[str, float]:
    return {"num_cpus": resources.get("CPU", 0), "num_gpus": resources.get("GPU", 0)}


def _words(asked: Mapping[str, float]) -> str:
    names = {"num_cpus": "CPU core", "num_gpus": "GPU"}
    parts = (f"{count:g} {names[name]}{'s' * (count != 1)}" for name, count in asked.items())
    return " and ".join(parts)


def _work(
    shared: tuple[str, Job, Sequence[int], str, str], cores: int | None, shares_gpu: bool
) -> None:
    """In a worker: trains trials until nobody else has left any, on the CPU if it has `cores`."""
    path, job, trials, name, folder = shared
    with contextlib.suppress(OSError):
        os.chdir(folder)  # Relative paths are those of the launcher, also of datasets.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if shares_gpu:
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    store = Store.open(path)
    launch = Launch(store, job.retries, job.checkpoint_seconds, name, leaves_retries=True)
    with _printing_to(store), launch:
        # Often nothing is left, and TensorFlow need not be imported.
        if launch.has_work(trials) and not launch.run(job.make_trainer(cores), trials):
            raise _TryAgain


@contextlib.contextmanager
def _printing_to(store: Store) -> Iterator[None]:
    """Lets what the process prints, TensorFlow's C++ included, go to a file in the store's logs."""
    folder = store.path / logs.FOLDER
    if not atomic.is_local(folder):
        yield
        return
    path = folder / f"worker-{socket.gethostname()}-{os.getpid()}.log"
    sys.stdout.flush()
    sys.stderr.flush()
    folder.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    with path.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, before in zip((1, 2), kept, strict=True):
            os.dup2(before, descriptor)
            os.close(before)
        with contextlib.suppress(FileNotFoundError):
            if not atomic.size_and_time(path)[0]:
                path.unlink()
