"""The report as one HTML page: pure functions from estimates, pairs and pictures to text."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
import numpy as np
from matplotlib.figure import Figure

from analysis.estimates import estimators
from analysis.estimates.pairs import count
from analysis.estimates.values import Estimates, Pairs
from analysis.measures.examples import EXAMPLES, WINDOW
from analysis.measures.settling import Convergence
from analysis.measures.votes import Votes
from analysis.page import explorer, text, thumbnails
from analysis.page.shown import Examples, class_rows
from analysis.page.thumbnails import Key
from analysis.plots import convergence, influence_histogram, memorization_histogram, style
from tfmem import experiments, own, words
from tfmem.config import Config, ImportConfig, flat, identity
from tfmem.datasets import Dataset, ImageDataset, StreamedDataset, short_name
from tfmem.store.trials import TrialSet

MEM_LEVELS = tuple(level / 10 for level in range(1, 11))
MAX_PICTURES = 8_000_000  # Characters that all pictures may have together.
MAX_STREAMED = 1_200  # Pictures of a dataset that reads each of them from a file.
_OPEN_CLASSES = 20  # With more classes than this, their table starts folded.
_NO_PICTURE_SIZE = (44, 72)  # CSS pixels that an id takes where there is no picture.


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


def _with_images(dataset: Dataset) -> ImageDataset | None:
    """Returns a dataset whose examples are images, or None of another."""
    return dataset if isinstance(dataset, ImageDataset) and dataset.has_images else None


def _image_shape(dataset: Dataset) -> tuple[int, ...] | None:
    """Returns height and width of the dataset's images, or None where it has none."""
    found = _with_images(dataset)
    return found.input_shape[:2] if found else None


def _encoded(examples: Dataset, keys: Sequence[Key], shown: Mapping[Key, int]) -> dict[Key, str]:
    """Returns the pictures of the first of these examples, as many as a page may have.

    They are there once for the explorer, and each time that an example is shown elsewhere.
    """
    dataset = _with_images(examples)
    if dataset is None:
        return {}
    encode = functools.partial(
        thumbnails.encode,
        pixel_max=dataset.pixel_max,
        budget=MAX_PICTURES,
        times=lambda key: 1 + shown.get(key, 0),
    )
    if isinstance(dataset, StreamedDataset):  # Its files are passed over once, for all pictures.
        most = MAX_STREAMED
        return encode(keys[:most], dataset.stream.pictures, at_once=most)

    def images(split: str, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        return zip(indices.tolist(), getattr(dataset, split).images[indices], strict=True)

    return encode(keys, images)


def _drawings(name: str, make: Callable[..., Figure], *values: Any) -> markupsafe.Markup:
    """Returns a figure in both widths; the page's style sheet shows the one that fits."""
    drawn = (
        f'<div class="{kind}">{style.to_svg(make(*values, width=width), f"{name}-{kind}")}</div>'
        for kind, width in (("wide", style.WIDE), ("narrow", style.NARROW))
    )
    return markupsafe.Markup("".join(drawn))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # No browser reads nan.
    how = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    environment.policies["json.dumps_kwargs"] = how
    environment.filters |= {
        "number": style.number,
        "percent": text.percent,
        "count": "{:,d}".format,
        "counted": words.counted,
        "setting": text.setting,
        "rounded": "{:.0%}".format,
    }
    return environment.get_template("report.html.j2")


def _figures(
    estimates: Estimates, pairs: Pairs, settled: Convergence
) -> dict[str, markupsafe.Markup]:
    """Returns the page's figures by name; those that would be empty are left out."""
    shown = estimates.memorization, settled.mem_threshold
    found = {"memorization": _drawings("memorization", memorization_histogram.figure, *shown)}
    if len(pairs):
        shown = pairs.influence, settled.infl_threshold
        found["influence"] = _drawings("influence", influence_histogram.figure, *shown)
    if settled.halves:
        found["convergence"] = _drawings("convergence", convergence.figure, settled.halves)
    return found


def _of_config(config: Config) -> dict[str, Any]:
    settings = flat(identity(config))  # Nested experiments are `network.epochs`.
    if isinstance(config, ImportConfig):
        made_by, settings = f"imported from {config.format}", {**settings, "source": config.source}
    else:
        made_by = config.name
    model = config.model and own.short(config.model)
    return {"made_by": made_by, "model": model, "settings": settings}


def _of_dataset(dataset: Dataset) -> dict[str, Any]:
    shape = _image_shape(dataset)
    return {
        "dataset_name": short_name(dataset.name),
        "num_train": len(dataset.train),
        "num_test": len(dataset.test),
        "num_classes": dataset.num_classes,
        "has_images": shape is not None,
        "reduced": shape is not None and thumbnails.is_reduced(*shape),
        "largest_side": thumbnails.LARGEST_SIDE,
        "picture_size": _NO_PICTURE_SIZE if shape is None else thumbnails.display_size(*shape),
    }


def _of_trials(trials: TrialSummary, num_train: int) -> dict[str, Any]:
    heldout = trials.heldout_accuracy[~np.isnan(trials.heldout_accuracy)]
    return {
        "num_trials": len(trials.test_accuracy),
        "subset_sizes": (int(trials.subset_size.min()), int(trials.subset_size.max())),
        "subset_share": float(trials.subset_size.mean()) / num_train,
        "test_accuracy": (float(trials.test_accuracy.mean()), float(trials.test_accuracy.std())),
        "heldout_accuracy": (float(heldout.mean()), float(heldout.std())) if len(heldout) else None,
    }


def _counts(estimates: Estimates, pairs: Pairs, mem_threshold: float) -> dict[str, Any]:
    memorization, num_known = estimates.memorization, int(np.count_nonzero(estimates.known))

    def at_least(level: float) -> tuple[int, float]:
        """Returns how many have at least this memorization, and their share of those known."""
        found = int(np.count_nonzero(memorization >= level))
        return found, found / num_known if num_known else math.nan

    num_memorized, memorized_share = at_least(mem_threshold)
    return {
        "num_known": num_known,
        "num_memorized": num_memorized,
        "memorized_share": memorized_share,
        "mem_levels": [(level, *at_least(level)) for level in MEM_LEVELS],
        "counts": count(pairs),
        "near_duplicates": experiments.NEAR_DUPLICATES,
        "num_below_duplicates": int((pairs.influence < experiments.NEAR_DUPLICATES).sum()),
        "has_heldout": estimates.details is not None,
    }


def _explorer(
    dataset: Dataset,
    estimates: Estimates,
    thresholds: tuple[float, float],
    shown: Mapping[Key, int],
    votes: Callable[[np.ndarray], Votes | None],
    unreliable: bool,
) -> dict[str, Any]:
    """Returns what the sliders choose from, the pictures of that, and what examples are called."""
    contents = explorer.choose(estimates, *thresholds, shown, hidden=unreliable)
    encoded = _encoded(dataset, contents.order, shown)
    train = contents.index("train")
    called = votes(train)
    return {
        "pictures": encoded,
        "contents": contents,
        "max_memorized": explorer.MAX_MEMORIZED,
        "explored": explorer.page_data(contents, dataset, estimates, *thresholds, encoded, called),
        "called": _called(train, called, dataset.class_names),
    }


def _called(
    train: np.ndarray, votes: Votes | None, class_names: Sequence[str]
) -> dict[Key, tuple[str, float]]:
    """Returns the class that each example is called when left out, and its share of the votes."""
    if votes is None:
        return {}
    found = zip(train.tolist(), votes.label.tolist(), votes.share.tolist(), strict=True)
    return {
        ("train", index): (class_names[label], share) for index, label, share in found if label >= 0
    }


def to_html(
    config: Config,
    dataset: Dataset,
    fingerprint: str,
    trials: TrialSummary,
    estimates: Estimates,
    pairs: Pairs,
    settled: Convergence,
    versions: Mapping[str, str],
    notes: Sequence[str] = (),
    num_expected: int | None = None,
    *,
    lookup: str,
    votes: Callable[[np.ndarray], Votes | None] = lambda train: None,
) -> str:
    """Returns the page; equal arguments give equal text.

    Args:
      config: the store's.
      dataset: with images, or with features or without: then ids stand in their place.
      fingerprint: of the dataset that the trials were made on.
      trials: of the trials that the estimates come from.
      estimates: with influences of every class.
      pairs: the high-influence pairs, the most influential first.
      settled: how far the same trials can be trusted; its thresholds are those of the pairs.
      versions: of the libraries that the store was made with, by name.
      notes: sentences that the reader should see before everything else.
      num_expected: how many trials there should have been; None if that is not known.
      lookup: the command that lists all examples.
      votes: what the training examples of these indices, int64 [k], are called by the trials that
        left them out; None where that is not known.
    """
    thresholds = settled.mem_threshold, settled.infl_threshold
    examples = Examples(dataset, estimates, thresholds)
    # The explorer comes after those who show examples: it begins with theirs.
    shown = {
        "gallery": examples.gallery(),
        "panels": examples.panels(pairs),
        "pairs": examples.pairs(pairs),
    }
    classes = class_rows(dataset, estimates, pairs, settled.mem_threshold)
    # Pairs that there are too few trials for are folded until they are asked for.
    unreliable = bool(len(pairs)) and not settled.enough
    found = _explorer(dataset, estimates, thresholds, examples.shown, votes, unreliable)
    found["explored"] |= {"command": lookup, "unreliable": unreliable}
    html = _template().render(
        **shown,
        **_of_config(config),
        **_of_dataset(dataset),
        **_of_trials(trials, len(dataset.train)),
        **_counts(estimates, pairs, settled.mem_threshold),
        **found,
        unreliable=unreliable,
        lookup=lookup,
        fingerprint=fingerprint,
        notes=notes,
        num_expected=num_expected or 0,
        mem_threshold=settled.mem_threshold,
        infl_threshold=settled.infl_threshold,
        classes=classes,
        fold_classes=len(classes) > _OPEN_CLASSES,
        levels=experiments.GALLERY_LEVELS,
        gallery_examples=EXAMPLES,
        gallery_window=WINDOW,
        panel_tests=experiments.PANEL_TEST_EXAMPLES,
        settled=settled,
        chance_share=text.chance_share(settled),
        false_pairs=text.false_pairs(settled),
        jaccard_target=experiments.JACCARD_AT_INFL_THRESHOLD,
        figures=_figures(estimates, pairs, settled),
        versions=versions,
    )
    return html.strip() + "\n"
