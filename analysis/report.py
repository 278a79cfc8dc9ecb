r"""One HTML page: what was memorized, whom it helps, and how far to trust it.

    tfmem report --store=STORE [--out=report.html]

The page needs no network and no other file: figures, pictures and the script of its sliders are
inside it. What is chosen is in its address: report.html#mem=0.5&infl=0.2..0.4&class=3 for sliders
and class, #view=test for test examples with what carries them, #id=ID for an example by its id.
"""

from absl import flags

from analysis.cli import arguments, program, stores
from analysis.page.report import make_report, steps
from tfmem.store.store import Store

FLAGS = flags.FLAGS


def main() -> None:
    store = Store.open(FLAGS.store)
    stores.require_random_subsets(store)
    numbers = stores.usable(store, FLAGS.allow_missing)
    with program.progress_bar(steps(numbers), "report") as progress:
        make_report(
            store,
            FLAGS.out,
            numbers=numbers,
            estimates_path=FLAGS.estimates,
            mem_threshold=FLAGS.mem_threshold,
            infl_threshold=FLAGS.infl_threshold,
            data_dir=FLAGS.data_dir,
            progress=progress,
        )
    print(f"report: {FLAGS.out}")


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_store()
        arguments.define_out("Where to write the page.", default="report.html")
        text = "Estimates file of this dataset to show, instead of computing them."
        arguments.define_path("estimates", text)
        arguments.define_data_dir()
        arguments.define_allow_missing()
    with program.group("What is shown"):
        arguments.define_thresholds()
    program.run(main)
