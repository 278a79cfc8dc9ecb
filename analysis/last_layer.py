r"""Does the last layer suffice for memorization? Sec. 3.6, Fig. 8.

    tfmem last_layer --estimates=FULL.npz --last_layer=LINEAR.npz [--out=fig8.png]

Compares the estimates of whole networks (tfmem train_trials) with those of linear classifiers
on the features of one network (tfmem train_last_layer): test accuracies, how many examples are
memorized, and how many pairs of one class have infl >= --infl_threshold, whatever their training
example's memorization is. --out draws the agreement of these pairs at every threshold.
"""

import math

from absl import flags
from etils import epath

from analysis.cli import arguments, program
from analysis.estimates import files
from analysis.measures import agreement
from analysis.measures.comparison import compare, legend
from analysis.paper.last_layer import LINEAR, WHOLE, paper_table
from tfmem.store import representations

FLAGS = flags.FLAGS


def main() -> None:
    paths = {"--estimates": FLAGS.estimates, "--last_layer": FLAGS.last_layer}
    whole, linear = (
        files.read_with_influences(path, f"{flag}={path}") for flag, path in paths.items()
    )
    agreement.require_same_examples(whole, linear, *paths)
    network_accuracy = math.nan
    if FLAGS.last_layer_store:
        folder = epath.Path(FLAGS.last_layer_store) / representations.FOLDER
        network_accuracy = representations.read_about(folder).test_accuracy
    thresholds = FLAGS.mem_threshold, FLAGS.infl_threshold
    found = compare(whole, linear, LINEAR, *thresholds, only_memorized=False)
    print(paper_table(whole, linear, found, network_accuracy))
    for name, side in ((WHOLE, whole), (LINEAR, linear)):
        for line in side.unknown_lines():
            print(f"{name}: {line}")
    print(f"\n{WHOLE} (a) and {LINEAR} (b)")
    print(found.text("influence, any memorization"))
    if FLAGS.out:
        from analysis.plots import consistency, style

        reference = legend(WHOLE, found.pairs.size_a, whole.test_accuracy)
        style.publish(consistency.influence_figure(found, reference), *FLAGS.out)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_path("estimates", "Estimates file of whole networks.", required=True)
        text = "Estimates file of linear classifiers, of the same dataset."
        arguments.define_path("last_layer", text, required=True)
        text = (
            "Store of the linear classifiers, for the test accuracy of the network that it holds."
        )
        arguments.define_path("last_layer_store", text)
        arguments.define_pictures("Fig. 8")
    with program.group("What is computed"):
        arguments.define_thresholds("memorization of a memorized example", "influence in a pair")
    program.run(main)
