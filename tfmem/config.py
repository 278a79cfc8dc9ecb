"""The frozen description of how trials are made: validated, and JSON both ways.

A store holds one of seven kinds of description: `ExperimentConfig` for trials on random subsets,
`EvaluationConfig` for the same on another test set, `LastLayerConfig` for trials of the last layer
alone, `RemovalConfig` for runs with examples removed, `TurnoverConfig` for models with turn-over
dropout, `DynamicsConfig` for runs that are followed epoch by epoch, `ImportConfig` for trials that
somebody else trained.
"""

import dataclasses
import hashlib
import itertools
import json
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from tfmem.recipe import ExperimentConfig, ascending, require

# What a run of training dynamics is trained on.
FOLLOWED = ("everything", "without_difficult", "easy", "difficult")
EVERYTHING, WITHOUT_DIFFICULT, EASY, DIFFICULT = FOLLOWED


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
class EvaluationConfig(_OfExperiment):
    """Trials on random subsets whose networks were evaluated on another test set.

    Attributes:
      experiment: how they were trained, and on what.
      test_dataset: name in `tfmem.datasets` of the dataset whose test split they were evaluated on.
    """

    test_dataset: str

    kind: ClassVar[Literal["evaluation"]] = "evaluation"

    @property
    def num_trials(self) -> int:
        return self.experiment.num_trials


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
        require(self, "runs", self.runs >= 1, "at least 1")
        require(self, "mem_thresholds", ascending(self.mem_thresholds), "ascending values")
        require(self, "mem_thresholds", bool(self.conditions), "one, or high_influence")

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
        require(self, "conditions", different, f"different ones of {', '.join(FOLLOWED)}")
        for field in ("runs", "subset_size"):
            require(self, field, getattr(self, field) >= 1, "at least 1")
        require(self, "gradient_batches", self.gradient_batches >= 0, "0 or more")

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


_OnExperiment = EvaluationConfig | LastLayerConfig | RemovalConfig | TurnoverConfig | DynamicsConfig
TrainedConfig = ExperimentConfig | _OnExperiment
Config = ExperimentConfig | ImportConfig | _OnExperiment
_Trained = TypeVar("_Trained", bound=TrainedConfig)
_KINDS = {cls.kind: cls for cls in typing.get_args(Config)}
_ABSENT = "(absent)"  # A field that the other kind of config has.
_NESTED = ("experiment", "network")  # Fields that are experiments.
_DATASETS = ("dataset", "test_dataset")
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
    for name, kind in itertools.product(_DATASETS, _CONTENT_ONLY):
        if values.get(name, "").startswith(kind):
            values[name] = kind
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
