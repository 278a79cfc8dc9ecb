r"""How estimates settle with the number of trials, and whether there are enough.

    tfmem convergence --store=STORE [--out=convergence.png]

Splits the trials into two halves at random, estimates from each half alone, and compares: the
Jaccard similarity of the examples with mem >= --mem_threshold and of the high-influence pairs, and
the mean difference of the estimates over the union of the two sets (Sec. 3.5, eq. 4). It repeats
this with fewer and fewer trials, and ends with a plain verdict: whether there are enough, and if
not, about how many would be. It can be asked at any moment, while trials are being trained.
--probability shows beside it how halves agree that are estimated from the probability of the true
label, which varies less than whether the prediction is right.
"""

from absl import flags

from analysis.cli import arguments, program, stores
from analysis.estimates import estimators
from analysis.estimates.values import PROBABILITY
from analysis.measures.settling import measure, present, split_halves, split_sizes, split_table
from tfmem.store.store import Store

FLAGS = flags.FLAGS


def main() -> None:
    store = Store.open(FLAGS.store)
    stores.require_random_subsets(store)
    thresholds = FLAGS.mem_threshold, FLAGS.infl_threshold
    numbers = stores.usable(store, FLAGS.allow_missing)
    trials = store.load(numbers, probabilities=FLAGS.probability)
    print(present(len(trials), store.config.num_trials, store.path))
    total = FLAGS.splits * len(split_sizes(len(trials))) * (1 + FLAGS.probability)
    with program.progress_bar(total, "splits") as progress:
        how = *thresholds, FLAGS.splits, progress
        estimates = estimators.estimate(trials)
        result = measure(trials, *how, estimates)
        by_probability = split_halves(trials, *how, PROBABILITY) if FLAGS.probability else ()
    if result.halves:
        print(split_table(result.halves, *thresholds))
    if by_probability:
        print("estimated from the probability of the true label, the same halves:")
        print(split_table(by_probability, *thresholds))
    for line in estimates.unknown_lines():
        print(line)
    print(result.verdict)
    if FLAGS.out:
        from analysis.plots import convergence, style

        style.publish(convergence.figure(result.halves), FLAGS.out)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        arguments.define_picture("out", "the figure")
        arguments.define_allow_missing()
    with program.group("What is computed"):
        text = "Also compare halves by the other estimator, tfmem estimate --estimator=probability."
        flags.DEFINE_bool("probability", False, text)
        arguments.define_count("splits", 3, "Random splits to average.")
        arguments.define_thresholds()
    program.run(main)
