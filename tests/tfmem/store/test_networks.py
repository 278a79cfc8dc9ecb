"""Networks beside trials: written before them, read if they are theirs."""

import dataclasses
import shutil

import numpy as np
import pytest

from tests.interrupting import kill_everywhere
from tests.trials import assert_same_trial, random_trial
from tfmem.store.errors import DamagedFileError, StoreError
from tfmem.store.store import Store
from tfmem.store.trials import Network


def with_network(trial, seed=0):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(16, 8)).astype(np.float32), np.array(3, np.int64)]
    weights += [rng.normal(size=4).astype(np.float16), np.zeros((0, 2))]
    return dataclasses.replace(trial, network=Network(weights, stacked=True, jit_compile=False))


def assert_same_network(a, b):
    assert (a.stacked, a.jit_compile) == (b.stacked, b.jit_compile)
    for found, expected in zip(a.weights, b.weights, strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.fixture
def trial(tiny, rng):
    return with_network(random_trial(3, tiny, rng))


@pytest.fixture
def store(tmp_path, tiny, tiny_config, trial):
    made = Store.create(tmp_path / "store", tiny_config, tiny, ["train_trials"])
    assert made.write(trial)
    return made


def test_a_network_as_it_was(store, trial):
    assert_same_network(store.networks.read(store.read(3)), trial.network)
    with np.load(store.path / "networks" / "trial-000003.npz", allow_pickle=False) as found:
        assert found["trial"] == 3
        assert found["count"] == 4
        np.testing.assert_array_equal(found["weight_0"], trial.network.weights[0])
    kept = store.networks.check(store.read(3))
    assert kept.shapes == ((16, 8), (), (4,), (0, 2))
    assert kept.size == len((store.path / "networks" / "trial-000003.npz").read_bytes())
    assert store.networks.numbers() == {3}


def test_a_trial_without_a_network(store, tiny, rng):
    store.write(random_trial(5, tiny, rng, with_predictions=False))
    assert store.networks.numbers() == {3}
    with pytest.raises(StoreError, match="has no network of trial 5"):
        store.networks.read(store.read(5))


def test_a_stored_trial_keeps_its_network(store, trial, tiny):
    """Who comes second has another network, which is not written."""
    other = with_network(random_trial(3, tiny, np.random.default_rng(9)), seed=1)
    assert not store.write(other)
    assert_same_network(store.networks.read(store.read(3)), trial.network)


def test_whenever_it_is_killed_a_stored_trial_has_its_network(tmp_path, tiny, tiny_config, trial):
    def begin():
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        return Store.create(tmp_path / "store", tiny_config, tiny)

    def then(store):
        if store.has(3):
            assert_same_network(store.networks.read(store.read(3)), trial.network)
        again = Store.create(tmp_path / "store", tiny_config, tiny)
        again.write(trial)
        assert_same_trial(again.read(3), trial)
        assert_same_network(again.networks.read(again.read(3)), trial.network)
        left = sorted(path.name for path in (tmp_path / "store").rglob("*") if path.is_file())
        assert left == [
            *("dataset.tfrecord", "experiment.json"),
            *("trial-000003.npz", "trial-000003.tfrecord"),
        ]

    assert kill_everywhere(begin, lambda store: store.write(trial), then) > 5


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(bytes(content))


def test_damage_is_named_with_what_mends_it(store, trial):
    path = store.networks.path(3)
    whole = path.read_bytes()
    start = whole.index(trial.network.weights[0].tobytes())
    for place in (0, start + 40, len(whole) - 10):
        flip(path, place)
        for read in (store.networks.read, store.networks.check):
            with pytest.raises(DamagedFileError) as caught:
                read(store.read(3))
            assert str(caught.value).startswith(f"{path} is damaged (")
            assert str(caught.value).endswith(
                f"; to move it aside, run: tfmem check_store --store={store.path} --quarantine"
            )
        path.write_bytes(whole)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFileError, match="is not an npz file"):
        store.networks.read(store.read(3))
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedFileError):
        store.networks.read(store.read(3))


def test_the_network_of_something_else(store, tmp_path, tiny, tiny_config, rng):
    """Of another trial, of another configuration, of another training of the same trial."""
    networks, mine = store.networks, store.read(3)
    store.write(with_network(random_trial(4, tiny, rng)))
    shutil.copy(networks.path(4), networks.path(3))
    with pytest.raises(DamagedFileError, match="it holds the network of trial 4"):
        networks.read(mine)
    elsewhere = Store.create(
        tmp_path / "elsewhere", dataclasses.replace(tiny_config, epochs=9), tiny
    )
    elsewhere.write(dataclasses.replace(mine, network=networks.read(store.read(4))))
    shutil.copy(elsewhere.networks.path(3), networks.path(3))
    with pytest.raises(DamagedFileError, match="with another configuration or dataset"):
        networks.read(mine)
    twin = Store.create(tmp_path / "twin", tiny_config, tiny)
    twin.write(with_network(random_trial(3, tiny, np.random.default_rng(5))))
    shutil.copy(twin.networks.path(3), networks.path(3))
    with pytest.raises(DamagedFileError, match="the predictions of its trial are another"):
        networks.read(mine)


def test_whether_networks_are_kept_is_no_part_of_the_trials(store):
    digest = store.head.digest
    assert not store.head.keeps_networks
    store.keep_networks(True)
    for found in (store, Store.open(store.path)):
        assert found.head.keeps_networks
        assert found.head.digest == digest
        assert found.command(0, 2) == (
            f"tfmem train_trials --keep_networks --store={store.path} --trials=0:2"
        )
    store.keep_networks(False)
    assert Store.open(store.path).head.command == ["train_trials"]


def test_a_store_of_python_stays_without_a_command(tmp_path, tiny, tiny_config):
    store = Store.create(tmp_path / "python", tiny_config, tiny)
    store.keep_networks(True)
    assert store.head.command == []
