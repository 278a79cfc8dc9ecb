import dataclasses
import os
from unittest import mock

import numpy as np
import pytest

from tests.trials import random_trial
from tfmem.config import ImportConfig
from tfmem.store.store import Store
from tfmem.workers import pace

START = 1_800_000_000


@pytest.fixture
def store(tmp_path, tiny, tiny_config):
    return Store.create(tmp_path / "store", tiny_config, tiny)


def stored_at(store, seconds):
    """Makes empty files of trials 0, 1, ..., stored so many seconds after START."""
    for number, second in enumerate(seconds):
        path = store.trial_path(number)
        path.touch()
        os.utime(path, (START + second, START + second))


def stacks(size, every, count):
    """Returns when trials are stored of which a whole stack is done every so many seconds.

    Writing it takes from one second into the next.
    """
    return [every * stack + (row >= size // 2) for stack in range(count) for row in range(size)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0, 300, 600, 900, 1200], 12),
        ([900, 0, 1200, 300, 600], 12),  # Stored in another order than that of their numbers.
        ([0, 10, 20], 360),
        ([3600 * hour for hour in range(50)] + [180_000 + 60 * k for k in range(100)], 60),
        (stacks(16, 100, 10), 576),  # The last 100 begin within a stack: 16 in 100 s.
        (stacks(64, 600, 3), 384),  # 36 of the last 100 are of the first stack: 64 in 600 s.
        (stacks(150, 300, 2), 1800),  # The last 100 were stored at once: 150 in 300 s.
        ([k // 8 for k in range(400)], 28_800),  # Faster than the clock of the files.
    ],
)
def test_pace_by_hand(store, seconds, expected):
    stored_at(store, seconds)
    assert pace.trials_per_hour(store, START + max(seconds)) == pytest.approx(expected)


@pytest.mark.parametrize("seconds", [[], [0], [0, 300], stacks(200, 0, 1), [0, 9, 19]])
def test_too_few_trials_tell_nothing(store, seconds):
    stored_at(store, seconds)
    assert pace.trials_per_hour(store, START + 300) is None


@pytest.mark.parametrize(
    ("seconds", "idle"),
    [
        ([60 * k for k in range(20)], 600),  # Ten minutes,
        ([3600 * k for k in range(20)], 3 * 3600),  # or three times from trial to trial,
        (stacks(16, 3600, 6), 3 * 3600),  # or from stack to stack.
    ],
)
def test_where_nothing_is_being_trained_there_is_no_pace(store, seconds, idle):
    stored_at(store, seconds)
    assert pace.trials_per_hour(store, START + max(seconds) + idle) is not None
    assert pace.trials_per_hour(store, START + max(seconds) + idle + 1) is None


def test_now_is_the_present_by_default(store):
    stored_at(store, [0, 60, 120])
    with mock.patch("time.time", return_value=START + 150):
        assert pace.trials_per_hour(store) == 60
    with mock.patch("time.time", return_value=START + 1000):
        assert pace.trials_per_hour(store) is None


def test_trials_without_a_file_do_not_count(store):
    stored_at(store, [0, 60, 120])
    with mock.patch.object(store, "numbers", return_value=[0, 1, 2, 7]):
        assert pace.trials_per_hour(store, START + 120) == 60


def test_of_very_many_trials_the_highest_numbers_are_asked(store, monkeypatch):
    monkeypatch.setattr(pace, "_MOST_FILES", 3)
    stored_at(store, [100, 110, 0, 60, 120])
    assert pace.trials_per_hour(store, START + 120) == 60


def test_imported_trials_have_no_pace(tmp_path, tiny):
    config = ImportConfig("arrays", "runs.npz", "ab" * 32, "tiny", 100)
    store = Store.create(tmp_path / "store", config, tiny)
    stored_at(store, [0, 60, 120])
    assert pace.trials_per_hour(store, START + 120) is None


def fill(store, tiny, seconds):
    for number, cost in enumerate(seconds):
        trial = random_trial(number, tiny, np.random.default_rng(number))
        store.write(dataclasses.replace(trial, seconds=cost))


def test_seconds_a_trial_are_of_20_trials_evenly_spread(store, tiny):
    """Trial k cost k seconds, for k = 0 to 39."""
    fill(store, tiny, range(40))
    with mock.patch.object(store, "read", wraps=store.read) as read:
        assert pace.seconds_a_trial(store) == pytest.approx(19.5)
    chosen = [call.args[0] for call in read.call_args_list]
    assert len(chosen) == 20
    assert set(np.diff(chosen)) == {2, 3}
    assert (chosen[0], chosen[-1]) == (0, 39)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([], None), ([None, None], None), ([2.0, None, 5.0], 3.5), ([4.0], 4.0)],
)
def test_seconds_a_trial_where_some_are_unknown(store, tiny, seconds, expected):
    fill(store, tiny, seconds)
    assert pace.seconds_a_trial(store) == expected
