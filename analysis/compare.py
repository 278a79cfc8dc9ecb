r"""How far two estimates of the same examples, or estimates and scores, agree.

    tfmem compare --estimates_a=A.npz --estimates_b=B.npz [--out=scatter.png]
    tfmem compare --estimates_a=A.npz --scores=cscores.npy [--max_score=0.999]
    tfmem compare --estimates_a=A.npz --turnover=scores.npz [--out=methods.png]

With --estimates_b: the rank correlation of memorization, how well the memorized examples and the
high-influence pairs agree (Sec. 3.5 of Feldman & Zhang, 2020), and the examples that differ most.
With --scores, an array of one consistency score per training example (Jiang et al., 2021), in the
order of the dataset: their rank correlation with P[correct | left out], which they estimate.
With --turnover, a file of tfmem turnover: how far memorization agrees with the scores of
turn-over dropout (Liu, Lin & Jaggi, 2021), how well each finds corrupted labels, and its cost.
"""

import numpy as np
from absl import flags
from etils import epath

from analysis.cli import arguments, program
from analysis.estimates import files
from analysis.estimates import scores as scores_lib
from analysis.estimates.values import Estimates, require_influences
from analysis.measures import agreement, comparison, methods
from analysis.measures.comparison import outlier_table, outliers, selected_pairs

FLAGS = flags.FLAGS


def _compare_estimates(a: Estimates, name_a: str, b: Estimates, name_b: str) -> None:
    agreement.require_same_examples(a, b, name_a, name_b)
    mem, infl = FLAGS.mem_threshold, FLAGS.infl_threshold
    gap = float(np.abs(a.memorization - b.memorization).mean())
    correlation = agreement.rank_correlation(a.memorization, b.memorization)
    print(
        f"memorization: rank correlation {correlation:.4f}, mean difference {gap:.4f} over "
        f"{len(a.memorization):,} examples"
    )
    memorized = agreement.memorization_curve(a, b, [mem]).at(mem)
    print(comparison.sentence(memorized, f"examples with mem >= {mem:g}"))
    with_pairs = bool(a.influences and b.influences)
    if with_pairs:
        for estimates, name in ((a, name_a), (b, name_b)):
            require_influences(estimates, name)
        selected = agreement.influence_curve(a, b, [infl], mem).at(infl)
        what = f"pairs with mem >= {mem:g} and infl >= {infl:g}"
        print(comparison.sentence(selected, what))
    else:
        print(f"no pairs are compared: {name_b if a.influences else name_a} has no influence")
    print(f"\nthe examples whose memorization differs most, {name_a} (a) and {name_b} (b):")
    print(outlier_table(outliers(a, b), a if a.train_ids is not None else b))
    if FLAGS.out:
        from analysis.plots import comparison as figure

        pairs = selected_pairs(a, b, mem, infl) if with_pairs else None
        _save(figure.figure((a.memorization, b.memorization), (name_a, name_b), pairs))


def _compare_scores(a: Estimates, name: str) -> None:
    if a.details is None:
        raise ValueError(
            f"{name} has no tr_heldout_accuracy, which scores are compared with: "
            "analysis.estimate writes it"
        )
    scores = files.read_consistency_scores(FLAGS.scores)
    if len(scores) != len(a.memorization):
        raise ValueError(
            f"{FLAGS.scores} has {len(scores):,} scores, expected one for each of the "
            f"{len(a.memorization):,} training examples of {FLAGS.estimates_a}"
        )
    # Of an example that every trial saw, nothing is known.
    known = a.details.num_out > 0
    parts = [("", known)]
    if FLAGS.max_score is not None:
        parts.append(
            (f" with a score below {FLAGS.max_score:g}", known & (scores < FLAGS.max_score))
        )
    for what, chosen in parts:
        correlation = agreement.rank_correlation(a.details.heldout_accuracy[chosen], scores[chosen])
        print(
            f"P[correct | left out] and score: rank correlation {comparison.number(correlation)} "
            f"over {np.count_nonzero(chosen):,} examples{what}"
        )
    if FLAGS.out:
        from analysis.plots import comparison as figure

        names = name, epath.Path(FLAGS.scores).stem
        _save(figure.score_figure(a.details.heldout_accuracy[known], scores[known], names))


def _compare_turnover(a: Estimates, name_a: str, path: str, name_b: str) -> None:
    scores = scores_lib.read(path)
    costs = methods.costs(a, scores)
    models = costs[methods.METHODS[1]]
    print(f"{name_b}: {path}, {models} with turn-over dropout, after epoch {scores.epoch}")
    values = methods.align(a, scores, name_a, name_b)
    print(methods.report(values))
    print(methods.cost_sentence(a, scores))
    if FLAGS.out:
        from analysis.plots import comparison as figure

        _save(figure.methods_figure(values, (name_a, name_b), costs))


def _save(fig) -> None:
    from analysis.plots import style

    for path in FLAGS.out:
        style.save(fig, path)
        print(f"figure: {path}")


def main() -> None:
    others = (FLAGS.estimates_b, FLAGS.scores, FLAGS.turnover)
    if sum(other is not None for other in others) != 1:
        raise ValueError(
            "give one of --estimates_b, --scores and --turnover: what --estimates_a is compared "
            "with"
        )
    if FLAGS.max_score is not None and FLAGS.scores is None:
        raise ValueError("--max_score is of --scores, and there are none")
    others = [other for other in (FLAGS.estimates_b, FLAGS.turnover) if other is not None]
    (name_a, path_a), *named = arguments.named_paths([FLAGS.estimates_a, *others])
    a = files.read_estimates(path_a)
    print(comparison.describe(name_a, path_a, a))
    if FLAGS.scores is not None:
        _compare_scores(a, name_a)
        return
    ((name_b, path_b),) = named
    if FLAGS.turnover is not None:
        _compare_turnover(a, name_a, path_b, name_b)
        return
    b = files.read_estimates(path_b)
    print(comparison.describe(name_b, path_b, b))
    _compare_estimates(a, name_a, b, name_b)


if __name__ == "__main__":
    with program.group("What is read and written"):
        flags.DEFINE_string(
            "estimates_a", None, "Estimates file, PATH or NAME=PATH.", required=True
        )
        flags.DEFINE_string(
            "estimates_b", None, "Estimates file of the same dataset, PATH or NAME=PATH."
        )
        flags.DEFINE_string("scores", None, "Scores of the training examples, an npy file.")
        flags.DEFINE_string(
            "turnover",
            None,
            "Scores file of turn-over dropout of the same dataset, PATH or NAME=PATH.",
        )
        flags.DEFINE_multi_string(
            "out", None, "Where to write the figure: a .png, .pdf or .svg file."
        )
    with program.group("What is computed"):
        flags.DEFINE_float(
            "max_score", None, "Compare scores below this one too: most examples have nearly 1."
        )
        arguments.define_thresholds()
    program.run(main)
