r"""Evaluates trained networks on another test set, without training anything.

    tfmem evaluate --store=STORE --dataset=npz:other.npz --out_store=OTHER [--trials=0:1000]

STORE holds trials on random subsets and their networks: tfmem train_trials --keep_networks. The
test split of --dataset is the other test set, or all of it, if it has but one split. It has the
classes of the store's dataset and inputs of the same shape; images are resized and features
standardized as those that were trained on. The new store holds the same trials: what they saw and
what they predict of the training examples is copied, and the test examples are the other ones,
whose influence is then estimated. The result is the same, to the bit, as if the trials had been
trained with that test set. Trials that are already there are skipped, so the same command continues
after an interruption.
"""

import itertools
import os
from collections.abc import Iterator, Sequence

from absl import flags
from etils import epath

from analysis.cli import arguments, program, stores
from launchers.cli import launching
from tfmem import datasets, quiet
from tfmem.config import EvaluationConfig
from tfmem.datasets import Annotations, ArrayDataset
from tfmem.recipe import ExperimentConfig
from tfmem.store import asked
from tfmem.store.errors import DamagedFileError, StoreError, told_apart
from tfmem.store.pictures import load_pictures
from tfmem.store.store import Store
from tfmem.store.trials import Network, Trial
from tfmem.training import trainers
from tfmem.words import counted, runs

FLAGS = flags.FLAGS


# What a command that completes the new store says by itself, or anew.
_OF_ONE_LAUNCH = ("out_store", "trials", "allow_missing")
# What stores hold that have no networks to evaluate, by the kind of their config.
_HOLDS = {
    **stores.HOLDS,
    "last_layer": "trials of the last layer alone",
    "import": "imported trials",
    "evaluation": "trials that were evaluated on another test set",
}


def experiment_of(source: Store) -> ExperimentConfig:
    """Returns how a store's trials were trained; ValueError if they are not on random subsets."""
    if not isinstance(source.config, ExperimentConfig):
        raise ValueError(
            f"{source.path} holds {_HOLDS[source.config.kind]}: expected trials on random subsets, "
            "whose networks tfmem train_trials --keep_networks keeps"
        )
    return source.config


def resolve(source: Store) -> tuple[EvaluationConfig, ArrayDataset]:
    """Returns what the new store's trials are, and the dataset with the other test split.

    Raises:
      ValueError: as `experiment_of`, the store's dataset is not to be had, or the other one does
        not fit.
    """
    datasets.require_known(FLAGS.dataset)
    config = EvaluationConfig(experiment_of(source), datasets.located(FLAGS.dataset))
    load_pictures(source, FLAGS.data_dir)  # They are those that were trained on.
    given = Annotations.of(source.dataset.train)
    found = datasets.load_for(config, FLAGS.data_dir, given)
    return config, datasets.require_in_memory(found, "another test set")


def chosen(source: Store) -> list[int]:
    """Returns the trials that are evaluated: those that are there and asked for.

    Raises:
      ValueError: one is not there, or has no network, and is not to be left out.
    """
    wanted = arguments.chosen_trials()
    numbers = stores.usable(source, FLAGS.allow_missing, wanted)
    if not numbers:
        raise source.without_trials()
    if (absent := sorted(set(wanted or ()).difference(numbers))) and not FLAGS.allow_missing:
        mend = f"run: {source.command(absent[0], absent[-1] + 1)}"
        raise StoreError(f"{source.path} has no trials {runs(absent)}", mend)
    if lacking := sorted(set(numbers) - source.networks.numbers()):
        if not FLAGS.allow_missing or len(lacking) == len(numbers):
            raise without_networks(source, lacking)
        print(f"left out: trials without a network: {runs(lacking)}")
    return [number for number in numbers if number not in lacking]


def without_networks(source: Store, lacking: Sequence[int]) -> StoreError:
    """Returns the error that trials have no network, and what trains them again with theirs."""
    again = source.head.keeping_networks(True)
    path = epath.Path("ANOTHER_STORE")
    command = again.to_complete(path, lacking[0], lacking[-1] + 1)
    others = "" if len(lacking) == len(source.numbers()) else "; --allow_missing leaves them out"
    return StoreError(
        f"{source.path} has no network of the trials {runs(lacking)}",
        f"to train them again with their networks, run: {command}{others}",
    )


def trained(source: Store, numbers: Sequence[int]) -> Iterator[tuple[Trial, Network]]:
    """Yields trials and their networks; says which it leaves out, if it is to leave some out."""
    for number in numbers:
        trial = source.read(number)
        try:
            network = source.networks.read(trial)
        except DamagedFileError as error:
            if not FLAGS.allow_missing:
                raise StoreError(error.what, f"{error.mend}; --allow_missing goes on") from error
            print(f"left out: {error.what}")
        else:
            yield trial, network


def left(out: Store, numbers: Sequence[int]) -> list[int]:
    """Returns the trials that are to be evaluated; says what is there, and what is damaged."""
    missing, damaged = out.missing_trials(numbers)
    for problem in told_apart(damaged)[0].values():
        print(f"{problem.what}: evaluating it again")
    if len(missing) < len(numbers):
        there = len(numbers) - len(missing)
        print(f"{there:,} of {len(numbers):,} trials are already in {out.path}")
    return missing


def evaluate(
    source: Store, config: EvaluationConfig, dataset: ArrayDataset, numbers: Sequence[int]
) -> Store:
    """Evaluates the networks of trials that the new store lacks; returns that store.

    It is made when the first network was evaluated, so that what is wrong leaves no store behind.
    """
    wanted = arguments.chosen_trials()
    parts = [wanted] if wanted else source.head.asked
    parts = asked.union([*parts, *(range(number, number + 1) for number in numbers)])

    def opened() -> Store:
        command = launching.command("evaluate", without=_OF_ONE_LAUNCH)
        store = Store.create(FLAGS.out_store, config, dataset, command, parts[0])
        for part in parts:
            store.ask_for(part)
        return store

    out = opened() if Store.exists(FLAGS.out_store) else None
    missing = left(out, numbers) if out else numbers
    if out and not missing:
        return out
    quiet.import_tensorflow()
    from tfmem.training.evaluation import Evaluator

    found = Evaluator(config, dataset, FLAGS.strategy).run(trained(source, missing))
    first = list(itertools.islice(found, 1))
    if not first:
        raise ValueError(f"no network of {source.path} that is left to evaluate can be read")
    out = out or opened()
    with program.progress_bar(len(missing), "networks evaluated") as advance:
        for trial in itertools.chain(first, found):
            out.write(trial)
            advance(1)
    return out


def main() -> None:
    if os.path.realpath(FLAGS.store) == os.path.realpath(FLAGS.out_store):
        raise ValueError(f"--out_store={FLAGS.out_store} is --store: expected another folder")
    source = Store.open(FLAGS.store)
    experiment_of(source)
    numbers = chosen(source)
    config, dataset = resolve(source)
    out = evaluate(source, config, dataset, numbers)
    there = len(set(numbers).intersection(out.numbers()))
    part = "" if there == len(numbers) else f"{there:,} of "
    print(f"{part}{counted(len(numbers), 'trial')} in {out.path}")


if __name__ == "__main__":
    with program.group("What is read and written"):
        arguments.define_path(
            "store", "Directory of the store that has the trials and their networks.", required=True
        )
        text = "The dataset whose test split they are evaluated on"
        arguments.define_dataset(text, required=True)
        text = "Directory of the new store; made if it is not there."
        arguments.define_path("out_store", text, required=True)
        arguments.define_data_dir()
        text = "Go on without trials that are damaged or have no network, and say which."
        flags.DEFINE_bool("allow_missing", False, text)
    with program.group("What is computed"):
        arguments.define_text("trials", "START:STOP, to evaluate only those; all by default.")
        flags.DEFINE_enum(
            "strategy",
            trainers.STRATEGY_AUTO,
            ["auto", "mirrored", "default"],
            "tf.distribute strategy of networks that were not trained stacked: mirrored over all "
            "GPUs; default, one device, which is what auto chooses.",
        )
    program.run(main)
