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

from analysis.cli import arguments, program, stores
from analysis.estimates import scores
from analysis.estimates.scores import Scores
from analysis.measures import turnover
from tfmem.config import TurnoverConfig
from tfmem.datasets import ImageDataset
from tfmem.store.artifacts import read_influence
from tfmem.store.epochs import Epoch
from tfmem.store.pictures import load_pictures
from tfmem.store.store import Store
from tfmem.store.trials import Trial
from tfmem.words import counted

if TYPE_CHECKING:  # Its imports take a second that --help does not need.
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
_CLASSES = 10  # At most so many are in a gallery.


def _load_pictures(store: Store) -> ImageDataset:
    """Returns the dataset with images; without it, the figures that need them are left out."""
    from analysis.plots import folder

    try:
        dataset = load_pictures(store, FLAGS.data_dir)
    except ValueError as error:
        raise folder.LeftOut(f"there are no pictures, {error}") from error
    folder.require_drawable(dataset)
    return dataset


def _read(store: Store) -> list[Trial]:
    """Reads the models of --trials; ValueError, with the command that trains them, if none are."""
    wanted = arguments.chosen_trials()
    numbers = stores.usable(store, FLAGS.allow_missing, wanted)
    command = store.command(wanted.start, wanted.stop) if wanted else store.command()
    if not numbers:
        which = f"none of the models --trials={FLAGS.trials}" if wanted else "no finished models"
        raise ValueError(f"{store.path} has {which} yet: {command}")
    if wanted and len(numbers) < len(wanted):
        print(f"incomplete: {len(numbers):,} of {len(wanted):,} models are there: {command}")
    return list(stores.read(store, numbers, "models", delay=1))


def _draw(
    store: Store,
    found: Scores,
    epoch: Epoch,
    curves: turnover.Accuracies,
    settling: turnover.EarlyStopping,
) -> None:
    """Draws the figures into --figures; `epoch` is what the first model predicts."""
    from analysis.plots import early_stopping, folder, scores_gallery, scores_histogram, subnetworks

    pictures = functools.cache(lambda: _load_pictures(store))

    def gallery(highest: bool) -> "Figure":
        return scores_gallery.of_scores(pictures(), found, epoch, highest, _CLASSES)

    makers = {
        "fig2-scores": lambda: scores_histogram.figure(found.train.score, found.corrupted),
        "fig7-low": lambda: gallery(highest=False),
        "fig7-high": lambda: gallery(highest=True),
        "fig9-subnetworks": lambda: subnetworks.figure(curves),
        "early-stopping": lambda: early_stopping.figure(settling),
    }
    for line in folder.write(*folder.require(FLAGS.figures, "figures", FLAGS.formats), makers):
        print(line)


def main() -> None:
    for flag in ("data_dir", "formats"):
        if FLAGS[flag].present and not FLAGS.figures:
            raise ValueError(f"--{flag} is about figures, which --figures=DIR draws")
    if FLAGS.figures:
        from analysis.plots import folder

        folder.require(FLAGS.figures, "figures", FLAGS.formats)  # Before anything is read.
    store = Store.open(FLAGS.store)
    config = stores.config_of(store, TurnoverConfig)
    trials = _read(store)
    epochs = scores.common_epochs(trials)
    last = FLAGS.epoch or epochs[-1]
    if last not in epochs:
        raise ValueError(f"--epoch={last}: {store.path} has epochs {epochs[0]} to {epochs[-1]}")
    epochs = [epoch for epoch in epochs if epoch <= last]
    found = scores.from_trials(trials, last, store.dataset, config.test_examples)
    score = found.train.score
    models = counted(len(trials), "model")
    print(f"{config.name}: {models} with turn-over dropout, after epoch {found.epoch:,}")
    curves = turnover.accuracies(trials, epochs, found.train_labels)
    sizes = len(score), len(store.dataset.test)
    print(turnover.accuracy_lines(curves, *sizes, config.test_examples))
    print(turnover.quantile_table(found))
    corruption = turnover.corruption(found)
    if corruption is not None:
        print(turnover.corruption_table(corruption))
    by_epoch = turnover.scores_by_epoch(trials, epochs, len(score))
    with program.progress_bar(len(epochs), "epochs compared", delay=1) as progress:
        settling = turnover.early_stopping(epochs, by_epoch, progress)
    print(turnover.early_stopping_table(settling))
    model = trials[0].number
    train_index, influence = read_influence(store, model, len(score))
    if len(train_index):
        influential = turnover.most_influential(train_index, influence, score)
        shown = turnover.influence_table(influential, score, store.dataset, model, len(train_index))
        print(shown)
    if FLAGS.out:
        scores.write(FLAGS.out, found)
        print(f"scores: {FLAGS.out}")
    if FLAGS.figures:
        _draw(store, found, trials[0].epochs[last], curves, settling)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        arguments.define_out("Where to write the scores, an npz file.")
        arguments.define_path("figures", "Folder to write the figures into.")
        arguments.define_formats()
        arguments.define_data_dir()
        arguments.define_allow_missing()
    with program.group("What is computed"):
        arguments.define_text("trials", "START:STOP, to use only those models; all by default.")
        text = "After how many epochs; as many as there are by default."
        arguments.define_count("epoch", None, text)
    program.run(main)
