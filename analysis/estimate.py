r"""Memorization and influence, with standard errors, from a store of trials.

    tfmem estimate --store=STORE --out=estimates.npz [--influence=class]
    tfmem estimate --store=PART --store=PART --out=estimates.npz

Algorithm 1 of Feldman & Zhang (2020). The file has the layout that the paper's authors publish, and
standard errors and trial counts beside it (docs/formats.md). Any number of finished trials will do,
but an example that was in all of them, or in none, has no estimate. Several stores of one
experiment and seed, whose trials were made apart, count as one.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from absl import flags

from analysis.cli import arguments, program, stores
from analysis.estimates import estimators, files
from analysis.estimates.values import CORRECTNESS, ESTIMATORS, PROBABILITY
from tfmem import experiments
from tfmem.store import parts
from tfmem.store.store import Store
from tfmem.store.trials import TrialSet
from tfmem.words import of_expected

FLAGS = flags.FLAGS


def _load(opened: Sequence[Store], wanted: range | None) -> list[TrialSet]:
    """Reads the wanted trials of each store that has some; ValueError if none has."""
    numbers = [stores.usable(store, FLAGS.allow_missing, wanted) for store in opened]
    if wanted and not any(numbers):
        where = ", ".join(str(store.path) for store in opened)
        raise ValueError(f"--trials={FLAGS.trials}: {where} has none of these")
    probabilities = FLAGS.estimator == PROBABILITY
    return [
        stores.load(store, some, "trials", probabilities)
        for store, some in zip(opened, numbers, strict=True)
        if some or not any(numbers)
    ]


def main() -> None:
    wanted = arguments.chosen_trials()
    opened = [Store.open(path) for path in FLAGS.store]
    for store in opened:
        stores.require_random_subsets(store)
    parts.require_parts(opened, wanted)
    trials = parts.join(_load(opened, wanted))
    expected = parts.num_expected(opened, wanted)
    estimates = dataclasses.replace(
        estimators.estimate(trials, opened[0].dataset, FLAGS.influence, FLAGS.estimator),
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
        text = "Directory of the store, or of a part of it."
        arguments.define_paths("store", text, required=True)
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
