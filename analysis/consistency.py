r"""How well estimates of several runs or architectures agree: Sec. 3.5, Fig. 7.

    tfmem consistency --estimates_a=ResNet50=A.npz \
        --estimates_b=again=B.npz --estimates_b=ResNet18=C.npz [--out=consistency.png]

Compares each --estimates_b with --estimates_a at thresholds from 0 to 1: the Jaccard similarity of
the examples with mem >= threshold and the mean difference of their estimates (eq. 4), and both of
the pairs of one class with infl >= threshold and mem >= --mem_threshold. The estimates are of one
dataset and from different trials; two files of one store come from tfmem estimate --trials.
"""

from absl import flags

from analysis.cli import arguments, program
from analysis.estimates.files import read_with_influences
from analysis.measures import agreement
from analysis.measures.comparison import compare, describe, legend
from analysis.paper.published import runs_sentence

FLAGS = flags.FLAGS


def main() -> None:
    (name_a, path_a), *others = arguments.named_paths([FLAGS.estimates_a, *FLAGS.estimates_b])
    a = read_with_influences(path_a, name_a)
    print(describe(name_a, path_a, a))
    thresholds = FLAGS.mem_threshold, FLAGS.infl_threshold
    comparisons = []
    for name, path in others:
        b = read_with_influences(path, name)
        agreement.require_same_examples(a, b, name_a, name)
        comparison = compare(a, b, name, *thresholds)
        comparisons.append(comparison)
        print(describe(name, path, b))
        print(f"\n{name} (b) and {name_a} (a)")
        print(comparison.text(f"influence, mem >= {FLAGS.mem_threshold:g}", " as well") + "\n")
    print(runs_sentence())
    if FLAGS.out:
        from analysis.plots import consistency, fonts, style

        reference = legend(name_a, comparisons[0].pairs.size_a, a.test_accuracy)
        with fonts.showing([reference, *(name for name, _ in others)]):
            style.publish(consistency.figure(comparisons, reference), *FLAGS.out)


if __name__ == "__main__":
    with program.group("What is read and written"):
        text = "Estimates file that all others are compared with, PATH or NAME=PATH."
        arguments.define_path("estimates_a", text, required=True)
        text = "Estimates file of the same dataset, PATH or NAME=PATH."
        arguments.define_paths("estimates_b", text, required=True)
        arguments.define_pictures("Fig. 7")
    with program.group("What is computed"):
        arguments.define_thresholds()
    program.run(main)
