r"""A table of examples with what is known of each, what deserves a look first.

    tfmem table --store=STORE --out=examples.csv
    tfmem table --store=STORE --out=cats.csv --class=cat --split=train --top=20

A row for each example, in a .csv, .jsonl or .parquet file (docs/formats.md): memorization with its
standard error, what the trials that left it out call it (suggested_label) and which share of them
(votes), whether that is another label than its own (label_issue), which test example it influences
most, and who influences a test example most. Of test examples, all trials vote.

First come label issues by votes, then the others by memorization, those without it last. Equals are
ordered by held-out accuracy, the lowest first.
"""

import functools
from collections.abc import Iterator

import numpy as np
from absl import flags

from analysis.cli import arguments, program, stores
from analysis.estimates import estimators
from analysis.estimates.values import Estimates
from analysis.measures import table, table_files, votes
from analysis.measures.examples import named_classes
from analysis.measures.votes import Votes
from tfmem.store import parts
from tfmem.store.trials import TrialSet
from tfmem.words import counted, of_expected

FLAGS = flags.FLAGS


def _estimate(found: stores.Parts) -> tuple[Estimates, np.ndarray]:
    """Returns estimates, and the share of trials that are right on each test example."""
    dataset = found.stores[0].dataset
    right = np.zeros(len(dataset.test), np.int64)

    def blocks() -> Iterator[TrialSet]:
        for block in parts.blocks(found.stores, found.numbers, lambda number: progress(1)):
            right[:] += block.test_correct.transposed.row_sums()
            yield block
            del block  # Before the next one is read.

    with program.progress_bar(found.count, "trials read", delay=1) as progress:
        estimates = estimators.estimate_in_blocks(blocks(), found.count, dataset)
    return estimates, right / found.count


def _vote(found: stores.Parts, labels: np.ndarray | None) -> dict[str, Votes]:
    """Returns the votes for the examples of some classes, by split; says where there are none."""
    dataset = found.stores[0].dataset

    read = functools.partial(found.read, "predictions", delay=1)
    there, lacking = {}, {}
    for name, split, votes_of in (
        (table.TRAIN, dataset.train, votes.held_out_votes),
        (table.TEST, dataset.test, votes.test_votes),
    ):
        if FLAGS.split not in (name, table.BOTH):
            continue
        wanted = split.labels >= 0 if labels is None else np.isin(split.labels, labels)
        how = read, split.labels, dataset.num_classes, np.flatnonzero(wanted)
        try:
            there[name] = votes.in_blocks(votes_of, *how)
        except votes.NoPredictionsError as error:
            lacking[name] = error
    if lacking:
        name, why = next(iter(lacking.items()))  # The other one says the same.
        print(f"of {name} examples: {why}" if there else why)
    return there


def main() -> None:
    table_files.require(FLAGS.out)
    found = stores.open_parts(FLAGS.store, FLAGS.allow_missing, arguments.chosen_trials())
    dataset, chosen = found.stores[0].dataset, FLAGS["class"].value
    labels = named_classes(chosen, dataset.class_names) if chosen else None
    estimates, accuracy = _estimate(found)
    there = _vote(found, labels)
    columns = table.table(
        estimates,
        dataset,
        there.get(table.TRAIN),
        there.get(table.TEST),
        test_accuracy=accuracy,
        split=FLAGS.split,
        labels=labels,
        top=FLAGS.top,
    )
    table_files.write(FLAGS.out, columns)
    rows = len(columns["id"])
    said = f"{of_expected(found.count, found.expected)} trials, {counted(rows, 'example')}"
    if there:
        issues = np.count_nonzero(columns[table.LABEL_ISSUE])
        said += f", {issues:,} of them called something else than their label when left out"
    print(f"{said}; table: {FLAGS.out}")
    for line in estimates.unknown_lines() if FLAGS.split != table.TEST else ():
        print(line)


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_paths(
            "store", "Directory of the store, or of a part of it.", required=True
        )
        text = "Where to write the table: a .csv, .jsonl or .parquet file."
        arguments.define_out(text, required=True, suffixes=table_files.SUFFIXES)
        arguments.define_allow_missing()
    with program.group("What is shown"):
        text = "The first rows only."
        arguments.define_count("top", None, text)
        text = "Examples of this class only, by its name or number."
        flags.DEFINE_multi_string("class", None, text)
        text = "Training examples, test examples, or both."
        flags.DEFINE_enum("split", table.BOTH, table.SPLITS, text)
    with program.group("What is computed"):
        arguments.define_text("trials", "START:STOP, to use only those; all by default.")
    program.run(main)
