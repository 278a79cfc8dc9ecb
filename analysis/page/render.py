"""The report as one HTML page: pure functions from estimates, pairs and pictures to text."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jinja2
import markupsafe
import numpy as np

from analysis.estimates import estimators
from analysis.estimates import pairs as pairs_lib
from analysis.estimates.values import Estimates, Pairs
from analysis.measures.examples import EXAMPLES, WINDOW, nearest_examples, panels, shown_classes
from analysis.measures.settling import Convergence
from analysis.page import explorer, thumbnails
from analysis.page.thumbnails import Key
from analysis.plots import convergence as convergence_figure
from analysis.plots import influence_histogram, memorization_histogram, style
from tfmem import config as config_lib
from tfmem import experiments
from tfmem.config import Config
from tfmem.datasets import Dataset, ImageDataset, Split, StreamedDataset
from tfmem.store.trials import TrialSet

MEM_LEVELS = tuple(level / 10 for level in range(1, 11))
MAX_LISTED = 200  # Pairs, for who reads without scripts.
MAX_PICTURES = 8_000_000  # Characters of all pictures.
MAX_STREAMED = 1_200  # Pictures, where each costs reading a part of a file.
_OPEN_CLASSES = 20  # With more classes than this, their table starts folded.
_INTERVAL = 1.96  # Standard errors on either side that make an interval of 95%.
_NO_PICTURE_SIZE = (44, 64)  # Of the ids that stand in their place.
_SPLITS = {"train": "training", "test": "test"}


@dataclasses.dataclass(frozen=True)
class TrialSummary:
    """What each of the t trials was trained on and how good it is.

    Attributes:
      subset_size: int64 [t], m.
      test_accuracy: float64 [t].
      heldout_accuracy: float64 [t], on the training examples that it did not see; nan if none.
    """

    subset_size: np.ndarray
    test_accuracy: np.ndarray
    heldout_accuracy: np.ndarray


def summarize(trials: TrialSet) -> TrialSummary:
    """Counts bits: accuracies of every trial without unpacking a row."""
    seen = trials.subset.row_sums()
    heldout = trials.subset.count - seen
    correct = trials.train_correct
    right = correct.row_sums() - (correct & trials.subset).row_sums()
    return TrialSummary(
        subset_size=seen,
        test_accuracy=estimators.test_accuracies(trials),
        heldout_accuracy=np.where(heldout > 0, right / np.maximum(heldout, 1), np.nan),
    )


@dataclasses.dataclass(frozen=True)
class Example:
    """What the page says of one example.

    Attributes:
      split: `train` or `test`.
      id: its stable name.
      class_name: of its label.
      picture: the CSS class that shows it, or None where there are no images.
    """

    split: str
    id: str
    class_name: str
    picture: str | None

    @property
    def name(self) -> str:
        return f"{_SPLITS[self.split]} example {self.id}, class {self.class_name}"


@dataclasses.dataclass(frozen=True)
class Valued:
    """An example with an estimate above it, and whether that reaches the threshold."""

    example: Example
    quantity: str  # `mem` or `infl`.
    value: float
    standard_error: float | None
    reaches: bool

    @property
    def title(self) -> str:
        text = f"{self.example.name}: {self.quantity} {number(self.value, 3)}"
        if self.standard_error is None:
            return text
        low, high = interval(self.value, self.standard_error)
        return f"{text} ± {number(self.standard_error, 3)}, 95%: {number(low)} to {number(high)}"


@dataclasses.dataclass(frozen=True)
class PanelRow:
    """A training example of Figs. 4 to 6 and the test examples that it influences most."""

    train: Valued
    tests: tuple[Valued, ...]


@dataclasses.dataclass(frozen=True)
class PairCard:
    """A high-influence pair."""

    train: Valued
    test: Valued


@dataclasses.dataclass(frozen=True)
class GalleryRow:
    """The examples of one class around each of `experiments.GALLERY_LEVELS`."""

    class_name: str
    levels: tuple[tuple[Valued, ...], ...]


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """What is counted of one class."""

    name: str
    train: int
    memorized: int
    mean_memorization: float
    heldout_accuracy: float | None
    pairs: int
    test: int
    influenced: int


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number for reading: thousands separated, a true minus sign, no negative zero."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """Returns a share as a percentage; what is more than nothing is not written as 0%."""
    if value is None or math.isnan(value):
        return "–"
    while value > 0 and float(f"{100 * value:.{digits}f}") == 0 and digits < 4:
        digits += 1
    return f"{100 * value:.{digits}f}%"


def count(value: int) -> str:
    """Returns a whole number with thousands separated."""
    return f"{value:,d}"


def plural(value: int, noun: str, ending: str = "s") -> str:
    """Returns `1 pair`, `2 pairs`."""
    return f"{count(value)} {noun}{'' if value == 1 else ending}"


def interval(value: float, standard_error: float) -> tuple[float, float]:
    """Returns the interval of 95% around an estimate, within the [-1, 1] that it can take."""
    half = _INTERVAL * standard_error
    return max(value - half, -1.0), min(value + half, 1.0)


class _Examples:
    """Examples by split and index, with their estimates; knows which ones the page shows."""

    def __init__(self, dataset: Dataset, estimates: Estimates, mem_threshold: float):
        self._dataset = dataset
        self._estimates = estimates
        self._mem_threshold = mem_threshold
        self._has_images = _image_shape(dataset) is not None
        self._shown: dict[Key, Example] = {}

    @property
    def keys(self) -> tuple[Key, ...]:
        """All examples that were asked for, in that order."""
        return tuple(self._shown)

    def get(self, split_name: str, index: int) -> Example:
        key = split_name, index
        if key not in self._shown:
            split: Split = getattr(self._dataset, split_name)
            self._shown[key] = Example(
                split_name,
                str(split.ids[index]),
                self._dataset.class_names[split.labels[index]],
                thumbnails.css_class(key) if self._has_images else None,
            )
        return self._shown[key]

    def memorization(self, index: int) -> Valued:
        value = float(self._estimates.memorization[index])
        details = self._estimates.details
        error = None if details is None else float(details.standard_error[index])
        reaches = value >= self._mem_threshold
        return Valued(self.get("train", index), "mem", value, error, reaches)

    def influences(
        self,
        train_index: np.ndarray,
        test_index: np.ndarray,
        influence: np.ndarray,
        threshold: float,
    ) -> list[Valued]:
        """Returns the test examples of pairs, each with the influence on it."""
        errors = explorer.standard_errors(train_index, test_index, self._estimates)
        if errors is None:
            errors = [None] * len(influence)
        return [
            Valued(
                self.get("test", int(test)),
                "infl",
                float(value),
                None if error is None else float(error),
                bool(value >= threshold),
            )
            for test, value, error in zip(test_index, influence, errors, strict=True)
        ]


def _gallery(
    examples: _Examples, dataset: Dataset, estimates: Estimates, mem_threshold: float
) -> list[GalleryRow]:
    memorization, labels = estimates.memorization, dataset.train.labels
    shown = shown_classes(memorization, labels, dataset.num_classes, mem_threshold)
    return [
        GalleryRow(
            dataset.class_names[label],
            tuple(
                tuple(
                    examples.memorization(int(index))
                    for index in nearest_examples(memorization, labels, label, level)
                )
                for level in experiments.GALLERY_LEVELS
            ),
        )
        for label in shown
    ]


def _panels(
    examples: _Examples, pairs: Pairs, estimates: Estimates, infl_threshold: float
) -> list[list[PanelRow]]:
    return [
        [
            PanelRow(
                examples.memorization(row.train_index),
                tuple(
                    examples.influences(
                        np.full(len(row.test_index), row.train_index),
                        row.test_index,
                        row.influence,
                        infl_threshold,
                    )
                ),
            )
            for row in rows
        ]
        for rows in panels(pairs, estimates.influences, estimates.train_labels)
    ]


def _pair_cards(examples: _Examples, pairs: Pairs, infl_threshold: float) -> list[PairCard]:
    listed = pairs.take(np.arange(min(len(pairs), MAX_LISTED)))
    tests = examples.influences(
        listed.train_index, listed.test_index, listed.influence, infl_threshold
    )
    trains = map(examples.memorization, listed.train_index.tolist())
    return [PairCard(*both) for both in zip(trains, tests, strict=True)]


def _class_rows(
    dataset: Dataset, estimates: Estimates, pairs: Pairs, mem_threshold: float
) -> list[ClassRow]:
    rows = []
    train_labels, test_labels = dataset.train.labels, dataset.test.labels
    for label, name in enumerate(dataset.class_names):
        train = train_labels == label
        memorization = estimates.memorization[train]
        heldout = None
        if estimates.details is not None and train.any():
            heldout = float(estimates.details.heldout_accuracy[train].mean())
        of_class = pairs.test_index[train_labels[pairs.train_index] == label]
        rows.append(
            ClassRow(
                name=name,
                train=len(memorization),
                memorized=int(np.count_nonzero(memorization >= mem_threshold)),
                mean_memorization=float(memorization.mean()) if len(memorization) else math.nan,
                heldout_accuracy=heldout,
                pairs=len(of_class),
                test=int(np.count_nonzero(test_labels == label)),
                influenced=len(np.unique(of_class)),
            )
        )
    return rows


def _image_shape(dataset: Dataset) -> tuple[int, ...] | None:
    """Returns height and width of the dataset's images, or None where it has none."""
    return dataset.input_shape[:2] if isinstance(dataset, ImageDataset) else None


def _encoded(dataset: Dataset, keys: Sequence[Key]) -> dict[Key, str]:
    """Returns the pictures of the first of these examples, as many as a page may have."""
    if not isinstance(dataset, ImageDataset):
        return {}
    if isinstance(dataset, StreamedDataset):  # All at once: its files are passed over once.
        keys, at_once = keys[:MAX_STREAMED], MAX_STREAMED
        return thumbnails.encode(
            keys, dataset.stream.pictures, dataset.pixel_max, MAX_PICTURES, at_once
        )

    def images(split: str, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        return zip(indices, getattr(dataset, split).images[indices], strict=True)

    return thumbnails.encode(keys, images, dataset.pixel_max, MAX_PICTURES)


def _drawings(name: str, make: Callable[[float], Any]) -> markupsafe.Markup:
    """Returns a figure in both widths; the page's style sheet shows the one that fits."""
    return markupsafe.Markup(
        "".join(
            f'<div class="{kind}">{style.to_svg(make(width), f"{name}-{kind}")}</div>'
            for kind, width in (("wide", style.WIDE), ("narrow", style.NARROW))
        )
    )


def _chance_share(convergence: Convergence) -> float | None:
    if not convergence.pairs:
        return None
    return min(convergence.chance_pairs / convergence.pairs, 1.0)


def false_pairs(convergence: Convergence) -> str:
    """Says in a sentence how many of the pairs found may be chance."""
    share, found = _chance_share(convergence), convergence.pairs
    if share is None:
        return "Here none is found."
    if share == 1:
        return "Here that is all of them: nothing can be said of any single pair."
    false = round(share * found)
    if not false:
        return "Here hardly any is."
    return f"Here about {count(false)} of {count(found)} may be."


def _made_by(config: Config) -> str:
    return f"imported from {config.format}" if config.kind == "import" else config.name


def _settings(config: Config) -> dict[str, Any]:
    """Returns what the page lists of a config, nested experiments as `network.epochs`."""
    source = {"source": config.source} if config.kind == "import" else {}
    return {**config_lib.flat(config_lib.identity(config)), **source}


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_setting(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value))
    return "unknown" if value == "" else str(value)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    environment.filters |= {
        "number": number,
        "percent": percent,
        "count": count,
        "plural": plural,
        "setting": _setting,
    }
    return environment


def to_html(
    config: Config,
    dataset: Dataset,
    fingerprint: str,
    trials: TrialSummary,
    estimates: Estimates,
    pairs: Pairs,
    convergence: Convergence,
    versions: dict[str, str],
    notes: Sequence[str] = (),
) -> str:
    """Returns the page; equal arguments give equal text.

    Args:
      config: the store's.
      dataset: with images, or without: then ids stand in their place.
      fingerprint: of the dataset that the trials were made on.
      trials: of the trials that the estimates come from.
      estimates: with influences of every class.
      pairs: the high-influence pairs, the most influential first.
      convergence: of the same trials; its thresholds are those of the pairs.
      versions: of the libraries that the store was made with, by name.
      notes: sentences that the reader should see before everything else.
    """
    mem_threshold, infl_threshold = convergence.mem_threshold, convergence.infl_threshold
    examples = _Examples(dataset, estimates, mem_threshold)
    memorization = estimates.memorization
    classes = _class_rows(dataset, estimates, pairs, mem_threshold)
    heldout = trials.heldout_accuracy[~np.isnan(trials.heldout_accuracy)]
    image_shape = _image_shape(dataset)
    figures = {
        "memorization": _drawings(
            "memorization",
            lambda width: memorization_histogram.figure(memorization, mem_threshold, width),
        )
    }
    if len(pairs):
        figures["influence"] = _drawings(
            "influence",
            lambda width: influence_histogram.figure(pairs.influence, infl_threshold, width),
        )
    if convergence.halves:
        figures["convergence"] = _drawings(
            "convergence", lambda width: convergence_figure.figure(convergence.halves, width)
        )
    shown = {
        "gallery": _gallery(examples, dataset, estimates, mem_threshold),
        "panels": _panels(examples, pairs, estimates, infl_threshold),
        "pairs": _pair_cards(examples, pairs, infl_threshold),
    }
    contents = explorer.choose(estimates, mem_threshold, infl_threshold, examples.keys)
    encoded = _encoded(dataset, contents.order)
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            **shown,
            made_by=_made_by(config),
            model=config.model,
            settings=_settings(config),
            dataset_name=dataset.name,
            num_train=len(dataset.train),
            num_test=len(dataset.test),
            num_classes=dataset.num_classes,
            has_images=image_shape is not None,
            reduced=image_shape is not None and thumbnails.is_reduced(*image_shape),
            largest_side=thumbnails.LARGEST_SIDE,
            picture_size=thumbnails.display_size(*image_shape) if image_shape else _NO_PICTURE_SIZE,
            pictures={thumbnails.css_class(key): uri for key, uri in encoded.items()},
            contents=contents,
            max_memorized=explorer.MAX_MEMORIZED,
            explored=explorer.page_data(
                contents, dataset, estimates, mem_threshold, infl_threshold, list(encoded)
            ),
            fingerprint=fingerprint,
            notes=notes,
            num_trials=len(trials.test_accuracy),
            subset_sizes=(int(trials.subset_size.min()), int(trials.subset_size.max())),
            subset_share=float(trials.subset_size.mean()) / len(dataset.train),
            test_accuracy=(float(trials.test_accuracy.mean()), float(trials.test_accuracy.std())),
            heldout_accuracy=(float(heldout.mean()), float(heldout.std()))
            if len(heldout)
            else None,
            mem_threshold=mem_threshold,
            infl_threshold=infl_threshold,
            num_memorized=int(np.count_nonzero(memorization >= mem_threshold)),
            mem_levels=[
                (level, int(np.count_nonzero(memorization >= level))) for level in MEM_LEVELS
            ],
            counts=pairs_lib.count(pairs),
            near_duplicates=experiments.NEAR_DUPLICATES,
            num_below_duplicates=int(
                np.count_nonzero(pairs.influence < experiments.NEAR_DUPLICATES)
            ),
            classes=classes,
            fold_classes=len(classes) > _OPEN_CLASSES,
            has_heldout=estimates.details is not None,
            levels=experiments.GALLERY_LEVELS,
            gallery_examples=EXAMPLES,
            gallery_window=WINDOW,
            panel_tests=experiments.PANEL_TEST_EXAMPLES,
            convergence=convergence,
            chance_share=_chance_share(convergence),
            false_pairs=false_pairs(convergence),
            jaccard_target=experiments.JACCARD_AT_INFL_THRESHOLD,
            figures=figures,
            versions=versions,
        )
    )
    return html.strip() + "\n"
