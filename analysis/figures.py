r"""Figures of one estimates file: what was memorized, and who influences whom.

    tfmem figures --estimates=estimates.npz --out=DIR [--dataset=NAME]

Writes into DIR, as .png and .pdf:

    fig1-memorization        training examples around memorization 0, 0.5 and 1, by class
    fig3-influence           how many high-influence pairs there are at every level of influence
    fig4-6-panels-1 to -3    training examples and whom they influence most, chosen as in Sec. C
    memorization-histogram   how many training examples there are at every level of memorization

These are Figs. 1 and 3 to 6 of Feldman & Zhang (2020). An estimates file has no pictures: those of
the first and the third come from --dataset, whose labels and ids must be those of the estimates.
A file without labels, such as the release's MNIST script writes, needs --dataset for all of them.
What cannot be drawn is said, and the others are drawn. tfmem removal --out draws Fig. 2.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from analysis.cli import arguments, program
from analysis.estimates import files, sources
from analysis.estimates.values import Estimates, Pairs
from analysis.measures import examples
from tfmem import datasets
from tfmem.datasets import ImageDataset, annotations, variants

if TYPE_CHECKING:  # Its imports take a second that --help does not need.
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
_CLASSES = 10  # Classes in Fig. 1, unless they are named.


def _load_dataset() -> ImageDataset | None:
    """Returns the dataset of the estimates, or None where none is named."""
    if not FLAGS.dataset:
        for flag in ("data_dir", "image_size", "test_share", "labels", "classes"):
            if FLAGS[flag].value:
                raise ValueError(f"--{flag} is about pictures, which need --dataset")
        return None
    dataset = datasets.load(FLAGS.dataset, FLAGS.data_dir, FLAGS.image_size, FLAGS.test_share)
    if not FLAGS.labels:
        return dataset
    return variants.replace_labels(dataset, annotations.read_labels(FLAGS.labels, dataset))


def _require_pictures(dataset: ImageDataset | None) -> ImageDataset:
    from analysis.plots import folder

    if dataset is None:
        raise folder.LeftOut("its pictures need --dataset, the dataset of the estimates")
    folder.require_drawable(dataset)
    return dataset


def _require_pairs(estimates: Estimates) -> Pairs:
    from analysis.plots import folder

    try:
        estimates.require_influences(FLAGS.estimates)
    except ValueError as error:
        raise folder.LeftOut(str(error)) from error
    thresholds = FLAGS.mem_threshold, FLAGS.infl_threshold
    found = files.select_pairs(estimates, FLAGS.estimates, *thresholds)
    if not len(found):
        raise folder.LeftOut(
            f"no pair has mem >= {FLAGS.mem_threshold:g} and infl >= {FLAGS.infl_threshold:g}"
        )
    return found


def _gallery_labels(dataset: ImageDataset | None, estimates: Estimates) -> np.ndarray:
    """Returns the labels of the classes in Fig. 1; none without a dataset."""
    if dataset is None:
        return np.zeros(0, np.int64)
    if FLAGS.classes:
        return examples.named_classes(FLAGS.classes, dataset.class_names)
    found = estimates.memorization, estimates.train_labels
    return examples.shown_classes(*found, dataset.num_classes, FLAGS.mem_threshold, _CLASSES)


def main() -> None:
    from analysis.plots import folder, gallery, influence_histogram, memorization_histogram, panels

    out, kinds = folder.require(FLAGS.out, "out", FLAGS.formats)
    dataset = _load_dataset()
    estimates = sources.read_for(FLAGS.estimates, dataset)
    memorization, mem, infl = estimates.memorization, FLAGS.mem_threshold, FLAGS.infl_threshold
    labels = _gallery_labels(dataset, estimates)
    pairs = functools.cache(lambda: _require_pairs(estimates))
    makers: Mapping[str, Callable[[], Figure | Sequence[Figure]]] = {
        "fig1-memorization": lambda: gallery.of_classes(
            _require_pictures(dataset), memorization, labels.tolist()
        ),
        "fig3-influence": lambda: influence_histogram.figure(pairs().influence, infl),
        "fig4-6-panels": lambda: panels.of_pairs(
            _require_pictures(dataset), estimates, pairs(), infl
        ),
        "memorization-histogram": lambda: memorization_histogram.figure(memorization, mem),
    }
    for line in itertools.chain(estimates.unknown_lines(), folder.write(out, kinds, makers)):
        print(line)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_path("estimates", arguments.ESTIMATES, required=True)
        arguments.define_path("out", "Folder to write the figures into.", required=True)
        arguments.define_formats()
        arguments.define_dataset("The dataset of the estimates, for the pictures")
        arguments.define_data_dir()
        text = (
            "Share of each class that was held out for testing, where the trials had --test_share."
        )
        flags.DEFINE_float("test_share", 0.0, text)
        text = "FILE[:NAME]: training labels of your own, where the trials had --labels."
        arguments.define_path("labels", text)
    with program.group("What is shown"):
        text = "Side in pixels that pictures are resized to, where a dataset's differ in size."
        arguments.define_count("image_size", None, text)
        flags.DEFINE_list(
            "classes",
            [],
            "Classes of Fig. 1, by name or number, such as bee,3; by default the "
            f"{_CLASSES} with the most memorized examples.",
        )
        arguments.define_thresholds()
    program.run(main)
