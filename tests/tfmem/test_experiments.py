import pytest

from tfmem import experiments
from tfmem.training import schedules

FELDMAN_ZHANG = [
    *("digits_mlp", "digits_inception", "digits_last_layer"),
    *("mnist_mlp", "mnist_inception", "mnist_last_layer", "cifar10_inception"),
    *("cifar100_resnet50", "cifar100_resnet18", "cifar100_inception", "cifar100_densenet100"),
    *("cifar100_last_layer", "imagenet_resnet50"),
]


def test_the_papers_numbers():
    """Sec. 2 and Sec. B of Feldman & Zhang (2020)."""
    assert (experiments.SUBSET_RATIO, experiments.MEM_THRESHOLD) == (0.7, 0.25)
    assert experiments.INFL_THRESHOLD == 0.15
    for name in (*FELDMAN_ZHANG, *LIU):
        config = experiments.get(name)
        assert (config.subset_ratio, config.weight_decay, config.seed) == (0.7, 0, 0)
        if name not in LIU:
            assert (config.momentum, config.corrupted_labels) == (0.9, 0)


LIU = {
    "mnist_mlp4096": (0.06, 0.0, 0),
    "mnist_mlp4096_corrupted": (0.06, 0.0, 20_000),
    "mnist_mlp4096_dynamics": (0.01, 0.0, 20_000),
    "cifar10_vgg11": (0.01, 0.9, 0),
    "fashion_mnist_cct": (0.01, 0.9, 0),
}


@pytest.mark.parametrize("name", LIU)
def test_the_second_papers_numbers(name):
    """App. A of Liu, Lin & Jaggi (2021)."""
    config = experiments.get(name)
    assert (config.epochs, config.batch_size) == (200, 256)
    found = (config.base_learning_rate, config.momentum, config.corrupted_labels)
    assert found == LIU[name]
    if config.dataset == "mnist":
        assert (config.model, config.model_options) == ("mlp", {"hidden": [4096]})
        assert config.schedule == "constant"


def test_vgg11_divides_the_rate_by_10_at_epochs_100_and_150():
    schedule = schedules.build(experiments.get("cifar10_vgg11"), steps_per_epoch=2)
    steps = {0: 0.01, 199: 0.01, 200: 0.001, 299: 0.001, 300: 0.0001, 399: 0.0001}
    for step, rate in steps.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5)


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
