r"""Trains trials of an experiment and stores them.

    python -m launchers.train_trials --experiment=digits_mlp --store=STORE [--trials=0:1000]

Each trial trains a model on a random subset of the training set (Algorithm 1 of Feldman & Zhang,
2020) and stores which examples it saw and which of all examples it then predicts correctly. Trials
that are already in the store are skipped, so the same command continues after an interruption;
damaged ones are trained again.
"""

from absl import flags

from analysis import cli
from tfmem import datasets, engine, experiments
from tfmem.store import Store

FLAGS = flags.FLAGS
if __name__ != "__main__":
    flags.disclaim_key_flags()  # launchers.benchmark shares them, and its --help lists them.


def parse_stack(text: str) -> str | int:
    """Turns --stack into what `engine.make_trainer` takes; ValueError if it is no such thing."""
    if text in (engine.STACK_AUTO, engine.STACK_NONE):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise ValueError(f"--stack={text}: expected auto, none or a positive number of trials")


def define_training_flags(required: bool = True) -> None:
    """Defines the flags that choose and override an experiment and say how it is trained."""
    known = ", ".join(experiments.EXPERIMENTS)
    flags.DEFINE_string("experiment", None, f"{'(required) ' if required else ''}One of {known}.")
    flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data; TFDS's own default if empty.")
    flags.DEFINE_string(
        "stack",
        "auto",
        "Trials trained together in one compiled step: a number; auto, which stacks dense "
        "networks; none, which trains one at a time with Keras fit.",
    )
    flags.DEFINE_enum(
        "strategy",
        "auto",
        ["auto", "mirrored", "default"],
        "tf.distribute strategy of one trial: mirrored over all GPUs, default for one device. auto "
        "is default; with --stack=auto, both other values also turn stacking off.",
    )
    flags.DEFINE_string(
        "dataset", None, f"Overrides the experiment's: {', '.join(datasets.LOADERS)}."
    )
    flags.DEFINE_float("subset_ratio", None, "Overrides m / n, in (0, 1).")
    flags.DEFINE_integer("epochs", None, "Overrides the number of epochs.")
    flags.DEFINE_integer("batch_size", None, "Overrides the global batch size.")
    flags.DEFINE_float("base_learning_rate", None, "Overrides the highest learning rate.")
    flags.DEFINE_float("momentum", None, "Overrides the momentum of SGD.")
    flags.DEFINE_float("weight_decay", None, "Overrides the decoupled weight decay.")
    flags.DEFINE_integer("seed", None, "Base seed of every random choice; 0 unless given.")
    if required:
        flags.mark_flag_as_required("experiment")


def resolve_experiment():
    """Returns the config that the flags ask for; ValueError if they are wrong."""
    overrides = {field: FLAGS[field].value for field in experiments.OVERRIDES}
    config = experiments.resolve(FLAGS.experiment, overrides)
    datasets.require_known(config.dataset)
    return config


def missing_trials(store: Store, trials: range) -> tuple[list[int], dict[int, str]]:
    """Returns the trials that have to be trained, and what is wrong with the damaged of them."""
    there = set(store.numbers())
    damaged = store.damaged(number for number in trials if number in there)
    return [number for number in trials if number not in there or number in damaged], damaged


def main() -> None:
    config = resolve_experiment()
    stack = parse_stack(FLAGS.stack)
    trials = cli.parse_range(FLAGS.trials or f"0:{config.num_trials}")
    dataset = datasets.load(config.dataset, FLAGS.data_dir)
    missing, damaged = list(trials), {}
    if Store.exists(FLAGS.store):
        store = Store.create(FLAGS.store, config, dataset)
        missing, damaged = missing_trials(store, trials)
    for problem in damaged.values():
        print(problem.split("; to make it again")[0] + ": training it again")
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing):,} of {len(trials):,} trials are already in the store")
    if missing:
        cli.import_tensorflow()
        trainer = engine.make_trainer(config, dataset, stack, FLAGS.strategy)
        # Only now, so that a contradiction in the flags leaves no store behind.
        store = Store.create(FLAGS.store, config, dataset)
        with cli.progress_bar(len(missing), "trials") as progress:
            engine.run(store, trainer, missing, progress)
    print(f"{len(trials):,} trials in {FLAGS.store}")


if __name__ == "__main__":
    define_training_flags()
    flags.DEFINE_string(
        "store", None, "(required) Directory of the store; made if it is not there."
    )
    flags.DEFINE_string("trials", None, "START:STOP; all that the experiment asks for by default.")
    flags.mark_flag_as_required("store")
    cli.run(main)
