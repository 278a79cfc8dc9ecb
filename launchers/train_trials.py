r"""Trains trials of an experiment and stores them.

    tfmem train_trials --experiment=digits_mlp --store=STORE [--trials=0:1000]
    tfmem train_trials --experiment=cifar100_resnet50 --describe

Each trial trains a model on a random subset of the training set (Algorithm 1 of Feldman & Zhang,
2020) and stores which examples it saw and which of all examples it then predicts correctly. Trials
that are already in the store are skipped, so the same command continues after an interruption;
damaged ones are trained again. --describe prints the recipe, and where each of its numbers comes
from, and trains nothing. --keep_networks keeps the weights of each trial too, in STORE/networks,
for tfmem evaluate.
"""

import contextlib
import dataclasses
import textwrap

from absl import flags
from etils import epath

from analysis.cli import arguments, program
from launchers.cli import launching, training_flags
from tfmem import experiments
from tfmem.recipe import ExperimentConfig
from tfmem.store import head
from tfmem.store.store import Store
from tfmem.training import trainers
from tfmem.words import runs, table

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


def keeps_networks() -> bool:
    """Returns whether networks are kept: as the flag says, or else as in the store before."""
    if FLAGS.keep_networks is not None:
        return FLAGS.keep_networks
    return Store.exists(FLAGS.store) and head.read(epath.Path(FLAGS.store)).keeps_networks


def note_networks(store: Store, keeps: bool) -> None:
    """Notes in the store whether networks are kept; says what somebody may not expect."""
    if FLAGS.keep_networks is None and keeps:
        print(f"{store.path} keeps networks: those of these trials too (--nokeep_networks: not)")
    if keeps != store.head.keeps_networks:
        store.keep_networks(keeps)
    lacking = sorted(set(store.numbers()) - store.networks.numbers())
    if keeps and lacking:
        print(f"trials that were stored without a network, and stay so: {runs(lacking)}")


def main() -> int:
    config = training_flags.experiment()
    if FLAGS.describe:
        print(describe(config))
        return 0
    if not FLAGS.store:
        raise ValueError("--store is required")
    training_flags.require_images(config)
    options = dataclasses.replace(training_flags.options(), keep_networks=keeps_networks())
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
        on_ray=launching.on_ray(config, dataset, options, room) if room else None,
        asked=asked,
        on_opened=lambda store: note_networks(store, options.keep_networks),
    )


if __name__ == "__main__":
    training_flags.define_experiment()
    with program.group("What is trained"):
        text = "START:STOP; all that the experiment asks for by default."
        arguments.define_text("trials", text)
        flags.DEFINE_bool("describe", False, "Print the recipe and its sources, and stop.")
    training_flags.define_store(required=False)
    with program.group("What is read and written"):
        text = (
            "Keep the network of each trial in STORE/networks. Later launches on the store do so "
            "too, without the flag."
        )
        flags.DEFINE_bool(head.KEEP_NETWORKS, None, text)
    training_flags.define_training()
    training_flags.define_engine()
    training_flags.define_launch()
    program.run(main)
