r"""Does the last layer suffice for memorization? Sec. 3.6, Fig. 8.

    python -m analysis.last_layer --estimates=FULL.npz --last_layer=LINEAR.npz [--out=fig8.png]

Compares the estimates of whole networks (launchers.train_trials) with those of linear classifiers
on the features of one network (launchers.train_last_layer): test accuracies, how many examples are
memorized, and how many pairs of one class have infl >= --infl_threshold, whatever their training
example's memorization is. --out draws the agreement of these pairs at every threshold.
"""

import dataclasses
import math

from absl import flags
from etils import epath

from analysis import agreement, cli, consistency
from analysis.consistency import Comparison
from analysis.files import Estimates
from tfmem import experiments, published, representations

FLAGS = flags.FLAGS
_WHOLE, _LINEAR = "whole networks", "linear classifiers"


@dataclasses.dataclass(frozen=True)
class LastLayer:
    """The numbers of Sec. 3.6.

    Attributes:
      whole_accuracy: test accuracy of the whole networks, mean and standard deviation over the
        trials; nan where their file has none.
      linear_accuracy: the same of the linear classifiers.
      network_accuracy: test accuracy of the network, trained on everything, whose features the
        linear classifiers see; nan where it is not known.
      comparison: of the whole networks (a) with the linear classifiers (b); pairs whatever is
        memorized.
    """

    whole_accuracy: tuple[float, float]
    linear_accuracy: tuple[float, float]
    network_accuracy: float
    comparison: Comparison


def measure(
    whole: Estimates,
    linear: Estimates,
    network_accuracy: float = math.nan,
    mem_threshold: float = experiments.MEM_THRESHOLD,
    infl_threshold: float = experiments.INFL_THRESHOLD,
) -> LastLayer:
    """Compares two estimates of the same examples; see `LastLayer`."""
    return LastLayer(
        whole_accuracy=_accuracy(whole),
        linear_accuracy=_accuracy(linear),
        network_accuracy=network_accuracy,
        comparison=consistency.compare(
            whole, linear, _LINEAR, mem_threshold, infl_threshold, only_memorized=False
        ),
    )


def _accuracy(estimates: Estimates) -> tuple[float, float]:
    if estimates.test_accuracy is None or estimates.test_accuracy_deviation is None:
        return math.nan, math.nan
    return estimates.test_accuracy, estimates.test_accuracy_deviation


def table(found: LastLayer) -> str:
    """Returns the numbers of Sec. 3.6 beside the paper's, as aligned text."""
    comparison = found.comparison
    mem, infl = comparison.mem_threshold, comparison.infl_threshold
    memorized, pairs = comparison.memorized, comparison.pairs
    # At other thresholds the paper has no numbers.
    asked_mem, asked_infl = mem == experiments.MEM_THRESHOLD, infl == experiments.INFL_THRESHOLD
    rows = [
        (
            f"test accuracy of {_WHOLE}",
            _percent(*found.whole_accuracy),
            _stated("trials_accuracy"),
        ),
        (
            "test accuracy of the network on all examples",
            _percent(found.network_accuracy),
            _stated("network_accuracy"),
        ),
        (
            f"test accuracy of {_LINEAR} on its features",
            _percent(*found.linear_accuracy),
            _stated("last_layer_accuracy"),
        ),
        (
            f"examples with mem >= {mem:g}, {_WHOLE}",
            f"{memorized.size_a:,}",
            _stated("memorized") if asked_mem else "-",
        ),
        (
            f"examples with mem >= {mem:g}, {_LINEAR}",
            f"{memorized.size_b:,}",
            _stated("last_layer_memorized") if asked_mem else "-",
        ),
        (f"pairs with infl >= {infl:g}, {_WHOLE}", f"{pairs.size_a:,}", "-"),
        (
            f"pairs with infl >= {infl:g}, {_LINEAR}",
            f"{pairs.size_b:,}",
            _stated("last_layer_pairs") if asked_infl else "-",
        ),
    ]
    lines = [f"{'':<50} {'here':>15} {'paper, CIFAR-100':>18}"]
    lines += [f"{name:<50} {here:>15} {paper:>18}" for name, here, paper in rows]
    return "\n".join(lines)


def _stated(key: str) -> str:
    number = published.RESULTS["cifar100"][key]
    if not number.unit:
        return f"{number.value:,.0f}"
    return _percent(number.value / 100, float(number.deviation or math.nan) / 100)


def _percent(value: float, deviation: float = math.nan) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.1%}" if math.isnan(deviation) else f"{100 * value:.1f} ± {deviation:.1%}"


def main() -> None:
    paths = {"--estimates": FLAGS.estimates, "--last_layer": FLAGS.last_layer}
    whole, linear = (consistency.read(path, f"{flag}={path}") for flag, path in paths.items())
    agreement.require_same_examples(whole, linear, *paths)
    network_accuracy = math.nan
    if FLAGS.last_layer_store:
        folder = epath.Path(FLAGS.last_layer_store) / representations.FOLDER
        network_accuracy = representations.read_about(folder).test_accuracy
    found = measure(whole, linear, network_accuracy, FLAGS.mem_threshold, FLAGS.infl_threshold)
    comparison = found.comparison
    print(table(found))
    print(f"\n{_WHOLE} (a) and {_LINEAR} (b)")
    titles = "memorization", "influence, any memorization"
    curves = comparison.memorization, comparison.influence
    print(consistency.curve_table(list(zip(titles, curves, strict=True))))
    what = f"examples with mem >= {FLAGS.mem_threshold:g}"
    print(consistency.sentence(comparison.memorized, what))
    what = f"pairs with infl >= {FLAGS.infl_threshold:g}"
    print(consistency.sentence(comparison.pairs, what))
    if FLAGS.out:
        from analysis.figures import consistency as figure
        from analysis.figures import style

        reference = consistency.legend(_WHOLE, comparison.pairs.size_a, whole.test_accuracy)
        for path in FLAGS.out:
            style.save(figure.influence_figure(comparison, reference), path)
            print(f"figure: {path}")


if __name__ == "__main__":
    flags.DEFINE_string("estimates", None, "(required) Estimates file of whole networks.")
    flags.DEFINE_string(
        "last_layer", None, "(required) Estimates file of linear classifiers, of the same dataset."
    )
    flags.DEFINE_string(
        "last_layer_store",
        None,
        "Store of the linear classifiers, for the test accuracy of the network that it holds.",
    )
    flags.DEFINE_multi_string(
        "out",
        None,
        "Where to write Fig. 8: a .png, .pdf or .svg file; give the flag again for another",
    )
    for name, default, what in (
        ("mem_threshold", experiments.MEM_THRESHOLD, "memorization of a memorized example"),
        ("infl_threshold", experiments.INFL_THRESHOLD, "influence in a pair"),
    ):
        flags.DEFINE_float(
            name, default, f"Lowest {what}, inclusive.", lower_bound=-1, upper_bound=1
        )
    flags.mark_flags_as_required(["estimates", "last_layer"])
    cli.run(main)
