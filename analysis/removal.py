r"""What memorized examples are worth: test accuracy of runs without them (Secs. 3.2 and 3.3).

    tfmem removal --store=STORE [--out=removal.png]

Reads a store of tfmem train_removal. For each memorization threshold it prints the accuracy
without the examples at or above it, and without as many random ones, and their difference; then
what the training examples of the high-influence pairs are worth, and how much of that is accuracy
on the test examples that they influence. Incomplete stores will do. --out draws Fig. 2 of Feldman &
Zhang (2020).
"""

from absl import flags

from analysis.cli import arguments, program, stores
from analysis.measures import removal
from tfmem.config import RemovalConfig
from tfmem.store.store import Store

FLAGS = flags.FLAGS


def main() -> None:
    store = Store.open(FLAGS.store)
    config = stores.config_of(store, RemovalConfig)
    pairs = None
    if config.high_influence:
        pairs = removal.read_pairs(config, FLAGS.estimates or config.estimates)
    if FLAGS.out and not config.mem_thresholds:
        raise ValueError(f"{store.path} has no memorization thresholds: there is nothing to draw")
    numbers = stores.usable(store, FLAGS.allow_missing)
    groups = removal.group(config, stores.load(store, numbers, "runs"))
    there = {str(runs.condition): len(runs) for runs in groups}
    stores.print_lacking(store, config.runs, there)
    whole = removal.mean(groups[0].accuracy())
    print(
        f"{config.name}: trained on all {len(store.dataset.train):,} examples, test accuracy is "
        f"{removal.with_deviation(whole)} % ({whole.count:,} runs)"
    )
    effects = removal.threshold_effects(groups)
    if effects:
        print(removal.threshold_table(effects))
    if pairs is not None:
        effect = removal.high_influence_effect(groups, pairs)
        print(removal.high_influence_table(effect, len(store.dataset.test)))
    if FLAGS.out:
        from analysis.plots import style
        from analysis.plots.removal import figure

        style.publish(figure(effects, whole.value), FLAGS.out)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        arguments.define_picture("out", "the figure")
        text = "Where the estimates file of the runs is now, if it was moved."
        arguments.define_path("estimates", text)
        arguments.define_allow_missing()
    program.run(main)
