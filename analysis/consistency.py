r"""How well estimates of several runs or architectures agree: Sec. 3.5, Fig. 7.

    python -m analysis.consistency --estimates_a=ResNet50=A.npz \
        --estimates_b=again=B.npz --estimates_b=ResNet18=C.npz [--out=consistency.png]

Compares each --estimates_b with --estimates_a at thresholds from 0 to 1: the Jaccard similarity of
the examples with mem >= threshold and the mean difference of their estimates (eq. 4), and both of
the pairs of one class with infl >= threshold and mem >= --mem_threshold. The estimates are of one
dataset and from different trials; two files of one store come from analysis.estimate --trials.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from absl import flags

from analysis import agreement, cli, files
from analysis.agreement import Agreement, Curve
from analysis.files import Estimates
from tfmem import experiments, published

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one file of estimates agrees with another, the reference.

    Attributes:
      name: of the estimates.
      test_accuracy: their mean over the trials, or None where the file has none.
      memorization: at thresholds of memorization; the reference is a.
      influence: at thresholds of influence.
      mem_threshold: theta_mem of the selection, one of the first curve's thresholds.
      infl_threshold: theta_infl of the selection, one of the second curve's.
    """

    name: str
    test_accuracy: float | None
    memorization: Curve
    influence: Curve
    mem_threshold: float
    infl_threshold: float

    @property
    def memorized(self) -> Agreement:
        """On the examples with mem >= theta_mem."""
        return self.memorization.at(self.mem_threshold)

    @property
    def pairs(self) -> Agreement:
        """On the high-influence pairs."""
        return self.influence.at(self.infl_threshold)


def compare(
    a: Estimates,
    b: Estimates,
    name: str,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
    only_memorized: bool = True,
) -> Comparison:
    """Compares two estimates of the same examples at all thresholds.

    Args:
      a: the reference.
      b: what is compared with it.
      name: of b.
      mem_threshold: theta_mem, inclusive.
      infl_threshold: theta_infl, inclusive.
      only_memorized: whether a pair needs mem >= mem_threshold (Fig. 7), or not (Fig. 8).
    """
    mem_thresholds, infl_thresholds = (
        np.union1d(agreement.THRESHOLDS, [threshold])
        for threshold in (mem_threshold, infl_threshold)
    )
    return Comparison(
        name=name,
        test_accuracy=b.test_accuracy,
        memorization=agreement.memorization_curve(a, b, mem_thresholds),
        influence=agreement.influence_curve(
            a, b, infl_thresholds, mem_threshold if only_memorized else None
        ),
        mem_threshold=mem_threshold,
        infl_threshold=infl_threshold,
    )


def read(path: str, name: str) -> Estimates:
    """Reads estimates of which pairs can be compared; ValueError if they have no influence."""
    estimates = files.read_estimates(path)
    agreement.require_influences(estimates, name)
    return estimates


def legend(name: str, pairs: int, test_accuracy: float | None) -> str:
    """Returns a name with its high-influence pairs and test accuracy, as Fig. 7's legend."""
    accuracy = "" if test_accuracy is None else f", {test_accuracy:.1%}"
    return f"{name} ({pairs:,} pairs{accuracy})"


def curve_table(curves: Sequence[tuple[str, Curve]]) -> str:
    """Returns curves side by side as aligned text.

    Args:
      curves: a title and a curve each; a threshold that only some have leaves the others' cells
        empty.
    """
    columns = f"{'a':>10} {'b':>10} {'Jaccard':>8} {'difference':>11}"
    lines = [
        f"{'':>9}" + "".join(f"  {title:^{len(columns)}}" for title, _ in curves).rstrip(),
        f"{'threshold':>9}" + f"  {columns}" * len(curves),
    ]
    for threshold in np.unique(np.concatenate([curve.thresholds for _, curve in curves])):
        row = f"{threshold:>9g}"
        for _, curve in curves:
            if threshold in curve.thresholds:
                found = curve.at(threshold)
                cells = (
                    f"{found.size_a:>10,} {found.size_b:>10,} {number(found.jaccard):>8} "
                    f"{number(found.difference):>11}"
                )
            else:
                cells = " " * len(columns)
            row += f"  {cells}"
        lines.append(row.rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """Returns a similarity or a difference with three decimals, a dash for nan."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def sentence(found: Agreement, what: str) -> str:
    """Returns how two sets agree as one line.

    Args:
      found: at one threshold.
      what: the elements, such as `examples with mem >= 0.25`.
    """
    if math.isnan(found.jaccard):
        return f"{what}: none in either"
    shares = ", ".join(
        f"{share:.0%} of {name}'s also in {other}"
        for name, other, share in (("a", "b", found.share_of_a), ("b", "a", found.share_of_b))
        if not math.isnan(share)
    )
    return (
        f"{what}: {found.size_a:,} in a, {found.size_b:,} in b, {shares}; Jaccard similarity "
        f"{found.jaccard:.3f}, mean difference {found.difference:.3f}"
    )


def describe(name: str, path: str, estimates: Estimates) -> str:
    """Returns where estimates come from as one line."""
    words = [path]
    if estimates.num_trials is not None:
        words.append(f"{estimates.num_trials:,} trials")
    if estimates.test_accuracy is not None:
        words.append(f"test accuracy {estimates.test_accuracy:.1%}")
    return f"{name}: {', '.join(words)}"


def paper() -> str:
    """Returns what Sec. 2 says of two runs as one line."""
    stated = published.RESULTS["cifar100"]
    first, second = (stated[f"{run}_run_pairs"].value for run in ("first", "second"))
    shared, jaccard = stated["first_run_shared"], stated["runs_infl_jaccard"]
    return (
        f"the paper's two runs of 2,000 trials of ResNet50 on CIFAR-100: {first:,.0f} and "
        f"{second:,.0f} pairs, {shared.relation} {shared.number}% of each also in the other, "
        f"Jaccard similarity {jaccard.relation} {jaccard.number} ({jaccard.section})"
    )


def main() -> None:
    (name_a, path_a), *others = cli.named_paths([FLAGS.estimates_a, *FLAGS.estimates_b])
    a = read(path_a, name_a)
    print(describe(name_a, path_a, a))
    thresholds = FLAGS.mem_threshold, FLAGS.infl_threshold
    comparisons = []
    for name, path in others:
        b = read(path, name)
        agreement.require_same_examples(a, b, name_a, name)
        comparison = compare(a, b, name, *thresholds)
        comparisons.append(comparison)
        print(describe(name, path, b))
        print(f"\n{name} (b) and {name_a} (a)")
        titles = "memorization", f"influence, mem >= {FLAGS.mem_threshold:g}"
        curves = comparison.memorization, comparison.influence
        print(curve_table(list(zip(titles, curves, strict=True))))
        what = f"examples with mem >= {FLAGS.mem_threshold:g}"
        print(sentence(comparison.memorized, what))
        what = f"pairs with infl >= {FLAGS.infl_threshold:g} as well"
        print(sentence(comparison.pairs, what) + "\n")
    print(paper())
    if FLAGS.out:
        from analysis.figures import consistency as figure
        from analysis.figures import style

        reference = legend(name_a, comparisons[0].pairs.size_a, a.test_accuracy)
        for path in FLAGS.out:
            style.save(figure.figure(comparisons, reference), path)
            print(f"figure: {path}")


if __name__ == "__main__":
    flags.DEFINE_string(
        "estimates_a",
        None,
        "(required) Estimates file that all others are compared with, PATH or NAME=PATH.",
    )
    flags.DEFINE_multi_string(
        "estimates_b",
        None,
        "(required) Estimates file of the same dataset, PATH or NAME=PATH; "
        "give the flag once for each",
    )
    flags.DEFINE_multi_string(
        "out",
        None,
        "Where to write Fig. 7: a .png, .pdf or .svg file; give the flag again for another",
    )
    cli.define_thresholds()
    flags.mark_flags_as_required(["estimates_a", "estimates_b"])
    cli.run(main)
