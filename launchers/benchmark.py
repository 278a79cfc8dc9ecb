r"""How fast trials are on this machine.

    tfmem benchmark --experiment=digits_mlp
    tfmem benchmark --suite

With --experiment: trials per hour, and the time that the whole experiment would take. With --suite
(which is what `make bench` runs): the figures of docs/measured.md, as ratios that are
measured in one run.
"""

import time

from absl import flags

from analysis.cli import arguments, program
from launchers.cli import launching, training_flags
from tfmem import experiments, quiet
from tfmem.training import trainers
from tfmem.training.failures import succeeded
from tfmem.words import counted, duration

FLAGS = flags.FLAGS
_HOW = ("stack", "strategy", "xla", "tensorboard")


def time_experiment() -> None:
    """Trains some trials of --experiment, stores them nowhere, and prints their speed."""
    config = training_flags.experiment()
    training_flags.require_images(config)
    options = training_flags.options()
    config, dataset = launching.load(config)
    quiet.import_tensorflow()
    trainer = trainers.make_trainer(config, dataset, options)
    trials = range(FLAGS.num_trials or trainer.batch_of_trials)
    trainer.warm_up(trials)
    with program.progress_bar(len(trials), "trials") as progress:
        start = time.perf_counter()
        for _ in succeeded(trainer.train(trials, progress)):
            pass
        seconds = (time.perf_counter() - start) / len(trials)
    timed = counted(len(trials), "trial")
    print(
        f"{config.name}: {seconds:.3g} s a trial ({timed}, compilation not counted), "
        f"{3600 / seconds:,.0f} trials an hour; the {config.num_trials:,} trials of the "
        f"experiment: {duration(seconds * config.num_trials)}"
    )


def main() -> None:
    if bool(FLAGS.experiment) == FLAGS.suite:
        raise ValueError("give either --experiment or --suite")
    if FLAGS.experiment:
        time_experiment()
        return
    # The suite fixes its own experiments: a flag that it would not heed is a mistake.
    ignored = [
        name for name in (*_HOW, "num_trials", *experiments.OVERRIDES) if FLAGS[name].present
    ]
    if ignored:
        raise ValueError(f"--{ignored[0]} has no effect with --suite: give --experiment instead")
    from launchers import benchmarks
    from launchers.benchmarks import sizes

    quiet.import_tensorflow()
    benchmarks.run(sizes.MEASURED, FLAGS.data_dir)


if __name__ == "__main__":
    with program.group("What is measured"):
        flags.DEFINE_bool("suite", False, "Measure the figures of docs/measured.md.")
        text = "How many trials to time; by default one for every place there is."
        arguments.define_count("num_trials", None, text)
    training_flags.define_experiment(required=False)
    with program.group("What is read and written"):
        arguments.define_data_dir()
    training_flags.define_training()
    program.run(main)
