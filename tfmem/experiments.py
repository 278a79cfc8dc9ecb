"""How the papers trained and what they chose: named configs, each number with its section.

Sections are those of Feldman & Zhang (2020), arXiv:2008.03703. "Release" is the code that its
authors published (google-research/heldout-influence-estimation). Sections of Liu, Lin & Jaggi
(2021) say so.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from tfmem import own, words
from tfmem.recipe import DRAWN, ExperimentConfig

SUBSET_RATIO = 0.7  # Sec. 2: m = 0.7 n in all experiments.
MEM_THRESHOLD = 0.25  # Sec. 2: theta_mem, "a significant level of memorization".
INFL_THRESHOLD = 0.15  # Sec. 2: theta_infl.
JACCARD_AT_INFL_THRESHOLD = 0.7  # Sec. 2: what the choice of theta_infl had to ensure.
NEAR_DUPLICATES = 0.4  # Sec. 3.4: higher influence is almost always a near duplicate.
PANEL_COPIES = 3  # Sec. C: consecutive sets of training examples.
PANEL_EXAMPLES = 5  # Sec. C: training examples in a set.
PANEL_TEST_EXAMPLES = 4  # Sec. C: most influenced test examples beside each.
GALLERY_LEVELS = (0.0, 0.5, 1.0)  # Fig. 1: memorization values around which examples are shown.

# Fig. 2: the memorization thresholds of the removal experiment, and how often it is repeated (100
# times; 5 for ImageNet).
REMOVAL_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
REMOVAL_RUNS = 100
REMOVAL_RUNS_OF = {"imagenet2012": 5}

# Liu et al., Fig. 3: labels replaced by random ones; the share of the easy (real) and of the
# difficult (random) subset that is followed.
CORRUPTED_LABELS = 20_000
FOLLOWED_SHARE = 10_000 / 60_000

# What a part of a recipe says: field -> (value, where the value comes from).
_Part = dict[str, tuple[Any, str]]


def _part(source: str, **fields: Any) -> _Part:
    return {field: (value, source) for field, value in fields.items()}


_COMMON = (
    _part("Sec. 2: m = 0.7 n in all experiments", subset_ratio=SUBSET_RATIO)
    | _part("Sec. B: SGD with momentum 0.9 throughout", optimizer="sgd", momentum=0.9)
    | _part("named neither in the paper nor in the release", weight_decay=0.0)
    | _part("the release", precision="float32")
)
_UP_AND_DOWN = "Sec. B: up over the first 15% of the iterations, then linearly to 0"
_WARMUP_LINEAR = _part(_UP_AND_DOWN, schedule="warmup_linear", warmup_fraction=0.15)
_NO_AUGMENTATION = _part("Sec. B: none named", crop="none", crop_padding=0, flip=False)
_CROP_AND_FLIP = _part("Sec. B: random left-right flipping", flip=True) | _part(
    "Sec. B: random padded (4 pixels) cropping", crop="padded", crop_padding=4
)
_SMALL = _COMMON | _WARMUP_LINEAR | _NO_AUGMENTATION

_CIFAR100 = (
    _COMMON
    | _WARMUP_LINEAR
    | _CROP_AND_FLIP
    | _part("Sec. 3", dataset="cifar100")
    | _part("Sec. B: 160 training epochs", epochs=160)
    | _part("Sec. B: slightly larger than usual", batch_size=512, base_learning_rate=0.4)
)
_OTHERS = _CIFAR100 | _part("Sec. 3.5: all estimates on 2000 trials", num_trials=2000)
_MNIST = (
    _SMALL
    | _part("Sec. 1.1", dataset="mnist")
    | _part("Sec. 2: t = 4000 for MNIST", num_trials=4000)
    | _part("Sec. B: MNIST", epochs=30, batch_size=256, base_learning_rate=0.1)
)
_DIGITS = (
    _SMALL
    | _part("ours: scikit-learn's, small enough for 1,000 trials in a minute", dataset="digits")
    | _part("ours", num_trials=1000)
    | _part("Sec. B, as for MNIST", epochs=30, base_learning_rate=0.1)
    | _part("ours: smaller, because the dataset is", batch_size=64)
)
_INCEPTION = _part("Sec. B: a simplified Inception [ZBHRV17]", model="inception") | _part(
    "the release: batch norm's decay", model_options={"norm_decay": 0.999}
)
_LAST_LAYER = (
    _part("Sec. 3.6: a fresh linear classifier", model="linear", model_options={})
    | _part("Sec. B: linear models train for only 40 epochs", epochs=40)
    | _part("ours: representations are fixed", crop="none", crop_padding=0, flip=False)
)

# Liu et al. (2021), App. A, for all their models. They train on everything: subsets and trials are
# for tfmem train_trials, whose estimates theirs can be compared with.
_LIU = (
    _part("Liu et al., App. A", epochs=200, batch_size=256)
    | _part("Liu et al.: none named", crop="none", crop_padding=0, flip=False, weight_decay=0.0)
    | _part("Feldman & Zhang, Sec. 2, for tfmem train_trials", subset_ratio=SUBSET_RATIO)
    | _part("ours, for tfmem train_trials", num_trials=1000)
    | _part("ours", precision="float32")
)
_LIU_MNIST = (
    _LIU
    | _part("Liu et al., App. A: MNIST", dataset="mnist", schedule="constant")
    | _part("Liu et al., App. A: one hidden layer", model="mlp", model_options={"hidden": [4096]})
    | _part("Liu et al., App. A: 0.06, no momentum", base_learning_rate=0.06, momentum=0.0)
)
_LIU_CORRUPTED = _part(
    "Liu et al., Sec. 3.2: 20,000 random labels", corrupted_labels=CORRUPTED_LABELS
)
_DIVIDED_TWICE = "Liu et al., App. A: divided by 10 at epoch 100 and 150"

_RECIPES: Mapping[str, _Part] = {
    "digits_mlp": _DIGITS | _part("ours", model="mlp", model_options={"hidden": [512]}),
    "digits_inception": _DIGITS
    | _INCEPTION
    | _part("ours: 420 steps are too few for 0.999", model_options={"norm_decay": 0.9}),
    "digits_last_layer": _DIGITS | _LAST_LAYER,
    # The MNIST example of the authors' release. The paper's own MNIST recipe is mnist_inception.
    "mnist_mlp": _COMMON
    | _part("the release's MNIST example", dataset="mnist", num_trials=2000)
    | _part("the release's MNIST example", model="mlp", model_options={"hidden": [512, 256]})
    | _part("the release's MNIST example", epochs=10, batch_size=128)
    | _part("the release's MNIST example", base_learning_rate=0.1, schedule="constant")
    | _part("the release's MNIST example: none", crop="none", crop_padding=0, flip=False),
    "mnist_inception": _MNIST | _INCEPTION,
    "mnist_last_layer": _MNIST | _LAST_LAYER,
    # Of this experiment there are released runs, but no recipe: that of CIFAR-100 stands in.
    "cifar10_inception": _OTHERS | _part("the release's runs", dataset="cifar10") | _INCEPTION,
    "cifar100_resnet50": _CIFAR100
    | _part("Sec. 2: t = 4000 for CIFAR-100", num_trials=4000)
    | _part("Sec. B: one 3x3 stride-1 convolution", model="resnet50")
    | _part("Sec. B: one 3x3 stride-1 convolution", model_options={"stem": "small"}),
    "cifar100_resnet18": _OTHERS
    | _part("Sec. 3.5", model="resnet18", model_options={"stem": "small"}),
    "cifar100_inception": _OTHERS | _INCEPTION,
    "cifar100_densenet100": _OTHERS
    | _part("Sec. 3.5 [HLVDMW17]", model="densenet100", model_options={})
    | _part("Sec. B: halved for DenseNet", batch_size=256, base_learning_rate=0.2),
    "cifar100_last_layer": _CIFAR100
    | _LAST_LAYER
    | _part("Sec. 3.6: 4,000 linear models", num_trials=4000),
    "imagenet_resnet50": _COMMON
    | _part("Sec. 3", dataset="imagenet2012")
    | _part("Sec. B: 224 x 224", image_size=224)
    | _part("Sec. B: ResNet50 [HZRS16]", model="resnet50")
    | _part("the release's checkpoints: v1", model_options={"stem": "large", "version": 1})
    | _part("Sec. 2: t = 2000 for ImageNet", num_trials=2000)
    | _part("Sec. B: ImageNet", epochs=100, batch_size=896, base_learning_rate=0.7)
    | _part("Sec. B: from 0 during the first 15 epochs", schedule="warmup_steps", warmup_epochs=15)
    | _part("Sec. B: 10x decay at epoch 30, 60 and 90", decay_epochs=(30, 60, 90), decay_factor=0.1)
    | _part("Sec. B: random padded (32 pixels) cropping", crop="padded", crop_padding=32)
    | _part("Sec. B: random left-right flipping", flip=True),
    "mnist_mlp4096": _LIU_MNIST,
    "mnist_mlp4096_corrupted": _LIU_MNIST | _LIU_CORRUPTED,
    "mnist_mlp4096_dynamics": _LIU_MNIST
    | _LIU_CORRUPTED
    | _part("Liu et al., App. A: 0.01 for Fig. 3", base_learning_rate=0.01),
    "cifar10_vgg11": _LIU
    | _part("Liu et al., App. A: CIFAR-10", dataset="cifar10", base_learning_rate=0.01)
    | _part("Liu et al., App. A: VGG-11 without batch norm", model="vgg11", model_options={})
    | _part("Liu et al., App. A: 0.9", momentum=0.9)
    | _part(_DIVIDED_TWICE, schedule="warmup_steps", warmup_epochs=0)
    | _part(_DIVIDED_TWICE, decay_epochs=(100, 150), decay_factor=0.1),
    # Neither which of the compact transformers nor how it is trained is named.
    "fashion_mnist_cct": _LIU
    | _part("Liu et al., Fig. 9: Hassani et al. (2021)", dataset="fashion_mnist", model="cct")
    | _part("ours: the smallest of Hassani et al.", model_options={"variant": "2/3x2"})
    | _part("ours: as for CIFAR-10", base_learning_rate=0.01, momentum=0.9, schedule="constant"),
}


EXPERIMENTS: Mapping[str, ExperimentConfig] = {
    name: ExperimentConfig(name=name, seed=0, **{key: value for key, (value, _) in recipe.items()})
    for name, recipe in _RECIPES.items()
}

# Sec. 3.6: the network whose penultimate features a last-layer experiment trains on.
NETWORK_OF: Mapping[str, str] = {
    "digits_last_layer": "digits_mlp",
    "mnist_last_layer": "mnist_inception",
    "cifar100_last_layer": "cifar100_resnet50",
}

# Sec. B: seconds of an epoch on the paper's hardware, and how many P100s train a trial.
PAPER_EPOCH_SECONDS: Mapping[str, float] = {
    "cifar100_resnet50": 90,
    "cifar100_resnet18": 17,
    "cifar100_densenet100": 45,
    "cifar100_inception": 14,
    "cifar100_last_layer": 0.5,
    "imagenet_resnet50": 1800,
    "mnist_inception": 7,
}
PAPER_GPUS: Mapping[str, int] = {"imagenet_resnet50": 8}

DEFAULT = "default"  # The source of a number that a recipe does not name.

# The fields that a flag of the same name may override, and what the flag says.
OVERRIDES: Mapping[str, str] = {
    "dataset": "Dataset; one of your own is tfds:NAME, folder:PATH, npz:PATH or csv:PATH.",
    "image_size": "Side in pixels that images are resized to.",
    "test_share": "Share of each class held out for testing, where a dataset has no test split.",
    "standardize": "Whether features lose their mean and are divided by their standard deviation.",
    "model": "Architecture, or FILE.py:NAME or PACKAGE.MODULE:NAME of a function of your own that "
    "returns a keras.Model; its options are then the model's defaults.",
    "model_options": "Options of the architecture, as JSON: '{\"hidden\": [512]}'.",
    "initial_weights": "drawn, anew from each layer's initializer, or built: those of the model "
    "that the function of --model returns under the trial's seed, such as pretrained ones.",
    "subset_ratio": "m / n, in (0, 1).",
    "epochs": "Number of epochs.",
    "batch_size": "Global batch size, over all replicas.",
    "base_learning_rate": "Highest learning rate.",
    "momentum": "Momentum of sgd.",
    "weight_decay": "Weight decay of sgd, decoupled from its gradient: a step also multiplies the "
    "weights by 1 - rate * weight_decay. PyTorch's SGD calls something else so, which is --l2: at "
    "momentum 0.9 it pulls ten times as much as the same number here.",
    "schedule": "Learning-rate schedule.",
    "warmup_fraction": "Share of the steps that warm up, with warmup_linear or cosine.",
    "warmup_epochs": "Epochs that warm up, with the warmup_steps schedule.",
    "decay_epochs": "Epochs at which the rate decays, such as 30,60,90, with warmup_steps.",
    "decay_factor": "What the rate is multiplied by there.",
    "crop": "Cropping of training images.",
    "crop_padding": "Pixels of padding on every side, with --crop=padded.",
    "flip": "Whether training images are flipped left to right at random.",
    "precision": "Numbers the model computes with.",
    "seed": "Base seed of every random choice.",
    "corrupted_labels": "Training labels that are replaced by uniform random ones.",
    "labels": "FILE[:NAME], npz, npy or csv: training labels of your own, one for each example.",
    "candidates": "FILE[:NAME], npz, npy, csv or txt: ids or indices of the only training examples "
    "that are left out at random; --subset_ratio is the share of these that a trial sees.",
    "optimizer": "Optimizer, of Keras's; --base_learning_rate is to fit it. Another one comes "
    "without --momentum and --weight_decay, which are sgd's.",
    "optimizer_options": "Keras's arguments of the optimizer, as JSON: '{\"nesterov\": true}' of "
    "sgd, '{\"weight_decay\": 0.05}' of adamw. clipnorm, global_clipnorm and clipvalue clip the "
    "gradient of the whole batch, of any optimizer.",
    "l2": "What times each weight is added to its gradient, after clipping; PyTorch's SGD calls it "
    "weight_decay.",
    "label_smoothing": "Share of the true label that is spread evenly over all labels.",
}
# Fields that mean something only beside a certain value of another, and what they are without it.
_DETAILS_OF: Mapping[str, Mapping[str, Any]] = {
    "model": {"model_options": {}, "model_source": "", "initial_weights": DRAWN},
    "crop": {"crop_padding": 0},
    "schedule": dict(warmup_fraction=0.0, warmup_epochs=0, decay_epochs=(), decay_factor=0.0),
    "optimizer": dict(optimizer_options={}, momentum=0.0, weight_decay=0.0),
}


def get(name: str) -> ExperimentConfig:
    """Returns an experiment: ours of that name, or one's own, FILE.py:NAME or MODULE:NAME.

    Raises:
      ValueError: no such experiment, which lists the known ones; or one's own cannot be read, or
        is of another type, in one line with its file and line.
    """
    if not own.is_own(name):
        return words.lookup(EXPERIMENTS, name, "experiment")
    found, _ = own.load(name)
    config = own.call(found) if callable(found) else found
    if isinstance(config, ExperimentConfig):
        return config
    raise own.refused(name, config, "an ExperimentConfig, or a function that returns one")


def field_type(field: str) -> type:
    """Returns the type of an `ExperimentConfig` field: int, float, bool, str, tuple or Mapping."""
    hint = typing.get_type_hints(ExperimentConfig)[field]
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    return typing.get_origin(hint) or hint


def resolve(name: str, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """Returns the named experiment with the overrides that are not None.

    Another model, crop or schedule comes without the numbers that the named one has, unless they
    are given too.

    Raises:
      ValueError: unknown experiment, or a value out of range.
    """
    config = get(name)
    given = {field: value for field, value in overrides.items() if value is not None}
    for field, details in _DETAILS_OF.items():
        if given.get(field, getattr(config, field)) != getattr(config, field):
            given = {**details, **given}
    return dataclasses.replace(config, **given)


def sources(config: ExperimentConfig, name: str = "") -> dict[str, str]:
    """Returns, for each field of the config, where its value comes from.

    That is a section of the paper or the release; `DEFAULT` for a field that the recipe does not
    name; the name of one's own experiment for what its file says; `override` for a value that the
    named experiment does not have.

    Args:
      config: made from an experiment.
      name: of that experiment, as `get` takes it; `config.name` by default.
    """
    named = get(name or config.name)
    # What one's own experiment has from one of ours comes from where that has it from.
    ours, recipe = EXPERIMENTS.get(config.name), _RECIPES.get(config.name, {})
    found = {}
    for field in (field.name for field in dataclasses.fields(config) if field.name != "name"):
        found[field] = recipe.get(field, (None, DEFAULT))[1]
        value = getattr(named, field)
        if own.is_own(name) and (ours is None or value != getattr(ours, field)):
            found[field] = name
        if value != getattr(config, field):
            found[field] = "override"
    return found


def paper_cost(config: ExperimentConfig) -> str | None:
    """Returns what the experiment cost on the paper's hardware, in words, or None (Sec. B)."""
    if config.name not in PAPER_EPOCH_SECONDS:
        return None
    gpus = PAPER_GPUS.get(config.name, 1)
    hours = PAPER_EPOCH_SECONDS[config.name] * config.epochs / 3600
    trial = f"{hours:.3g} h" if hours >= 1 else f"{60 * hours:.2g} min"
    total = f"{hours * gpus * config.num_trials:,.0f} GPU-hours for {config.num_trials:,} trials"
    return f"{trial} a trial on {gpus} P100, {total}"


def flag_value(value: Any) -> str:
    """Returns a field's value as its flag takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
