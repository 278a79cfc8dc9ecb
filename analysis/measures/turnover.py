"""What models with turn-over dropout say of their examples, epoch by epoch."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from analysis.estimates import scores
from analysis.estimates.scores import Scores
from analysis.measures import agreement
from analysis.measures.examples import Estimated
from tfmem.datasets import Dataset
from tfmem.store.epochs import Epoch
from tfmem.store.trials import Trial
from tfmem.words import number, table

QUANTILES = (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
# Shares of the examples whose highest scores are compared with the highest final ones.
SHARES = (0.01, 0.1)
SETTLED = 0.95  # Scores with this rank correlation with the final ones have settled.
_TABLE_EPOCHS = 12
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
    """Scores of examples whose labels were replaced, and of the others.

    Attributes:
      groups: by what their label is, how many examples there are and their mean score, nan without
        any; those whose label really is another one are among those whose label was replaced.
      auc_changed: area under the ROC curve of finding those with another label by a high score.
      auc_replaced: of finding all whose label was replaced.
    """

    groups: Mapping[str, tuple[int, float]]
    auc_changed: float
    auc_replaced: float


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
        return over_models(lambda kept: float(np.mean(kept[name][: len(labels)] == labels)))

    return Accuracies(
        epochs=np.array(epochs, np.int64),
        unmuted=right("unmuted_predicted"),
        muted=right("muted_predicted"),
        test=over_models(lambda kept: float(np.mean(kept["test_correct"]))),
    )


def scores_by_epoch(trials: Sequence[Trial], epochs: Sequence[int], count: int) -> np.ndarray:
    """Returns the scores of the first `count` examples, means over trials: float64 [e, count]."""

    def after(epoch: int) -> np.ndarray:
        kept = [scores.memorization(trial.epochs[epoch])[:count] for trial in trials]
        return np.mean(kept, axis=0)

    return np.stack([after(epoch) for epoch in epochs])


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
    final = by_epoch[-1]
    correlation, overlap = [], []
    for found in by_epoch:
        correlation.append(agreement.rank_correlation(found, final))
        overlap.append([scores.top_overlap(final, found, share)[1] for share in SHARES])
        on_epoch(1)
    return EarlyStopping(np.array(epochs, np.int64), np.array(correlation), np.array(overlap).T)


def spread(epochs: Sequence[int] | np.ndarray, most: int = _TABLE_EPOCHS) -> np.ndarray:
    """Returns the positions of at most `most` epochs: the first, the last, and most of them early.

    They are spaced evenly on a logarithmic scale, as scores change most in the first epochs.
    """
    return np.unique(np.round(np.geomspace(1, len(epochs), most)).astype(int)) - 1


def corruption(found: Scores) -> Corruption | None:
    """Returns how scores tell corrupted examples from real ones (Fig. 2), None if all are real."""
    score, replaced, changed = found.train.score, found.corrupted, found.changed
    if replaced is None or changed is None:
        return None
    parts = {
        "real": score[~replaced],
        "replaced": score[replaced],
        "  that is another one": score[changed],
    }
    groups = {
        label: (len(part), float(part.mean()) if len(part) else float("nan"))
        for label, part in parts.items()
    }
    return Corruption(groups, scores.auc(score, changed), scores.auc(score, replaced))


def most_influential(
    train_index: np.ndarray, influence: np.ndarray, score: np.ndarray
) -> dict[int, list[Estimated]]:
    """Returns those of some training examples with the highest scores, and whom they influence.

    Those are the test examples that each influences most, descending, in nats (eq. 5).

    Args:
      train_index: int [k].
      influence: float [k, n'], of each on the test examples.
      score: float [n], of all training examples.
    """
    rows = np.argsort(-score[train_index], kind="stable")[:_INFLUENTIAL]
    found = {}
    for row in rows.tolist():
        highest = np.argsort(-influence[row], kind="stable")[:_INFLUENCED]
        influenced = map(Estimated, highest.tolist(), influence[row, highest].tolist())
        found[int(train_index[row])] = list(influenced)
    return found


def accuracy_lines(found: Accuracies, num_train: int, num_test: int, trained_on_test: bool) -> str:
    """Returns the accuracies after the last epoch, one a line."""
    but = ", which it was trained on too" if trained_on_test else ""
    return (
        f"accuracy of the whole network on {num_test:,} test examples{but}: {found.test[-1]:.2%}\n"
        f"accuracy on {num_train:,} training examples: {found.unmuted[-1]:.2%} of unmuted, "
        f"{found.muted[-1]:.2%} of muted sub-networks"
    )


def quantile_table(found: Scores) -> str:
    """Returns the quantiles of the scores as aligned text, a row per split."""
    names = {0: "lowest", 0.5: "median", 1: "highest"}
    heads = (names.get(quantile, f"{quantile:.0%}") for quantile in QUANTILES)
    rows = [("scores in nats", "mean", *heads)]
    for split, what in ((found.train, "training"), (found.test, "test")):
        if split is not None:
            values = [split.score.mean(), *np.quantile(split.score, QUANTILES)]
            rows.append((f"{len(split.score):,} {what} examples", *map(_nats, values)))
    return table(rows)


def corruption_table(found: Corruption) -> str:
    """Returns the scores of corrupted and real examples as aligned text."""
    rows = [(label, f"{count:,}", _nats(mean)) for label, (count, mean) in found.groups.items()]
    return (
        f"{table([('label', 'examples', 'mean score'), *rows])}\n"
        f"ROC AUC of the score: {number(found.auc_changed, '.4f')} for labels that are another "
        f"one, {number(found.auc_replaced, '.4f')} for all that were replaced"
    )


def early_stopping_table(found: EarlyStopping) -> str:
    """Returns the agreement with the final scores as aligned text, and when it is high enough."""
    final = int(found.epochs[-1])
    rows = [("epoch", "Spearman", *(f"top {share:.0%}" for share in SHARES))]
    for position in spread(found.epochs).tolist():
        overlaps = (f"{overlap[position]:.1%}" for overlap in found.overlap)
        correlation = number(found.correlation[position], ".4f")
        rows.append((f"{found.epochs[position]:,}", correlation, *overlaps))
    if found.settled is None:
        when = "never"
    elif found.settled == final:
        when = f"after the last of {final:,} epochs alone"
    else:
        when = f"after {found.settled:,} of {final:,} epochs"
    return (
        f"scores after fewer epochs and those after {final:,}: rank correlation, and the share of "
        f"the highest that is found\n{table(rows, left=0)}\n"
        f"Spearman's rank correlation reaches {SETTLED:g} {when}"
    )


def influence_table(
    found: Mapping[int, Sequence[Estimated]],
    score: np.ndarray,
    dataset: Dataset,
    model: int,
    count: int,
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

    rows = [("score", "training example: test examples that it influences most")]
    for train_index, tests in found.items():
        influenced = ", ".join(f"{named('test', index)} {_nats(value)}" for index, value in tests)
        rows.append((_nats(score[train_index]), f"{named('train', train_index)}: {influenced}"))
    return (
        f"influence on test examples in nats, by model {model}, of the {len(found):,} training "
        f"examples with the highest scores of {count:,}\n{table(rows, left=2)}"
    )


def _nats(value: float) -> str:
    return number(round(value, 3) + 0.0)  # No negative zero.
