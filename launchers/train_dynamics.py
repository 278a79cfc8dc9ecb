r"""Follows training epoch by epoch, on easy and on difficult examples (Liu et al., 2021, Sec. 3).

    tfmem train_dynamics --experiment=mnist_mlp4096_dynamics --store=STORE \
        --gradient_batches=40
    tfmem train_dynamics --experiment=mnist_mlp4096 --store=STORE \
        --scores=scores.npz --conditions=everything,without_difficult

Before the first epoch and after every one the store gets which training and test examples are
predicted right and, on --gradient_batches random mini-batches, statistics of the examples'
gradients (eqs. 3 and 4). Easy and difficult are told apart by the scores of tfmem turnover
(Secs. 3.3), the lowest against the highest; without --scores, by corrupted labels (Sec. 3.2):
random examples whose labels are real against random ones whose labels were replaced.

Conditions are what a run is trained on: everything (Figs. 3, 4, 5 and 10), everything
without_difficult examples (the control of Fig. 5), the easy or the difficult subset alone (Fig. 6).
Run r of condition c is trial c * runs + r of the store. Runs that are there are skipped, so the
same command continues after an interruption; damaged ones are trained again. tfmem dynamics
reads the store.
"""

import numpy as np
from absl import flags

from analysis.cli import arguments, program
from analysis.estimates import scores
from launchers.cli import launching, training_flags
from tfmem import datasets, experiments
from tfmem.config import EVERYTHING, FOLLOWED, DynamicsConfig
from tfmem.datasets import Dataset
from tfmem.disk import atomic, npz
from tfmem.recipe import ExperimentConfig
from tfmem.store import artifacts
from tfmem.store.store import Store
from tfmem.subsets import by_corruption, by_score, of_condition
from tfmem.training import trainers
from tfmem.words import table

FLAGS = flags.FLAGS


def choose_subsets(
    experiment: ExperimentConfig, dataset: Dataset, size: int
) -> dict[str, np.ndarray]:
    """Returns the easy and the difficult subset as the flags want them, by name of their array.

    Raises:
      ValueError: nothing tells easy from difficult, scores are of another dataset, or the subsets
        are too large.
    """
    if not FLAGS.scores:
        if dataset.train.corrupted is None:
            raise ValueError(
                "nothing tells easy examples from difficult ones: give --scores=FILE "
                "(tfmem turnover makes it), --labels or --corrupted_labels"
            )
        return by_corruption(dataset.train.corrupted, size, experiment.seed)
    known = scores.read(FLAGS.scores)
    datasets.require_same_labels(dataset, known.train_labels, known.test_labels, FLAGS.scores)
    datasets.require_same_ids(dataset, known.train_ids, known.test_ids, FLAGS.scores)
    found = dict(zip(("tr_easy", "tr_difficult"), by_score(known.train.score, size), strict=True))
    if known.test is not None:
        share = max(1, round(size / len(dataset.train) * len(dataset.test)))
        chosen = by_score(known.test.score, share)
        found |= zip(("tt_easy", "tt_difficult"), chosen, strict=True)
    return found


def main() -> int:
    experiment = training_flags.experiment()
    training_flags.require_images(experiment)
    options = training_flags.options()
    experiment, dataset = launching.load(experiment)
    size = FLAGS.subset_size or round(experiments.FOLLOWED_SHARE * len(dataset.train))
    subsets = choose_subsets(experiment, dataset, size)
    config = DynamicsConfig(
        experiment=experiment,
        conditions=tuple(FLAGS.conditions),
        runs=FLAGS.runs,
        subset_size=size,
        gradient_batches=FLAGS.gradient_batches,
        scores=atomic.absolute(FLAGS.scores) if FLAGS.scores else "",
        subsets_digest=artifacts.subsets_digest(subsets),
    )
    kept = {condition: of_condition(condition, subsets) for condition in config.conditions}
    rows = [
        (condition, f"trains on {subset.size:,}", f"of {len(dataset.train):,} examples")
        for condition, subset in kept.items()
    ]

    def keep_subsets(store: Store) -> None:
        path = store.path / artifacts.SUBSETS
        if not path.exists():
            npz.write_npz(path, subsets)

    return launching.train_missing(
        config,
        dataset,
        training_flags.condition_trials(config),
        lambda: trainers.make_dynamics_trainer(config, dataset, subsets, options),
        conditions=kept,
        notes=[table(rows)],
        on_opened=keep_subsets,
    )


if __name__ == "__main__":
    training_flags.define_experiment()
    with program.group("What is trained"):
        text = f"What runs are trained on, one or more of {', '.join(FOLLOWED)}."
        flags.DEFINE_list("conditions", [EVERYTHING], text)
        arguments.define_count("runs", 1, "How often each condition is run.")
        text = "Training examples in the easy and in the difficult subset; one in six by default."
        arguments.define_count("subset_size", None, text)
        text = "Mini-batches on which the gradients of examples are measured after each epoch"
        arguments.define_count("gradient_batches", 0, f"{text} (Fig. 4).", lowest=0)
        arguments.define_text("trials", "START:STOP; all runs of all conditions by default.")
    training_flags.define_store()
    with program.group("What is read and written"):
        text = "Scores file (tfmem turnover): its lowest are easy examples, its highest difficult."
        arguments.define_path("scores", text)
    training_flags.define_training(without=training_flags.OF_SUBSETS, stacks=False)
    training_flags.define_launch()
    program.run(main)
