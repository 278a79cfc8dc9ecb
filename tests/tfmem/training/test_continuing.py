"""A trial that is interrupted between two epochs ends like one that never was."""

import dataclasses
import functools
import logging

import numpy as np
import pytest

from tests import slow
from tests.interrupting import Interrupted, InterruptingCheckpoints
from tests.networks import STATEFUL, add_to_builders
from tests.trials import assert_same_trial
from tfmem.training import fit
from tfmem.training.checkpoints import Checkpoint, Checkpoints
from tfmem.training.problem import Problem


def make_trainer(dataset, config, **changes):
    problem = Problem(dataclasses.replace(config, **changes), dataset)
    return fit.FitTrainer(problem, fit.build_strategy("default"))


def interrupt(trainer, folder, trial, after):
    with pytest.raises(Interrupted):
        list(trainer.train([trial], checkpoints=InterruptingCheckpoints(folder, after)))


RECIPES = {
    "adamw": dict(optimizer="adamw", momentum=0.0, base_learning_rate=0.01, schedule="cosine"),
    "clipped": dict(l2=0.01, optimizer_options={"nesterov": True, "global_clipnorm": 0.5}),
}


@pytest.mark.parametrize(
    "kind", slow.some(["plain", *STATEFUL, *RECIPES], lambda kind: kind == "random_layers")
)
def test_it_ends_with_the_same_bits(tiny, tiny_config, kind, tmp_path, monkeypatch):
    changes = (STATEFUL | RECIPES).get(kind, {})
    add_to_builders(monkeypatch)
    trainer = make_trainer(tiny, tiny_config, epochs=5, **changes)
    whole = next(iter(trainer.train([4])))
    weights = trainer.network.get_weights()
    interrupt(trainer, tmp_path, 4, after=3)
    # In between, another trial, as after a restart on another machine: nothing is left over.
    fresh = make_trainer(tiny, tiny_config, epochs=5, **changes)
    list(fresh.train([9]))
    done = []
    checkpoints = Checkpoints(tmp_path, "digest", every_seconds=0)
    continued = next(iter(fresh.train([4], done.append, checkpoints)))
    assert_same_trial(continued, whole)
    for one, two in zip(fresh.network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, two)
    # Epochs 3 and 4 were left: 15 examples, each as much work as 3 evaluations, and then the
    # evaluation of both splits.
    assert sum(done[:-2]) == pytest.approx(3 * 15 * 2 / (3 * 15 * 2 + 30))
    assert done[-2:] == pytest.approx([21 / (3 * 15 * 2 + 30), 9 / (3 * 15 * 2 + 30)])
    assert sum(done) == pytest.approx(1)
    assert continued.seconds > 0


def test_the_loss_scale_goes_on_from_a_checkpoint(tiny, tiny_config, tmp_path, monkeypatch):
    """Doubled after every 2 steps that are finite, and halved as soon as one is not."""
    scale = functools.partial(fit._LossScale, dynamic_growth_steps=2)
    monkeypatch.setattr(fit, "_LossScale", scale)
    trainer = make_trainer(tiny, tiny_config, epochs=12, precision="mixed_float16")
    whole = next(iter(trainer.train([4])))
    expected = trainer.network.get_weights()
    interrupt(trainer, tmp_path, 4, after=5)
    optimizer = trainer._model.optimizer
    places = {id(variable): place for place, variable in enumerate(optimizer.variables)}
    kept = Checkpoints(tmp_path, "digest").begin(4).optimizer
    assert kept[places[id(optimizer.dynamic_scale)]] > 2**15
    assert 0 < kept[places[id(optimizer.iterations)]] < 20  # Of 20 steps some were left out.
    fresh = make_trainer(tiny, tiny_config, epochs=12, precision="mixed_float16")
    continued = next(iter(fresh.train([4], checkpoints=Checkpoints(tmp_path, "digest", 0))))
    assert_same_trial(continued, whole)
    for one, two in zip(fresh.network.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_interrupted_after_the_last_epoch_only_evaluation_is_left(tiny, tiny_config, tmp_path):
    trainer = make_trainer(tiny, tiny_config)
    whole = next(iter(trainer.train([1])))
    interrupt(trainer, tmp_path, 1, after=3)
    done = []
    continued = next(iter(trainer.train([1], done.append, Checkpoints(tmp_path, "digest", 0))))
    assert_same_trial(continued, whole)
    assert done == pytest.approx([21 / 30, 9 / 30])


def test_a_checkpoint_both_ways(tmp_path, rng):
    checkpoints = Checkpoints(tmp_path, "digest", every_seconds=0, first=100)
    assert checkpoints.begin(7) is None
    arrays = [rng.normal(size=(2, 3)).astype(np.float32), np.array(5, np.int64)]
    epochs = {1: {"test_correct": rng.random(9) < 0.5}, 2: {"muted_loss": np.float32([1.5, -2])}}
    checkpoints.save(7, Checkpoint(2, 1.5, arrays[:1], arrays, arrays[1:], epochs))
    assert (tmp_path / "trial-000107" / "state.npz").exists()
    found = Checkpoints(tmp_path, "digest", first=100).begin(7)
    assert (found.epoch, found.seconds) == (2, 1.5)
    assert list(found.epochs) == [1, 2]
    for number, kept in epochs.items():
        assert kept.keys() == found.epochs[number].keys()
        for name, array in kept.items():
            np.testing.assert_array_equal(found.epochs[number][name], array)
    lists = [*found.weights, *found.optimizer, *found.random]
    for one, two in zip(lists, [arrays[0], *arrays, arrays[1]], strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    checkpoints.save(8, Checkpoint(1, 0.5, [], [], []))
    checkpoints.remove_finished([7, 108])
    assert [path.name for path in tmp_path.iterdir()] == ["trial-000107"]
    checkpoints.remove(7)
    assert not tmp_path.exists()


def test_a_checkpoint_that_is_no_use_is_named_and_the_trial_begins_anew(tmp_path, caplog):
    Checkpoints(tmp_path, "one").save(0, Checkpoint(2, 1.5, [], [], []))
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(tmp_path, "two").begin(0) is None
    assert "trial 0 begins anew, its checkpoint is no use: it is of another" in caplog.text
    path = Checkpoints(tmp_path, "one").path(0)
    content = bytearray(path.read_bytes())
    content[content.index(np.float64(1.5).tobytes())] ^= 1
    path.write_bytes(bytes(content))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(tmp_path, "one").begin(0) is None
    assert "trial 0 begins anew" in caplog.text


def test_a_trial_whose_epochs_are_damaged_or_lost_begins_anew(tmp_path, caplog):
    kept = {1: {"muted_loss": np.float32([1.5, 2])}, 2: {"muted_loss": np.float32([0, 1])}}
    Checkpoints(tmp_path, "one").save(3, Checkpoint(2, 1.5, [], [], [], kept))
    path = tmp_path / "trial-000003" / "epoch-0002.tfrecord"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(bytes(content))
    for what in ("checksum", "No such file"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert Checkpoints(tmp_path, "one").begin(3) is None
        assert "trial 3 begins anew" in caplog.text
        assert what in caplog.text
        path.unlink(missing_ok=True)


def test_checkpoints_are_as_rare_as_asked_for(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tfmem.training.checkpoints.time.monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path, "digest", every_seconds=60)
    checkpoints.begin(0)
    moments = []
    for second in range(0, 200, 25):
        now[0] = second
        if checkpoints.is_due(0):
            moments.append(second)
            checkpoints.save(0, Checkpoint(1, 0.0, [], [], []))
    assert moments == [75, 150]
