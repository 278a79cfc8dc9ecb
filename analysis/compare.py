r"""How far two estimates of the same examples, or estimates and scores, agree.

    tfmem compare --estimates_a=A.npz --estimates_b=B.npz [--out=scatter.png]
    tfmem compare --estimates_a=A.npz --consistency_scores=C.npy [--max_score=0.999]
    tfmem compare --estimates_a=A.npz --turnover=scores.npz [--out=methods.png]
    tfmem compare --estimates_a=A.npz --known_pairs=FILE.csv [--out=duplicates.png]

With --estimates_b: the rank correlation of memorization, how well the memorized examples and the
high-influence pairs agree (Sec. 3.5 of Feldman & Zhang, 2020), and the examples that differ most.
With --consistency_scores, one score per training example (Jiang et al., 2021), an npy or an npz
file as published: their rank correlation with P[correct | left out], which they estimate. Labels in
the file are checked, and file names tell the order; else it is that of the dataset.
With --turnover, a file of tfmem turnover: how far memorization agrees with the scores of
turn-over dropout (Liu, Lin & Jaggi, 2021), how well each finds corrupted labels, and its cost.
With --known_pairs, pairs of a test and a training example that people judged to be duplicates, a
csv file as Barz & Denzler (2020) publish it: TestID, TrainID (indices from 0) and Judgment (0 exact
duplicate, 1 near-duplicate, 2 very similar). Printed is how much influence these have, how often
the training example has the most on the test example, or is among the first ten of its class (with
equals in random order), and which share of the high-influence pairs is known, by influence. That is
a lower bound: a pair that nobody listed may be a duplicate too.
"""

import numpy as np
from absl import flags
from etils import epath

from analysis.cli import arguments, program
from analysis.estimates import files, known_pairs, scores
from analysis.estimates.values import Estimates
from analysis.measures import agreement, duplicates, methods
from analysis.measures.comparison import consistency_report, describe, report, selected_pairs

FLAGS = flags.FLAGS


def _compare_estimates(a: Estimates, name_a: str, path_b: str, name_b: str) -> None:
    b = files.read(path_b)
    print(describe(name_b, path_b, b))
    agreement.require_same_examples(a, b, name_a, name_b)
    with_pairs = bool(a.influences and b.influences)
    if with_pairs:
        a.require_influences(name_a)
        b.require_influences(name_b)
    names, thresholds = (name_a, name_b), (FLAGS.mem_threshold, FLAGS.infl_threshold)
    print(report(a, b, names, *thresholds))
    if FLAGS.out:
        from analysis.plots import comparison, fonts, style

        pairs = selected_pairs(a, b, *thresholds) if with_pairs else None
        known = a.known & b.known
        of_both = a.memorization[known], b.memorization[known]
        with fonts.showing(names) as (x, y):
            style.publish(comparison.figure(of_both, (x, y), pairs), *FLAGS.out)


def _compare_consistency(a: Estimates, name: str, path: str) -> None:
    if a.details is None:
        raise ValueError(
            f"{name} has no tr_heldout_accuracy, which consistency scores are compared with: "
            "tfmem estimate writes it"
        )
    consistency = files.read_consistency_scores(path, a.train_labels, a.train_ids)
    heldout = a.details.heldout_accuracy
    # Not of an example that every trial saw, here or there.
    known = (a.details.num_out > 0) & ~np.isnan(heldout + consistency)
    heldout, consistency = heldout[known], consistency[known]
    print(consistency_report(heldout, consistency, FLAGS.max_score))
    if FLAGS.out:
        from analysis.plots import comparison, fonts, style

        with fonts.showing((name, epath.Path(path).stem)) as (x, y):
            style.publish(comparison.score_figure(heldout, consistency, (x, y)), *FLAGS.out)


def _compare_turnover(a: Estimates, name_a: str, path_b: str, name_b: str) -> None:
    found = scores.read(path_b)
    costs = methods.costs(a, found)
    models = costs[methods.METHODS[1]]
    print(f"{name_b}: {path_b}, {models} with turn-over dropout, after epoch {found.epoch}")
    values = methods.align(a, found, name_a, name_b)
    print(methods.report(values))
    print(methods.cost_sentence(a, found))
    if FLAGS.out:
        from analysis.plots import comparison, fonts, style

        with fonts.showing((name_a, name_b)) as (x, y):
            style.publish(comparison.methods_figure(values, (x, y), costs), *FLAGS.out)


def _compare_known_pairs(a: Estimates, name: str, path: str) -> None:
    a.require_influences(name)
    known = known_pairs.read(path, a.train_labels, a.test_labels)
    found = duplicates.measure(a, known, FLAGS.mem_threshold, FLAGS.infl_threshold)
    print(duplicates.report(found))
    if FLAGS.out:
        from analysis.plots import duplicates as plot
        from analysis.plots import style

        style.publish(plot.figure(found), *FLAGS.out)


def main() -> None:
    named = [path for path in (FLAGS.estimates_b, FLAGS.turnover) if path is not None]
    unnamed = [path for path in (FLAGS.consistency_scores, FLAGS.known_pairs) if path is not None]
    if len(named) + len(unnamed) != 1:
        raise ValueError(
            "give one of --estimates_b, --consistency_scores, --turnover and --known_pairs: what "
            "--estimates_a is compared with"
        )
    if FLAGS.max_score is not None and FLAGS.consistency_scores is None:
        raise ValueError("--max_score is of --consistency_scores, and there are none")
    (name, path), *others = arguments.named_paths([FLAGS.estimates_a, *named])
    a = files.read(path)
    print(describe(name, path, a))
    if FLAGS.consistency_scores is not None:
        _compare_consistency(a, name, FLAGS.consistency_scores)
    if FLAGS.known_pairs is not None:
        _compare_known_pairs(a, name, FLAGS.known_pairs)
    for name_b, path_b in others:
        compare = _compare_estimates if FLAGS.turnover is None else _compare_turnover
        compare(a, name, path_b, name_b)


if __name__ == "__main__":
    with program.group("What is read and written"):
        define_path, named = arguments.define_path, "PATH or NAME=PATH"
        define_path("estimates_a", f"Estimates file, {named}.", required=True)
        define_path("estimates_b", f"Estimates file of the same dataset, {named}.")
        define_path(
            "consistency_scores", "Consistency scores of the training examples, npy or npz file."
        )
        define_path("turnover", f"Scores file of turn-over dropout of the same dataset, {named}.")
        text = (
            "Judged pairs of test and training examples, a csv file of TestID, TrainID, Judgment."
        )
        define_path("known_pairs", text)
        arguments.define_pictures("the figure")
    with program.group("What is computed"):
        text = "Compare scores below this one too: most examples have nearly 1."
        flags.DEFINE_float("max_score", None, text)
        arguments.define_thresholds()
    program.run(main)
