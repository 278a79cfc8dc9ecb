import numpy as np
import pytest

from tfmem import experiments
from tfmem.training import schedules


def rate(schedule, step):
    return float(schedule(step))


def test_warmup_linear_at_every_corner():
    """Sec. B: from 0 up over 15% of the iterations, then linearly back to 0. T = 200, base 0.4."""
    schedule = schedules.WarmupLinear(0.4, total_steps=200, warmup_fraction=0.15)
    by_hand = {0: 0.0, 15: 0.2, 30: 0.4, 115: 0.2, 199: 0.4 / 170, 200: 0.0, 300: 0.0}
    for step, expected in by_hand.items():
        assert rate(schedule, step) == pytest.approx(expected, abs=1e-7)


def test_warmup_steps_at_every_corner():
    """Sec. B, ImageNet: 0 to 0.7 in 15 epochs, tenfold decays at 30, 60, 90. 10 steps an epoch."""
    config = experiments.get("imagenet_resnet50")
    schedule = schedules.build(config, steps_per_epoch=10)
    by_hand = {0: 0.0, 75: 0.35, 149: 0.7 * 149 / 150, 150: 0.7, 299: 0.7, 300: 0.07, 599: 0.07}
    by_hand |= {600: 0.007, 899: 0.007, 900: 0.0007, 999: 0.0007}
    for step, expected in by_hand.items():
        assert rate(schedule, step) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    # In between, linear, and a decay falls on the first step of its epoch.
    steps = np.arange(151)
    np.testing.assert_allclose(np.asarray(schedule(steps)), 0.7 * steps / 150, rtol=1e-6)


def test_an_array_of_steps_gives_the_same_numbers():
    schedule = schedules.WarmupLinear(0.1, total_steps=420, warmup_fraction=0.15)
    one_by_one = np.array([rate(schedule, step) for step in range(420)], np.float32)
    np.testing.assert_array_equal(np.asarray(schedule(np.arange(420))), one_by_one)
    assert one_by_one.argmax() == 63


def test_build_takes_the_configs_schedule():
    warmup = schedules.build(experiments.get("digits_mlp"), steps_per_epoch=14)
    assert rate(warmup, 63) == pytest.approx(0.1)
    assert rate(warmup, 0) == 0
    constant = schedules.build(experiments.get("mnist_mlp"), steps_per_epoch=329)
    assert [rate(constant, step) for step in (0, 3289)] == [pytest.approx(0.1)] * 2


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.Constant(0.1),
        schedules.WarmupLinear(0.1, 9, 0.3),
        schedules.WarmupSteps(0.1, 3, [4, 6], 0.5),
    ],
)
def test_config_both_ways(schedule):
    again = type(schedule).from_config(schedule.get_config())
    assert [rate(again, step) for step in range(9)] == [rate(schedule, step) for step in range(9)]
