import dataclasses
import json
import re

import pytest

from tfmem import experiments
from tfmem.config import (
    DynamicsConfig,
    ImportConfig,
    LastLayerConfig,
    RemovalConfig,
    TurnoverConfig,
    differences,
    digest,
    flat,
    from_dict,
    identity,
    to_dict,
)
from tfmem.recipe import ConstantSchedule, LinearSchedule, StepSchedule

IMPORTED = ImportConfig("arrays", "trials.npz", "ab12", "", 7)
TURNOVER = TurnoverConfig(experiments.get("digits_mlp"), test_examples=True)
DYNAMICS = DynamicsConfig(
    experiments.get("digits_mlp"), ("everything", "easy"), 3, 50, 2, "scores.npz", "ab12"
)
REMOVAL = RemovalConfig(experiments.get("digits_mlp"), 3, (0.3, 0.5), 0.25, 0.15, "e.npz", "ab12")
LAST_LAYER = LastLayerConfig(experiments.get("digits_last_layer"), experiments.get("digits_mlp"))
EVERY_KIND = [experiments.get("digits_mlp"), IMPORTED, TURNOVER, DYNAMICS, REMOVAL, LAST_LAYER]


@pytest.mark.parametrize("config", [*experiments.EXPERIMENTS.values(), *EVERY_KIND])
def test_json_both_ways(config):
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("subset_ratio", 0.0, r"in \(0, 1\)"),
        ("subset_ratio", 1.0, r"in \(0, 1\)"),
        ("epochs", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("num_trials", 0, "at least 1"),
        ("base_learning_rate", 0.0, "above 0"),
        ("momentum", 1.0, r"in \[0, 1\)"),
        ("weight_decay", -0.1, r"in \[0, 1\)"),
        ("seed", -1, "0 or more"),
        ("schedule", "square", "one of"),
        ("warmup_fraction", 1.0, r"in \(0, 1\)"),
        ("corrupted_labels", -1, "0 or more"),
        ("test_share", 1.0, r"in \[0, 1\)"),
    ],
)
def test_out_of_range(field, value, rule):
    with pytest.raises(ValueError, match=f"{field} is {value!r}.*{rule}"):
        dataclasses.replace(experiments.get("digits_mlp"), **{field: value})


@pytest.mark.parametrize(
    ("name", "field", "value", "rule"),
    [
        ("mnist_mlp", "warmup_fraction", 0.1, "none: the constant schedule has no warm-up over a"),
        ("mnist_mlp", "decay_factor", 0.1, "none: the constant schedule has no decays"),
        ("digits_mlp", "decay_epochs", (3,), "none: the warmup_linear schedule has no decays"),
        ("digits_mlp", "warmup_fraction", 0.0, r"in \(0, 1\)"),
        ("cifar10_vgg11", "warmup_fraction", 0.1, "none: the warmup_steps schedule has no warm-up"),
        ("cifar10_vgg11", "warmup_epochs", -1, "0 or more"),
        ("cifar10_vgg11", "decay_epochs", (100, 100), "ascending, after the warm-up"),
        ("imagenet_resnet50", "decay_epochs", (14, 30), "ascending, after the warm-up"),
        ("cifar10_vgg11", "decay_factor", 1.0, r"in \(0, 1\)"),
    ],
)
def test_a_schedule_has_its_own_numbers_and_no_others(name, field, value, rule):
    with pytest.raises(ValueError, match=f"{field} is {re.escape(repr(value))}, expected {rule}"):
        dataclasses.replace(experiments.get(name), **{field: value})


def test_schedules_are_described():
    described = {
        "mnist_mlp": ConstantSchedule(),
        "digits_mlp": LinearSchedule(0.15),
        "imagenet_resnet50": StepSchedule(15, (30, 60, 90), 0.1),
    }
    for name, schedule in described.items():
        assert experiments.get(name).learning_rates == schedule


def test_from_dict_names_what_is_wrong():
    values = to_dict(experiments.get("digits_mlp"))
    with pytest.raises(ValueError, match="unknown fields colour"):
        from_dict({**values, "colour": 1})
    del values["epochs"]
    with pytest.raises(ValueError, match="lacks the fields epochs"):
        from_dict(values)
    with pytest.raises(ValueError, match="expected one of experiment, import"):
        from_dict({"kind": "other"})


def test_differences_and_digest():
    config = experiments.get("digits_mlp")
    other = dataclasses.replace(config, epochs=31, seed=5)
    assert differences(config, config) == []
    assert differences(config, other) == ["epochs: 30 and 31", "seed: 0 and 5"]
    assert digest(config, "f") != digest(other, "f")
    assert digest(config, "f") != digest(config, "g")


def test_a_moved_source_is_the_same_import():
    moved = dataclasses.replace(IMPORTED, source="elsewhere/trials.npz")
    assert differences(IMPORTED, moved) == []
    assert digest(IMPORTED, "f") == digest(moved, "f")


def test_what_is_followed_is_named_and_counted():
    assert DYNAMICS.num_trials == 6
    assert (DYNAMICS.name, DYNAMICS.dataset, DYNAMICS.image_size) == ("digits_mlp", "digits", None)
    moved = dataclasses.replace(DYNAMICS, scores="elsewhere.npz")
    assert digest(DYNAMICS, "f") == digest(moved, "f")
    other = dataclasses.replace(DYNAMICS, subsets_digest="cd")
    assert differences(DYNAMICS, other) == ["subsets_digest: 'ab12' and 'cd'"]
    for conditions in ((), ("hard",), ("easy", "easy")):
        with pytest.raises(ValueError, match=r"conditions is .*expected different ones of everyth"):
            dataclasses.replace(DYNAMICS, conditions=conditions)


def test_labels_that_are_not_corrupted_do_not_change_what_a_store_is():
    config = experiments.get("digits_mlp")
    assert "corrupted_labels" not in identity(config)
    corrupted = dataclasses.replace(config, corrupted_labels=5)
    assert differences(config, corrupted) == ["corrupted_labels: 0 and 5"]


def test_the_share_of_a_dataset_is_that_of_the_experiment():
    experiment = dataclasses.replace(experiments.get("digits_mlp"), test_share=0.2)
    assert "test_share" not in identity(experiments.get("digits_mlp"))
    for config in EVERY_KIND:
        if config.kind not in ("experiment", "import"):
            changed = dataclasses.replace(config, experiment=experiment)
            assert changed.test_share == 0.2
        assert config.test_share == 0


@pytest.mark.parametrize("config", EVERY_KIND, ids=lambda config: config.kind)
def test_fields_at_their_default_do_not_count(config):
    """So a field may be added whose default says what was done before."""
    values = flat(identity(config))
    for field in dataclasses.fields(config):
        assert field.name not in values or getattr(config, field.name) != field.default
    assert "experiment.flip" not in values
    later = dataclasses.make_dataclass(
        "Later", [("added", int, 0)], bases=(type(config),), frozen=True, kw_only=True
    )
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    assert digest(later(**fields), "f") == digest(config, "f")
    assert digest(later(**fields, added=1), "f") != digest(config, "f")


@pytest.mark.parametrize(
    ("config", "answers"),
    [
        (experiments.get("digits_mlp"), ("digits_mlp", "digits", "mlp", None, 1000)),
        (IMPORTED, ("imported trials", "", None, None, 7)),
        (TURNOVER, ("digits_mlp", "digits", "mlp", None, 1)),
        (DYNAMICS, ("digits_mlp", "digits", "mlp", None, 6)),
        (REMOVAL, ("digits_mlp", "digits", "mlp", None, 18)),
        (
            dataclasses.replace(
                LAST_LAYER, network=experiments.resolve("digits_inception", {"image_size": 9})
            ),
            ("digits_last_layer", "digits", "linear on the features of digits_inception", 9, 1000),
        ),
    ],
)
def test_every_kind_answers_the_same_questions(config, answers):
    found = (config.name, config.dataset, config.model, config.image_size, config.num_trials)
    assert found == answers
