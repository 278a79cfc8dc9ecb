r"""Trains with turn-over dropout, whose sub-networks give memorization scores.

    tfmem train_turnover --experiment=mnist_mlp4096 --store=STORE [--trials=0:1]

A model is trained on the whole training set (Liu, Lin & Jaggi, 2021, Sec. 2.2): each example
updates the half of the units that its own mask turns on, and the other half never sees it. After
every epoch the store gets the loss and the prediction of both halves on every training example,
from which tfmem turnover computes scores (eq. 6). One model is enough; the scores of more, in
--trials, are averaged. The networks are kept in STORE/networks. --influence=K also estimates what
the K training examples with the highest scores do to every test example (eq. 5).

Models that are there are skipped, so the same command continues after an interruption; damaged ones
are trained again.
"""

import numpy as np
from absl import flags

from analysis.cli import arguments, program
from analysis.estimates import scores
from launchers.cli import launching, training_flags
from tfmem import datasets, quiet
from tfmem.config import TurnoverConfig
from tfmem.datasets import ArrayDataset
from tfmem.disk import npz
from tfmem.store import artifacts
from tfmem.store.store import Store
from tfmem.training import trainers

FLAGS = flags.FLAGS


def estimate_influence(dataset: ArrayDataset, trials: range, num_train: int, count: int) -> None:
    """Writes what the training examples with the highest scores do to the test examples (eq. 5).

    What is there for as many examples is left as it is.

    Args:
      dataset: of the store, with images.
      trials: which models.
      num_train: training examples, without test examples that are behind them.
      count: how many of them.
    """
    from tfmem.training import turnover

    store = Store.open(FLAGS.store)
    test = dataset.test.images.astype(np.float32) / (dataset.pixel_max or 1)
    with program.progress_bar(len(trials) * count, "influence") as progress:
        for number in trials:
            path = artifacts.influence_path(FLAGS.store, number)
            if path.exists():
                with npz.open_npz(path, ("tr_idx", "influence")) as archive:
                    if len(archive["tr_idx"]) == count:
                        progress(count)
                        continue
            network = artifacts.load(artifacts.network_path(FLAGS.store, number))
            epochs = store.read(number).epochs
            score = scores.memorization(epochs[max(epochs)])[:num_train]
            chosen = np.argsort(-score, kind="stable")[:count]
            rows = []
            for example in chosen:
                targets = test, dataset.test.labels, len(dataset.train)
                rows.append(turnover.influence(network, [example], *targets))
                progress(1)
            npz.write_npz(path, {"tr_idx": chosen, "influence": np.concatenate(rows)})


def main() -> int:
    experiment = training_flags.experiment()
    training_flags.require_images(experiment)
    config = TurnoverConfig(experiment, FLAGS.test_examples)
    trials = arguments.chosen_trials() or range(config.num_trials)
    options = training_flags.options()
    config, loaded = launching.load(config)
    dataset = datasets.require_in_memory(loaded, "turn-over dropout")
    num_train = len(dataset.train) - (len(dataset.test) if config.test_examples else 0)
    if FLAGS.influence > num_train:
        raise ValueError(
            f"--influence={FLAGS.influence}: there are {num_train:,} training examples"
        )
    code = launching.train_missing(
        config,
        dataset,
        trials,
        lambda: trainers.make_turnover_trainer(experiment, dataset, options, FLAGS.store),
    )
    if FLAGS.influence and not code:
        quiet.import_tensorflow()
        estimate_influence(dataset, trials, num_train, FLAGS.influence)
    return code


if __name__ == "__main__":
    training_flags.define_experiment()
    with program.group("What is trained"):
        arguments.define_text("trials", "START:STOP, models to train; one by default.")
        text = "Train on the test examples too, so that they have scores: those of Fig. 5."
        flags.DEFINE_bool("test_examples", False, text)
        text = "Estimate the influence of so many training examples, those with the highest scores,"
        arguments.define_count("influence", 0, f"{text} on all test examples.", lowest=0)
    training_flags.define_store()
    training_flags.define_training(without=training_flags.OF_SUBSETS, stacks=False)
    training_flags.define_launch()
    program.run(main)
