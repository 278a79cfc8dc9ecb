"""Whether a launch on Ray leaves trials to nobody; here its tasks run where they are asked for."""

import time
import types

import pytest

from tests import racing
from tests.interrupting import claimed_elsewhere
from tfmem.store.store import Store
from tfmem.workers import claims, cluster
from tfmem.workers.cluster import Job, WorkerResources


class Ray:
    """Has one CPU core, and does at once what it is asked for."""

    def cluster_resources(self):
        return {"CPU": 1.0}

    def nodes(self):
        return [{"Resources": self.cluster_resources(), "Alive": True}]

    def put(self, value):
        return value

    def remote(self, **options):
        return lambda work: types.SimpleNamespace(remote=work)

    def wait(self, tasks, timeout):
        return tasks, []

    def get(self, task):
        return task


@pytest.fixture
def driver(tmp_path, tiny, tiny_config, monkeypatch):
    monkeypatch.setattr(claims, "_CONFIRM_SECONDS", 0)
    monkeypatch.setattr(cluster, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(cluster, "_POLL_SECONDS", 0.05)
    store = Store.create(tmp_path / "store", tiny_config, tiny)
    job = Job(lambda cores: racing.Trainer(tiny, seconds=0), retries=0, checkpoint_seconds=60)
    return cluster._Driver(Ray(), store, job, range(3), WorkerResources()), store


def test_a_trial_of_a_machine_that_is_lost_is_trained_when_its_claim_lapses(driver):
    launch, store = driver
    claimed_elsewhere(store.path, 1, claims.LEASE_SECONDS - 1.2)
    outcome = launch.run(lambda: None)
    assert (outcome.failed, outcome.elsewhere) == ({}, [])
    assert store.numbers() == [0, 1, 2]
    assert list((store.path / claims.FOLDER).iterdir()) == []


def test_trials_of_another_machine_that_renews_are_left_to_it(driver):
    launch, store = driver
    begin = time.monotonic()
    claimed_elsewhere(store.path, 1, 100)

    def another_works():
        if time.monotonic() - begin > 0.3:
            claimed_elsewhere(store.path, 1, 90)

    outcome = launch.run(another_works)
    assert outcome.elsewhere == [1]
    assert store.numbers() == [0, 2]
