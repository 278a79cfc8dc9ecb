r"""Trains on the training set without memorized, random or influential examples (Secs. 3.2, 3.3).

    tfmem train_removal --experiment=digits_mlp --estimates=estimates.npz \
        --store=STORE [--runs=100] [--thresholds=0.1,0.2,0.3]

The conditions are: nothing removed; for each threshold, the examples with mem >= threshold removed
and, in runs of their own, as many random ones, chosen anew for each run; and the training examples
of the high-influence pairs removed. Each condition is run --runs times, and runs of the same number
share initial weights. Run r of condition c is trial c * runs + r of the store. Runs that are there
are skipped, so the same command continues after an interruption; damaged ones are trained again.
tfmem removal reads the store.
"""

import numpy as np
from absl import flags

from analysis.cli import arguments, program
from analysis.estimates import files
from analysis.estimates.values import Estimates, Pairs
from launchers.cli import launching, training_flags
from tfmem import datasets, experiments
from tfmem.config import RemovalConfig
from tfmem.disk import atomic
from tfmem.recipe import ExperimentConfig
from tfmem.subsets import of_removal, useful_thresholds
from tfmem.training import trainers
from tfmem.words import table

FLAGS = flags.FLAGS


def make_config(
    experiment: ExperimentConfig, estimates: Estimates
) -> tuple[RemovalConfig, Pairs | None, list[str]]:
    """Returns what the flags ask for, the pairs in it, and what is left out and why.

    Raises:
      ValueError: nothing is left, or the pairs leave nothing to train on.
    """
    memorization = estimates.memorization
    asked_for = arguments.parse_thresholds(FLAGS.thresholds)
    thresholds, left_out = useful_thresholds(memorization, asked_for)
    notes = [*estimates.unknown_lines(), *left_out]
    pairs = None
    if FLAGS.high_influence:
        levels = FLAGS.mem_threshold, FLAGS.infl_threshold
        otherwise = ", or do without by --nohigh_influence"
        pairs = files.select_pairs(estimates, FLAGS.estimates, *levels, otherwise)
        in_pairs = len(np.unique(pairs.train_index))
        if in_pairs == len(memorization):
            raise ValueError(
                "every training example is in a high-influence pair, so there would be nothing to "
                "train on: raise --mem_threshold or --infl_threshold, or give --nohigh_influence"
            )
        if not in_pairs:
            pairs = None
            notes.append(
                "the high-influence runs are left out: there are no pairs with "
                f"mem >= {FLAGS.mem_threshold:g} and infl >= {FLAGS.infl_threshold:g}"
            )
    if not thresholds and pairs is None:
        reason = "; ".join(notes) or "--thresholds is empty and --nohigh_influence is given"
        raise ValueError(f"there is nothing to remove: {reason}")
    runs = experiments.REMOVAL_RUNS_OF.get(experiment.dataset, experiments.REMOVAL_RUNS)
    config = RemovalConfig(
        experiment=experiment,
        runs=FLAGS.runs or runs,
        mem_thresholds=thresholds,
        mem_threshold=FLAGS.mem_threshold,
        infl_threshold=FLAGS.infl_threshold,
        estimates=atomic.absolute(FLAGS.estimates),
        estimates_digest=files.estimates_digest(memorization, pairs),
        high_influence=pairs is not None,
    )
    return config, pairs, notes


def main() -> int:
    experiment = training_flags.experiment()
    training_flags.require_images(experiment)
    options = training_flags.options()
    estimates = files.read(FLAGS.estimates)
    config, pairs, notes = make_config(experiment, estimates)
    trials = training_flags.condition_trials(config)
    config, dataset = launching.load(config)
    labels = estimates.train_labels, estimates.test_labels
    datasets.require_same_labels(dataset, *labels, FLAGS.estimates)
    in_pairs = None if pairs is None else pairs.train_index
    subsets = {
        str(condition): of_removal(condition, estimates.memorization, in_pairs, experiment.seed)
        for condition in config.conditions
    }
    rows = [
        (name, f"{kept.size:,}", f"of {len(dataset.train):,} examples remain")
        for name, kept in subsets.items()
    ]
    everything, *_ = subsets.values()
    return launching.train_missing(
        config,
        dataset,
        trials,
        lambda: trainers.make_trainer(experiment, dataset, options, everything),
        conditions=subsets,
        notes=[*notes, table(rows)],
    )


if __name__ == "__main__":
    training_flags.define_experiment()
    with program.group("What is trained"):
        others = [f"{runs} for {name}" for name, runs in experiments.REMOVAL_RUNS_OF.items()]
        text = f"How often each condition is run; {experiments.REMOVAL_RUNS} by default, and "
        arguments.define_count("runs", None, f"{text}{', '.join(others)}.")
        flags.DEFINE_string(
            "thresholds",
            experiments.flag_value(experiments.REMOVAL_THRESHOLDS),
            "Memorization values in (0, 1]: examples at or above each are removed; empty for none.",
        )
        arguments.define_thresholds()
        text = "Also remove the training examples of the high-influence pairs."
        flags.DEFINE_bool("high_influence", True, text)
        arguments.define_text("trials", "START:STOP; all runs of all conditions by default.")
    training_flags.define_store()
    with program.group("What is read and written"):
        text = "Estimates file of the dataset, ours or a published one."
        arguments.define_path("estimates", text, required=True)
    training_flags.define_training(without=training_flags.OF_SUBSETS)
    training_flags.define_launch()
    program.run(main)
