"""Recipes of one's own through the real program: by flags, and from a file outside the package."""

import pytest

from tests.conftest import assert_refused, run_program
from tests.trials import assert_same_trial
from tfmem.store.store import Store

FILE = '''\
import dataclasses

from tfmem import experiments
from tfmem.config import ExperimentConfig

OURS = dataclasses.replace(experiments.get("digits_mlp"), epochs=2, label_smoothing=0.1)


def adamw():
    return ExperimentConfig(
        name="lab_adamw",
        dataset="digits",
        model="mlp",
        model_options={"hidden": [16]},
        subset_ratio=0.5,
        num_trials=2,
        epochs=2,
        batch_size=64,
        base_learning_rate=0.01,
        schedule="cosine",
        optimizer="adamw",
        optimizer_options={"weight_decay": 0.05, "global_clipnorm": 1.0},
    )


def broken():
    return dataclasses.replace(OURS, momentum=2.0)


def another():
    return {"name": "lab"}


NUMBER = 3
'''


@pytest.fixture
def recipes(tmp_path):
    path = tmp_path / "my_recipes.py"
    path.write_text(FILE)
    return path


def train(*flags, check=True):
    return run_program("launchers.train_trials", *flags, check=check)


def described(*flags):
    """Returns {field: (value, source)} of what --describe printed."""
    lines = train("--describe", *flags).stdout.splitlines()[1:]
    rows = [line.split() for line in lines if line.startswith("  ")]
    return {field: (" ".join(rest[:-1]), rest[-1]) for field, *rest in rows}


def test_an_experiment_of_ones_own_file(recipes, tmp_path):
    flags = [f"--experiment={recipes}:adamw", f"--store={tmp_path / 'store'}"]
    train(*flags, "--trials=0:1")
    store = Store.open(tmp_path / "store")
    config = store.config
    assert (config.name, config.optimizer, config.schedule) == ("lab_adamw", "adamw", "cosine")
    assert config.optimizer_options == {"weight_decay": 0.05, "global_clipnorm": 1.0}
    assert store.numbers() == [0]
    assert f"--experiment={recipes}:adamw" in store.command().replace("'", "")
    # What decides trials is in the store, and nothing else of the file.
    recipes.write_text("# Moved.\n" + FILE)
    assert "2 trials in" in train(*flags).stdout
    recipes.write_text(FILE.replace("0.05", "0.06"))
    refused = train(*flags, "--trials=0:3", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "optimizer_options: {'global_clipnorm': 1.0, 'weight_decay': 0.06} and {" in refused.stderr


def test_one_of_ours_by_its_name_and_from_a_file_are_the_same(recipes, tmp_path):
    train(f"--experiment={recipes}:OURS", "--trials=0:1", f"--store={tmp_path / 'file'}")
    given = ["--experiment=digits_mlp", "--epochs=2", "--label_smoothing=0.1", "--trials=0:1"]
    train(*given, f"--store={tmp_path / 'flags'}")
    stores = [Store.open(tmp_path / name) for name in ("file", "flags")]
    assert stores[0].config == stores[1].config
    assert_same_trial(*(store.read(0) for store in stores))


def test_describe_says_what_is_of_ones_own_file(recipes):
    own = f"{recipes}:adamw"
    rows = described(f"--experiment={own}", "--epochs=7")
    assert rows["optimizer"] == ("adamw", own)
    assert rows["optimizer_options"] == ('{"weight_decay": 0.05, "global_clipnorm": 1.0}', own)
    assert (rows["batch_size"], rows["epochs"]) == (("64", own), ("7", "override"))
    own = f"{recipes}:OURS"
    rows = described(f"--experiment={own}")
    assert (rows["epochs"], rows["label_smoothing"]) == (("2", own), ("0.1", own))
    assert rows["batch_size"][0].startswith("64 ours: smaller, because")


def test_another_optimizer_comes_without_what_is_of_sgd():
    rows = described("--experiment=digits_mlp", "--optimizer=adam", "--base_learning_rate=0.001")
    assert (rows["optimizer"], rows["momentum"]) == (("adam", "override"), ("0.0", "override"))
    rows = described("--experiment=digits_mlp", '--optimizer_options={"nesterov": true}', "--l2=5e-4")
    assert rows["momentum"][0].startswith("0.9")
    assert rows["optimizer_options"] == ('{"nesterov": true}', "override")
    assert rows["l2"] == ("0.0005", "override")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "my_recipes.py has no 'nothing': it has experiments, ExperimentConfig, OURS"),
        ("NUMBER", "my_recipes.py, line 33: NUMBER gives an int, expected an ExperimentConfig"),
        ("another", "my_recipes.py, line 29: another gives a dict, expected an ExperimentConfig"),
        ("broken", "my_recipes.py, line 26: ValueError: momentum is 2.0, expected in [0, 1)"),
        ("ExperimentConfig", "my_recipes.py, line 4: ExperimentConfig gives "),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line(recipes, name, words, tmp_path):
    store = tmp_path / "store"
    done = train(f"--experiment={recipes}:{name}", f"--store={store}", check=False)
    assert_refused(done, words, store)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--optimizer=adm"], "value should be one of <sgd|adam|adamw|rmsprop|"),
        (["--optimizer_options={nesterov: 1}"], "--optimizer_options={nesterov: 1} is not JSON"),
        (["--optimizer_options=[1]"], "expected a JSON object of names and values"),
        (['--optimizer_options={"nestrov": true}'], "it has no argument 'nestrov', only momentum"),
        (['--optimizer_options={"learning_rate": 1}'], "no 'learning_rate': the schedule gives"),
        (['--optimizer_options={"momentum": 0.5}'], "no 'momentum': give momentum, a field of"),
        (["--optimizer=adam", "--momentum=0.9"], "momentum is 0.9, expected 0: it is sgd's, and"),
        (["--optimizer=adamw", "--weight_decay=0.1"], "weight_decay is 0.1, expected 0: it is sgd"),
        (["--optimizer=adam", '--optimizer_options={"beta": 1}'], "it has no argument 'beta', only"),
        (["--optimizer=adam", "--stack=8"], "stacked training has sgd, not adam; use --stack=none"),
        (["--schedule=cosine", "--warmup_fraction=1"], "warmup_fraction is 1.0, expected in [0, 1)"),
        (["--schedule=cosine", "--decay_epochs=3"], "none: the cosine schedule has no decays"),
        (["--l2=-1"], "l2 is -1.0, expected 0 or more"),
        (["--label_smoothing=1"], "label_smoothing is 1.0, expected in [0, 1)"),
        (
            ["--engine=ray", '--optimizer_options={"nestrov": true}'],
            "it has no argument 'nestrov', only momentum",
        ),
    ],
)
def test_bad_input_gets_one_line_and_no_store(flags, words, tmp_path):
    store = tmp_path / "store"
    done = train("--experiment=digits_mlp", *flags, f"--store={store}", check=False)
    assert_refused(done, words, store)
