r"""Memorization and influence, with standard errors, from a store of trials.

    tfmem estimate --store=STORE --out=estimates.npz [--influence=class]
    tfmem estimate --store=PART --store=PART --out=estimates.npz

Algorithm 1 of Feldman & Zhang (2020). The file has the layout that the paper's authors publish, and
standard errors and trial counts beside it (docs/formats.md). Any number of finished trials will do,
but an example that was in all of them, or in none, has no estimate. Several stores of one
experiment and seed, whose trials were made apart, count as one.
"""

import numpy as np
from absl import flags

from analysis.cli import arguments, program, stores
from analysis.estimates import estimators, files, sources
from analysis.estimates.values import CORRECTNESS, ESTIMATORS
from tfmem import experiments
from tfmem.words import of_expected

FLAGS = flags.FLAGS


def main() -> None:
    found = stores.open_parts(FLAGS.store, FLAGS.allow_missing, arguments.chosen_trials())
    with program.progress_bar(found.count, "trials read", delay=1) as progress:
        how = FLAGS.influence, FLAGS.estimator
        estimates = sources.of_stores(found, *how, lambda number: progress(1))
    files.write(FLAGS.out, estimates)
    memorized = int((estimates.memorization >= experiments.MEM_THRESHOLD).sum())
    print(
        f"{of_expected(found.count, found.expected)} trials: {memorized:,} of "
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
