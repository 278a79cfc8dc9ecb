"""The frozen description of how trials are made: validated, and JSON both ways.

A store holds one of two kinds of description: an `ExperimentConfig` for trials that tfmem trains,
an `ImportConfig` for trials that somebody else trained.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

SCHEDULES = ("warmup_linear", "constant")


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
        to 0; Sec. B) or `constant`.
      warmup_fraction: share of the steps that warm up, in (0, 1); 0 with `constant`.
      seed: base seed of every random choice (`tfmem.seeds`).
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

    kind = "experiment"

    def __post_init__(self):
        # As JSON would give them back, so that a config equals the one that was written.
        object.__setattr__(self, "model_options", json.loads(json.dumps(self.model_options)))
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
        if self.schedule == "warmup_linear":
            _require(
                0 < self.warmup_fraction < 1, "warmup_fraction", self.warmup_fraction, "in (0, 1)"
            )
        else:
            _require(
                self.warmup_fraction == 0,
                "warmup_fraction",
                self.warmup_fraction,
                f"0 with the {self.schedule} schedule, which has no warm-up",
            )


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """Trials that came from somebody else's arrays.

    Attributes:
      format: the layout they were read from (`launchers.import_trials --format`).
      source: path they were read from, for the reader; a moved source is still the same source.
      source_digest: SHA-256 of the arrays, in hexadecimal.
      dataset: name in `tfmem.datasets` that the examples belong to, or "" when unknown.
      num_trials: how many trials the source has.
    """

    format: str
    source: str
    source_digest: str
    dataset: str
    num_trials: int

    kind = "import"


Config = ExperimentConfig | ImportConfig
_KINDS = {cls.kind: cls for cls in (ExperimentConfig, ImportConfig)}
_NOT_IDENTITY = {"import": ("source",), "experiment": ()}


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


def identity(config: Config) -> dict[str, Any]:
    """Returns the fields that decide what the trials are."""
    values = to_dict(config)
    for field in _NOT_IDENTITY[config.kind]:
        values.pop(field)
    return values


def digest(config: Config, dataset_fingerprint: str) -> str:
    """Returns the SHA-256, in hexadecimal, of the config's identity and its dataset."""
    values = {"config": identity(config), "dataset_fingerprint": dataset_fingerprint}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def differences(a: Config, b: Config) -> list[str]:
    """Returns one `field: value in a, value in b` line per field that differs."""
    left, right = identity(a), identity(b)
    absent = "(absent)"
    return [
        f"{field}: {left.get(field, absent)!r} and {right.get(field, absent)!r}"
        for field in sorted(set(left) | set(right))
        if left.get(field, absent) != right.get(field, absent)
    ]
