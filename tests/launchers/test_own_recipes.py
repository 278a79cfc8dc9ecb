"""Recipes of one's own, through the programs: by flags, and from a file."""

import pytest

from tests.conftest import assert_refused
from tests.programs import ROOT, run_program
from tests.trials import assert_same_trial
from tfmem import experiments, models
from tfmem.store.store import Store

RECIPE = """
from tfmem import experiments

small = experiments.resolve("digits_mlp", {"epochs": 2, "optimizer": "adam"})

def made():
    return small

number = 3

def fails():
    return 1 / 0
"""
ADAM = ("--experiment=digits_mlp", "--epochs=2", "--optimizer=adam")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipes.py"
    path.write_text(RECIPE)
    return path


def train(*words, check=True):
    return run_program("launchers.train_trials", *words, check=check)


def test_a_recipe_from_a_file_is_the_one_by_flags(recipe, tmp_path):
    """By its name, by a function, and by flags on top of ours: the same trial."""
    by = {
        "flags": ADAM,
        "name": [f"--experiment={recipe}:small"],
        "function": [f"--experiment={recipe}:made"],
        "override": [f"--experiment={recipe}:small", "--epochs=3"],
    }
    for name, words in by.items():
        train(*words, "--trials=3:4", f"--store={tmp_path / name}")
    stores = {name: Store.open(tmp_path / name) for name in by}
    whole = stores["flags"].read(3)
    for name in ("name", "function"):
        assert_same_trial(stores[name].read(3), whole)
        assert stores[name].config == stores["flags"].config
    assert stores["override"].config.epochs == 3


def test_it_is_described_like_ours(recipe):
    said = train(f"--experiment={recipe}:small", "--describe", "--epochs=7").stdout
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines()[1:] if line.strip()}
    assert rows["epochs"] == ["7", "override"]
    assert rows["optimizer"][0] == "adam"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experiment={}:absent"], "recipes.py has no 'absent': it has"),
        (["--experiment={}:number"], "number gives an int, expected"),
        (["--experiment={}:fails"], "line 12: ZeroDivisionError: division by zero"),
        ([*ADAM, '--optimizer_options={{"beta": 1}}'], "it has no argument 'beta'"),
        ([*ADAM, '--optimizer_options={{"learning_rate": 1}}'], "the schedule gives the rate"),
        ([*ADAM, "--optimizer_options=x"], "--optimizer_options=x is not JSON"),
        ([*ADAM, "--momentum=0.9"], "momentum is 0.9, expected 0: it is sgd's"),
        ([*ADAM, "--stack=4"], "stacked training has sgd, not adam"),
        (["--experiment=digits_mlp", "--l2=-1"], "l2 is -1.0, expected 0 or more"),
        (["--experiment=digits_mlp", "--label_smoothing=1"], "label_smoothing is 1.0, expected"),
    ],
)
def test_what_is_no_recipe_leaves_no_store(words, message, recipe, tmp_path):
    store = tmp_path / "store"
    words = [word.format(recipe) for word in words]
    done = train(*words, "--trials=0:1", f"--store={store}", check=False)
    assert_refused(done, message, store)


def test_the_recipe_that_the_pages_take(tmp_path):
    """docs/cifar10_small.py: its network at CIFAR's size, and both programs, on digits."""
    recipe = f"{ROOT / 'docs' / 'cifar10_small.py'}:recipe"
    network = models.build(experiments.get(recipe).model, (32, 32, 3), 10)
    assert network.count_params() == (3 * 4 * 4 + 1) * 32 + (8 * 8 * 32 + 1) * 128 + 129 * 10
    on_digits = f"--experiment={recipe}", "--dataset=digits", "--epochs=1", "--trials=0:1"
    train(*on_digits, f"--store={tmp_path / 'trials'}")
    run_program("launchers.train_turnover", *on_digits, f"--store={tmp_path / 'turnover'}")
    for name in ("trials", "turnover"):
        assert Store.open(tmp_path / name).numbers() == [0]
