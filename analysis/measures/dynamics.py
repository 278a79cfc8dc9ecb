"""How easy and difficult examples are learnt, epoch by epoch (Liu, Lin & Jaggi, 2021, Sec. 3)."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfmem import config
from tfmem.config import DynamicsConfig
from tfmem.store.epochs import Epoch
from tfmem.store.trials import Trial
from tfmem.words import counted, number, table

# Every axis of groups is in this order.
ALL, EASY, DIFFICULT = range(3)
GROUPS = ("all", "easy", "difficult")
Groups = Mapping[str, np.ndarray]  # Of `group`.
# Shares of a subset; it is told when so much of it is right.
LEVELS = (0.5, 0.9)
_TRAINED_ON = {
    config.EVERYTHING: "everything",
    config.WITHOUT_DIFFICULT: "everything but the difficult subset",
    config.EASY: "the easy subset",
    config.DIFFICULT: "the difficult subset",
}


@dataclasses.dataclass(frozen=True)
class Curves:
    """What the runs of one condition do epoch by epoch, on average.

    The axis of groups is in the order of `GROUPS`.

    Attributes:
      condition: of `tfmem.config.FOLLOWED`.
      num_runs: how many runs there are.
      num_examples: what each was trained on.
      epochs: int64 [e], ascending; 0 is before training.
      train: float64 [3, e], accuracy on training examples.
      test: float64 [3, e], on test examples; nan of groups without any.
      train_shares: float64 [3], of the training examples that are in a group.
      test_shares: float64 [3], of the test examples.
      similarity: float64 [3, e], mean cosine of gradients (eq. 3); nan where not measured.
      contribution: float64 [3, e], mean contribution of a gradient (eq. 4); nan likewise.
    """

    condition: str
    num_runs: int
    num_examples: int
    epochs: np.ndarray
    train: np.ndarray
    test: np.ndarray
    train_shares: np.ndarray
    test_shares: np.ndarray
    similarity: np.ndarray
    contribution: np.ndarray

    @property
    def has_gradients(self) -> bool:
        """Whether gradients were measured."""
        return not np.isnan(self.contribution).all()

    def smoothed(self, window: int) -> "Curves":
        """Returns the curves as sliding means; see `sliding_mean`."""
        return dataclasses.replace(
            self,
            train=sliding_mean(self.train, window),
            test=sliding_mean(self.test, window),
            similarity=sliding_mean(self.similarity, window),
            contribution=sliding_mean(self.contribution, window),
        )


def group(subsets: Mapping[str, np.ndarray], num_test: int) -> Groups:
    """Returns which examples are in which group, in the order of `GROUPS`.

    Args:
      subsets: of `read_subsets`.
      num_test: n'.

    Returns:
      `train`, bool [3, n], and `test`, bool [3, n']; no test example is easy or difficult where
      they have no scores.
    """
    none = np.zeros(num_test, bool)
    train = [subsets[f"tr_{name}"] for name in GROUPS[1:]]
    test = [subsets.get(f"tt_{name}", none) for name in GROUPS[1:]]
    everything = np.ones_like(train[0])
    return {"train": np.stack([everything, *train]), "test": np.stack([~none, *test])}


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Returns the mean along an axis of float [...] over what is not nan; nan where all is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    return np.where(known, values, 0).sum(axis=axis) / np.where(count > 0, count, np.nan)


def sliding_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Returns the mean over a window around each epoch, of what there is at the ends.

    Args:
      values: float [..., e]; nan does not count.
      window: epochs, odd; 1 changes nothing.
    """
    half, count = window // 2, values.shape[-1]
    windows = (values[..., max(0, at - half) : at + half + 1] for at in range(count))
    return np.stack([known_mean(part, axis=-1) for part in windows], axis=-1)


def accuracies(epochs: Iterable[Epoch], name: str, groups: np.ndarray) -> np.ndarray:
    """Returns the accuracy on each group after each epoch, float64 [3, e]; nan of an empty group.

    Args:
      epochs: of one run.
      name: `train_correct` or `test_correct`.
      groups: bool [3, n].
    """
    index = [np.flatnonzero(members) for members in groups]

    def of_groups(correct: np.ndarray) -> list[float]:
        return [correct[members].mean() if len(members) else np.nan for members in index]

    return np.array([of_groups(epoch[name]) for epoch in epochs]).T


def follow(condition: str, runs: Iterable[Trial], groups: Groups) -> Curves:
    """Returns the mean curves of the runs of one condition, of which one at a time is in memory.

    Args:
      condition: what they were trained on.
      runs: at least one, all followed through the same epochs.
      groups: of their examples.
    """
    names = "train", "test", "similarity", "contribution"
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for run in runs:
        numbers = sorted(run.epochs)
        epochs = [run.epochs[number] for number in numbers]
        for split in ("train", "test"):
            parts[split].append(accuracies(epochs, f"{split}_correct", groups[split]))
        for name in ("similarity", "contribution"):
            nothing = np.full(len(GROUPS), np.nan)
            parts[name].append(np.array([epoch.get(name, nothing) for epoch in epochs]).T)
    return Curves(
        condition,
        num_runs=len(parts["train"]),
        num_examples=int(run.subset.sum()),
        epochs=np.array(numbers),
        train_shares=groups["train"].mean(axis=1),
        test_shares=groups["test"].mean(axis=1),
        **{name: known_mean(np.stack(values), axis=0) for name, values in parts.items()},
    )


def shown_epochs(epochs: np.ndarray) -> np.ndarray:
    """Returns the positions of epochs 0, 1, 2, 5, 10, 20, 50, ... and of the last.

    Args:
      epochs: int [e], ascending; most of learning is in the first ones.
    """
    steps = [factor * 10**power for power in range(len(str(epochs[-1]))) for factor in (1, 2, 5)]
    return np.flatnonzero(np.isin(epochs, [0, *steps, epochs[-1]]))


def first_epoch(epochs: np.ndarray, accuracy: np.ndarray, level: float) -> int | None:
    """Returns the first epoch after which a level is reached, inclusive; None if it never is.

    Args:
      epochs: int [e].
      accuracy: float [e].
      level: of accuracy.
    """
    reached = np.flatnonzero(accuracy >= level)
    return int(epochs[reached[0]]) if len(reached) else None


def accuracy_table(found: Curves) -> str:
    """Returns the accuracies of one condition after some epochs as aligned text, in percent."""
    columns = [
        (f"{split}, {name}", values[index])
        for split, values in (("train", found.train), ("test", found.test))
        for index, name in enumerate(GROUPS)
        if not np.isnan(values[index]).all()
    ]
    rows = [("epoch", *(name for name, _ in columns))]
    for position in shown_epochs(found.epochs):
        cells = (f"{100 * values[position]:.2f}" for _, values in columns)
        rows.append((str(found.epochs[position]), *cells))
    return (
        f"trained on {_TRAINED_ON[found.condition]}, {found.num_examples:,} examples "
        f"({counted(found.num_runs, 'run')}); accuracy in %\n{table(rows, left=0)}"
    )


def peak_sentence(found: Curves) -> str:
    """Returns where test accuracy is highest, first, and what it is at the end (Fig. 3b)."""
    accuracy = found.test[ALL]
    peak = int(np.argmax(accuracy))
    return (
        f"test accuracy is highest after epoch {found.epochs[peak]}: {accuracy[peak]:.2%}; "
        f"after the last, {found.epochs[-1]}, it is {accuracy[-1]:.2%}"
    )


def speed_sentence(found: Curves) -> str:
    """Returns how many epochs it takes until each group of training examples is right."""
    parts = []
    for name, accuracy in zip(GROUPS, found.train, strict=True):
        reached = (first_epoch(found.epochs, accuracy, level) for level in LEVELS)
        parts.append(f"{name} " + " / ".join("never" if e is None else str(e) for e in reached))
    levels = " / ".join(f"{level:.0%}" for level in LEVELS)
    return f"epochs until {levels} of the training examples are right: {', '.join(parts)}"


def transfer_sentence(found: Curves) -> str:
    """Returns what training on one of the two subsets gives the other (Fig. 6)."""
    own, other = (EASY, DIFFICULT) if found.condition == config.EASY else (DIFFICULT, EASY)
    before, after = found.train[:, 0], found.train[:, -1]
    return (
        f"trained on the {GROUPS[own]} subset alone: {after[own]:.2%} of it and {after[other]:.2%} "
        f"of the {GROUPS[other]} subset are right after the last epoch, {before[own]:.2%} and "
        f"{before[other]:.2%} after epoch {found.epochs[0]}"
    )


def gradient_table(found: Curves) -> str:
    """Returns the mean over epochs of what was measured of gradients as aligned text (Fig. 4).

    Below it is how often the claims about Fig. 4 hold, of the epochs where both groups are known.
    """
    measured = np.count_nonzero(~np.isnan(found.contribution).all(axis=0))
    rows: list[tuple[str, ...]] = [("", *GROUPS)]
    for name in ("similarity", "contribution"):
        values = known_mean(getattr(found, name), axis=1).tolist()
        rows.append((name, *(number(value, ".4f") for value in values)))
    similar, contribute = found.similarity, found.contribution
    return (
        f"gradients, mean over {measured:,} measured epochs\n{table(rows)}\n"
        "easy examples are more similar than difficult ones after "
        f"{_more_often(similar[EASY], similar[DIFFICULT])} epochs, and difficult ones contribute "
        f"more than easy ones after {_more_often(contribute[DIFFICULT], contribute[EASY])}"
    )


def _more_often(a: np.ndarray, b: np.ndarray) -> str:
    both = ~np.isnan(a) & ~np.isnan(b)
    return f"{np.count_nonzero(a[both] > b[both]):,} of {np.count_nonzero(both):,}"


def report(found: Sequence[Curves]) -> str:
    """Returns tables and sentences of all conditions of one store, as text."""
    by_condition = {curves.condition: curves for curves in found}
    everything = by_condition.get(config.EVERYTHING)
    without = by_condition.get(config.WITHOUT_DIFFICULT)
    lines = []
    for curves in found:
        lines += [accuracy_table(curves), peak_sentence(curves), speed_sentence(curves)]
        if curves.condition in (config.EASY, config.DIFFICULT):
            lines.append(transfer_sentence(curves))
        lines.append("")
    if everything and without:
        right, control = (curves.train[DIFFICULT, -1] for curves in (everything, without))
        lines.append(
            f"the difficult subset after the last epoch: {right:.2%} right when it is trained on, "
            f"{control:.2%} when it is not"
        )
    if everything and everything.has_gradients:
        lines.append(gradient_table(everything))
    return "\n".join(lines).rstrip()


def describe(followed: DynamicsConfig, groups: Groups, corrupted: int) -> str:
    """Returns what was followed, of whose training labels so many were replaced, as one line."""
    parts = []
    for members, what in ((groups["train"], "training"), (groups["test"], "test")):
        total, easy, difficult = members.sum(axis=1)
        if easy or difficult:
            parts.append(f"of {total:,} {what} examples {easy:,} easy, {difficult:,} difficult")
    labels = f"; {corrupted:,} training labels were replaced" if corrupted else ""
    return f"{followed.name}: {'; '.join(parts)}{labels}"


def curve_labels(texts: Sequence[str], names: Sequence[str], corrupted: Sequence[int]) -> list[str]:
    """Returns what the legend of Fig. 10 calls each store.

    It is the name that was given, or else the number of corrupted labels if no other store has it.

    Args:
      texts: the values of --store.
      names: what `cli.named_paths` calls them.
      corrupted: labels of each.
    """
    labels = []
    for text, name, count in zip(texts, names, corrupted, strict=True):
        given = text.startswith(f"{name}=")
        by_count = not given and list(corrupted).count(count) == 1
        labels.append(f"{count:,} corrupted labels" if by_count else name)
    return labels
