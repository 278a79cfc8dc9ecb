r"""Consistency scores: P[correct | left out], averaged over subset ratios.

    tfmem consistency_scores --store=A --store=B ... --out=scores.npz [--figure=profile.png]
    tfmem consistency_scores --store=A ... --out=scores.npz --published=C.npy [--max_score=0.999]

P[correct | left out] of every training example at every subset ratio is its consistency profile,
and the mean over the ratios its score (Jiang, Zhang, Talwar & Mozer, 2021). The stores are of one
dataset and one recipe, and differ in --subset_ratio; trials of one ratio may be in several stores,
parts of one or of different seeds, and are counted together. An example that one of the ratios
never left out has no score (nan): a mean over the others would be another quantity.

--out has the layout that the authors publish, so that tfmem compare --consistency_scores reads it,
and the profiles beside it (docs/formats.md). --published is a file of others to compare with.
"""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np
from absl import flags

from analysis.cli import arguments, program, stores
from analysis.estimates import consistency_scores, estimators, files
from analysis.measures import profiles
from analysis.measures.comparison import consistency_report
from tfmem.disk import atomic
from tfmem.recipe import ExperimentConfig
from tfmem.store import head, parts
from tfmem.store.store import Store

FLAGS = flags.FLAGS
_Key = tuple[float, int]  # The subset ratio, and the seed.


def _config(store: Store) -> ExperimentConfig:
    """Returns the recipe of a store whose trials may have left any example out."""
    config = store.config
    stores.require_random_subsets(store)
    if not isinstance(config, ExperimentConfig):
        why = {
            "import": "imported trials, whose subset ratio and recipe nobody knows",
            "last_layer": "trials of the last layer, whose network has seen every example",
            "evaluation": "copies of trials, evaluated on another test set",
        }[config.kind]
        raise ValueError(f"{store.path} holds {why}: give stores of tfmem train_trials")
    if config.candidates:
        raise ValueError(
            f"{store.path} holds trials that leave out none but the examples of "
            f"--candidates={config.candidates}: scores need trials without --candidates"
        )
    return config


def _opened(wanted: range | None) -> Mapping[_Key, stores.Parts]:
    """Opens the stores, the parts of each ratio and seed together, by ascending ratio."""
    paths = [atomic.absolute(path) for path in FLAGS.store]
    for index, path in enumerate(paths):
        if path in paths[:index]:
            raise ValueError(f"--store={FLAGS.store[index]} is given twice")
    first, *others = opened = [Store.open(path) for path in FLAGS.store]
    reference = _config(first)
    for store in others:
        free = {name: getattr(reference, name) for name in ("subset_ratio", "seed", "num_trials")}
        same = dataclasses.replace(_config(store), **free)
        different = head.different(first.head, dataclasses.replace(store.head, config=same))
        if different:
            raise ValueError(
                f"{first.path} and {store.path} differ in more than subset_ratio, seed and trials: "
                f"{'; '.join(different)}"
            )
    found: dict[_Key, list[Store]] = {}
    for store in opened:
        config = _config(store)
        found.setdefault((config.subset_ratio, config.seed), []).append(store)
    return {
        key: stores.parts_of(together, FLAGS.allow_missing, wanted)
        for key, together in sorted(found.items())
    }


def _counts(ratio: float, found: stores.Parts) -> np.ndarray:
    """Returns the sums of `train_counts` over trials of the parts of a store."""
    total = np.zeros((3, len(found.stores[0].dataset.train)), np.int64)
    with program.progress_bar(found.count, f"trials at {ratio:g} read") as progress:
        for block in parts.blocks(found.stores, found.numbers, lambda number: progress(1)):
            total += estimators.train_counts(block)
            del block  # Before the next one is read.
    return total


def main() -> None:
    if FLAGS.max_score is not None and FLAGS.published is None:
        raise ValueError("--max_score is of --published, and there are none")
    wanted = arguments.chosen_trials()
    opened = _opened(wanted)
    dataset = next(iter(opened.values())).stores[0].dataset
    published = None
    if FLAGS.published is not None:
        of = dataset.train.labels, dataset.train.ids, "the stores"
        published = files.read_consistency_scores(FLAGS.published, *of)
    counts: dict[float, np.ndarray] = {}
    trials: collections.Counter[float] = collections.Counter()
    expected: collections.Counter[float] = collections.Counter()
    for (ratio, _), found in opened.items():
        counts[ratio] = _counts(ratio, found) + counts.get(ratio, 0)
        trials[ratio] += found.count
        expected[ratio] += found.expected
    of_ratios = list(counts), list(trials.values()), list(counts.values())
    profile = consistency_scores.from_counts(*of_ratios, dataset)
    consistency_scores.write(FLAGS.out, profile)
    print(profiles.report(profile, tuple(expected.values()), published, FLAGS.max_score))
    if published is not None:
        scores = profile.scores
        known = ~np.isnan(scores + published)
        what = "score and published score"
        print(consistency_report(scores[known], published[known], FLAGS.max_score, what))
    print(f"scores: {FLAGS.out}")
    if FLAGS.figure:
        from analysis.plots import consistency_profile, fonts, style

        with fonts.showing(dataset.class_names) as names:
            style.publish(consistency_profile.figure(profile, names), FLAGS.figure)


if __name__ == "__main__":
    with program.group("What is read and written"):
        text = "Directory of a store of tfmem train_trials; each ratio's at least once."
        arguments.define_paths("store", text, required=True)
        arguments.define_out("Where to write the scores, an npz file.", required=True)
        arguments.define_picture("figure", "the profiles")
        text = "Consistency scores of others to compare with, npy or npz file."
        arguments.define_path("published", text)
        arguments.define_allow_missing()
    with program.group("What is computed"):
        arguments.define_text("trials", "START:STOP, to use only those of each; all by default.")
        text = "Compare what --published gives less than this too: most examples have nearly 1."
        flags.DEFINE_float("max_score", None, text)
    program.run(main)
