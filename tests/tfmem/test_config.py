import dataclasses
import json

import pytest

from tfmem import config as config_lib
from tfmem import experiments
from tfmem.config import DynamicsConfig, ImportConfig, TurnoverConfig

IMPORTED = ImportConfig("arrays", "trials.npz", "ab12", "", 7)
TURNOVER = TurnoverConfig(experiments.get("digits_mlp"), test_examples=True)
DYNAMICS = DynamicsConfig(
    experiments.get("digits_mlp"), ("everything", "easy"), 3, 50, 2, "scores.npz", "ab12"
)


@pytest.mark.parametrize(
    "config", [*experiments.EXPERIMENTS.values(), IMPORTED, TURNOVER, DYNAMICS]
)
def test_json_both_ways(config):
    assert config_lib.from_dict(json.loads(json.dumps(config_lib.to_dict(config)))) == config


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
        ("schedule", "cosine", "one of"),
        ("warmup_fraction", 1.0, r"in \(0, 1\)"),
        ("corrupted_labels", -1, "0 or more"),
    ],
)
def test_out_of_range(field, value, rule):
    with pytest.raises(ValueError, match=f"{field} is {value!r}.*{rule}"):
        dataclasses.replace(experiments.get("digits_mlp"), **{field: value})


def test_constant_schedule_has_no_warmup():
    with pytest.raises(ValueError, match="no warm-up"):
        dataclasses.replace(experiments.get("mnist_mlp"), warmup_fraction=0.1)


def test_from_dict_names_what_is_wrong():
    values = config_lib.to_dict(experiments.get("digits_mlp"))
    with pytest.raises(ValueError, match="unknown fields colour"):
        config_lib.from_dict({**values, "colour": 1})
    del values["epochs"]
    with pytest.raises(ValueError, match="lacks the fields epochs"):
        config_lib.from_dict(values)
    with pytest.raises(ValueError, match="expected one of experiment, import"):
        config_lib.from_dict({"kind": "other"})


def test_differences_and_digest():
    config = experiments.get("digits_mlp")
    other = dataclasses.replace(config, epochs=31, seed=5)
    assert config_lib.differences(config, config) == []
    assert config_lib.differences(config, other) == ["epochs: 30 and 31", "seed: 0 and 5"]
    assert config_lib.digest(config, "f") != config_lib.digest(other, "f")
    assert config_lib.digest(config, "f") != config_lib.digest(config, "g")


def test_a_moved_source_is_the_same_import():
    moved = dataclasses.replace(IMPORTED, source="elsewhere/trials.npz")
    assert config_lib.differences(IMPORTED, moved) == []
    assert config_lib.digest(IMPORTED, "f") == config_lib.digest(moved, "f")


def test_what_is_followed_is_named_and_counted():
    assert DYNAMICS.num_trials == 6
    assert (DYNAMICS.name, DYNAMICS.dataset, DYNAMICS.image_size) == ("digits_mlp", "digits", None)
    moved = dataclasses.replace(DYNAMICS, scores="elsewhere.npz")
    assert config_lib.digest(DYNAMICS, "f") == config_lib.digest(moved, "f")
    other = dataclasses.replace(DYNAMICS, subsets_digest="cd")
    assert config_lib.differences(DYNAMICS, other) == ["subsets_digest: 'ab12' and 'cd'"]
    for conditions in ((), ("hard",), ("easy", "easy")):
        with pytest.raises(ValueError, match=r"conditions is .*expected different ones of everyth"):
            dataclasses.replace(DYNAMICS, conditions=conditions)


def test_labels_that_are_not_corrupted_do_not_change_what_a_store_is():
    """The digest of `digits_mlp`, as stores had it before labels could be corrupted."""
    config = experiments.get("digits_mlp")
    assert "corrupted_labels" not in config_lib.identity(config)
    corrupted = dataclasses.replace(config, corrupted_labels=5)
    assert config_lib.differences(config, corrupted) == ["corrupted_labels: 0 and 5"]
