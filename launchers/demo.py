r"""The whole job on the handwritten digits that come with scikit-learn.

    tfmem demo [--out=demo]

Trains 1,000 trials of `digits_mlp`, estimates memorization and influence with standard errors,
selects the high-influence pairs and writes a page that shows them. Started again, it continues
where it was stopped.
"""

import dataclasses
import time

import numpy as np
from absl import flags
from etils import epath

from analysis.cli import arguments, program
from analysis.estimates import estimators, files, pairs
from analysis.page import report
from launchers.cli import launching, progress
from tfmem import datasets, experiments, quiet
from tfmem.recipe import ExperimentConfig
from tfmem.store import parts
from tfmem.store.store import Store
from tfmem.training import trainers
from tfmem.words import table
from tfmem.workers.launch import Launch

FLAGS = flags.FLAGS
_EXPERIMENT = "digits_mlp"


def train(
    store: Store, config: ExperimentConfig, dataset: datasets.ImageDataset, trials: range
) -> tuple[str, int]:
    """Trains the trials that are missing; returns what that cost, in words, and the exit code."""
    missing, _ = store.missing_trials(trials)
    if not missing:
        return f"{len(trials):,} trials were already in the store", 0
    quiet.import_tensorflow()
    trainer = trainers.make_trainer(config, dataset)
    start = time.perf_counter()
    with Launch(store) as launch, progress.shown(store, trials, launch.claims.progress):
        for left in launch.rounds(missing):
            launch.run(trainer, left)
    seconds = time.perf_counter() - start
    code = launching.report(store, launch.outcome)
    return f"{len(missing):,} trials in {seconds:.0f} s, {seconds / len(missing):.3f} s each", code


def main() -> int:
    out = epath.Path(FLAGS.out)
    config = experiments.get(_EXPERIMENT)
    dataset = datasets.load(config.dataset)
    made_by = ["train_trials", f"--experiment={_EXPERIMENT}"]
    asked = range(FLAGS.num_trials)
    store = Store.create(out / "store", config, dataset, made_by, asked)
    store.ask_for(asked)
    cost, code = train(store, config, dataset, asked)
    trials = store.load()
    estimates = estimators.estimate(trials, dataset)
    expected = parts.num_expected([store])
    files.write(out / "estimates.npz", dataclasses.replace(estimates, num_trials_expected=expected))
    selected = pairs.select(estimates.memorization, estimates.influences)
    files.write_pairs(out / "pairs.npz", selected)
    page = out / "report.html"
    with program.progress_bar(
        report.steps(trials.numbers.tolist(), are_loaded=True), "report"
    ) as advance:
        report.make_report(store, page, trials=trials, estimates=estimates, progress=advance)
    memorized = int((estimates.memorization >= experiments.MEM_THRESHOLD).sum())
    rows = {
        "training": cost,
        "test accuracy": (
            f"{estimates.test_accuracy:.1%} +- {estimates.test_accuracy_deviation:.1%} "
            f"(mean and standard deviation of {len(trials):,} trials)"
        ),
        f"mem >= {experiments.MEM_THRESHOLD:g}": (
            f"{memorized:,} of {np.count_nonzero(estimates.known):,} training examples"
        ),
        "pairs": f"{len(selected):,} with infl >= {experiments.INFL_THRESHOLD:g}, same class",
        "the page": str(page),
    }
    print()
    print(table(rows.items(), left=2))
    for line in estimates.unknown_lines():
        print(line)
    return code


if __name__ == "__main__":
    with program.group("What is trained"):
        text = "How many trials; more make the estimates more precise."
        arguments.define_count("num_trials", experiments.get(_EXPERIMENT).num_trials, text)
    with program.group("What is read and written"):
        text = "Directory for the store, the estimates and the page."
        arguments.define_path("out", text, default="demo")
    program.run(main)
