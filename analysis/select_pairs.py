r"""The high-influence pairs of an estimates file, and their counts.

    tfmem select_pairs --estimates=estimates.npz --out=pairs.npz

Selects training and test examples of one class with mem >= --mem_threshold and
infl >= --infl_threshold (Sec. 2 of Feldman & Zhang, 2020) and counts what Sec. 3.3 counts. The
infl_mem.npz that the release's MNIST script writes has no labels: --dataset=mnist.
"""

from absl import flags

from analysis.cli import arguments, program
from analysis.estimates import files, pairs
from tfmem import datasets

FLAGS = flags.FLAGS


def main() -> None:
    labels = None
    if FLAGS.dataset:
        dataset = datasets.load(FLAGS.dataset, FLAGS.data_dir)
        labels = dataset.train.labels, dataset.test.labels
    estimates = files.read(FLAGS.estimates, labels)
    thresholds = FLAGS.mem_threshold, FLAGS.infl_threshold
    selected = files.select_pairs(estimates, FLAGS.estimates, *thresholds)
    files.write_pairs(FLAGS.out, selected)
    print(pairs.describe(pairs.count(selected), len(estimates.test_labels)))
    for line in estimates.unknown_lines():
        print(line)
    print(f"pairs: {FLAGS.out}")


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_path("estimates", arguments.ESTIMATES, required=True)
        arguments.define_out("Where to write the pairs, an npz file.", required=True)
        arguments.define_dataset("Dataset whose labels a file without labels goes by")
        arguments.define_data_dir()
    with program.group("What is computed"):
        arguments.define_thresholds()
    program.run(main)
