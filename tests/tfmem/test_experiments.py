import shlex

import pytest

from tfmem import experiments


def test_the_papers_numbers():
    """Sec. 2 and Sec. B of Feldman & Zhang (2020)."""
    assert (experiments.SUBSET_RATIO, experiments.MEM_THRESHOLD) == (0.7, 0.25)
    assert experiments.INFL_THRESHOLD == 0.15
    for config in experiments.EXPERIMENTS.values():
        assert (config.subset_ratio, config.momentum, config.weight_decay) == (0.7, 0.9, 0)


def test_digits_mlp():
    config = experiments.get("digits_mlp")
    assert config.model_options == {"hidden": [512]}
    assert (config.epochs, config.batch_size, config.base_learning_rate) == (30, 64, 0.1)
    assert (config.schedule, config.warmup_fraction) == ("warmup_linear", 0.15)
    assert config.num_trials == 1000


def test_mnist_mlp_is_the_releases():
    config = experiments.get("mnist_mlp")
    assert config.model_options == {"hidden": [512, 256]}
    assert (config.epochs, config.batch_size, config.base_learning_rate) == (10, 128, 0.1)
    assert (config.schedule, config.num_trials) == ("constant", 2000)


def test_unknown_experiment_names_the_nearest_and_all():
    with pytest.raises(ValueError, match="did you mean 'digits_mlp'") as error:
        experiments.get("digit_mlp")
    assert all(name in str(error.value) for name in experiments.EXPERIMENTS)


def test_completion_command_repeats_the_overrides():
    config = experiments.resolve("digits_mlp", {"epochs": 3, "seed": None, "subset_ratio": 0.5})
    command = shlex.split(experiments.completion_command(config, "my store", 4, 9))
    assert command == [
        "python",
        "-m",
        "launchers.train_trials",
        "--experiment=digits_mlp",
        "--store=my store",
        "--trials=4:9",
        "--subset_ratio=0.5",
        "--epochs=3",
    ]
