r"""Memorization scores of models with turn-over dropout, and what Liu, Lin & Jaggi (2021) show.

    python -m analysis.turnover --store=STORE [--out=scores.npz] [--figures=DIR]

Reads a store of launchers.train_turnover. The score of an example is what its muted sub-network
loses more than its unmuted one (eq. 6), in nats, the mean over the models. It prints accuracies and
quantiles of the scores; how well they find labels that were corrupted; how soon in training they
are what they are in the end (App. D); and whom the highest ones influence, where that was estimated
(eq. 5). --out writes the scores, which launchers.train_dynamics reads. --figures writes into DIR:

    fig2-scores          how many examples have a score, corrupted and real ones
    fig7-low, fig7-high  the examples of every class with the lowest and the highest scores
    fig9-subnetworks     training accuracy of muted and unmuted sub-networks
    early-stopping       agreement of the scores after every epoch with the final ones

The numbers are those of the paper; Fig. 8 is Fig. 7 of another dataset.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from etils import epath

from analysis import agreement, cli, gallery, scores
from analysis.scores import Scores
from tfmem import datasets, npz
from tfmem.config import TurnoverConfig
from tfmem.datasets import Dataset
from tfmem.epochs import Epoch
from tfmem.store import Store, Trial

if TYPE_CHECKING:  # Its imports take a second that --help does not need.
    from matplotlib.figure import Figure

FLAGS = flags.FLAGS
QUANTILES = (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
# Of the examples: those with the highest scores, whose overlap with the final ones is measured.
SHARES = (0.01, 0.1)
SETTLED = 0.95  # Rank correlation with the final scores.
_TABLE_EPOCHS = 12
_CLASSES = 10  # In a gallery, if there are more.
_INFLUENTIAL, _INFLUENCED = 5, 4  # Training examples in the table of influence, test examples each.


@dataclasses.dataclass(frozen=True)
class Accuracies:
    """Accuracies after some epochs, means over models (Fig. 9).

    Attributes:
      epochs: int64 [e], ascending.
      unmuted: float64 [e], of the unmuted sub-networks on the training examples.
      muted: float64 [e], of the muted ones.
      test: float64 [e], of the whole network on the test examples.
    """

    epochs: np.ndarray
    unmuted: np.ndarray
    muted: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """How the scores after some epochs agree with those after the last of them (App. D).

    Attributes:
      epochs: int64 [e], ascending.
      correlation: float64 [e], Spearman's; nan where scores are constant.
      overlap: float64 [s, e], for each of `SHARES`: how many of the examples with the highest final
        scores have the highest ones after the epoch too, as a share of them.
    """

    epochs: np.ndarray
    correlation: np.ndarray
    overlap: np.ndarray

    @property
    def settled(self) -> int | None:
        """The first epoch whose correlation is at least `SETTLED`, or None."""
        reached = self.epochs[self.correlation >= SETTLED]
        return int(reached[0]) if len(reached) else None


@dataclasses.dataclass(frozen=True)
class Corruption:
    """Scores of examples whose labels were replaced by random ones, and of the others.

    Attributes:
      num_real: examples that kept their label.
      num_replaced: the others.
      num_changed: those of them that really have another label now.
      real: their mean score, nan without any; so are the next two.
      replaced: of the replaced ones.
      changed: of those with another label.
      auc_changed: area under the ROC curve of finding those with another label by a high score.
      auc_replaced: of finding all whose label was replaced.
    """

    num_real: int
    num_replaced: int
    num_changed: int
    real: float
    replaced: float
    changed: float
    auc_changed: float
    auc_replaced: float


@dataclasses.dataclass(frozen=True)
class Influential:
    """A training example and the test examples that it influences most (eq. 5).

    Attributes:
      train_index: of the training example.
      test_index: int64 [k].
      influence: float64 [k], in nats, descending.
    """

    train_index: int
    test_index: np.ndarray
    influence: np.ndarray


def accuracies(trials: Sequence[Trial], epochs: Sequence[int], labels: np.ndarray) -> Accuracies:
    """Returns the accuracies of turn-over trials, means over them.

    Args:
      trials: at least one.
      epochs: that all of them have kept, ascending.
      labels: int [n], what the first n examples were trained as; others do not count.
    """

    def over_models(value: Callable[[Epoch], float]) -> np.ndarray:
        found = [[value(trial.epochs[epoch]) for epoch in epochs] for trial in trials]
        return np.mean(found, axis=0)

    def right(name: str) -> np.ndarray:
        return over_models(lambda kept: np.mean(kept[name][: len(labels)] == labels))

    return Accuracies(
        epochs=np.array(epochs, np.int64),
        unmuted=right("unmuted_predicted"),
        muted=right("muted_predicted"),
        test=over_models(lambda kept: np.mean(kept["test_correct"])),
    )


def scores_by_epoch(trials: Sequence[Trial], epochs: Sequence[int], count: int) -> np.ndarray:
    """Returns the scores of the first `count` examples, means over trials: float64 [e, count]."""
    return np.stack(
        [
            np.mean([scores.memorization(trial.epochs[epoch])[:count] for trial in trials], axis=0)
            for epoch in epochs
        ]
    )


def early_stopping(
    epochs: Sequence[int],
    by_epoch: np.ndarray,
    on_epoch: Callable[[float], None] = lambda amount: None,
) -> EarlyStopping:
    """Returns how the scores after every epoch agree with the last ones.

    Args:
      epochs: ascending.
      by_epoch: float [e, n].
      on_epoch: called with 1 after each epoch, for a progress bar.
    """
    final, n = by_epoch[-1], by_epoch.shape[1]
    correlation, overlap = [], []
    for found in by_epoch:
        correlation.append(agreement.rank_correlation(found, final))
        overlap.append([scores.top_overlap(final, found, _top(share, n)) for share in SHARES])
        on_epoch(1)
    return EarlyStopping(np.array(epochs, np.int64), np.array(correlation), np.array(overlap).T)


def _top(share: float, n: int) -> int:
    """Returns how many examples a share of n is, at least one."""
    return max(1, round(share * n))


def spread(epochs: Sequence[int], most: int = _TABLE_EPOCHS) -> np.ndarray:
    """Returns the positions of at most `most` epochs: the first, the last, and most of them early.

    They are spaced evenly on a logarithmic scale, as scores change most in the first epochs.
    """
    return np.unique(np.round(np.geomspace(1, len(epochs), most)).astype(int)) - 1


def corruption(found: Scores) -> Corruption:
    """Returns how scores tell corrupted examples from real ones (Fig. 2).

    Args:
      found: scores of examples of which some labels were corrupted.
    """
    score, replaced, changed = found.train.score, found.corrupted, found.changed

    def mean(chosen: np.ndarray) -> float:
        return float(score[chosen].mean()) if chosen.any() else float("nan")

    return Corruption(
        num_real=int(np.count_nonzero(~replaced)),
        num_replaced=int(np.count_nonzero(replaced)),
        num_changed=int(np.count_nonzero(changed)),
        real=mean(~replaced),
        replaced=mean(replaced),
        changed=mean(changed),
        auc_changed=scores.auc(score, changed),
        auc_replaced=scores.auc(score, replaced),
    )


def most_influential(
    train_index: np.ndarray, influence: np.ndarray, score: np.ndarray
) -> list[Influential]:
    """Returns those of some training examples with the highest scores, and whom they influence.

    Args:
      train_index: int [k].
      influence: float [k, n'], of each on the test examples.
      score: float [n], of all training examples.
    """
    rows = np.argsort(-score[train_index], kind="stable")[:_INFLUENTIAL]
    found = []
    for row in rows.tolist():
        highest = np.argsort(-influence[row], kind="stable")[:_INFLUENCED]
        found.append(
            Influential(int(train_index[row]), highest, influence[row, highest].astype(np.float64))
        )
    return found


def accuracy_lines(found: Accuracies, num_train: int, num_test: int, trained_on_test: bool) -> str:
    """Returns the accuracies after the last epoch, one a line."""
    but = ", which it was trained on too" if trained_on_test else ""
    return "\n".join(
        [
            f"accuracy of the whole network on {num_test:,} test examples{but}: "
            f"{found.test[-1]:.2%}",
            f"accuracy on {num_train:,} training examples: {found.unmuted[-1]:.2%} of unmuted, "
            f"{found.muted[-1]:.2%} of muted sub-networks",
        ]
    )


def quantile_table(found: Scores) -> str:
    """Returns the quantiles of the scores as aligned text, a row per split."""
    names = {0: "lowest", 0.5: "median", 1: "highest"}
    heads = ["mean", *(names.get(quantile, f"{quantile:.0%}") for quantile in QUANTILES)]
    lines = [f"{'scores in nats':<26}" + "".join(f"{head:>9}" for head in heads)]
    for split, what in ((found.train, "training"), (found.test, "test")):
        if split is not None:
            values = [split.score.mean(), *np.quantile(split.score, QUANTILES)]
            lines.append(
                f"{f'{len(split.score):,} {what} examples':<26}"
                + "".join(f"{_nats(value):>9}" for value in values)
            )
    return "\n".join(lines)


def corruption_table(found: Corruption) -> str:
    """Returns the scores of corrupted and real examples as aligned text."""
    lines = [f"{'label':<26}{'examples':>10}{'mean score':>12}"]
    for name, count, mean in (
        ("real", found.num_real, found.real),
        ("replaced by a random one", found.num_replaced, found.replaced),
        ("  that is another one", found.num_changed, found.changed),
    ):
        lines.append(f"{name:<26}{count:>10,}{_nats(mean):>12}")
    lines.append(
        f"ROC AUC of the score: {_number(found.auc_changed, 4)} for labels that are another one, "
        f"{_number(found.auc_replaced, 4)} for all that were replaced"
    )
    return "\n".join(lines)


def early_stopping_table(found: EarlyStopping) -> str:
    """Returns the agreement with the final scores as aligned text, and when it is high enough."""
    final = int(found.epochs[-1])
    shares = "".join(f"{f'top {share:.0%}':>10}" for share in SHARES)
    lines = [
        f"scores after fewer epochs and those after {final:,}: rank correlation, and the share of "
        "the highest that is found",
        f"{'epoch':>6}{'Spearman':>10}{shares}",
    ]
    for position in spread(found.epochs).tolist():
        overlaps = "".join(f"{overlap[position]:>10.1%}" for overlap in found.overlap)
        lines.append(
            f"{found.epochs[position]:>6,}{_number(found.correlation[position], 4):>10}{overlaps}"
        )
    if found.settled is None:
        when = "never"
    elif found.settled == final:
        when = f"after the last of {final:,} epochs alone"
    else:
        when = f"after {found.settled:,} of {final:,} epochs"
    return "\n".join([*lines, f"Spearman's rank correlation reaches {SETTLED:g} {when}"])


def influence_table(
    found: Sequence[Influential], score: np.ndarray, dataset: Dataset, model: int, count: int
) -> str:
    """Returns the most influential training examples as aligned text.

    Args:
      found: of `most_influential`.
      score: float [n].
      dataset: of the store.
      model: whose influence it is.
      count: of how many training examples there is influence.
    """

    def named(split: str, index: int) -> str:
        examples = getattr(dataset, split)
        return f"{examples.ids[index]} ({dataset.class_names[examples.labels[index]]})"

    lines = [
        f"influence on test examples in nats, by model {model}, of the {len(found):,} training "
        f"examples with the highest scores of {count:,}",
        f"{'score':>8}  training example: test examples that it influences most",
    ]
    for one in found:
        influenced = ", ".join(
            f"{named('test', index)} {_nats(value)}"
            for index, value in zip(one.test_index.tolist(), one.influence.tolist(), strict=True)
        )
        train = named("train", one.train_index)
        lines.append(f"{_nats(score[one.train_index]):>8}  {train}: {influenced}")
    return "\n".join(lines)


def _number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _nats(value: float) -> str:
    return _number(round(value, 3) + 0.0, 3)  # No negative zero.


def influence_path(store: epath.PathLike, number: int) -> epath.Path:
    """Returns where a store keeps the influence that a model was estimated to have (eq. 5)."""
    return epath.Path(store) / "influence" / f"trial-{number:06d}.npz"


def read_influence(store: Store, number: int, num_train: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads what launchers.train_turnover --influence wrote of a model.

    Returns:
      int64 [k] training examples, and float32 [k, n'] their influence on the test examples, in
      nats; both empty where nothing was written.

    Raises:
      ValueError: the file is not of this store.
    """
    path = influence_path(store.path, number)
    num_test = len(store.dataset.test)
    if not path.exists():
        return np.zeros(0, np.int64), np.zeros((0, num_test), np.float32)
    with npz.open_npz(path, ("tr_idx", "influence")) as archive:
        train_index, influence = archive["tr_idx"], archive["influence"]
    expected = (len(train_index), num_test)
    if influence.shape != expected:
        raise ValueError(f"{path}: influence has shape {influence.shape}, expected {expected}")
    if np.any((train_index < 0) | (train_index >= num_train)):
        raise ValueError(f"{path}: tr_idx has numbers outside of 0 to {num_train - 1}")
    return train_index, influence


def _load_pictures(store: Store) -> tuple[Dataset | None, str]:
    """Returns the dataset with images, or None and why there are none."""
    try:
        if datasets.uses_tensorflow(store.config.dataset):
            cli.import_tensorflow()  # It would print notices.
        return cli.load_pictures(store, FLAGS.data_dir), ""
    except ValueError as error:
        return None, f"there are no pictures, {error}"


def _gallery(found: Scores, dataset: Dataset | None, reason: str, highest: bool) -> "Figure":
    """Returns Fig. 7 of the lowest or the highest scores; without a dataset, it is left out."""
    from analysis.figures import folder
    from analysis.figures import scores_gallery as module
    from analysis.figures.pictures import Picture

    if dataset is None:
        raise folder.LeftOut(reason)
    folder.require_drawable(dataset)
    train, labels = found.train, found.train_labels
    shown = {
        int(label): gallery.extreme_examples(
            train.score, labels, label, module.ROWS, highest
        ).tolist()
        for label in gallery.highest_classes(train.score, labels, dataset.num_classes, _CLASSES)
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
        from analysis.figures import folder

        out, formats = folder.require(FLAGS.figures, "figures", FLAGS.formats)
    store = Store.open(FLAGS.store)
    cli.require_kind(store, TurnoverConfig.kind)
    wanted = cli.parse_range(FLAGS.trials) if FLAGS.trials else None
    numbers = [number for number in store.numbers() if wanted is None or number in wanted]
    command = store.command(wanted.start, wanted.stop) if wanted else store.command()
    if not numbers:
        which = f"none of the models --trials={FLAGS.trials}" if wanted else "no finished models"
        raise ValueError(f"{store.path} has {which} yet: {command}")
    if wanted and len(numbers) < len(wanted):
        print(f"incomplete: {len(numbers):,} of {len(wanted):,} models are there: {command}")
    trials = []
    with cli.progress_bar(len(numbers), "models read", delay=1) as progress:
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
    with cli.progress_bar(len(epochs), "epochs compared", delay=1) as progress:
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
        from analysis.figures import early_stopping as early_stopping_figure
        from analysis.figures import scores_histogram, subnetworks

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
    flags.DEFINE_string("store", None, "(required) Directory of the store.")
    flags.DEFINE_string("out", None, "Where to write the scores, an npz file.")
    flags.DEFINE_string("trials", None, "START:STOP, to use only those models; all by default.")
    flags.DEFINE_integer(
        "epoch", None, "After how many epochs; as many as there are by default.", lower_bound=1
    )
    flags.DEFINE_string("figures", None, "Folder to write the figures into.")
    flags.DEFINE_string(
        "data_dir", None, "Where TFDS keeps its data, for the pictures; its own default if absent."
    )
    cli.define_formats()
    flags.mark_flag_as_required("store")
    cli.run(main)
