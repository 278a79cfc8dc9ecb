"""Through the real program and flags, on real digits."""

import numpy as np
import pytest

from tests import signalled
from tests.conftest import assert_refused, run_program
from tests.interrupting import claimed_elsewhere
from tests.stores import TRIALS as QUICK
from tests.trials import assert_same_trial
from tfmem import experiments, subsets
from tfmem.store.store import Store
from tfmem.workers import claims
from tfmem.workers.claims import Claims


def train(store, *flags, check=True):
    return run_program("launchers.train_trials", f"--store={store}", *flags, check=check)


@pytest.fixture(scope="module")
def reference(random_subsets):
    """A store of 12 trials, never interrupted."""
    return random_subsets.store


def test_a_store_holds_what_was_asked_for(reference):
    assert reference.numbers() == list(range(12))
    assert reference.config == experiments.resolve("digits_mlp", {"epochs": 2})
    assert "tensorflow" in reference.head.versions
    for number in (0, 11):
        trial = reference.read(number)
        np.testing.assert_array_equal(
            trial.subset, subsets.RandomSubsets(1257, 0.7, 0).mask(number)
        )
        assert trial.base_seed == 0
        assert trial.test_accuracy > 0.8
        assert trial.seconds > 0


def test_one_at_a_time_gives_the_same_trials(reference, tmp_path):
    train(tmp_path, *QUICK, "--trials=5:7", "--stack=none")
    store = Store.open(tmp_path)
    for number in (5, 6):
        ours, theirs = store.read(number), reference.read(number)
        np.testing.assert_array_equal(ours.subset, theirs.subset)
        assert (ours.test.predicted == theirs.test.predicted).mean() >= 0.995


def test_finished_trials_are_skipped_and_damaged_ones_trained_again(reference, tmp_path):
    train(tmp_path, *QUICK, "--trials=2:4")
    store = Store.open(tmp_path)
    kept = store.trial_path(2).read_bytes()
    damaged = bytearray(store.trial_path(3).read_bytes())
    damaged[100] ^= 1
    store.trial_path(3).write_bytes(bytes(damaged))
    said = train(tmp_path, *QUICK, "--trials=2:5", "--stack=1").stdout
    assert "trial-000003.tfrecord is damaged" in said
    assert "1 of 3 trials are already in the store" in said
    assert Store.open(tmp_path).head.asked == [range(2, 5)]
    assert store.trial_path(2).read_bytes() == kept
    for number in (2, 3, 4):
        assert_same_trial(store.read(number), reference.read(number))


@pytest.mark.slow
def test_killed_and_continued(reference, tmp_path):
    """SIGKILL before the store, as it appears, at the first trial and in the midst of all."""
    path = tmp_path / "store"
    words = ["launchers.train_trials", f"--store={path}", *QUICK]
    words += ["--trials=0:12", "--stack=3", "--keep_networks"]
    signalled.kill(words, "tfmem.training.problem:Problem.__init__")
    assert not path.exists()
    signalled.kill(words, "tfmem.store.store:Store.create")
    assert Store.open(path).numbers() == []
    for more, count in ((1, 1), (5, 6)):
        signalled.kill(words, "tfmem.store.store:Store.write", more)
        store = Store.open(path)
        assert len(store.numbers()) == count
        for number in store.numbers():  # Whoever is stored has its network.
            store.networks.read(store.read(number))
    run_program(*words)
    store = Store.open(path)
    assert store.numbers() == list(range(12))
    for number in range(12):
        assert_same_trial(store.read(number), reference.read(number))
    left = {str(entry.relative_to(path)) for entry in path.rglob("*") if entry.is_file()}
    trials = {f"trials/trial-{number:06d}.tfrecord" for number in range(12)}
    logs = {f"logs/trial-{number:06d}.log" for number in range(12)}
    networks = {f"networks/trial-{number:06d}.npz" for number in range(12)}
    assert left == {"experiment.json", "dataset.tfrecord", *trials, *networks, *logs}


def test_what_others_train_is_left_to_them(reference, tmp_path):
    with Claims(tmp_path / claims.FOLDER, "theirs") as theirs:
        assert theirs.take([1]) == [1]
        done = train(tmp_path, *QUICK, "--trials=0:3")
    assert done.stdout.splitlines() == [
        "1 trial is in training elsewhere, and left to whoever trains it",
        f"2 of 3 trials in {tmp_path}",
    ]
    assert Store.open(tmp_path).numbers() == [0, 2]


@pytest.mark.slow
def test_what_a_lost_machine_has_claimed_is_trained_in_the_end(reference, tmp_path):
    train(tmp_path, *QUICK, "--trials=3:4")
    store = Store.open(tmp_path)
    claimed_elsewhere(store.path, 4, claims.LEASE_SECONDS - 2)
    done = train(tmp_path, *QUICK, "--trials=3:6", "--stack=1")
    assert done.stdout.splitlines()[-1] == f"3 trials in {tmp_path}"
    for number in (3, 4, 5):
        assert_same_trial(store.read(number), reference.read(number))
    assert list((store.path / claims.FOLDER).iterdir()) == []


def test_shards_together_are_the_whole(reference, tmp_path):
    """As the tasks of a Slurm array: the last of three, and the others by one without --shard."""
    done = train(tmp_path, *QUICK, "--trials=0:10", "--shard=2/3")
    assert "3 trials in" in done.stdout
    assert Store.open(tmp_path).numbers() == [2, 5, 8]
    # The array was asked for all of them.
    done = run_program("launchers.check_store", f"--store={tmp_path}", check=False)
    assert done.returncode == 1
    assert "7 of 10 are missing: 0:2, 3:5, 6:8, 9" in done.stdout
    train(tmp_path, *QUICK, "--trials=0:10")
    for number in range(10):
        assert_same_trial(Store.open(tmp_path).read(number), reference.read(number))


@pytest.mark.slow
def test_inception_runs_from_the_launcher(tmp_path):
    train(tmp_path, "--experiment=digits_inception", "--trials=0:1", "--epochs=1")
    trial = Store.open(tmp_path).read(0)
    assert trial.test.predicted.max() <= 9
    assert trial.subset.sum() == 880


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--experiment=digts_mlp"], "did you mean 'digits_mlp'? the known ones are digits_mlp,"),
        ([*QUICK, "--dataset=mnits"], "unknown dataset 'mnits': did you mean 'mnist'? the known"),
        ([*QUICK, "--trials=10:5"], "--trials=10:5 is empty: START must be below STOP"),
        ([*QUICK, "--trials=5"], "--trials=5: expected START:STOP"),
        ([*QUICK, "--subset_ratio=1"], "subset_ratio is 1.0, expected in (0, 1)"),
        ([*QUICK, "--subset_ratio=0"], "subset_ratio is 0.0, expected in (0, 1)"),
        ([*QUICK, "--subset_ratio=0.0001"], "takes 0 of 1257 training examples"),
        ([*QUICK, "--stack=many"], "--stack=many: expected auto, none or a positive number"),
        ([*QUICK, "--stack=0"], "--stack=0: expected auto, none or a positive number"),
        (
            [*QUICK, "--stack=4", "--strategy=mirrored"],
            "--strategy=mirrored goes with trials that are trained one",
        ),
        ([*QUICK, "--strategy=horovod"], "value should be one of <auto|mirrored|default>"),
        ([*QUICK, "--epochs=none"], "invalid literal for int()"),
        ([*QUICK, "--shard=8/8"], "--shard=8/8: expected i/N with i from 0 to N - 1, such as 0/8"),
        ([*QUICK, "--shard=0/0"], "--shard=0/0: expected i/N"),
        ([*QUICK, "--shard=1"], "--shard=1: expected i/N"),
        ([*QUICK, "--shard=3/4", "--trials=0:2"], "--shard=3/4: there are fewer trials than"),
        ([*QUICK, "--gpus_per_trial=8"], "--gpus_per_trial has no effect with --engine=local"),
        ([*QUICK, "--ray_address=auto"], "--ray_address has no effect with --engine=local: add"),
        (
            [*QUICK, "--engine=ray", "--cpus_per_trial=0"],
            "flag --cpus_per_trial=0: 0 is not a positive integer",
        ),
        (
            [*QUICK, "--engine=ray", "--gpus_per_trial=8", "--trials_per_gpu=2"],
            "--gpus_per_trial=8 and --trials_per_gpu=2 contradict each other: give one of them",
        ),
        ([*QUICK, "--engine=slurm"], "value should be one of <local|ray>"),
        ([*QUICK, "--retries=-1"], "flag --retries=-1"),
        ([*QUICK, "--colour=red"], "Unknown command line flag 'colour'"),
        ([*QUICK, "digits"], "unexpected argument 'digits'"),
        ([], "--experiment is required"),
    ],
)
def test_bad_input_gets_one_line_and_no_store(flags, words, tmp_path):
    done = train(tmp_path / "store", *flags, check=False)
    assert_refused(done, words, tmp_path / "store")
    assert done.stdout == ""


def test_a_store_of_another_config_is_refused(reference):
    done = train(reference.path, "--experiment=digits_mlp", "--seed=3", check=False)
    assert done.returncode == 2
    assert "epochs: 30 and 2; seed: 3 and 0" in done.stderr
    assert done.stderr.count("\n") == 1
