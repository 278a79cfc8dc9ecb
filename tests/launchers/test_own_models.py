"""Models of one's own, through the programs and their flags."""

import pathlib
import shutil

import numpy as np
import pytest

from tests import own_models
from tests.conftest import assert_refused
from tests.programs import run_process, run_program
from tests.trials import assert_same_trial
from tfmem.store.store import Store

FILE = pathlib.Path(own_models.__file__)
SMALL = ("--experiment=digits_mlp", "--epochs=2")


def train(store, model, *flags, check=True, program="train_trials"):
    words = f"launchers.{program}", *SMALL, f"--model={model}", f"--store={store}", *flags
    return run_program(*words, check=check)


def test_the_built_in_mlp_by_the_flags(random_subsets, tmp_path):
    """Stacked as ours is, and as if they were ours; only the configs differ."""
    hidden = random_subsets.store.config.model_options["hidden"]
    flags = "--trials=0:3", f'--model_options={{"hidden": {hidden}}}'
    train(tmp_path, f"{FILE}:mlp", *flags)
    store = Store.open(tmp_path)
    assert store.config.model == f"{FILE}:mlp"
    assert store.config.model_source == FILE.read_text()
    for number in range(3):
        assert_same_trial(store.read(number), random_subsets.store.read(number))


def test_another_version_of_the_file_is_refused(tmp_path):
    mine, moved, store = (tmp_path / name for name in ("mine.py", "moved.py", "store"))
    shutil.copy(FILE, mine)
    train(store, f"{mine}:subclassed", "--trials=0:1")
    command = Store.open(store).command(0, 1).split()[2:]
    assert f"--model={mine}:subclassed" in command
    assert "1 trial in" in run_program("launchers.train_trials", *command).stdout
    with open(mine, "a") as file:
        file.write("\n# Another version.\n")
    done = run_program("launchers.train_trials", *command, check=False)
    assert done.returncode == 2
    assert done.stderr.count("model_source: ") == done.stderr.count("\n") == 1
    shutil.copy(FILE, moved)
    said = train(store, f"{moved}:subclassed", "--trials=0:2").stdout
    assert "1 of 2 trials are already in the store" in said


@pytest.mark.parametrize(
    ("model", "flags", "words"),
    [
        ("raises", [], "ZeroDivisionError: division by zero"),
        ("gives_nan", [], "expected numbers"),
        ("gives_probabilities", ["--stack=none"], "remove the softmax"),
        ("returns_nothing", ["--stack=none"], "gives None, expected a keras.Model"),
        ("mlp", ['--model_options={"depth": 2}'], "unexpected keyword argument 'depth'"),
        ("nowhere", [], "has no 'nowhere'"),
    ],
)
def test_no_store_is_made_for_what_is_no_model(model, flags, words, tmp_path):
    store = tmp_path / "store"
    assert_refused(train(store, f"{FILE}:{model}", *flags, check=False), words, store)


def test_what_cannot_be_imported_is_one_line(tmp_path):
    (tmp_path / "wrong.py").write_text("import keras\nimport nothing_like_that\n")
    store = tmp_path / "store"
    done = train(store, f"{tmp_path}/wrong.py:build", check=False)
    assert_refused(done, "wrong.py, line 2: ModuleNotFoundError", store)
    done = train(store, f"{tmp_path}/absent.py:build", check=False)
    assert_refused(done, "absent.py does not exist", store)


@pytest.mark.slow
def test_turnover_dropout_and_dynamics(tmp_path):
    train(tmp_path / "t", f"{FILE}:dropped", "--trials=0:1", program="train_turnover")
    assert len(Store.open(tmp_path / "t").numbers()) == 1
    store = tmp_path / "refused"
    done = train(store, f"{FILE}:mlp", program="train_turnover", check=False)
    assert_refused(done, "your own that take turnover=True", store)
    flags = "--corrupted_labels=400", "--conditions=everything", "--runs=1", "--gradient_batches=2"
    train(tmp_path / "d", f"{FILE}:subclassed", *flags, program="train_dynamics")
    assert len(Store.open(tmp_path / "d").numbers()) == 1


@pytest.mark.slow
def test_on_ray_they_are_the_same(tmp_path):
    """The launcher itself refuses what is no model, before there is a store."""
    pytest.importorskip("ray")
    words = "launchers.train_trials", *SMALL, f"--model={FILE}:subclassed", "--trials=0:2"
    for name in ("local", "ray"):
        run_process(*words, f"--engine={name}", f"--store={tmp_path / name}")
    for number in range(2):
        one, two = (Store.open(tmp_path / name).read(number) for name in ("local", "ray"))
        np.testing.assert_array_equal(one.subset, two.subset)
        assert (one.test.predicted == two.test.predicted).mean() > 0.99
    store = tmp_path / "refused"
    done = train(store, f"{FILE}:gives_nan", "--engine=ray", check=False)
    assert_refused(done, "expected numbers", store)
