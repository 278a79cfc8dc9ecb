r"""How far two estimates of the same examples, or an estimate and scores of them, agree.

    python -m analysis.compare --estimates_a=A.npz --estimates_b=B.npz [--out=scatter.png]
    python -m analysis.compare --estimates_a=A.npz --scores=cscores.npy [--max_score=0.999]
    python -m analysis.compare --estimates_a=A.npz --turnover=scores.npz [--out=methods.png]

With --estimates_b: the rank correlation of memorization, how well the memorized examples and the
high-influence pairs agree (Sec. 3.5 of Feldman & Zhang, 2020), and the examples that differ most.
With --scores, an array of one consistency score per training example (Jiang et al., 2021), in the
order of the dataset: their rank correlation with P[correct | left out], which they estimate.
With --turnover, a file of analysis.turnover: how far memorization agrees with the scores of
turn-over dropout (Liu, Lin & Jaggi, 2021), how well each finds corrupted labels, and its cost.
"""

import dataclasses
import math

import numpy as np
from absl import flags
from etils import epath

from analysis import agreement, cli, consistency, files, methods
from analysis import scores as scores_lib
from analysis.files import Estimates

FLAGS = flags.FLAGS
_SHOWN = 10  # Examples that differ most.


@dataclasses.dataclass(frozen=True)
class PairValues:
    """The influence, by both estimates, of the pairs that at least one of the two selects.

    Attributes:
      a: float64 [p], by the first.
      b: float64 [p], by the second.
      in_a: bool [p], whether the first selects the pair.
      in_b: bool [p], whether the second does.
    """

    a: np.ndarray
    b: np.ndarray
    in_a: np.ndarray
    in_b: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outlier:
    """A training example on which two estimates of memorization differ.

    Attributes:
      index: which one.
      a: its memorization by the first.
      b: by the second.
      errors: |a - b| in standard errors of the difference, if the trials are not the same; nan
        where a file has no standard errors.
    """

    index: int
    a: float
    b: float
    errors: float


def selected_pairs(
    a: Estimates, b: Estimates, mem_threshold: float, infl_threshold: float
) -> PairValues:
    """Returns the influence of all pairs that are selected by at least one of two estimates.

    Args:
      a: estimates, with influence of every class.
      b: estimates of the same examples.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
    """
    parts = []
    for block_a, block_b in zip(a.influences, b.influences, strict=True):
        in_a, in_b = (
            (block.value >= infl_threshold)
            & (side.memorization[block.train_index] >= mem_threshold)[:, None]
            for block, side in ((block_a, a), (block_b, b))
        )
        union = in_a | in_b
        parts.append((block_a.value[union], block_b.value[union], in_a[union], in_b[union]))
    return PairValues(*map(np.concatenate, zip(*parts, strict=True)))


def outliers(a: Estimates, b: Estimates, count: int = _SHOWN) -> list[Outlier]:
    """Returns the training examples whose memorization differs most, the most different first."""
    gap = np.abs(a.memorization - b.memorization)
    errors = np.full(len(gap), np.nan)
    if a.details is not None and b.details is not None:
        errors = gap / np.hypot(a.details.standard_error, b.details.standard_error)
    return [
        Outlier(int(i), float(a.memorization[i]), float(b.memorization[i]), float(errors[i]))
        for i in np.argsort(-gap, kind="stable")[:count]
    ]


def outlier_table(found: list[Outlier], estimates: Estimates) -> str:
    """Returns the examples that differ most as aligned text.

    Args:
      found: of `outliers`.
      estimates: whose labels and ids name the examples.
    """
    ids = estimates.train_ids
    width = 2 + max([0, *(len(ids[outlier.index]) for outlier in found)]) if ids is not None else 0
    lines = [
        f"{'example':>8}{'id' if width else '':>{width}}  {'label':>5}  {'a':>6}  {'b':>6}  "
        f"{'difference':>10}  {'in standard errors':>18}"
    ]
    for outlier in found:
        name = ids[outlier.index] if width else ""
        errors = "-" if math.isnan(outlier.errors) else f"{outlier.errors:.1f}"
        lines.append(
            f"{outlier.index:>8}{name:>{width}}  {estimates.train_labels[outlier.index]:>5}  "
            f"{outlier.a:>6.3f}  {outlier.b:>6.3f}  {outlier.b - outlier.a:>+10.3f}  {errors:>18}"
        )
    return "\n".join(lines)


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
    print(consistency.sentence(memorized, f"examples with mem >= {mem:g}"))
    with_pairs = bool(a.influences and b.influences)
    if with_pairs:
        for estimates, name in ((a, name_a), (b, name_b)):
            agreement.require_influences(estimates, name)
        selected = agreement.influence_curve(a, b, [infl], mem).at(infl)
        what = f"pairs with mem >= {mem:g} and infl >= {infl:g}"
        print(consistency.sentence(selected, what))
    else:
        print(f"no pairs are compared: {name_b if a.influences else name_a} has no influence")
    print(f"\nthe examples whose memorization differs most, {name_a} (a) and {name_b} (b):")
    print(outlier_table(outliers(a, b), a if a.train_ids is not None else b))
    if FLAGS.out:
        from analysis.figures import comparison as figure

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
            f"P[correct | left out] and score: rank correlation {consistency.number(correlation)} "
            f"over {np.count_nonzero(chosen):,} examples{what}"
        )
    if FLAGS.out:
        from analysis.figures import comparison as figure

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
        from analysis.figures import comparison as figure

        _save(figure.methods_figure(values, (name_a, name_b), costs))


def _save(fig) -> None:
    from analysis.figures import style

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
    (name_a, path_a), *named = cli.named_paths([FLAGS.estimates_a, *others])
    a = files.read_estimates(path_a)
    print(consistency.describe(name_a, path_a, a))
    if FLAGS.scores is not None:
        _compare_scores(a, name_a)
        return
    ((name_b, path_b),) = named
    if FLAGS.turnover is not None:
        _compare_turnover(a, name_a, path_b, name_b)
        return
    b = files.read_estimates(path_b)
    print(consistency.describe(name_b, path_b, b))
    _compare_estimates(a, name_a, b, name_b)


if __name__ == "__main__":
    flags.DEFINE_string("estimates_a", None, "(required) Estimates file, PATH or NAME=PATH.")
    flags.DEFINE_string(
        "estimates_b", None, "Estimates file of the same dataset, PATH or NAME=PATH."
    )
    flags.DEFINE_string("scores", None, "Scores of the training examples, an npy file.")
    flags.DEFINE_string(
        "turnover", None, "Scores file of turn-over dropout of the same dataset, PATH or NAME=PATH."
    )
    flags.DEFINE_float(
        "max_score", None, "Compare scores below this one too: most examples have nearly 1."
    )
    flags.DEFINE_multi_string(
        "out",
        None,
        "Where to write the figure: a .png, .pdf or .svg file; give the flag again for another",
    )
    cli.define_thresholds()
    flags.mark_flag_as_required("estimates_a")
    cli.run(main)
