"""How a trial is trained: the frozen numbers of an experiment, validated."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from tfmem import own

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


def require(config: Any, field: str, valid: bool, rule: str) -> None:
    """Raises ValueError, naming the field and the rule, if a field is not valid."""
    if not valid:
        raise ValueError(f"{field} is {getattr(config, field)!r}, expected {rule}")


def ascending(values: Iterable[float]) -> bool:
    """Returns whether each value is above the one before it."""
    return all(a < b for a, b in itertools.pairwise(values))


@dataclasses.dataclass(frozen=True)
class ConstantSchedule:
    """The base rate at every step."""


@dataclasses.dataclass(frozen=True)
class LinearSchedule:
    """From 0 up over a share of the steps, in (0, 1), then linearly back to 0 (Sec. B)."""

    warmup_fraction: float

    def __post_init__(self):
        require(self, "warmup_fraction", 0 < self.warmup_fraction < 1, "in (0, 1)")


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
        require(self, "warmup_epochs", self.warmup_epochs >= 0, "0 or more")
        in_order = ascending((self.warmup_epochs - 1, *self.decay_epochs))
        require(self, "decay_epochs", in_order, "ascending, after the warm-up")
        require(self, "decay_factor", 0 < self.decay_factor < 1, "in (0, 1)")


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
    """From 0 up over a share of the steps, in [0, 1), then half a cosine down to 0."""

    warmup_fraction: float

    def __post_init__(self):
        require(self, "warmup_fraction", 0 <= self.warmup_fraction < 1, "in [0, 1)")


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
      labels: FILE[:NAME] of one's own training labels, for the reader; a moved file is still the
        same file (`tfmem.datasets.annotations`). "" where the dataset's are taken.
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
        require(self, "subset_ratio", 0 < self.subset_ratio < 1, "in (0, 1)")
        for field in ("num_trials", "epochs", "batch_size"):
            require(self, field, getattr(self, field) >= 1, "at least 1")
        require(self, "base_learning_rate", self.base_learning_rate > 0, "above 0")
        require(self, "momentum", 0 <= self.momentum < 1, "in [0, 1)")
        require(self, "weight_decay", 0 <= self.weight_decay < 1, "in [0, 1)")
        require(self, "seed", self.seed >= 0, "0 or more")
        require(self, "schedule", self.schedule in SCHEDULES, f"one of {tuple(SCHEDULES)}")
        described = dataclasses.asdict(self.learning_rates)
        for field, what in _OF_SCHEDULES.items():
            rule = f"none: the {self.schedule} schedule has no {what}"
            require(self, field, field in described or not getattr(self, field), rule)
        require(self, "image_size", self.image_size is None or self.image_size >= 1, "at least 1")
        require(self, "crop", self.crop in CROPS, f"one of {CROPS}")
        if self.crop == "padded":
            require(self, "crop_padding", self.crop_padding >= 1, "at least 1")
        else:
            require(self, "crop_padding", self.crop_padding == 0, f"0 with crop {self.crop}")
        require(self, "precision", self.precision in PRECISIONS, f"one of {PRECISIONS}")
        require(self, "corrupted_labels", self.corrupted_labels >= 0, "0 or more")
        given = self.has_own_model or not self.model_source
        require(self, "model_source", given, f"none: {self.model} is no model of one's own")
        known = self.initial_weights in INITIAL_WEIGHTS
        require(self, "initial_weights", known, f"one of {INITIAL_WEIGHTS}")
        beside = "0 beside labels of one's own: give --labels or --corrupted_labels=N, not both"
        require(self, "corrupted_labels", not (self.labels and self.corrupted_labels), beside)
        require(self, "test_share", 0 <= self.test_share < 1, "in [0, 1)")
        self._require_optimizer()

    def _require_optimizer(self) -> None:
        require(self, "optimizer", self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}")
        require(self, "l2", self.l2 >= 0, "0 or more")
        require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        of_sgd = ("momentum", "weight_decay")
        not_taken = dict(NOT_TAKEN)
        if self.optimizer == "sgd":
            not_taken |= {field: f"give {field}, a field of its own" for field in of_sgd}
        else:
            rule = f"0: it is sgd's, and the arguments of {self.optimizer} are optimizer_options"
            for field in of_sgd:
                require(self, field, not getattr(self, field), rule)
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
        return own.is_own(self.model)

    @property
    def learning_rates(self) -> Schedule:
        """What the schedule is, with its numbers; ValueError if one is out of range."""
        described = SCHEDULES[self.schedule]
        fields = (field.name for field in dataclasses.fields(described))
        return described(**{field: getattr(self, field) for field in fields})
