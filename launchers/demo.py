r"""The whole job on the handwritten digits that come with scikit-learn.

    python -m launchers.demo [--out=demo]

Trains 1,000 trials of `digits_mlp`, estimates memorization and influence with standard errors,
selects the high-influence pairs and writes a page that shows them. Started again, it continues
where it was stopped.
"""

import time

from absl import flags
from etils import epath

from analysis.cli import program
from analysis.estimates import estimators, files, pairs
from analysis.page import report
from launchers.cli import progress
from tfmem import datasets, experiments
from tfmem.store.store import Store
from tfmem.training import trainers
from tfmem.workers.launch import Launch

FLAGS = flags.FLAGS
_EXPERIMENT = "digits_mlp"


def train(store: Store, dataset: datasets.Dataset, trials: range) -> str:
    """Trains the trials that are missing; returns what that cost, in words."""
    missing, _ = store.missing_trials(trials)
    if not missing:
        return f"{len(trials):,} trials were already in the store"
    program.import_tensorflow()
    trainer = trainers.make_trainer(store.config, dataset)
    start = time.perf_counter()
    with Launch(store) as launch, progress.shown(store, trials, launch.claims.progress):
        launch.run(trainer, missing)
    seconds = time.perf_counter() - start
    return f"{len(missing):,} trials in {seconds:.0f} s, {seconds / len(missing):.3f} s each"


def main() -> None:
    out = epath.Path(FLAGS.out)
    config = experiments.get(_EXPERIMENT)
    dataset = datasets.load(config.dataset)
    store = Store.create(out / "store", config, dataset)
    cost = train(store, dataset, range(FLAGS.num_trials))
    trials = store.load()
    memorization = estimators.memorization(trials)
    influences = tuple(estimators.class_influences(trials))
    files.write_estimates(
        out / "estimates.npz",
        memorization,
        trials.train_labels,
        trials.test_labels,
        influences,
        num_trials=len(trials),
        ids=(dataset.train.ids, dataset.test.ids),
        test_accuracies=estimators.test_accuracies(trials),
    )
    files.write_pairs(out / "pairs.npz", pairs.select(memorization.value, influences))
    with program.progress_bar(report.steps(store), "report") as advance:
        summary = report.make_report(store, out / "report.html", progress=advance)
    rows = {
        "training": cost,
        "test accuracy": (
            f"{summary.test_accuracy:.1%} +- {summary.test_accuracy_deviation:.1%} "
            f"(mean and standard deviation of {summary.num_trials:,} trials)"
        ),
        f"mem >= {experiments.MEM_THRESHOLD:g}": (
            f"{summary.num_memorized:,} of {len(dataset.train):,} training examples"
        ),
        "pairs": f"{summary.num_pairs:,} with infl >= {experiments.INFL_THRESHOLD:g}, same class",
        "the page": summary.path,
    }
    print()
    for name, value in rows.items():
        print(f"{name:<15} {value}")


if __name__ == "__main__":
    flags.DEFINE_string("out", "demo", "Directory for the store, the estimates and the page.")
    flags.DEFINE_integer(
        "num_trials",
        experiments.get(_EXPERIMENT).num_trials,
        "How many trials; more make the estimates more precise.",
        lower_bound=1,
    )
    program.run(main)
