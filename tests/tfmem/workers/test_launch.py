"""What a launch does about trials that fail, that others train, and that nobody trains any more."""

import itertools
import logging as python_logging
import re

import pytest
from absl import logging

from tests import racing
from tests.interrupting import claimed_elsewhere
from tests.trials import assert_same_trial
from tfmem.disk import processes
from tfmem.store.store import Store
from tfmem.training.failures import DivergedError, Failed
from tfmem.workers import claims, launch, logs, status
from tfmem.workers.claims import Claim, Claims
from tfmem.workers.launch import HopelessError, Launch
from tfmem.workers.logs import Logs


@pytest.fixture
def store(tmp_path, tiny, tiny_config):
    return Store.create(tmp_path / "store", tiny_config, tiny)


class Trainer:
    """Trains random trials, as `tests.racing` does, and fails as it is told.

    Args:
      store: of the trials.
      errors: what each attempt at a trial ends in; when they are used up, it succeeds.
      stack: how many are in training together, and fail together.
    """

    def __init__(self, store, errors=(), stack=1):
        self._store, self.batch_of_trials = store, stack
        self._errors = {number: list(of_trial) for number, of_trial in dict(errors).items()}
        self.groups = []

    def train(self, trials, progress, checkpoints):
        left = iter(trials)
        while group := list(itertools.islice(left, self.batch_of_trials)):
            self.groups.append(group)
            error = next((self._errors[n].pop(0) for n in group if self._errors.get(n)), None)
            for number in group:
                progress(1)
                logging.info("a word on %d", number)
                trial = racing.trial(number, self._store.dataset)
                yield Failed(number, error) if error else trial


def trained(store, trainer, trials=range(4), **options):
    finished = True
    with Launch(store, **options) as launched:
        for left in launched.rounds(trials):
            finished &= launched.run(trainer, left)
    return launched.outcome, finished


def log_of(store, number):
    text = Logs(store.path / logs.FOLDER).path(number).read_text()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert all(re.match(stamp, line) for line in text.splitlines())
    return [re.sub(stamp, "", line) for line in text.splitlines()]


def test_what_it_trained_is_stored_and_nothing_else_is_left(store, tiny):
    outcome, finished = trained(store, Trainer(store))
    assert finished
    assert (outcome.failed, outcome.elsewhere) == ({}, [])
    for number in range(4):
        assert_same_trial(store.read(number), racing.trial(number, tiny))
        begin, word, end = log_of(store, number)
        assert re.fullmatch(r"attempt 1, host \S+, process \d+", begin)
        assert word == f"a word on {number}"
        trial = racing.trial(number, tiny)
        accuracy = f"{trial.test_accuracy:.2%} on test, {trial.subset_accuracy:.2%} on its subset"
        assert end == f"stored after 1.5 s: accuracy {accuracy}"
    assert list((store.path / claims.FOLDER).iterdir()) == []


def test_a_trial_that_fails_is_tried_again_after_the_others(store):
    trainer = Trainer(store, {1: [OSError("one"), OSError("two")]})
    outcome, finished = trained(store, trainer, retries=2)
    assert finished
    assert outcome.failed == {}
    assert trainer.groups == [[0], [1], [2], [3], [1], [1]]
    assert store.numbers() == [0, 1, 2, 3]
    log = log_of(store, 1)
    assert [line.split(",")[0] for line in log if "attempt" in line] == [
        "attempt 1",
        "attempt 2",
        "attempt 3",
    ]
    assert [line for line in log if line.startswith("OSError")] == ["OSError: one", "OSError: two"]
    assert not [path for path in (store.path / logs.FOLDER).iterdir() if path.suffix == ".failed"]


def test_a_trial_that_keeps_failing_is_given_up_and_the_next_launch_tries_it_again(store):
    errors = {1: [OSError("first\nline"), OSError("second\nline")]}
    outcome, finished = trained(store, Trainer(store, errors), retries=1)
    assert finished
    assert store.numbers() == [0, 2, 3]
    (failure,) = outcome.failed.values()
    assert (failure.trial, failure.attempts, failure.is_final) == (1, 2, True)
    assert failure.error == "second line"
    found = status.read(store, range(4))
    assert (found.total, found.done, found.running, found.failed) == (4, 3, 0, 1)
    outcome, _ = trained(store, Trainer(store, {1: [OSError("third")]}), retries=1)
    assert outcome.failed == {}
    assert store.numbers() == [0, 1, 2, 3]


def test_what_failed_together_is_tried_again_one_by_one(store):
    trainer = Trainer(store, {1: [MemoryError()] * 3}, stack=2)
    outcome, _ = trained(store, trainer, retries=2)
    assert trainer.groups == [[0, 1], [2, 3], [0], [1], [1]]
    assert list(outcome.failed) == [1]
    assert outcome.failed[1].error == "MemoryError"
    assert store.numbers() == [0, 2, 3]


def test_a_diverged_trial_is_not_tried_again(store):
    trainer = Trainer(store, {1: [DivergedError("too high")]})
    outcome, _ = trained(store, trainer, retries=2)
    assert trainer.groups == [[0], [1], [2], [3]]
    assert outcome.failed[1].attempts == 1


def test_when_all_fail_it_ends_early(store):
    errors = {number: [OSError(f"no {number}")] for number in range(100)}
    trainer = Trainer(store, errors)
    said = r"the first 5 trials have all failed, the last with: no 4; its log: .*trial-000004\.log"
    with pytest.raises(HopelessError, match=said):
        trained(store, trainer, range(100))
    assert len(trainer.groups) == 5
    assert list((store.path / claims.FOLDER).iterdir()) == []
    # Where others succeed, it does not.
    del errors[0]
    outcome, _ = trained(store, Trainer(store, errors), range(8))
    assert list(outcome.failed) == list(range(1, 8))


def test_a_process_that_may_be_broken_leaves_the_retry_to_another(store):
    trainer = Trainer(store, {1: [OSError("broken")]})
    options = dict(retries=1, name="launch", leaves_retries=True)
    outcome, finished = trained(store, trainer, **options)
    assert not finished
    assert store.numbers() == [0]
    # The other process is of the same launch, and counts on.
    trainer = Trainer(store, {1: [OSError("broken")]})
    outcome, finished = trained(store, trainer, **options)
    assert finished
    assert outcome.failed[1].attempts == 2
    assert store.numbers() == [0, 2, 3]
    with Launch(store, **options) as launched:
        assert not launched.has_work(range(4))
        assert launched.has_work(range(5))
    with Launch(store) as launched:
        assert launched.has_work(range(4))


def test_what_others_train_is_left_to_them_unless_they_end(store):
    with Claims(store.path / claims.FOLDER, "theirs") as theirs:
        theirs.take([1, 2])

        class Watching(Trainer):
            def train(self, trials, progress, checkpoints):
                for result in super().train(trials, progress, checkpoints):
                    yield result
                    if result.number == 3:
                        theirs.release(2)  # They were told to end, say.

        trainer = Watching(store)
        outcome, _ = trained(store, trainer)
    assert trainer.groups == [[0], [3], [2]]
    assert outcome.elsewhere == [1]
    assert store.numbers() == [0, 2, 3]


def test_a_trial_of_a_machine_that_is_lost_is_trained_when_its_claim_lapses(store, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(claims, "_CONFIRM_SECONDS", 0)
    claimed_elsewhere(store.path, 1, claims.LEASE_SECONDS - 1.2)
    trainer = Trainer(store)
    outcome, _ = trained(store, trainer)
    assert trainer.groups == [[0], [2], [3], [1]]
    assert (outcome.failed, outcome.elsewhere) == ({}, [])
    assert store.numbers() == [0, 1, 2, 3]


def test_trials_of_another_machine_that_renews_are_left_to_it(store, monkeypatch, tiny):
    """It renews one, and stores the other."""
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.2)
    stored = claimed_elsewhere(store.path, 1, 100)
    claimed_elsewhere(store.path, 2, 100)
    seconds = iter(range(90, 0, -1))

    def another_works(pause):
        claimed_elsewhere(store.path, 2, next(seconds))
        if stored.exists():
            store.write(racing.trial(1, tiny))
            stored.unlink()

    monkeypatch.setattr(launch.time, "sleep", another_works)
    trainer = Trainer(store)
    outcome, _ = trained(store, trainer)
    assert trainer.groups == [[0], [3]]
    assert outcome.elsewhere == [2]
    assert store.numbers() == [0, 1, 3]


def test_a_trial_whose_process_was_killed_counts_as_an_attempt_of_its_launch(store):
    ended = processes.Process(processes.current().host, 2**22 + 1, 1)
    folder = store.path / claims.FOLDER
    folder.mkdir()

    def leave_behind(name):
        (folder / "trial-000001.json").write_bytes(Claim(1, ended, "0" * 32, name, 0.5).encode())

    leave_behind("launch")
    outcome, _ = trained(store, Trainer(store), range(1, 2), retries=1, name="launch")
    assert outcome.failed == {}
    said = f"its process {ended} ended without a word: killed, or out of memory?"
    assert log_of(store, 1)[0] == said
    assert log_of(store, 1)[1].startswith("attempt 2, ")
    store.trial_path(1).unlink()
    leave_behind("launch")
    outcome, _ = trained(store, Trainer(store), range(1, 2), retries=0, name="launch")
    assert outcome.failed[1].error == said
    assert store.numbers() == []
    leave_behind("another")
    (folder / ".trial-000009.json").touch()  # Nothing of ours.
    outcome, _ = trained(store, Trainer(store), range(1, 2), retries=0, name="launch 2")
    assert store.numbers() == [1]
    # A process that was killed when its trial was stored: the claim is that of nobody.
    leave_behind("another")
    trained(store, Trainer(store), [])
    assert [path.name for path in folder.iterdir()] == [".trial-000009.json"]


def test_a_damaged_trial_is_replaced_and_a_sound_one_is_not_trained(store, tiny):
    trained(store, Trainer(store))
    content = bytearray(store.trial_path(2).read_bytes())
    content[30] ^= 1
    store.trial_path(2).write_bytes(bytes(content))
    trainer = Trainer(store)
    trained(store, trainer)
    assert trainer.groups == [[2]]
    assert_same_trial(store.read(2), racing.trial(2, tiny))


def test_messages_go_to_logs_and_the_console_shows_what_it_did(store):
    logger, own = logging.get_absl_logger(), logging.get_absl_handler()
    before = logger.level, own.level
    logger.setLevel(python_logging.WARNING)
    try:
        with Launch(store) as launched:
            assert own.level == python_logging.WARNING
            launched.logs.begin(3, "begins")
            logging.info("quiet")
            logging.warning("loud\nand long")
            launched.logs.end(3, "ends")
            logging.info("late")
        assert logger.level == python_logging.WARNING
    finally:
        logger.setLevel(before[0])
    assert own.level == before[1]
    assert log_of(store, 3) == ["begins", "quiet", "loud", "and long", "ends"]


def test_a_log_that_is_no_text_any_more_is_added_to(store):
    path = Logs(store.path / logs.FOLDER).path(0)
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe torn\n")
    trained(store, Trainer(store), [0])
    first, begin, *_ = path.read_bytes().decode(errors="replace").splitlines()
    assert first.endswith(" torn")
    assert "attempt 1" in begin


def test_status_adds_up(store):
    trained(store, Trainer(store), range(2))
    with Claims(store.path / claims.FOLDER, "theirs") as theirs:
        theirs.take([2, 3, 50])
        found = status.read(store, range(10), fresh={2: 0.5, 3: 0.25})
        assert (found.total, found.done, found.running, found.failed) == (10, 2, 2, 0)
        assert found.work == 2.75
        assert status.read(store, range(10)).work == 2  # Nobody has renewed the claims yet.
    failures = Logs(store.path / logs.FOLDER)
    failures.fail(4, "launch", "error", limit=0)
    failures.fail(5, "launch", "error", limit=1)
    assert status.read(store, range(10)).failed == 1


MANY = '{"launch": "launch", "attempts": "many", "is_final": false, "error": "x"}'


ENDLESS = '{"launch": "launch", "attempts": Infinity, "is_final": false, "error": "x"}'
TRUE = '{"launch": "launch", "attempts": true, "is_final": false, "error": "x"}'


@pytest.mark.parametrize(
    "content", ["", "[]", '{"launch": 1}', "{", "[" * 50_000, MANY, ENDLESS, TRUE]
)
def test_a_failure_that_cannot_be_read_counts_as_absent_and_is_said_once(store, content, caplog):
    folder = store.path / logs.FOLDER
    folder.mkdir()
    (folder / "trial-000001.failed").write_text(content)
    assert Logs(folder).failure(1) is None
    outcome, _ = trained(store, Trainer(store))
    assert outcome.failed == {}
    assert Logs(folder).failure(1) is None
    (said,) = (message for message in caplog.messages if "as if it were not there" in message)
    assert said.startswith(str(folder / "trial-000001.failed"))


def test_what_another_process_stored_first_is_dropped_and_both_say_so_in_the_log(store, tiny):
    """Both trained it, as after a machine that slept; the first is the one that counts."""
    theirs = Logs(store.path / logs.FOLDER)

    class Slow(Trainer):
        def train(self, trials, progress, checkpoints):
            for result in super().train(trials, progress, checkpoints):
                theirs.begin(result.number, "attempt 1, another host")
                store.write(racing.trial(result.number, tiny))
                theirs.end(result.number, "stored after 7 s")
                yield result

    outcome, _ = trained(store, Slow(store), [0])
    assert (outcome.failed, store.numbers()) == ({}, [0])
    begin, *middle, end = log_of(store, 0)
    assert begin.startswith("attempt 1, host")
    assert {"attempt 1, another host", "stored after 7 s", "a word on 0"} == set(middle)
    assert end.startswith("dropped, since another process stored it first, after 1.5 s: accuracy")


def test_a_log_that_ends_in_the_middle_of_a_line_goes_on_in_the_next(store):
    path = Logs(store.path / logs.FOLDER).path(0)
    path.parent.mkdir()
    path.write_text("2020-01-01 00:00:00 torn")
    trained(store, Trainer(store), [0])
    assert log_of(store, 0)[0] == "torn"
    assert "attempt 1" in log_of(store, 0)[1]
