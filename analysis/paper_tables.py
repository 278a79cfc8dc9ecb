r"""Every number that Feldman & Zhang (2020) report, beside the one measured here.

    tfmem paper_tables --pairs=imagenet2012=pairs.npz [--out=table.csv]
    tfmem paper_tables --estimates=cifar100=E.npz --removal=cifar100=STORE ...

Each input names its dataset: mnist, cifar100 or imagenet2012, which the paper has, or another, such
as digits, whose numbers are shown in the same form. All inputs are optional, and every flag can be
given again for another dataset. The datasets that were given are shown, with --all the paper's
others too, and these also where none was given. What no input answers says "no input". Thresholds
are the paper's: mem >= 0.25, infl >= 0.15.

"measured here": ± is a standard error over trials or runs, where the input tells; sd is a standard
deviation over them, as the paper's own deviations are. The share of known duplicates has an
interval of 95% (Clopper & Pearson), and is a lower bound: nobody has listed all duplicates. The
influencers of a test example are the training examples that it is in a pair with.

"compared": "equal" to as many digits as the paper has; of a bound, "holds" or "does not hold". Else
how many standard errors (s.e.) ours is above or below. Ours, the paper's (its sd over the root of
its runs) and that of its rounding are combined; up to 2 is what chance does. The paper's counts are
taken as exact, for it states no error of theirs. Where ours has no standard error: "ratio", ours
over the paper's.
"""

import shutil

from absl import flags
from etils import epath

from analysis.cli import arguments, program
from analysis.paper.inputs import INPUTS, collect
from analysis.paper.published import TITLES
from analysis.paper.rows import WRITERS, to_text
from tfmem.disk import atomic

FLAGS = flags.FLAGS
_WIDTH = 100  # Characters in a line where there is no terminal.


def main() -> None:
    findings, others = collect(
        {flag: getattr(FLAGS, flag) or () for flag in INPUTS}, FLAGS.allow_missing
    )
    rows = findings.rows(others)
    given = {row.dataset for row in rows if row.measured is not None}
    datasets = dict.fromkeys(row.dataset for row in rows)
    left_out = [name for name in datasets if given and name not in given and not FLAGS.all]
    rows = [row for row in rows if row.dataset not in left_out]
    print(to_text(rows, shutil.get_terminal_size((_WIDTH, 24)).columns))
    if left_out:
        without = ", ".join(TITLES.get(name, name) for name in left_out)
        print(f"--all shows what has no input too: {without}")
    for path in FLAGS.out or ():
        atomic.write_bytes(path, WRITERS[epath.Path(path).suffix.lower()](rows).encode())
        print(f"table: {path}")


if __name__ == "__main__":
    with program.group("What is read and written"):
        for name, (form, answers) in INPUTS.items():
            arguments.define_paths(name, f"{form}. {answers}")
        arguments.define_outs("Where to write the table: a .csv or .md file.", list(WRITERS))
        arguments.define_allow_missing()
        flags.DEFINE_bool("all", False, "Also show the paper's datasets that have no input.")
    program.run(main)
