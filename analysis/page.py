"""The report as one HTML page: pure functions from estimates, pairs and pictures to text."""

import base64
import dataclasses
import functools
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import markupsafe
import numpy as np

from analysis import gallery
from analysis import pairs as pairs_lib
from analysis.convergence import Convergence
from analysis.estimators import ClassInfluence
from analysis.figures import convergence as convergence_figure
from analysis.figures import influence_histogram, memorization_histogram, style
from analysis.files import Estimates
from analysis.pairs import Pairs
from tfmem import config as config_lib
from tfmem import experiments
from tfmem.config import Config
from tfmem.datasets import Dataset, Split
from tfmem.store import TrialSet

MEM_LEVELS = tuple(level / 10 for level in range(1, 11))
MAX_PAIRS = 200
_OPEN_CLASSES = 20  # With more classes than this, their table starts folded.
_DISPLAY_SIDE = 60  # CSS pixels that a small picture is magnified to, by a whole factor.
_LARGEST_SIDE = 112  # Larger pictures are reduced to this: a page holds hundreds of them.
_PIXEL_MAX = 255


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
    n, n_test = trials.train_correct.count, trials.test_correct.count
    seen = _row_sums(trials.subset.packed)
    heldout = n - seen
    right = _row_sums(trials.train_correct.packed & ~trials.subset.packed)
    return TrialSummary(
        subset_size=seen,
        test_accuracy=_row_sums(trials.test_correct.packed) / n_test,
        heldout_accuracy=np.where(heldout > 0, right / np.maximum(heldout, 1), np.nan),
    )


def _row_sums(packed: np.ndarray) -> np.ndarray:
    return np.bitwise_count(packed).sum(axis=1, dtype=np.int64)


def png_data_uri(image: np.ndarray, pixel_max: int) -> str:
    """Returns an image as a `data:image/png` URI, losslessly up to 112 pixels a side.

    Args:
      image: uint8 [height, width, channels], 1 channel for grey and 3 for colour.
      pixel_max: the value that is shown as white.

    Raises:
      ValueError: another number of channels.
    """
    from PIL import Image

    if image.shape[-1] not in (1, 3):
        raise ValueError(f"an image has {image.shape[-1]} channels, expected 1 or 3")
    pixels = np.round(image * (_PIXEL_MAX / pixel_max)).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def display_size(height: int, width: int) -> tuple[int, int]:
    """Returns the (height, width) in CSS pixels: small images magnified by a whole factor."""
    side = max(height, width)
    whole = max(1, round(_DISPLAY_SIDE / side))
    factor = _LARGEST_SIDE / side if side > _LARGEST_SIDE else whole
    return max(1, round(factor * height)), max(1, round(factor * width))


@dataclasses.dataclass(frozen=True)
class Example:
    """What the page says of one example.

    Attributes:
      split: `training` or `test`.
      id: its stable name.
      class_name: of its label.
      picture: a data URI, or None where there are no images.
    """

    split: str
    id: str
    class_name: str
    picture: str | None

    @property
    def name(self) -> str:
        return f"{self.split} example {self.id}, class {self.class_name}"


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
        error = "" if self.standard_error is None else f" ± {number(self.standard_error, 3)}"
        return f"{self.example.name}: {self.quantity} {number(self.value, 3)}{error}"


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


class _Examples:
    """Examples by split and index, each encoded once, with their estimates."""

    def __init__(self, dataset: Dataset, estimates: Estimates, mem_threshold: float):
        self._dataset = dataset
        self._estimates = estimates
        self._mem_threshold = mem_threshold
        self.get = functools.cache(self._get)

    def _get(self, split_name: str, index: int) -> Example:
        split: Split = self._dataset.train if split_name == "training" else self._dataset.test
        picture = None
        if split.images is not None:
            picture = png_data_uri(split.images[index], self._dataset.pixel_max or _PIXEL_MAX)
        class_name = self._dataset.class_names[split.labels[index]]
        return Example(split_name, str(split.ids[index]), class_name, picture)

    def memorization(self, index: int) -> Valued:
        value = float(self._estimates.memorization[index])
        details = self._estimates.details
        error = None if details is None else float(details.standard_error[index])
        reaches = value >= self._mem_threshold
        return Valued(self.get("training", index), "mem", value, error, reaches)

    def influence(self, block: ClassInfluence, row: int, column: int, threshold: float) -> Valued:
        error = block.standard_error
        value = float(block.value[row, column])
        return Valued(
            self.get("test", int(block.test_index[column])),
            "infl",
            value,
            None if error is None else float(error[row, column]),
            value >= threshold,
        )

    def block(self, train_index: int) -> tuple[ClassInfluence, int]:
        """Returns the influences of the training example's class, and its row there."""
        block = self._estimates.influences[self._dataset.train.labels[train_index]]
        return block, int(np.flatnonzero(block.train_index == train_index)[0])


def _gallery(
    examples: _Examples, dataset: Dataset, estimates: Estimates, mem_threshold: float
) -> list[GalleryRow]:
    memorization, labels = estimates.memorization, dataset.train.labels
    shown = gallery.shown_classes(memorization, labels, dataset.num_classes, mem_threshold)
    return [
        GalleryRow(
            dataset.class_names[label],
            tuple(
                tuple(
                    examples.memorization(int(index))
                    for index in gallery.nearest_examples(memorization, labels, label, level)
                )
                for level in experiments.GALLERY_LEVELS
            ),
        )
        for label in shown
    ]


def _panels(examples: _Examples, pairs: Pairs, infl_threshold: float) -> list[list[PanelRow]]:
    panels = []
    for indices in gallery.panel_training_examples(pairs):
        panel = []
        for index in map(int, indices):
            block, row = examples.block(index)
            tests = tuple(
                examples.influence(block, row, int(column), infl_threshold)
                for column in gallery.most_influenced(block, row)
            )
            panel.append(PanelRow(examples.memorization(index), tests))
        if panel:
            panels.append(panel)
    return panels


def _pair_cards(examples: _Examples, pairs: Pairs, infl_threshold: float) -> list[PairCard]:
    cards = []
    for train, test in zip(
        pairs.train_index[:MAX_PAIRS], pairs.test_index[:MAX_PAIRS], strict=True
    ):
        block, row = examples.block(int(train))
        column = int(np.flatnonzero(block.test_index == test)[0])
        cards.append(
            PairCard(
                examples.memorization(int(train)),
                examples.influence(block, row, column, infl_threshold),
            )
        )
    return cards


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


def _drawings(name: str, make: Callable[[float], Any]) -> markupsafe.Markup:
    """Returns a figure in both widths; the page's style sheet shows the one that fits."""
    return markupsafe.Markup(
        "".join(
            f'<div class="{kind}">{style.to_svg(make(width), f"{name}-{kind}")}</div>'
            for kind, width in (("wide", style.WIDE), ("narrow", style.NARROW))
        )
    )


def _made_by(config: Config) -> str:
    return f"imported from {config.format}" if config.kind == "import" else config.name


def _model(config: Config) -> str | None:
    """Returns what was trained, or None where somebody else trained it."""
    if config.kind == "last_layer":
        return f"{config.experiment.model} on the features of {config.network.name}"
    return getattr(config, "model", None)


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
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "count": count,
        "plural": plural,
        "setting": _setting,
    }
    return environment


def render(
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
    images = dataset.train.images
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
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            made_by=_made_by(config),
            model=_model(config),
            settings=_settings(config),
            dataset_name=dataset.name,
            num_train=len(dataset.train),
            num_test=len(dataset.test),
            num_classes=dataset.num_classes,
            has_images=images is not None,
            reduced=images is not None and max(images.shape[1:3]) > _LARGEST_SIDE,
            largest_side=_LARGEST_SIDE,
            picture_size=display_size(*images.shape[1:3]) if images is not None else (44, 64),
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
            gallery=_gallery(examples, dataset, estimates, mem_threshold),
            gallery_examples=gallery.EXAMPLES,
            gallery_window=gallery.WINDOW,
            panels=_panels(examples, pairs, infl_threshold),
            panel_tests=experiments.PANEL_TEST_EXAMPLES,
            pairs=_pair_cards(examples, pairs, infl_threshold),
            convergence=convergence,
            jaccard_target=experiments.JACCARD_AT_INFL_THRESHOLD,
            figures=figures,
            versions=versions,
        )
    )
    return html.strip() + "\n"
