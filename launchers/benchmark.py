r"""How fast trials are on this machine.

    tfmem benchmark --experiment=digits_mlp
    tfmem benchmark --experiment=digits_mlp --try
    tfmem benchmark --suite

With --experiment it says, in about half a minute, what a trial and the whole experiment would take,
from some steps and some evaluation, and how much of this machine they use. --try measures other
ways to train the same experiment one after the other, and prints the fastest command. With --suite
(which is what `make bench` runs): the figures of docs/measured.md, as ratios that are measured in
one run.
"""

import shlex

from absl import flags

from analysis.cli import arguments, program
from launchers.cli import launching, training_flags
from tfmem import experiments, quiet
from tfmem.recipe import ExperimentConfig
from tfmem.words import duration, table

FLAGS = flags.FLAGS
_HOW = ("stack", "strategy", "xla", "tensorboard")
_PAPER_GPUS = 8


def time_experiment(config: ExperimentConfig) -> None:
    """Measures an experiment and prints its speed."""
    from launchers.benchmarks import speed

    found = speed.measure(config, FLAGS.data_dir, training_flags.options())
    whole = found.trial_seconds * config.num_trials
    here = "this machine"
    if found.gpus:
        whole *= found.gpus_per_trial / found.gpus
        here = "this machine's GPUs" if found.gpus > 1 else "this machine's GPU"
    hourly = 3600 / found.trial_seconds
    print(
        f"{config.name}: {duration(found.trial_seconds)} a trial, "
        f"{hourly:{',.0f' if hourly >= 10 else '.2g'}} trials an hour; the {config.num_trials:,} "
        f"trials of the experiment: {duration(whole)} on {here}"
    )
    if found.gpus:
        print(f"on {_PAPER_GPUS} such GPUs: {duration(whole * found.gpus / _PAPER_GPUS)}")
    rows = [("", "examples a second", "of this machine's matrix products")]
    for what, rate in (("training", found.training), ("evaluation", found.evaluation)):
        rows.append((what, f"{rate.examples:,.0f}", f"{rate.share:.0%}"))
    print(table(rows))
    billions = found.products / 1e9
    print(f"matrix products in {config.precision}: {billions:,.0f} billion operations a second")
    on_gpu = "" if found.gpu_peak_gib is None else f", and {found.gpu_peak_gib:.1f} GiB of a GPU"
    print(f"memory at its peak: {found.peak_gib:.1f} GiB{on_gpu}")
    print(f"compilation, once: {duration(found.compile_seconds)}")
    if found.batch_size < config.batch_size:
        print(
            f"timed on batches of {found.batch_size:,}: one of {config.batch_size:,} would take "
            "long here"
        )


def try_choices(config: ExperimentConfig) -> None:
    """Measures ways to train an experiment, and prints the command of the fastest."""
    from launchers.benchmarks import choices

    times: list[float] = []

    def say(choice: choices.Choice, found: float | str) -> None:
        words = " ".join(choice.words) or "as given"
        if isinstance(found, str):
            print(f"  {words:<50} {found}", flush=True)
            return
        times.append(found)
        print(f"  {words:<50} {duration(found):>9} a trial {found / times[0]:6.2f} x", flush=True)

    print(f"{config.name}, one way after the other; times are of a trial, and of the first")
    best = choices.fastest(config, training_flags.options(), FLAGS.data_dir, say)
    given = [
        word
        for word in launching.command("train_trials")[1:]
        if word.removeprefix("--").partition("=")[0] not in ("try", "notry", *best.flags)
    ]
    command = shlex.join(["tfmem", "train_trials", *given, *best.words])
    print(f"the fastest: {command} --store=STORE")
    if "precision" in best.flags:
        print("--precision is a part of the recipe: its trials are not those of float32")


def main() -> None:
    if bool(FLAGS.experiment) == FLAGS.suite:
        raise ValueError("give either --experiment or --suite")
    if FLAGS.experiment:
        config = training_flags.experiment()
        training_flags.require_images(config)
        (try_choices if FLAGS["try"].value else time_experiment)(config)
        return
    # The suite fixes its own experiments: a flag that it would not heed is a mistake.
    ignored = [name for name in (*_HOW, "try", *experiments.OVERRIDES) if FLAGS[name].present]
    if ignored:
        raise ValueError(f"--{ignored[0]} has no effect with --suite: give --experiment instead")
    from launchers import benchmarks
    from launchers.benchmarks import sizes

    quiet.import_tensorflow()
    benchmarks.run(sizes.MEASURED, FLAGS.data_dir)


if __name__ == "__main__":
    with program.group("What is measured"):
        flags.DEFINE_bool("suite", False, "Measure the figures of docs/measured.md.")
        flags.DEFINE_bool(
            "try", False, "Measure other ways to train the experiment too, and name the fastest."
        )
    training_flags.define_experiment(required=False)
    with program.group("What is read and written"):
        arguments.define_data_dir()
    training_flags.define_training()
    program.run(main)
