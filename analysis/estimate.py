r"""Memorization and influence, with standard errors, from a store of trials.

    tfmem estimate --store=STORE --out=estimates.npz [--influence=class]

Algorithm 1 of Feldman & Zhang (2020). The file has the layout that the paper's authors publish, and
standard errors and trial counts beside it (docs/formats.md). Any number of finished trials will do,
but an example that was in all of them, or in none, has no estimate.
"""

import dataclasses

import numpy as np
from absl import flags

from analysis.cli import arguments, program, stores
from analysis.estimates import estimators, files
from analysis.estimates.values import CORRECTNESS, ESTIMATORS, PROBABILITY
from tfmem import experiments
from tfmem.store.store import Store
from tfmem.words import of_expected

FLAGS = flags.FLAGS


def main() -> None:
    wanted = arguments.chosen_trials()
    store = Store.open(FLAGS.store)
    stores.require_random_subsets(store)
    numbers = stores.usable(store, FLAGS.allow_missing, wanted)
    if wanted and not numbers:
        raise ValueError(f"--trials={FLAGS.trials}: {store.path} has none of these")
    trials = stores.load(store, numbers, "trials", FLAGS.estimator == PROBABILITY)
    expected = store.num_expected(wanted)
    estimates = dataclasses.replace(
        estimators.estimate(trials, store.dataset, FLAGS.influence, FLAGS.estimator),
        num_trials_expected=expected,
    )
    files.write(FLAGS.out, estimates)
    memorized = int((estimates.memorization >= experiments.MEM_THRESHOLD).sum())
    print(
        f"{of_expected(len(trials), expected)} trials: {memorized:,} of "
        f"{np.count_nonzero(estimates.known):,} training examples have mem >= "
        f"{experiments.MEM_THRESHOLD:g}; estimates: {FLAGS.out}"
    )
    for line in estimates.unknown_lines():
        print(line)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        arguments.define_out("Where to write the estimates, an npz file.", required=True)
        arguments.define_allow_missing()
    with program.group("What is computed"):
        arguments.define_text("trials", "START:STOP, to use only those; all by default.")
        flags.DEFINE_enum(
            "influence",
            estimators.CLASS,
            estimators.INFLUENCE,
            "On the test examples of the same class; full also of every training on every test "
            "example, a float32 matrix [n, n']; none is memorization only.",
        )
        flags.DEFINE_enum(
            "estimator",
            CORRECTNESS,
            ESTIMATORS,
            "What a trial achieves on an example: 0 or 1, as in the paper, or the probability "
            "that it gives to the true label, which varies less.",
        )
    program.run(main)
