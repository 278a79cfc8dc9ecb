"""What a user has set for other work changes nothing about a trial."""

import json
import os

import pytest

from tests.programs import run_process, run_program
from tests.trials import assert_same_trial
from tfmem.store.store import Store


@pytest.mark.slow
def test_keras_settings_of_the_user_change_no_bit(tmp_path):
    home = tmp_path / "keras"
    home.mkdir()
    settings = dict(image_data_format="channels_first", floatx="float16", epsilon=0.01)
    (home / "keras.json").write_text(json.dumps(settings))
    limits = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "3"}
    environment = {**os.environ, "KERAS_HOME": str(home), **limits}

    def command(store):
        flags = ["--experiment=digits_mlp", "--stack=none", "--epochs=2", "--trials=0:1"]
        return ["launchers.train_trials", *flags, f"--store={tmp_path / store}"]

    run_process(*command("hostile"), env=environment)
    run_program(*command("clean"))
    ours, theirs = (Store.open(tmp_path / store) for store in ("hostile", "clean"))
    assert_same_trial(ours.read(0), theirs.read(0))
