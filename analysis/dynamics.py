r"""How easy and difficult examples are learnt, epoch by epoch (Liu, Lin & Jaggi, 2021, Sec. 3).

    tfmem dynamics --store=STORE [--out=dynamics.png] [--gradients_out=gradients.png]
    tfmem dynamics --store=none=STORE --store=OTHER [--out=corruption.png] [--smooth=5]

Reads stores of tfmem train_dynamics. For each condition it prints the accuracy on all, easy and
difficult examples after some epochs, when test accuracy is highest, and how long each subset takes;
then what training on difficult examples is worth, and the gradients of each group. Incomplete
stores will do. --out draws Figs. 3, 5 and 6 of one store, or Fig. 10 of several; --gradients_out
draws Fig. 4.
"""

import itertools
from collections.abc import Sequence

from absl import flags

from analysis.cli import arguments, program, stores
from analysis.measures import dynamics
from analysis.measures.dynamics import Curves, Groups
from tfmem.config import EVERYTHING, DynamicsConfig
from tfmem.store.artifacts import read_subsets
from tfmem.store.store import Store

FLAGS = flags.FLAGS


def read(store: Store, config: DynamicsConfig, allow_missing: bool) -> tuple[Groups, list[Curves]]:
    """Reads a store: its groups, and the curves of each condition that has runs, in order.

    Raises:
      ValueError: it is empty, or its subsets are not there.
    """
    numbers = stores.usable(store, allow_missing)
    if not numbers:
        raise ValueError(f"{store.path} has no finished runs yet: {store.command()}")
    groups = dynamics.group(read_subsets(store), len(store.dataset.test))
    every = stores.read(store, numbers, "runs")
    parts = itertools.groupby(every, lambda run: config.conditions[run.number // config.runs])
    return groups, [dynamics.follow(condition, runs, groups) for condition, runs in parts]


def _on_everything(found: Sequence[Curves], path: str, gradients: bool = False) -> Curves:
    """Returns the curves of training on everything; ValueError if they cannot be drawn."""
    for curves in found:
        if curves.condition == EVERYTHING:
            if gradients and not curves.has_gradients:
                raise ValueError(f"{path} has no gradients: its runs have --gradient_batches=0")
            return curves
    raise ValueError(f"{path} has no runs on everything, which this figure is of")


def main() -> None:
    texts, window = FLAGS.store, FLAGS.smooth
    named = arguments.named_paths(texts)
    if window < 1 or window % 2 == 0:
        raise ValueError(f"--smooth={window}: expected an odd number of epochs, such as 5")
    if window > 1 and not (FLAGS.out or FLAGS.gradients_out):
        raise ValueError("--smooth is of figures: give --out or --gradients_out")
    if FLAGS.gradients_out and len(named) > 1:
        raise ValueError(f"--gradients_out draws one store, and --store names {len(named)}")
    everything, corrupted = [], []
    for index, (_, path) in enumerate(named):
        store = Store.open(path)
        config = stores.config_of(store, DynamicsConfig)
        groups, found = read(store, config, FLAGS.allow_missing)
        replaced = store.dataset.train.corrupted
        corrupted.append(0 if replaced is None else int(replaced.sum()))
        print(("\n" if index else "") + dynamics.describe(config, groups, corrupted[-1]))
        there = {curves.condition: curves.num_runs for curves in found}
        stores.print_lacking(store, config.runs, dict.fromkeys(config.conditions, 0) | there)
        print(dynamics.report(found))
        if FLAGS.gradients_out or (FLAGS.out and len(named) > 1):
            everything.append(_on_everything(found, path, gradients=bool(FLAGS.gradients_out)))
    if FLAGS.out:
        from analysis.plots import style
        from analysis.plots.dynamics import corruption_figure, figure

        if len(named) == 1:
            fig = figure(found, window)
        else:
            labels = dynamics.curve_labels(texts, [name for name, _ in named], corrupted)
            fig = corruption_figure(list(zip(labels, everything, strict=True)), window)
        style.publish(fig, FLAGS.out)
    if FLAGS.gradients_out:
        from analysis.plots import gradients, style

        style.publish(gradients.figure(everything[0], window), FLAGS.gradients_out)


if __name__ == "__main__":
    with program.group("What is read and written"):
        text = "Directory of a store, PATH or NAME=PATH."
        arguments.define_paths("store", text, required=True)
        arguments.define_picture("out", "the figure")
        arguments.define_picture("gradients_out", "the figure of gradients")
        arguments.define_allow_missing()
    with program.group("What is computed"):
        flags.DEFINE_integer("smooth", 1, "Epochs of the sliding mean in figures, odd; 1 is none.")
    program.run(main)
