r"""Trains trials of an experiment and stores them.

    tfmem train_trials --experiment=digits_mlp --store=STORE [--trials=0:1000]
    tfmem train_trials --experiment=cifar100_resnet50 --describe

Each trial trains a model on a random subset of the training set (Algorithm 1 of Feldman & Zhang,
2020) and stores which examples it saw and which of all examples it then predicts correctly. Trials
that are already in the store are skipped, so the same command continues after an interruption;
damaged ones are trained again. --describe prints the recipe, and where each of its numbers comes
from, and trains nothing.
"""

import contextlib
import textwrap

from absl import flags

from analysis.cli import arguments, program
from launchers.cli import launching, training_flags
from tfmem import experiments
from tfmem.recipe import ExperimentConfig
from tfmem.store.store import Store
from tfmem.training import trainers
from tfmem.words import table

FLAGS = flags.FLAGS
# Fields that the programs fill in: what files of one's own say.
_FOLLOWS = ("model_source", "labels_digest", "candidates_digest")


def describe(config: ExperimentConfig) -> str:
    """Returns the config's numbers in a table, each with where it comes from."""
    rows = [
        (field, experiments.flag_value(getattr(config, field)), source)
        for field, source in experiments.sources(config, FLAGS.experiment).items()
        if source != experiments.DEFAULT and field not in _FOLLOWS
    ]
    lines = [f"{config.name} (sections of Feldman & Zhang, 2020, unless they say otherwise)"]
    lines.append(textwrap.indent(table(rows, left=3), "  "))
    cost = experiments.paper_cost(config)
    lines += [f"on the paper's hardware (Sec. B): {cost}"] if cost else []
    return "\n".join(lines)


def main() -> int:
    config = training_flags.experiment()
    if FLAGS.describe:
        print(describe(config))
        return 0
    if not FLAGS.store:
        raise ValueError("--store is required")
    training_flags.require_images(config)
    options = training_flags.options()
    room = training_flags.room()
    asked = arguments.chosen_trials() or range(config.num_trials)
    trials = training_flags.shard(asked)
    if not trials:
        raise ValueError(f"--shard={FLAGS.shard}: there are fewer trials than shards")
    with launching.without_gpus() if room else contextlib.nullcontext():
        config, dataset = launching.load(config)
        if room and not Store.exists(FLAGS.store):  # The trainers are made elsewhere, and later.
            trainers.require_trainable(config, dataset)
    return launching.train_missing(
        config,
        dataset,
        trials,
        lambda: trainers.make_trainer(config, dataset, options),
        on_ray=launching.on_ray(config, dataset, room) if room else None,
        asked=asked,
    )


if __name__ == "__main__":
    training_flags.define_experiment()
    with program.group("What is trained"):
        text = "START:STOP; all that the experiment asks for by default."
        arguments.define_text("trials", text)
        flags.DEFINE_bool("describe", False, "Print the recipe and its sources, and stop.")
    training_flags.define_store(required=False)
    training_flags.define_training()
    training_flags.define_engine()
    training_flags.define_launch()
    program.run(main)
