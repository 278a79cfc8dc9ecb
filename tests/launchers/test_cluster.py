"""Trials on Ray: real workers, one of them killed, on this machine and on a cluster."""

import importlib.util
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import forked
from tests.programs import ROOT, run_process, run_program
from tests.trials import assert_same_trial
from tfmem.store.store import Store
from tfmem.workers import claims
from tfmem.workers.cluster import WorkerResources

# Importing it would take a second, also where other tests are chosen.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install -e '.[cluster]'",
)
TRIALS = 4
MLP = ("--experiment=digits_mlp", "--stack=none")
FEW = (*MLP, "--epochs=2", "--trials=0:2", "--keep_networks")
FLAGS = (*MLP, "--epochs=12", f"--trials=0:{TRIALS}", "--keep_networks")
DEADLINE = 300  # Seconds: far longer than anything takes.


def start(store, *flags):
    command = [sys.executable, "-m", "launchers.train_trials", f"--store={store}", *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(process, found):
    """Returns what `found` does, once that is something; the process must not end before."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        result = found()
        if result:
            return result
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("nothing happened")


def held(store):
    """Returns the processes of the claims in a store, by trial."""
    return {claim.trial: claim.process for claim in claims.held(store / claims.FOLDER)}


def assert_tidy(store):
    """Asserts that nothing is left of claims, checkpoints and temporary files."""
    left = {entry.relative_to(store).parts[0] for entry in store.rglob("*") if entry.is_file()}
    assert left <= {"experiment.json", "dataset.tfrecord", "trials", "networks", "logs"}
    assert not list(store.rglob("*.tmp"))


def offspring(pid):
    """Returns a process and all that descend from it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found


def listening(pids):
    """Returns the addresses that processes listen on, as Linux writes them, by socket."""
    sockets = set()
    for pid in pids:
        try:
            for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
                sockets |= {match[1]} if match else set()
        except OSError:
            continue  # It has ended.
    addresses = {}
    for family in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                addresses[fields[9]] = fields[1].split(":")[0]
    return addresses


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def assert_as_alone(path, *flags):
    """Asserts that a store has what one process makes with the flags, trial after trial."""
    run_program("launchers.train_trials", f"--store={path.parent / 'alone'}", *flags)
    store, alone = Store.open(path), Store.open(path.parent / "alone")
    assert store.numbers() == alone.numbers()
    for trial in store.numbers():
        assert_same_trial(store.read(trial), alone.read(trial))
        kept, expected = (one.networks.read(one.read(trial)) for one in (store, alone))
        for found, weight in zip(kept.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(found, weight)
    assert_tidy(path)


def test_trials_on_ray_are_those_of_one_process(tmp_path):
    path = tmp_path / "store"
    flags = (*FEW, "--engine=ray", f"--cpus_per_trial={os.cpu_count()}")
    code = (
        "import os, runpy; print(os.getpid(), flush=True);"
        "runpy.run_module('launchers.train_trials', run_name='__main__', alter_sys=True)"
    )
    done = forked.run("-c", code, f"--store={path}", *flags)
    logs = [(path / f"logs/trial-{number:06d}.log").read_text() for number in range(2)]
    workers = {re.search(r", process (\d+)", log)[1] for log in logs}
    assert done.stdout.splitlines()[0] not in workers
    assert done.stdout.splitlines()[-1] == f"2 trials in {path}"
    assert "2 of 2 done, 0 running, 0 failed" in done.stderr
    assert_as_alone(path, *FEW)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/net/tcp").exists(), reason="it looks into /proc")
def test_a_worker_is_killed_in_the_midst_of_a_trial(tmp_path):
    path = tmp_path / "store"
    launched = start(path, *FLAGS, "--engine=ray", "--checkpoint_seconds=0")

    def is_saved(number):
        return (path / f"checkpoints/trial-{number:06d}/state.npz").exists()

    def stopped_in_the_midst():
        """Two processes that train stand still: a trial that is saved, its process, the other."""
        training = set(held(path).values())
        if len(training) < 2:
            return None
        for process in training:
            os.kill(process.pid, signal.SIGSTOP)
        found = held(path)
        for number, process in found.items():
            if is_saved(number) and set(found.values()) == training:
                (beside,) = training - {process}
                return number, process, beside
        for process in training:
            os.kill(process.pid, signal.SIGCONT)
        return None

    number, process, beside = wait_for(launched, stopped_in_the_midst)
    addresses = listening(offspring(launched.pid))
    os.kill(process.pid, signal.SIGKILL)
    # Whoever comes in its place trains before the one beside it goes on.
    wait_for(launched, lambda: set(held(path).values()) - {process, beside})
    os.kill(beside.pid, signal.SIGCONT)
    # All that Ray opens is for this machine alone: its own store, its scheduler, its workers.
    assert len(addresses) >= 4
    assert set(addresses.values()) <= LOOPBACK

    said, errors = launched.communicate(timeout=DEADLINE)
    assert launched.returncode == 0, errors
    assert f"{TRIALS} trials in" in said
    assert f"{TRIALS} of {TRIALS} done, 0 running, 0 failed" in errors
    assert_as_alone(path, *FLAGS)
    log = (path / f"logs/trial-{number:06d}.log").read_text()
    assert f"its process {process} ended without a word" in log
    assert [line for line in log.splitlines() if "attempt 2" in line]
    assert log.count("stored after") == 1
    done = run_program("launchers.check_store", f"--store={path}", f"--trials=0:{TRIALS}")
    assert f"{TRIALS} trials are there and sound" in done.stdout


@pytest.mark.slow
def test_sigterm_ends_workers_and_their_trials_go_on_later(tmp_path):
    path, alone = tmp_path / "store", tmp_path / "alone"
    flags = (*MLP, "--epochs=600", "--trials=0:3")  # So long that the signal is not late.
    launched = start(path, *flags, "--engine=ray", "--checkpoint_seconds=0")
    wait_for(launched, lambda: list((path / "checkpoints").glob("*/state.npz")))
    family = offspring(launched.pid)
    launched.send_signal(signal.SIGTERM)
    _, errors = launched.communicate(timeout=DEADLINE)
    assert launched.returncode == 143, errors
    assert errors.splitlines()[-1] == "terminated; the same command continues"
    assert list((path / claims.FOLDER).iterdir()) == []
    until = time.monotonic() + DEADLINE
    while any(pathlib.Path(f"/proc/{pid}").exists() for pid in family):
        assert time.monotonic() < until, "processes are left"
        time.sleep(0.1)
    assert not list(path.rglob("*.tmp"))
    for store in (path, alone):
        run_program("launchers.train_trials", f"--store={store}", *flags)
    for trial in range(3):
        assert_same_trial(Store.open(path).read(trial), Store.open(alone).read(trial))


@pytest.fixture(scope="module")
def made_up_gpus():
    """The address of a Ray cluster that believes in two GPUs."""
    code = (
        "import ray, sys; found = ray.init('local', num_cpus=2, num_gpus=2,"
        "object_store_memory=2**27, include_dashboard=False, logging_level='ERROR');"
        "print(found.address_info['address'], flush=True); sys.stdin.read()"
    )
    # Newer Rays ask who connects for a token.
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secret.items():
            patch.setenv(name, value)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        yield process.stdout.readline().strip()
        process.communicate()


@pytest.mark.slow
def test_a_trial_that_fails_is_retried_and_reported_and_the_others_go_on(tmp_path, made_up_gpus):
    """On a cluster, with GPUs of Ray's that TensorFlow does not see."""
    path = tmp_path / "store"
    flags = ("--experiment=digits_mlp", "--stack=none", "--epochs=2", "--trials=0:4")
    flags = (f"--store={path}", *flags, "--engine=ray", f"--ray_address={made_up_gpus}")
    in_the_way = path / "checkpoints" / "trial-000001"  # A file where a folder has to be.
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_bytes(b"")
    done = run_process("launchers.train_trials", *flags, "--retries=1", check=False)
    assert done.returncode == 1, done.stderr
    log = path / "logs" / "trial-000001.log"
    assert f"trial 1 failed after 2 attempts: [Errno 20] Not a directory: '{in_the_way}" in (
        done.stderr
    )
    assert f"; log: {log}" in done.stderr
    assert "3 of 4 trials in" in done.stdout
    text = log.read_text()
    for attempt in (1, 2):
        assert re.search(rf"attempt {attempt}, host \S+, process \d+, GPUs [01]\n", text)
    assert text.count("NotADirectoryError") >= 2
    assert Store.open(path).numbers() == [0, 2, 3]
    said = run_program("launchers.check_store", f"--store={path}", "--trials=0:4", check=False)
    assert said.returncode == 1
    assert "1 of 4 are missing: 1" in said.stdout
    in_the_way.unlink()
    done = run_process("launchers.train_trials", *flags)
    assert "4 trials in" in done.stdout
    assert_tidy(path)
    assert not list((path / "logs").glob("*.failed"))


def test_worker_resources():
    machine = {"CPU": 96.0, "GPU": 8.0}
    assert WorkerResources().workers(machine) == 8
    assert WorkerResources().of(machine) == {"num_cpus": 1, "num_gpus": 1}
    assert WorkerResources(gpus_per_trial=8).workers(machine) == 1
    # GPUs that are asked for are waited for: a cluster may grow on demand.
    assert WorkerResources(gpus_per_trial=8).of({"CPU": 16.0}) == {"num_cpus": 1, "num_gpus": 8}
    assert WorkerResources(gpus_per_trial=8).workers({"CPU": 16.0}) == 0
    assert WorkerResources(gpus_per_trial=1).of({}) == {"num_cpus": 1, "num_gpus": 1}
    assert WorkerResources(gpus_per_trial=3).workers(machine) == 2
    assert WorkerResources(trials_per_gpu=4).workers(machine) == 32
    assert WorkerResources(trials_per_gpu=10).workers({"CPU": 96.0, "GPU": 1.0}) == 10
    assert WorkerResources(trials_per_gpu=4).of(machine) == {"num_cpus": 1, "num_gpus": 0.25}
    assert WorkerResources(trials_per_gpu=4, cpus_per_trial=6).workers(machine) == 16
    assert WorkerResources(cpus_per_trial=6).workers({"CPU": 16.0}) == 2
    assert WorkerResources(cpus_per_trial=6).of({"CPU": 16.0}) == {"num_cpus": 6}
    with pytest.raises(ValueError, match=r"--gpus_per_trial=8 and --trials_per_gpu=2 contradict"):
        WorkerResources(gpus_per_trial=8, trials_per_gpu=2)


@pytest.mark.slow
def test_no_room_and_no_cluster_are_one_line(tmp_path):
    flags = ("--experiment=digits_mlp", f"--store={tmp_path / 'store'}", "--engine=ray")
    done = run_process("launchers.train_trials", *flags, "--cpus_per_trial=999", check=False)
    assert done.returncode == 2
    said = "error: no worker has room here: each takes 999 CPU cores, and this machine has"
    assert done.stderr.splitlines()[-1].startswith(said)
    done = run_process("launchers.train_trials", *flags, "--ray_address=127.0.0.1:1", check=False)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == (
        "error: --ray_address=127.0.0.1:1 cannot be reached: [Errno 111] Connection refused"
    )


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # Importing it fails.
    words = ["--experiment=digits_mlp", f"--store={tmp_path / 'store'}", "--engine=ray"]
    done = run_program("launchers.train_trials", *words, check=False)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == 'error: Ray is not installed: pip install -e ".[cluster]"'
