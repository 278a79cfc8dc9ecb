"""Every number of the papers, as named configs, each with the section it comes from.

Sections are those of Feldman & Zhang (2020), arXiv:2008.03703.
"""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from tfmem import config as config_lib
from tfmem import tables
from tfmem.config import ExperimentConfig

SUBSET_RATIO = 0.7  # Sec. 2: m = 0.7 n in all experiments.
MEM_THRESHOLD = 0.25  # Sec. 2: theta_mem, "a significant level of memorization".
INFL_THRESHOLD = 0.15  # Sec. 2: theta_infl.
JACCARD_AT_INFL_THRESHOLD = 0.7  # Sec. 2: what the choice of theta_infl had to ensure.
NEAR_DUPLICATES = 0.4  # Sec. 3.4: higher influence is almost always a near duplicate.
PANEL_COPIES = 3  # Sec. C: consecutive sets of training examples.
PANEL_EXAMPLES = 5  # Sec. C: training examples in a set.
PANEL_TEST_EXAMPLES = 4  # Sec. C: most influenced test examples beside each.
GALLERY_LEVELS = (0.0, 0.5, 1.0)  # Fig. 1: memorization values around which examples are shown.

# Sec. B: SGD with momentum 0.9 throughout; CIFAR and MNIST warm up over the first 15% of the
# iterations and then decay linearly to 0.
_SGD = dict(momentum=0.9)
_PAPER_SCHEDULE = dict(schedule="warmup_linear", warmup_fraction=0.15)
_DIGITS = dict(dataset="digits", subset_ratio=SUBSET_RATIO, epochs=30, batch_size=64)

_ALL = (
    # Ours, not the paper's: scikit-learn's 8x8 digits, small enough to train 1,000 trials in a
    # minute. The schedule, momentum and ratio are the paper's; 30 epochs and the base rate are
    # those of its MNIST runs (Sec. B); the batch is smaller, because the dataset is.
    ExperimentConfig(
        name="digits_mlp",
        model="mlp",
        model_options={"hidden": [512]},
        num_trials=1000,
        base_learning_rate=0.1,
        **_DIGITS,
        **_SGD,
        **_PAPER_SCHEDULE,
    ),
    # The same recipe with the convolutional network of the paper's MNIST runs (Sec. B).
    ExperimentConfig(
        name="digits_inception",
        model="inception",
        model_options={},
        num_trials=1000,
        base_learning_rate=0.1,
        **_DIGITS,
        **_SGD,
        **_PAPER_SCHEDULE,
    ),
    # The MNIST example of the authors' release (google-research/heldout-influence-estimation):
    # 784-512-256-10, 10 epochs, batch 128, constant rate 0.1, t = 2000. The paper's own MNIST
    # recipe (Sec. B) trains another network for 30 epochs at batch 256.
    ExperimentConfig(
        name="mnist_mlp",
        dataset="mnist",
        model="mlp",
        model_options={"hidden": [512, 256]},
        subset_ratio=SUBSET_RATIO,
        num_trials=2000,
        epochs=10,
        batch_size=128,
        base_learning_rate=0.1,
        schedule="constant",
        **_SGD,
    ),
)
EXPERIMENTS: Mapping[str, ExperimentConfig] = {config.name: config for config in _ALL}

# The fields that a launcher's flag of the same name may override.
OVERRIDES = (
    "dataset",
    "subset_ratio",
    "epochs",
    "batch_size",
    "base_learning_rate",
    "momentum",
    "weight_decay",
    "seed",
)


def get(name: str) -> ExperimentConfig:
    """Returns the experiment of that name; ValueError lists the known ones."""
    return tables.lookup(EXPERIMENTS, name, "experiment")


def resolve(name: str, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """Returns the named experiment with the overrides that are not None.

    Raises:
      ValueError: unknown experiment, or a value out of range.
    """
    given = {field: value for field, value in overrides.items() if value is not None}
    return dataclasses.replace(get(name), **given)


def override_flags(config: ExperimentConfig) -> list[str]:
    """Returns the flags that turn the named experiment into this config."""
    named = get(config.name)
    return [
        f"--{field}={getattr(config, field)}"
        for field in OVERRIDES
        if getattr(config, field) != getattr(named, field)
    ]


def completion_command(config: config_lib.Config, store: str, start: int, stop: int) -> str:
    """Returns the shell command that makes the missing or damaged trials start..stop-1."""
    if config.kind == "import":
        words = [
            "launchers.import_trials",
            f"--format={config.format}",
            f"--source={config.source}",
        ]
        words += [f"--dataset={config.dataset}"] if config.dataset else []
        words += [f"--store={store}"]
    else:
        words = ["launchers.train_trials", f"--experiment={config.name}", f"--store={store}"]
        words += [f"--trials={start}:{stop}", *override_flags(config)]
    return shlex.join(["python", "-m", *words])
