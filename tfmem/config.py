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
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

CROPS = ("none", "padded", "area_aspect")
DRAWN, BUILT = INITIAL_WEIGHTS = ("drawn", "built")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Keras's, by its names.
OPTIMIZERS = (
    *("sgd", "adam", "adamw", "rmsprop", "adadelta", "adafactor", "adagrad", "adamax", "ftrl"),
    *("lion", "muon", "nadam"),
)
# Arguments of Keras's optimizers that are not taken, and why.
NOT_TAKEN = {
    "learning_rate": "the schedule gives the rate: give base_learning_rate",
    "loss_scale_factor": "precision mixed_float16 scales losses",
    "name": "it decides nothing",
    **dict.fromkeys(
        ("use_ema", "ema_momentum", "ema_overwrite_frequency"), "weights are not averaged"
    ),
    "gradient_accumulation_steps": "give a larger batch_size",
}
# What a run of training dynamics is trained on.
FOLLOWED = ("everything", "without_difficult", "easy", "difficult")
EVERYTHING, WITHOUT_DIFFICULT, EASY, DIFFICULT = FOLLOWED


def _require(config: Any, field: str, valid: bool, rule: str) -> None:
    if not valid:
        raise ValueError(f"{field} is {getattr(config, field)!r}, expected {rule}")


def _ascending(values: Iterable[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


@dataclasses.dataclass(frozen=True)
class ConstantSchedule:
    """The base rate at every step."""


@dataclasses.dataclass(frozen=True)
class LinearSchedule:
    """From 0 up over a share of the steps, in (0, 1), then linearly back to 0 (Sec. B)."""

    warmup_fraction: float

    def __post_init__(self):
        _require(self, "warmup_fraction", 0 < self.warmup_fraction < 1, "in (0, 1)")


@dataclasses.dataclass(frozen=True)
class StepSchedule:
    """From 0 up, then constant between decays (Sec. B, ImageNet).

    Attributes:
      warmup_epochs: epochs that warm up; 0 starts at the base rate.
      decay_epochs: epochs at whose start the rate decays, ascending, after the warm-up.
      decay_factor: what the rate is multiplied by there, in (0, 1).
    """

    warmup_epochs: int
    decay_epochs: tuple[int, ...]
    decay_factor: float

    def __post_init__(self):
        _require(self, "warmup_epochs", self.warmup_epochs >= 0, "0 or more")
        ascending = _ascending((self.warmup_epochs - 1, *self.decay_epochs))
        _require(self, "decay_epochs", ascending, "ascending, after the warm-up")
        _require(self, "decay_factor", 0 < self.decay_factor < 1, "in (0, 1)")


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
    """From 0 up over a share of the steps, in [0, 1), then half a cosine down to 0."""

    warmup_fraction: float

    def __post_init__(self):
        _require(self, "warmup_fraction", 0 <= self.warmup_fraction < 1, "in [0, 1)")


Schedule = LinearSchedule | StepSchedule | ConstantSchedule | CosineSchedule
SCHEDULES: Mapping[str, type[Schedule]] = {
    "warmup_linear": LinearSchedule,
    "warmup_steps": StepSchedule,
    "constant": ConstantSchedule,
    "cosine": CosineSchedule,
}
# The fields that describe schedules, and what a schedule without them lacks.
_OF_SCHEDULES = {
    "warmup_fraction": "warm-up over a share of the steps",
    "warmup_epochs": "warm-up over epochs",
    "decay_epochs": "decays",
    "decay_factor": "decays",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Everything that decides what a trial computes. Two equal configs give equal trials.

    Attributes:
      name: the experiment's name in `tfmem.experiments`.
      dataset: name in `tfmem.datasets`.
      model: name in `tfmem.models`, or `FILE.py:NAME` or `PACKAGE.MODULE:NAME` of one's own.
      model_options: keyword arguments of that model's builder.
      model_source: text of the file that a model of one's own is built in, or "".
      initial_weights: `drawn`, each anew from its layer's initializer; `built`, those of the model
        that the builder returns under the trial's seed, such as pretrained ones.
      subset_ratio: m / n, the share of the training set that each trial sees, in (0, 1) (Sec. 2).
      num_trials: t, how many trials the experiment asks for (Sec. 2).
      epochs: passes over the trial's subset.
      batch_size: examples in one step, over all replicas.
      base_learning_rate: the highest rate of the schedule.
      momentum: of sgd, in [0, 1).
      schedule: a key of `SCHEDULES`, which describe them.
      warmup_fraction: with `warmup_linear` and `cosine`.
      warmup_epochs, decay_epochs, decay_factor: with `warmup_steps`.
      weight_decay: of sgd, decoupled, as `keras.optimizers.SGD(weight_decay=...)` applies it: a
        step multiplies the weights by 1 - rate * weight_decay beside its update. 0 is none.
      image_size: side in pixels that images are resized to; None keeps those of the dataset.
      test_share: of the examples of each class that are held out as test examples, in [0, 1), of a
        dataset that has no second split (`tfmem.datasets.variants.hold_out`); 0 of one that has.
      crop: of training images: `none`; `padded`, a random place in the image padded with
        `crop_padding` black pixels on every side (Sec. B); `area_aspect`, a random part of random
        area and aspect, resized (ImageNet in the authors' release).
      crop_padding: pixels, with `padded`.
      flip: whether training images are flipped left to right at random.
      precision: Keras dtype policy that the model is built under.
      seed: base seed of every random choice (`tfmem.seeds`).
      corrupted_labels: how many training labels are replaced by uniform random ones, the same in
        all trials (`tfmem.datasets.corrupt_labels`).
      standardize: whether features are standardized by the training set
        (`tfmem.datasets.features.ready`); images are not.
      labels: FILE[:NAME] of one's own training labels, for the reader (`tfmem.datasets.own`); a
        moved file is still the same file. "" where the dataset's are taken.
      labels_digest: SHA-256, in hexadecimal, of what it says of the dataset's examples.
      candidates: FILE[:NAME] of the training examples of which trials leave some out, for the
        reader; `subset_ratio` is then the share of these that a trial sees, and all others are in
        every trial. "" where any example may be left out.
      candidates_digest: SHA-256, in hexadecimal, of who they are.
      optimizer: of `OPTIMIZERS`.
      optimizer_options: Keras's arguments of it, without the learning rate, which the schedule
        gives, and without momentum and weight_decay of sgd, which are fields. Of clipnorm,
        global_clipnorm and clipvalue, each clips the gradient of the whole batch.
      l2: what every trainable weight times it adds to its gradient, after clipping: what
        `torch.optim.SGD` calls weight_decay. 0 adds nothing.
      label_smoothing: the share s of the true label that is spread over all c labels, in [0, 1):
        they are trained towards 1 - s + s / c and s / c.
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
    momentum: float = 0.0
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
    test_share: float = 0.0
    model_source: str = ""
    initial_weights: str = DRAWN
    standardize: bool = False
    labels: str = ""
    labels_digest: str = ""
    candidates: str = ""
    candidates_digest: str = ""
    optimizer: str = "sgd"
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    l2: float = 0.0
    label_smoothing: float = 0.0

    kind: ClassVar[Literal["experiment"]] = "experiment"
    not_identity: ClassVar[tuple[str, ...]] = ("labels", "candidates")

    def __post_init__(self):
        # As JSON would give it back, so that a config equals the one that was written.
        for field in ("model_options", "optimizer_options"):
            object.__setattr__(self, field, json.loads(json.dumps(getattr(self, field))))
        _require(self, "subset_ratio", 0 < self.subset_ratio < 1, "in (0, 1)")
        for field in ("num_trials", "epochs", "batch_size"):
            _require(self, field, getattr(self, field) >= 1, "at least 1")
        _require(self, "base_learning_rate", self.base_learning_rate > 0, "above 0")
        _require(self, "momentum", 0 <= self.momentum < 1, "in [0, 1)")
        _require(self, "weight_decay", 0 <= self.weight_decay < 1, "in [0, 1)")
        _require(self, "seed", self.seed >= 0, "0 or more")
        _require(self, "schedule", self.schedule in SCHEDULES, f"one of {tuple(SCHEDULES)}")
        described = dataclasses.asdict(self.learning_rates)
        for field, what in _OF_SCHEDULES.items():
            rule = f"none: the {self.schedule} schedule has no {what}"
            _require(self, field, field in described or not getattr(self, field), rule)
        _require(self, "image_size", self.image_size is None or self.image_size >= 1, "at least 1")
        _require(self, "crop", self.crop in CROPS, f"one of {CROPS}")
        if self.crop == "padded":
            _require(self, "crop_padding", self.crop_padding >= 1, "at least 1")
        else:
            _require(self, "crop_padding", self.crop_padding == 0, f"0 with crop {self.crop}")
        _require(self, "precision", self.precision in PRECISIONS, f"one of {PRECISIONS}")
        _require(self, "corrupted_labels", self.corrupted_labels >= 0, "0 or more")
        given = self.has_own_model or not self.model_source
        _require(self, "model_source", given, f"none: {self.model} is no model of one's own")
        known = self.initial_weights in INITIAL_WEIGHTS
        _require(self, "initial_weights", known, f"one of {INITIAL_WEIGHTS}")
        beside = "0 beside labels of one's own: give --labels or --corrupted_labels=N, not both"
        _require(self, "corrupted_labels", not (self.labels and self.corrupted_labels), beside)
        _require(self, "test_share", 0 <= self.test_share < 1, "in [0, 1)")
        self._require_optimizer()

    def _require_optimizer(self) -> None:
        _require(self, "optimizer", self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}")
        _require(self, "l2", self.l2 >= 0, "0 or more")
        _require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        of_sgd = ("momentum", "weight_decay")
        not_taken = dict(NOT_TAKEN)
        if self.optimizer == "sgd":
            not_taken |= {field: f"give {field}, a field of its own" for field in of_sgd}
        else:
            rule = f"0: it is sgd's, and the arguments of {self.optimizer} are optimizer_options"
            for field in of_sgd:
                _require(self, field, not getattr(self, field), rule)
        for name in self.optimizer_options:
            if name in not_taken:
                raise ValueError(f"optimizer_options take no {name!r}: {not_taken[name]}")

    @property
    def experiment(self) -> "ExperimentConfig":
        """Itself: how trials are trained, as the other kinds have it."""
        return self

    @property
    def has_own_model(self) -> bool:
        """Whether the model is built by a function in a file of one's own."""
        return ":" in self.model

    @property
    def learning_rates(self) -> Schedule:
        """What the schedule is, with its numbers; ValueError if one is out of range."""
        described = SCHEDULES[self.schedule]
        fields = (field.name for field in dataclasses.fields(described))
        return described(**{field: getattr(self, field) for field in fields})


@dataclasses.dataclass(frozen=True)
class _OfExperiment:
    """What all configs say that are about an experiment.

    Attributes:
      experiment: how trials are trained.
    """

    experiment: ExperimentConfig

    not_identity: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def dataset(self) -> str:
        return self.experiment.dataset

    @property
    def image_size(self) -> int | None:
        return self.experiment.image_size

    @property
    def test_share(self) -> float:
        return self.experiment.test_share

    @property
    def standardize(self) -> bool:
        return self.experiment.standardize

    @property
    def model(self) -> str:
        return self.experiment.model


@dataclasses.dataclass(frozen=True)
class LastLayerConfig(_OfExperiment):
    """Trials of a linear classifier on the penultimate features of one network (Sec. 3.6).

    Attributes:
      experiment: the linear trials.
      network: the network, trained once on the whole training set; its `subset_ratio` and
        `num_trials` have no meaning.
      feature_layer: the layer whose output are the features; "" is what enters the logits.
    """

    network: ExperimentConfig
    feature_layer: str = ""

    kind: ClassVar[Literal["last_layer"]] = "last_layer"

    @property
    def image_size(self) -> int | None:
        return self.network.image_size

    @property
    def model(self) -> str:
        return f"{self.experiment.model} on the features of {self.network.name}"

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

    runs: int
    mem_thresholds: tuple[float, ...]
    mem_threshold: float
    infl_threshold: float
    estimates: str
    estimates_digest: str
    high_influence: bool = True

    kind: ClassVar[Literal["removal"]] = "removal"
    not_identity: ClassVar[tuple[str, ...]] = ("estimates",)

    def __post_init__(self):
        _require(self, "runs", self.runs >= 1, "at least 1")
        _require(self, "mem_thresholds", _ascending(self.mem_thresholds), "ascending values")
        _require(self, "mem_thresholds", bool(self.conditions), "one, or high_influence")

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

    test_examples: bool = False

    kind: ClassVar[Literal["turnover"]] = "turnover"
    # One model gives scores; more can be asked for, and their scores are averaged.
    num_trials: ClassVar[int] = 1


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

    conditions: tuple[str, ...]
    runs: int
    subset_size: int
    gradient_batches: int
    scores: str
    subsets_digest: str

    kind: ClassVar[Literal["dynamics"]] = "dynamics"
    not_identity: ClassVar[tuple[str, ...]] = ("scores",)

    def __post_init__(self):
        known = set(FOLLOWED).intersection(self.conditions)
        different = 0 < len(known) == len(self.conditions)
        _require(self, "conditions", different, f"different ones of {', '.join(FOLLOWED)}")
        for field in ("runs", "subset_size"):
            _require(self, field, getattr(self, field) >= 1, "at least 1")
        _require(self, "gradient_batches", self.gradient_batches >= 0, "0 or more")

    @property
    def num_trials(self) -> int:
        """Run r of condition c is trial c * runs + r."""
        return self.runs * len(self.conditions)


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """Trials that came from somebody else (`tfmem.imports`).

    Attributes:
      format: the layout they were read from (`tfmem import_trials --format`).
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

    kind: ClassVar[Literal["import"]] = "import"
    not_identity: ClassVar[tuple[str, ...]] = ("source", "labels")
    name: ClassVar[str] = "imported trials"
    model: ClassVar[None] = None
    image_size: ClassVar[None] = None
    test_share: ClassVar[float] = 0.0
    standardize: ClassVar[bool] = False


_OnExperiment = LastLayerConfig | RemovalConfig | TurnoverConfig | DynamicsConfig
TrainedConfig = ExperimentConfig | _OnExperiment
Config = ExperimentConfig | ImportConfig | _OnExperiment
_Trained = TypeVar("_Trained", bound=TrainedConfig)
_KINDS = {cls.kind: cls for cls in typing.get_args(Config)}
_ABSENT = "(absent)"  # A field that the other kind of config has.
_NESTED = ("experiment", "network")  # Fields that are experiments.
# Datasets that are known by their content: where it lies does not matter.
_CONTENT_ONLY = ("folder:", "npz:", "csv:")


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
    required = [name for name, field in fields.items() if _default(field) is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"config lacks the fields {', '.join(missing)}")
    return cls(**{field: _from_json(value, field) for field, value in values.items()})


def _default(field: dataclasses.Field) -> Any:
    """Returns a field's default, or `dataclasses.MISSING`."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _from_json(value: Any, field: str) -> Any:
    if field in _NESTED and isinstance(value, Mapping):
        return from_dict({"kind": ExperimentConfig.kind, **value})
    return tuple(value) if isinstance(value, list) else value


def identity(config: Config, defaults: bool = False) -> dict[str, Any]:
    """Returns the fields that decide what the trials are.

    Args:
      config: of a store.
      defaults: whether fields at their default are among them. They do not count in the digest, so
        that a field may be added and older stores stay what they are.
    """
    values: dict[str, Any] = {"kind": config.kind}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in config.not_identity or (value == _default(field) and not defaults):
            continue
        nested = isinstance(value, ExperimentConfig)
        values[field.name] = identity(value, defaults) if nested else value
    for kind in _CONTENT_ONLY:
        if values.get("dataset", "").startswith(kind):
            values["dataset"] = kind
    if values.get("model_source"):
        # Where the file lies does not matter; the function in it does.
        values["model"] = values["model"].rpartition(":")[2]
        values["model_source"] = hashlib.sha256(values["model_source"].encode()).hexdigest()
    return values


def with_digests(config: _Trained, labels: str, candidates: str) -> _Trained:
    """Returns the config with the digests of the files that its experiments name."""
    if isinstance(config, ExperimentConfig):
        return dataclasses.replace(
            config,
            labels_digest=labels if config.labels else "",
            candidates_digest=candidates if config.candidates else "",
        )
    nested = {
        field.name: with_digests(getattr(config, field.name), labels, candidates)
        for field in dataclasses.fields(config)
        if field.name in _NESTED
    }
    return dataclasses.replace(config, **nested)


def digest(config: Config, dataset_fingerprint: str) -> str:
    """Returns the SHA-256, in hexadecimal, of the config's identity and its dataset."""
    values = {"config": identity(config), "dataset_fingerprint": dataset_fingerprint}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def differences(a: Config, b: Config) -> list[str]:
    """Returns one `field: value in a, value in b` line per field that differs."""
    left, right = (flat(identity(config, defaults=True)) for config in (a, b))
    values = {key: (left.get(key, _ABSENT), right.get(key, _ABSENT)) for key in left | right}
    return [f"{key}: {x!r} and {y!r}" for key, (x, y) in sorted(values.items()) if x != y]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config's values with those of nested experiments as `network.epochs`."""
    found: dict[str, Any] = {}
    for field, value in values.items():
        if field in _NESTED:
            found |= {f"{field}.{name}": part for name, part in value.items()}
        else:
            found[field] = value
    return found
