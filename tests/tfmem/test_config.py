import dataclasses
import json

import pytest

from tfmem import config as config_lib
from tfmem import experiments
from tfmem.config import ImportConfig

IMPORTED = ImportConfig("arrays", "trials.npz", "ab12", "", 7)


@pytest.mark.parametrize("config", [*experiments.EXPERIMENTS.values(), IMPORTED])
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
