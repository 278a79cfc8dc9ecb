"""A store of six trials, for tests of archives and of merging them."""

import dataclasses

import pytest

from tests.trials import random_trial
from tfmem.store.store import Store


@pytest.fixture
def six_trials(tiny, rng):
    """Trials 0 to 5; number 3 is followed for three epochs."""
    made = {number: random_trial(number, tiny, rng, number % 2 == 0) for number in range(6)}
    epochs = {epoch: {"train_correct": rng.random(21) < 0.5} for epoch in range(3)}
    made[3] = dataclasses.replace(made[3], epochs=epochs)
    return made


@pytest.fixture
def fill(tmp_path, tiny, tiny_config, six_trials):
    """Makes a store of some of the trials."""

    def make(numbers=range(6), name="store"):
        made = Store.create(tmp_path / name, tiny_config, tiny, ["train_trials"])
        for number in numbers:
            assert made.write(six_trials[number])
        return made

    return make
