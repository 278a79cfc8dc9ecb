"""A launcher whose trials cost next to nothing: all of the real thing but the training.

python -m tests.racing STORE COUNT [SECONDS]
"""

import sys
import time

import numpy as np

from tests.trials import random_trial
from tfmem.store.store import Store
from tfmem.workers.launch import Launch


class Trainer:
    """Trains trials of random content, each a function of its number alone."""

    batch_of_trials = 1

    def __init__(self, dataset, seconds):
        self._dataset, self._seconds = dataset, seconds

    def train(self, trials, progress, checkpoints):
        for number in trials:
            time.sleep(self._seconds)
            progress(1)
            yield trial(number, self._dataset)


def trial(number, dataset):
    return random_trial(number, dataset, np.random.default_rng(number))


def main(path, count, seconds=0.02):
    store = Store.open(path)
    with Launch(store) as launch:
        for left in launch.rounds(range(int(count))):
            launch.run(Trainer(store.dataset, float(seconds)), left)


if __name__ == "__main__":
    main(*sys.argv[1:])
