r"""What memorized examples are worth: test accuracy of runs without them (Secs. 3.2 and 3.3).

    tfmem removal --store=STORE [--out=removal.png]

Reads a store of tfmem train_removal. For each memorization threshold it prints the accuracy
without the examples at or above it, and without as many random ones, and their difference; then
what the training examples of the high-influence pairs are worth, and how much of that is accuracy
on the test examples that they influence. Incomplete stores will do. --out draws Fig. 2 of Feldman &
Zhang (2020).
"""

from absl import flags

from analysis.cli import arguments, program
from analysis.cli.stores import config_of
from analysis.measures.removal import (
    group,
    high_influence_effect,
    high_influence_table,
    mean,
    read_pairs,
    threshold_effects,
    threshold_table,
    with_deviation,
)
from tfmem.config import RemovalConfig
from tfmem.store.store import Store

FLAGS = flags.FLAGS


def main() -> None:
    store = Store.open(FLAGS.store)
    config = config_of(store, RemovalConfig)
    pairs = (
        read_pairs(config, FLAGS.estimates or config.estimates) if config.high_influence else None
    )
    if FLAGS.out and not config.mem_thresholds:
        raise ValueError(f"{store.path} has no memorization thresholds: there is nothing to draw")
    numbers = store.numbers()
    with program.progress_bar(len(numbers), "runs read") as progress:
        groups = group(config, store.load(numbers, lambda number: progress(1)))
    there = [f"{runs.condition} {len(runs):,}" for runs in groups if len(runs) < config.runs]
    if there:
        print(f"incomplete: of {config.runs:,} runs of a condition, there are: {', '.join(there)}")
        print(f"to complete it, run: {store.command()}")
    nothing, n = groups[0], len(store.dataset.train)
    print(
        f"{config.name}: trained on all {n:,} examples, test accuracy is "
        f"{with_deviation(mean(nothing.accuracy()))} % ({len(nothing):,} runs)"
    )
    effects = threshold_effects(groups)
    if effects:
        print(threshold_table(effects))
    if pairs is not None:
        effect = high_influence_effect(groups, pairs)
        print(high_influence_table(effect, len(store.dataset.test)))
    if FLAGS.out:
        from analysis.plots import removal, style

        style.publish(removal.figure(effects, mean(nothing.accuracy()).value), FLAGS.out)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        arguments.define_text("out", "Where to write the figure: a .png, .pdf or .svg file.")
        text = "Where the estimates file of the runs is now, if it was moved."
        arguments.define_text("estimates", text)
    program.run(main)
