r"""Memorization scores of turn-over dropout, and what Liu, Lin & Jaggi (2021) show.

    tfmem turnover --store=STORE [--out=scores.npz] [--figures=DIR]

Reads a store of tfmem train_turnover. The score of an example is what its muted sub-network
loses more than its unmuted one (eq. 6), in nats, the mean over the models. It prints accuracies and
quantiles of the scores; how well they find labels that were corrupted; how soon in training they
are what they are in the end (App. D); and whom the highest ones influence, where that was estimated
(eq. 5). --out writes the scores, which tfmem train_dynamics reads. --figures writes into DIR:

    fig2-scores          how many examples have a score, corrupted and real ones
    fig7-low, fig7-high  the examples of every class with the lowest and the highest scores
    fig9-subnetworks     training accuracy of muted and unmuted sub-networks
    early-stopping       agreement of the scores after every epoch with the final ones

The numbers are those of the paper; Fig. 8 is Fig. 7 of another dataset.
"""

import functools
from typing import TYPE_CHECKING

from absl import flags

from analysis.cli import arguments, program
from analysis.estimates import scores
from analysis.estimates.scores import Scores
from analysis.measures import examples
from analysis.measures.turnover import (
    SETTLED,
    accuracies,
    accuracy_lines,
    corruption,
    corruption_table,
    early_stopping,
    early_stopping_table,
    influence_table,
    most_influential,
    quantile_table,
    scores_by_epoch,
)
from tfmem import datasets
from tfmem.config import TurnoverConfig
from tfmem.datasets import ImageDataset
from tfmem.store import kinds
from tfmem.store.artifacts import read_influence
from tfmem.store.pictures import load_pictures
from tfmem.store.store import Store

if TYPE_CHECKING:  # Its imports take a second that --help does not need.
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
_CLASSES = 10  # In a gallery, if there are more.


def _load_pictures(store: Store) -> tuple[ImageDataset | None, str]:
    """Returns the dataset with images, or None and why there are none."""
    try:
        if datasets.uses_tensorflow(store.config.dataset):
            program.import_tensorflow()  # It would print notices.
        return load_pictures(store, FLAGS.data_dir), ""
    except ValueError as error:
        return None, f"there are no pictures, {error}"


def _gallery(found: Scores, dataset: ImageDataset | None, reason: str, highest: bool) -> "Figure":
    """Returns Fig. 7 of the lowest or the highest scores; without a dataset, it is left out."""
    from analysis.plots import folder
    from analysis.plots import scores_gallery as module
    from analysis.plots.pictures import Picture

    if dataset is None:
        raise folder.LeftOut(reason)
    folder.require_drawable(dataset)
    train, labels = found.train, found.train_labels
    shown = {
        int(label): examples.extreme_examples(
            train.score, labels, label, module.ROWS, highest
        ).tolist()
        for label in examples.highest_classes(train.score, labels, dataset.num_classes, _CLASSES)
    }
    images = folder.images(dataset, "train", (i for index in shown.values() for i in index))

    def example(i: int) -> module.Example:
        return module.Example(
            Picture(images[i], float(train.score[i])),
            int(labels[i]),
            int(train.unmuted_predicted[i]),
            int(train.muted_predicted[i]),
        )

    return module.figure(
        [
            module.ClassColumn(dataset.class_names[label], tuple(map(example, index)))
            for label, index in shown.items()
        ]
    )


def main() -> None:
    for flag in ("data_dir", "formats"):
        if FLAGS[flag].present and not FLAGS.figures:
            raise ValueError(f"--{flag} is about figures, which --figures=DIR draws")
    if FLAGS.figures:
        from analysis.plots import folder

        out, formats = folder.require(FLAGS.figures, "figures", FLAGS.formats)
    store = Store.open(FLAGS.store)
    kinds.require_kind(store, TurnoverConfig.kind)
    wanted = arguments.parse_range(FLAGS.trials) if FLAGS.trials else None
    numbers = [number for number in store.numbers() if wanted is None or number in wanted]
    command = store.command(wanted.start, wanted.stop) if wanted else store.command()
    if not numbers:
        which = f"none of the models --trials={FLAGS.trials}" if wanted else "no finished models"
        raise ValueError(f"{store.path} has {which} yet: {command}")
    if wanted and len(numbers) < len(wanted):
        print(f"incomplete: {len(numbers):,} of {len(wanted):,} models are there: {command}")
    trials = []
    with program.progress_bar(len(numbers), "models read", delay=1) as progress:
        for number in numbers:
            trials.append(store.read(number))
            progress(1)
    epochs = scores.common_epochs(trials)
    last = FLAGS.epoch or epochs[-1]
    if last not in epochs:
        raise ValueError(f"--epoch={last}: {store.path} has epochs {epochs[0]} to {epochs[-1]}")
    epochs = [epoch for epoch in epochs if epoch <= last]
    found = scores.from_trials(trials, last, store.dataset, store.config.test_examples)
    score = found.train.score
    which = "1 model" if len(trials) == 1 else f"{len(trials):,} models"
    print(f"{store.config.name}: {which} with turn-over dropout, after epoch {found.epoch:,}")
    curves = accuracies(trials, epochs, found.train_labels)
    test_size = len(store.dataset.test)
    print(accuracy_lines(curves, len(score), test_size, store.config.test_examples))
    print(quantile_table(found))
    if found.corrupted is not None:
        print(corruption_table(corruption(found)))
    by_epoch = scores_by_epoch(trials, epochs, len(score))
    with program.progress_bar(len(epochs), "epochs compared", delay=1) as progress:
        settling = early_stopping(epochs, by_epoch, progress)
    print(early_stopping_table(settling))
    train_index, influence = read_influence(store, trials[0].number, len(score))
    if len(train_index):
        influential = most_influential(train_index, influence, score)
        print(
            influence_table(influential, score, store.dataset, trials[0].number, len(train_index))
        )
    if FLAGS.out:
        scores.write(FLAGS.out, found)
        print(f"scores: {FLAGS.out}")
    if FLAGS.figures:
        from analysis.plots import early_stopping as early_stopping_figure
        from analysis.plots import scores_histogram, subnetworks

        pictures = functools.cache(lambda: _load_pictures(store))
        makers = {
            "fig2-scores": lambda: scores_histogram.figure(score, found.corrupted),
            "fig7-low": lambda: _gallery(found, *pictures(), highest=False),
            "fig7-high": lambda: _gallery(found, *pictures(), highest=True),
            "fig9-subnetworks": lambda: subnetworks.figure(
                curves.epochs, curves.unmuted, curves.muted, curves.test
            ),
            "early-stopping": lambda: early_stopping_figure.figure(
                settling.epochs, settling.correlation, settling.overlap[-1], SETTLED
            ),
        }
        for line in folder.write(out, formats, makers):
            print(line)


if __name__ == "__main__":
    with program.group("What is read and written"):
        flags.DEFINE_string("store", None, "Directory of the store.", required=True)
        flags.DEFINE_string("out", None, "Where to write the scores, an npz file.")
        flags.DEFINE_string("figures", None, "Folder to write the figures into.")
        arguments.define_formats()
        arguments.define_data_dir()
    with program.group("What is computed"):
        flags.DEFINE_string("trials", None, "START:STOP, to use only those models; all by default.")
        flags.DEFINE_integer(
            "epoch", None, "After how many epochs; as many as there are by default.", lower_bound=1
        )
    program.run(main)
