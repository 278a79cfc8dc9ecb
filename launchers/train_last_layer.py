r"""Trains linear classifiers on the penultimate features of one network (Sec. 3.6).

    tfmem train_last_layer --experiment=cifar100_last_layer --store=STORE

A network is trained once on the whole training set and its penultimate features of all training and
test examples are kept, in STORE/network. Each trial then trains a fresh linear classifier on the
features of a random subset, from random initial weights. The store is read like any other. The same
command continues after an interruption, of the network's training too.
"""

from absl import flags
from etils import epath

from analysis.cli import arguments, program
from launchers.cli import launching, training_flags
from tfmem import experiments, quiet
from tfmem.config import LastLayerConfig, digest
from tfmem.datasets import ImageDataset
from tfmem.store import representations
from tfmem.training import trainers
from tfmem.training.failures import succeeded

FLAGS = flags.FLAGS
_MEANINGLESS = ("crop", "crop_padding", "flip")  # For features, which are what they are.


def resolve() -> LastLayerConfig:
    """Returns the config that the flags ask for; ValueError if they are wrong."""
    experiment = training_flags.experiment()
    if experiment.name not in experiments.NETWORK_OF:
        raise ValueError(
            f"{experiment.name} trains whole networks: tfmem train_trials does that; the "
            f"experiments of the last layer are {', '.join(experiments.NETWORK_OF)}"
        )
    network = FLAGS.network or experiments.NETWORK_OF[experiment.name]
    if network in experiments.NETWORK_OF:
        raise ValueError(f"--network={network} is itself an experiment of the last layer")
    fields = (
        *("dataset", "image_size", "test_share", "standardize", "seed"),
        *("corrupted_labels", "labels"),
    )
    shared = {field: getattr(experiment, field) for field in fields}
    overrides = {**shared, "epochs": FLAGS.network_epochs}
    return LastLayerConfig(
        experiment, experiments.resolve(network, overrides), FLAGS.feature_layer or ""
    )


def train_network(config: LastLayerConfig, dataset: ImageDataset, folder: epath.Path) -> None:
    """Trains the network on all examples and writes it and its features into the folder.

    Raises:
      DivergedError: the network's logits are not finite.
      ValueError: it has no layer of that name.
    """
    from tfmem import models
    from tfmem.training.checkpoints import Checkpoints

    trainer = trainers.make_network_trainer(config.network, dataset, training_flags.options())
    models.features(trainer.network, config.feature_layer or None)  # There is such a layer.
    made_for = digest(config.network, dataset.fingerprint)
    checkpoints = Checkpoints(folder / "checkpoints", made_for, FLAGS.checkpoint_seconds)
    with program.progress_bar(1, "network") as progress:
        (trial,) = succeeded(trainer.train([0], progress, checkpoints))
    representations.write(folder, config, dataset, trainer, trial)
    checkpoints.remove(0)


def main() -> int:
    config = resolve()
    options = trainers.Options(stack=training_flags.options().stack)
    trials = arguments.chosen_trials() or range(config.num_trials)
    config, dataset = launching.load(config)
    folder = epath.Path(FLAGS.store) / representations.FOLDER
    if not representations.exist(folder):
        quiet.import_tensorflow()
        train_network(config, dataset, folder)
    features, about = representations.read(folder, config, dataset)
    note = (
        f"{config.network.name} on all {len(dataset.train):,} training examples: test accuracy "
        f"{about.test_accuracy:.1%}, training accuracy {about.train_accuracy:.1%}; "
        f"{features.input_shape[0]:,} features of each example in {folder}"
    )
    return launching.train_missing(
        config,
        features,
        trials,
        lambda: trainers.make_trainer(config.experiment, features, options),
        notes=[note],
    )


if __name__ == "__main__":
    training_flags.define_experiment(experiments.NETWORK_OF)
    with program.group("What is trained"):
        text = "START:STOP; all that the experiment asks for by default."
        arguments.define_text("trials", text)
        arguments.define_text("network", "Experiment whose network is trained on all examples.")
        flags.DEFINE_integer("network_epochs", None, "Overrides the network's number of epochs.")
        text = "Layer whose output are the features; the penultimate by default."
        arguments.define_text("feature_layer", text)
    training_flags.define_store()
    training_flags.define_training(without=_MEANINGLESS)
    training_flags.define_launch()
    program.run(main)
