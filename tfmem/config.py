"""The frozen description of how trials are made: validated, and JSON both ways.

A store holds one of six kinds of description: `ExperimentConfig` for trials on random subsets,
`LastLayerConfig` for trials of the last layer alone, `RemovalConfig` for runs with examples
removed, `TurnoverConfig` for models with turn-over dropout, `DynamicsConfig` for runs that are
followed epoch by epoch, `ImportConfig` for trials that somebody else trained.
"""

import dataclasses
import hashlib
import itertools
import json
import typing
from collections.abc import Mapping
from typing import Any

SCHEDULES = ("warmup_linear", "warmup_steps", "constant")
CROPS = ("none", "padded", "area_aspect")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# What a run of training dynamics is trained on.
EVERYTHING, WITHOUT_DIFFICULT, EASY, DIFFICULT = FOLLOWED = (
    "everything",
    "without_difficult",
    "easy",
    "difficult",
)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides what a trial computes. Two equal configs give equal trials.

    Attributes:
      name: the experiment's name in `tfmem.experiments`.
      dataset: name in `tfmem.datasets`.
      model: name in `tfmem.models`.
      model_options: keyword arguments of that model's builder.
      subset_ratio: m / n, the share of the training set that each trial sees, in (0, 1) (Sec. 2).
      num_trials: t, how many trials the experiment asks for (Sec. 2).
      epochs: passes over the trial's subset.
      batch_size: examples in one step, over all replicas.
      base_learning_rate: the highest rate of the schedule.
      momentum: of SGD, in [0, 1).
      weight_decay: decoupled, as `keras.optimizers.SGD(weight_decay=...)` applies it; 0 is none.
      schedule: `warmup_linear` (from 0 up over `warmup_fraction` of the steps, then linearly back
        to 0; Sec. B), `warmup_steps` (from 0 up over `warmup_epochs`, then constant, times
        `decay_factor` at each of `decay_epochs`; Sec. B) or `constant`.
      warmup_fraction: share of the steps that warm up, in (0, 1), with `warmup_linear`.
      warmup_epochs: epochs that warm up, with `warmup_steps`; 0 starts at the base rate.
      decay_epochs: epochs at whose start the rate decays, ascending, with `warmup_steps`.
      decay_factor: what the rate is multiplied by there, in (0, 1), with `warmup_steps`.
      weight_decay: decoupled, as `keras.optimizers.SGD(weight_decay=...)` applies it; 0 is none.
      image_size: side in pixels that images are resized to; None keeps those of the dataset.
      crop: of training images: `none`; `padded`, a random place in the image padded with
        `crop_padding` black pixels on every side (Sec. B); `area_aspect`, a random part of random
        area and aspect, resized (ImageNet in the authors' release).
      crop_padding: pixels, with `padded`.
      flip: whether training images are flipped left to right at random.
      precision: Keras dtype policy that the model is built under.
      seed: base seed of every random choice (`tfmem.seeds`).
      corrupted_labels: how many training labels are replaced by uniform random ones, the same in
        all trials (`tfmem.datasets.corrupt_labels`).
    """

    name: str
    dataset: str
    model: str
    model_options: Mapping[str, Any]
    subset_ratio: float
    num_trials: int
    epochs: int
    batch_size: int
    base_learning_rate: float
    momentum: float
    schedule: str
    warmup_fraction: float = 0.0
    weight_decay: float = 0.0
    seed: int = 0
    warmup_epochs: int = 0
    decay_epochs: tuple[int, ...] = ()
    decay_factor: float = 0.0
    image_size: int | None = None
    crop: str = "none"
    crop_padding: int = 0
    flip: bool = False
    precision: str = "float32"
    corrupted_labels: int = 0

    kind = "experiment"

    def __post_init__(self):
        # As JSON would give them back, so that a config equals the one that was written.
        object.__setattr__(self, "model_options", json.loads(json.dumps(self.model_options)))
        object.__setattr__(self, "decay_epochs", tuple(self.decay_epochs))
        _require(0 < self.subset_ratio < 1, "subset_ratio", self.subset_ratio, "in (0, 1)")
        _require(self.num_trials >= 1, "num_trials", self.num_trials, "at least 1")
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        _require(
            self.base_learning_rate > 0, "base_learning_rate", self.base_learning_rate, "above 0"
        )
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        _require(0 <= self.weight_decay < 1, "weight_decay", self.weight_decay, "in [0, 1)")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.schedule in SCHEDULES, "schedule", self.schedule, f"one of {SCHEDULES}")
        for schedule, field, valid, rule, what in (
            (
                "warmup_linear",
                "warmup_fraction",
                lambda value: 0 < value < 1,
                "in (0, 1)",
                "warm-up over a share of the steps",
            ),
            (
                "warmup_steps",
                "warmup_epochs",
                lambda value: value >= 0,
                "0 or more",
                "warm-up over epochs",
            ),
            (
                "warmup_steps",
                "decay_epochs",
                self._ascending,
                "ascending, after the warm-up",
                "decays",
            ),
            ("warmup_steps", "decay_factor", lambda value: 0 < value < 1, "in (0, 1)", "decays"),
        ):
            value = getattr(self, field)
            if self.schedule == schedule:
                _require(valid(value), field, value, rule)
            else:
                rule = f"none: the {self.schedule} schedule has no {what}"
                _require(not value, field, value, rule)
        _require(
            self.image_size is None or self.image_size >= 1,
            "image_size",
            self.image_size,
            "at least 1",
        )
        _require(self.crop in CROPS, "crop", self.crop, f"one of {CROPS}")
        if self.crop == "padded":
            _require(self.crop_padding >= 1, "crop_padding", self.crop_padding, "at least 1")
        else:
            rule = f"0 with crop {self.crop}"
            _require(self.crop_padding == 0, "crop_padding", self.crop_padding, rule)
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")
        _require(self.corrupted_labels >= 0, "corrupted_labels", self.corrupted_labels, "0 or more")

    def _ascending(self, epochs: tuple[int, ...]) -> bool:
        return all(a < b for a, b in itertools.pairwise((self.warmup_epochs - 1, *epochs)))


class _OfExperiment:
    """What a config says that is about an experiment: `experiment` is one of its fields."""

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def dataset(self) -> str:
        return self.experiment.dataset

    @property
    def image_size(self) -> int | None:
        return self.experiment.image_size


@dataclasses.dataclass(frozen=True)
class LastLayerConfig(_OfExperiment):
    """Trials of a linear classifier on the penultimate features of one network (Sec. 3.6).

    Attributes:
      experiment: the linear trials.
      network: the network, trained once on the whole training set; its `subset_ratio` and
        `num_trials` have no meaning.
      feature_layer: the layer whose output are the features; "" is what enters the logits.
    """

    experiment: ExperimentConfig
    network: ExperimentConfig
    feature_layer: str = ""

    kind = "last_layer"

    def __post_init__(self):
        for field in ("experiment", "network"):
            object.__setattr__(self, field, _nested(getattr(self, field)))

    @property
    def image_size(self) -> int | None:
        return self.network.image_size

    @property
    def num_trials(self) -> int:
        return self.experiment.num_trials


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a removal run leaves out of the training set.

    Attributes:
      removed: `nothing`; `memorized`, the examples with mem >= threshold; `random`, as many random
        ones; `high_influence`, the training examples of the high-influence pairs.
      threshold: of memorization, with `memorized` and `random`.
    """

    removed: str
    threshold: float | None = None

    def __str__(self) -> str:
        return self.removed if self.threshold is None else f"{self.removed} {self.threshold:g}"


@dataclasses.dataclass(frozen=True)
class RemovalConfig(_OfExperiment):
    """Runs on the training set without some of its examples (Secs. 3.2 and 3.3).

    Attributes:
      experiment: how each run is trained; its `subset_ratio` and `num_trials` have no meaning.
      runs: R, how often each condition is repeated.
      mem_thresholds: theta, ascending: examples with mem >= theta are removed, and as many random
        ones.
      mem_threshold: of the training example in a high-influence pair, inclusive.
      infl_threshold: of the pair, inclusive.
      estimates: path of the estimates file, for the reader; a moved file is still the same file.
      estimates_digest: SHA-256 of the estimates that the runs depend on, in hexadecimal.
      high_influence: whether the runs with and without high-influence examples are there.
    """

    experiment: ExperimentConfig
    runs: int
    mem_thresholds: tuple[float, ...]
    mem_threshold: float
    infl_threshold: float
    estimates: str
    estimates_digest: str
    high_influence: bool = True

    kind = "removal"

    def __post_init__(self):
        object.__setattr__(self, "experiment", _nested(self.experiment))
        object.__setattr__(self, "mem_thresholds", tuple(self.mem_thresholds))
        _require(self.runs >= 1, "runs", self.runs, "at least 1")
        _require(
            all(a < b for a, b in itertools.pairwise(self.mem_thresholds)),
            "mem_thresholds",
            self.mem_thresholds,
            "ascending values",
        )
        _require(bool(self.conditions), "mem_thresholds", (), "one, or high_influence")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """In the order of the trials: run r of condition c is trial c * runs + r."""
        thresholds = [
            Condition(removed, threshold)
            for threshold in self.mem_thresholds
            for removed in ("memorized", "random")
        ]
        if self.high_influence:
            thresholds.append(Condition("high_influence"))
        return (Condition("nothing"), *thresholds) if thresholds else ()

    @property
    def num_trials(self) -> int:
        return self.runs * len(self.conditions)


@dataclasses.dataclass(frozen=True)
class TurnoverConfig(_OfExperiment):
    """Models with turn-over dropout, each trained on the whole training set (Liu et al., Sec. 2.2).

    Attributes:
      experiment: how each model is trained; its `subset_ratio` and `num_trials` have no meaning.
      test_examples: whether the test examples are trained on too, behind the training examples, so
        that they have scores as well (Liu et al., Fig. 5).
    """

    experiment: ExperimentConfig
    test_examples: bool = False

    kind = "turnover"
    num_trials = 1  # One model gives scores; more can be asked for, and their scores are averaged.

    def __post_init__(self):
        object.__setattr__(self, "experiment", _nested(self.experiment))


@dataclasses.dataclass(frozen=True)
class DynamicsConfig(_OfExperiment):
    """Runs that are followed epoch by epoch, on easy and difficult examples (Liu et al., Sec. 3).

    Attributes:
      experiment: how each run is trained; its `subset_ratio` and `num_trials` have no meaning.
      conditions: of `FOLLOWED`, what runs are trained on: `everything`, `without_difficult`
        examples (Fig. 5), `easy` ones or `difficult` ones alone (Fig. 6).
      runs: how often each condition is repeated.
      subset_size: training examples in the easy and in the difficult subset.
      gradient_batches: mini-batches whose per-example gradients are measured after each epoch
        (Fig. 4); 0 measures none.
      scores: path of the scores that tell easy from difficult, for the reader, or "" where
        corrupted labels do.
      subsets_digest: SHA-256, in hexadecimal, of the easy and difficult subsets.
    """

    experiment: ExperimentConfig
    conditions: tuple[str, ...]
    runs: int
    subset_size: int
    gradient_batches: int
    scores: str
    subsets_digest: str

    kind = "dynamics"

    def __post_init__(self):
        object.__setattr__(self, "experiment", _nested(self.experiment))
        object.__setattr__(self, "conditions", tuple(self.conditions))
        _require(
            bool(self.conditions)
            and set(self.conditions) <= set(FOLLOWED)
            and len(set(self.conditions)) == len(self.conditions),
            "conditions",
            self.conditions,
            f"different ones of {', '.join(FOLLOWED)}",
        )
        _require(self.runs >= 1, "runs", self.runs, "at least 1")
        _require(self.subset_size >= 1, "subset_size", self.subset_size, "at least 1")
        _require(self.gradient_batches >= 0, "gradient_batches", self.gradient_batches, "0 or more")

    @property
    def num_trials(self) -> int:
        """Run r of condition c is trial c * runs + r."""
        return self.runs * len(self.conditions)


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """Trials that came from somebody else (`tfmem.imports`).

    Attributes:
      format: the layout they were read from (`launchers.import_trials --format`).
      source: path they were read from, for the reader; a moved source is still the same source.
      source_digest: SHA-256, in hexadecimal, of what tells the source from others.
      dataset: name in `tfmem.datasets` that the examples belong to, or "" when unknown.
      num_trials: how many trials the source has.
      labels: path that labels were read from, for the reader, or "" where there is none; the labels
        themselves are in the dataset's fingerprint.
    """

    format: str
    source: str
    source_digest: str
    dataset: str
    num_trials: int
    labels: str = ""

    kind = "import"


Config = (
    ExperimentConfig
    | ImportConfig
    | LastLayerConfig
    | RemovalConfig
    | TurnoverConfig
    | DynamicsConfig
)
_KINDS = {cls.kind: cls for cls in typing.get_args(Config)}
_NOT_IDENTITY = {
    "import": ("source", "labels"),
    "removal": ("estimates",),
    "dynamics": ("scores",),
}
# Fields that came after the first stores. While they say what was done before, they do not count,
# so that those stores stay what they are.
_LATER = {
    field.name: field.default
    for field in dataclasses.fields(ExperimentConfig)
    if field.name
    in {
        "warmup_epochs",
        "decay_epochs",
        "decay_factor",
        "image_size",
        "crop",
        "crop_padding",
        "flip",
        "precision",
        "corrupted_labels",
    }
}
# Datasets that are known by their content: where it lies does not matter.
_CONTENT_ONLY = ("folder:", "npz:")


def _require(condition: bool, field: str, value: Any, rule: str) -> None:
    if not condition:
        raise ValueError(f"{field} is {value!r}, expected {rule}")


def to_dict(config: Config) -> dict[str, Any]:
    """Returns the config as JSON-ready values, its kind included."""
    return {"kind": config.kind, **dataclasses.asdict(config)}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Returns the config that `to_dict` described.

    Raises:
      ValueError: the kind or a field is unknown or missing, or a value is out of range.
    """
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"config kind is {kind!r}, expected one of {', '.join(_KINDS)}")
    cls = _KINDS[kind]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"config has unknown fields {', '.join(unknown)}: a newer tfmem wrote it?")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"config lacks the fields {', '.join(missing)}")
    return cls(**values)


def _nested(experiment: ExperimentConfig | Mapping[str, Any]) -> ExperimentConfig:
    """Returns an experiment that is part of another config, as it is or as JSON gave it back."""
    if isinstance(experiment, ExperimentConfig):
        return experiment
    return from_dict({"kind": ExperimentConfig.kind, **experiment})


def identity(config: Config) -> dict[str, Any]:
    """Returns the fields that decide what the trials are."""
    values = to_dict(config)
    for field in _NOT_IDENTITY.get(config.kind, ()):
        values.pop(field)
    for field in ("experiment", "network"):
        if field in values:
            values[field] = identity(getattr(config, field))
    if config.kind == "experiment":
        for field, default in _LATER.items():
            if values[field] == default:
                values.pop(field)
    for kind in _CONTENT_ONLY:
        if values.get("dataset", "").startswith(kind):
            values["dataset"] = kind
    return values


def digest(config: Config, dataset_fingerprint: str) -> str:
    """Returns the SHA-256, in hexadecimal, of the config's identity and its dataset."""
    values = {"config": identity(config), "dataset_fingerprint": dataset_fingerprint}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def differences(a: Config, b: Config) -> list[str]:
    """Returns one `field: value in a, value in b` line per field that differs."""
    left, right = flat(identity(a)), flat(identity(b))
    return [
        f"{field}: {left.get(field, _absent(field))!r} and {right.get(field, _absent(field))!r}"
        for field in sorted(set(left) | set(right))
        if left.get(field, _absent(field)) != right.get(field, _absent(field))
    ]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config's values with those of nested experiments as `network.epochs`."""
    flat = {}
    for field, value in values.items():
        if field in ("experiment", "network"):
            flat |= {f"{field}.{name}": part for name, part in value.items()}
        else:
            flat[field] = value
    return flat


def _absent(field: str) -> Any:
    return _LATER.get(field.split(".")[-1], "(absent)")
