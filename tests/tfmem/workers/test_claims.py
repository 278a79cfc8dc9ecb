"""Who trains which trial."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.conftest import ROOT
from tests.interrupting import kill_everywhere
from tfmem.disk import processes
from tfmem.disk.processes import Process
from tfmem.workers import claims
from tfmem.workers.claims import Claim, Claims


@pytest.fixture(scope="module")
def ended():
    """A process of this machine that has ended."""
    code = "from tfmem.disk import processes; print(processes.current())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    return Process.parse(done.stdout.strip())


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch):
    monkeypatch.setattr(claims, "_CONFIRM_SECONDS", 0)


def write_claim(folder, trial, process, launch="theirs", seconds_ago=0.0):
    folder.mkdir(exist_ok=True)
    path = folder / f"trial-{trial:06d}.json"
    path.write_bytes(Claim(trial, process, f"{trial:032x}", launch, 0.5).encode())
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def test_a_process_is_told_apart_by_when_it_began(ended):
    this = processes.current()
    assert this.is_running() is True
    assert this.pid == os.getpid()
    assert ended.is_running() is False
    assert dataclasses.replace(this, start=this.start + 1).is_running() is False
    assert dataclasses.replace(this, host="another").is_running() is None
    assert Process.parse(str(this)) == this
    with pytest.raises(ValueError, match=r"'vm\.5' is not a process, expected HOST\.PID\.START"):
        Process.parse("vm.5")


def test_a_zombie_has_ended():
    code = "from tfmem.disk import processes; print(processes.current(), flush=True)"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    process = Process.parse(child.stdout.readline().decode().strip())
    child.stdout.read()
    deadline = time.monotonic() + 60
    while process.is_running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.is_running() is False  # Nobody has waited for it yet.
    child.wait()


def test_one_of_two_takes_a_trial_and_gives_it_back(tmp_path):
    with Claims(tmp_path, "a") as ours, Claims(tmp_path, "b") as theirs:
        assert ours.take([7]) == [7]
        assert theirs.take([7]) == []
        assert theirs.take([8]) == [8]
        assert {claim.trial: claim.launch for claim in claims.held(tmp_path)} == {7: "a", 8: "b"}
        ours.release(7)
        assert theirs.take([7]) == [7]
    assert list(tmp_path.iterdir()) == []


def test_the_trial_of_a_process_that_has_ended_is_taken_over(tmp_path, ended):
    write_claim(tmp_path, 3, ended)
    assert list(claims.held(tmp_path)) == []
    found = []
    with Claims(tmp_path, "ours", lambda claim: found.append(claim) or True) as ours:
        assert ours.take([3]) == [3]
        (claim,) = claims.held(tmp_path)
        assert claim.process == processes.current()
    assert [(claim.trial, claim.process, claim.launch) for claim in found] == [(3, ended, "theirs")]


def test_a_trial_that_is_not_to_be_taken_over_is_nobodys(tmp_path, ended):
    write_claim(tmp_path, 3, ended)
    with Claims(tmp_path, "ours", lambda claim: False) as ours:
        assert ours.take([3]) == []
    assert list(tmp_path.iterdir()) == []


def test_claims_of_other_machines_count_while_they_are_renewed(tmp_path):
    elsewhere = dataclasses.replace(processes.current(), host="another")
    write_claim(tmp_path, 1, elsewhere, seconds_ago=claims.LEASE_SECONDS - 60)
    write_claim(tmp_path, 2, elsewhere, seconds_ago=claims.LEASE_SECONDS + 60)
    assert [claim.trial for claim in claims.held(tmp_path)] == [1]
    with Claims(tmp_path, "ours") as ours:
        assert ours.take([1]) == []
        assert ours.take([2]) == [2]


def test_a_process_that_runs_but_does_not_renew_loses_its_claim(tmp_path):
    """One that was stopped, say: it counts for as long as one of another machine would."""
    write_claim(tmp_path, 1, processes.current(), seconds_ago=claims.LEASE_SECONDS - 60)
    write_claim(tmp_path, 2, processes.current(), seconds_ago=claims.LEASE_SECONDS + 60)
    with Claims(tmp_path, "ours") as ours:
        assert ours.take([1, 2]) == [2]


def test_who_watches_claims_knows_who_lives(tmp_path, ended):
    elsewhere = dataclasses.replace(processes.current(), host="another")
    for trial, process, seconds_ago in (
        (1, elsewhere, 60),
        (2, elsewhere, 60),
        (3, elsewhere, claims.LEASE_SECONDS + 60),
        (4, ended, 0),
        (5, processes.current(), 5),
        (6, processes.current(), 60),
        (7, elsewhere, 60),
    ):
        write_claim(tmp_path, trial, process, seconds_ago=seconds_ago)
    watch = claims.Watch(tmp_path)
    # Of 0, 3 and 4 nobody has a claim; 5 was renewed by a clock that is ours.
    assert watch.look(range(8)) == ({0, 3, 4}, {5})
    write_claim(tmp_path, 1, elsewhere, seconds_ago=50)  # It is renewed; by their clock long ago.
    (tmp_path / "trial-000002.json").unlink()
    assert watch.look(range(8)) == ({0, 2, 3, 4}, {1, 5})
    assert watch.look([1, 6, 7]) == (set(), {1})


def test_who_was_alive_and_renews_no_more_is_not(tmp_path, monkeypatch, caplog):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    elsewhere = dataclasses.replace(processes.current(), host="another")
    write_claim(tmp_path, 1, elsewhere, seconds_ago=60)
    watch = claims.Watch(tmp_path)
    assert watch.look([1]) == (set(), set())
    write_claim(tmp_path, 1, elsewhere, seconds_ago=50)
    now[0] += 12
    assert watch.look([1]) == (set(), {1})
    now[0] += 2 * claims.RENEW_SECONDS - 1
    assert watch.look([1]) == (set(), {1})
    assert not caplog.messages
    now[0] += 2
    assert watch.look([1]) == (set(), set())
    now[0] += 60
    assert watch.look([1]) == (set(), set())
    assert caplog.messages == [
        "1 trial is in training elsewhere, but its claim was not renewed for 33 s: trained here if "
        "that lasts for 300 s"
    ]
    write_claim(tmp_path, 1, elsewhere, seconds_ago=claims.LEASE_SECONDS)
    assert watch.look([1]) == ({1}, set())


def claim_with(**changes):
    found = json.loads(Claim(5, processes.current(), "0" * 32, "theirs", 0.5).encode())
    return json.dumps(found | changes).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read (Expecting value: line 1 column 1 (char 0))"),
        (b"\xff\xfe{", "cannot be read ("),
        (b"[]", "cannot be read (it holds no JSON object)"),
        (b"[" * 50_000, "cannot be read (it is nested too deeply)"),
        (b" " * 70_000, "cannot be read (it has more than 65,536 bytes)"),
        (claim_with(progress=float("nan")), "cannot be read (the number NaN is not expected)"),
        (claim_with(progress=10**400), "cannot be read (the number of 401 digits is not expected)"),
        (
            claim_with(progress=0.5).replace(b"0.5", b"1e999"),
            "cannot be read (the number 1e999 is not expected)",
        ),
        (claim_with(progress=-1), "is no claim (its progress is -1, expected 0 to 1)"),
        (claim_with(progress=None), "is no claim (its key is '00000000000000000000000000000000' "),
        (claim_with(progress=True), "is no claim (its key is '00000000000000000000000000000000' "),
        (claim_with(key=""), "is no claim (its key is '' and its progress 0.5)"),
        (claim_with(process="vm.5"), "is no claim ('vm.5' is not a process, expected HOST.PID."),
        (claim_with(process=[]), "is no claim ('' is not a process, expected HOST.PID.START)"),
    ],
)
def test_a_claim_that_cannot_be_read_counts_as_absent_and_is_said_once(
    tmp_path, content, reason, caplog
):
    path = tmp_path / "trial-000005.json"
    path.write_bytes(content)
    assert list(claims.held(tmp_path)) == []
    assert claims.Watch(tmp_path).look([5]) == ({5}, set())
    with Claims(tmp_path, "ours") as ours:
        assert ours.take([5]) == [5]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{path} {reason}")
    assert caplog.messages[0].endswith(": it counts as if it were not there")


@pytest.mark.parametrize("pid", [2**22 + 1, 2**31, 10**30])
def test_no_process_has_a_number_beyond_the_systems(tmp_path, pid):
    write_claim(tmp_path, 1, dataclasses.replace(processes.current(), pid=pid))
    assert list(claims.held(tmp_path)) == []
    with Claims(tmp_path, "ours") as ours:
        assert ours.take([1]) == [1]


def test_a_claim_from_the_future_is_watched_from_when_it_is_seen(tmp_path, monkeypatch, caplog):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    elsewhere = dataclasses.replace(processes.current(), host="another")
    path = write_claim(tmp_path, 1, elsewhere, seconds_ago=-2 * 86_400)
    write_claim(tmp_path, 2, elsewhere, seconds_ago=60 - claims.LEASE_SECONDS)  # Clocks differ.
    with Claims(tmp_path, "ours") as ours:
        assert ours.take([1, 2]) == []
        now[0] += claims.LEASE_SECONDS - 1
        assert ours.take([1, 2]) == []
        write_claim(tmp_path, 1, elsewhere, seconds_ago=-2 * 86_400 - 10)  # It is renewed.
        for pause in (2, claims.LEASE_SECONDS - 1):
            now[0] += pause
            assert sorted(claim.trial for claim in claims.held(tmp_path)) == [1, 2]
        now[0] += 1
        assert [claim.trial for claim in claims.held(tmp_path)] == [2]
        assert claims.Watch(tmp_path).look([1, 2]) == ({1}, set())
        assert ours.take([1, 2]) == [1]
    (said,) = caplog.messages
    assert said.startswith(f"{path} was written 1728")
    assert said.endswith("s from now: is a clock wrong? It counts as renewed just now")


def test_files_of_users_without_a_name_are_dated(tmp_path, monkeypatch):
    """As in a container, whose users have numbers alone."""

    def no_name(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", no_name)
    elsewhere = dataclasses.replace(processes.current(), host="another")
    write_claim(tmp_path, 1, elsewhere)
    (tmp_path / f".trial-000001.json.{elsewhere}.{'0' * 32}.tmp").touch()
    assert [claim.trial for claim in claims.held(tmp_path)] == [1]
    claims.remove_abandoned(tmp_path)


def test_whatever_goes_wrong_claims_are_renewed_further(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.01)
    errors = [KeyError("uid"), ValueError("odd"), OSError("disk")]
    renewed = threading.Event()
    write = claims.atomic.write_bytes

    def failing(path, content, durable=True):
        if errors:
            raise errors.pop()
        write(path, content, durable)
        renewed.set()

    with Claims(tmp_path, "ours") as ours:
        ours.take([1])
        monkeypatch.setattr(claims.atomic, "write_bytes", failing)
        assert renewed.wait(60)
    assert errors == []


def test_claims_are_renewed_with_their_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.01)
    with Claims(tmp_path, "ours") as ours:
        ours.take([1, 2])
        ours.advance(0.5)  # Of the two together: a quarter of each.
        assert ours.progress() == {1: 0.25, 2: 0.25}
        path = tmp_path / "trial-000001.json"
        deadline = time.monotonic() + 60
        while json.loads(path.read_bytes())["progress"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert json.loads(path.read_bytes())["progress"] == 0.25
        ours.advance(0.75)
        ours.release(1)  # It was one trial's worth of the 1.25.
        assert ours.progress() == {2: 0.25}


def test_a_claim_that_others_have_taken_over_is_theirs(tmp_path, monkeypatch):
    """As after a machine that slept for longer than a lease."""
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.01)
    with Claims(tmp_path, "ours") as ours:
        ours.take([1])
        path = write_claim(tmp_path, 1, processes.current())
        content = path.read_bytes()
        time.sleep(0.1)  # Several times that it would be renewed.
        assert path.read_bytes() == content
    assert path.read_bytes() == content


def test_of_many_processes_one_takes_over(tmp_path, ended):
    """Each of 4 processes tries to take 50 abandoned trials; nobody gives one back."""
    folder = tmp_path / "claims"
    for trial in range(50):
        write_claim(folder, trial, ended)
    code = (
        "import sys, time; from tfmem.workers.claims import Claims;"
        "ours = Claims(sys.argv[1], 'x');"
        "print('ready', flush=True); sys.stdin.readline();"
        "print(*ours.take(range(50)), flush=True);"
        "sys.stdin.readline()"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    taken = [int(word) for racer in racers for word in racer.stdout.readline().split()]
    for racer in racers:
        racer.communicate("\n")
    assert sorted(taken) == list(range(50))
    claims.remove_abandoned(folder)
    assert list(folder.iterdir()) == []


def test_of_two_that_take_over_at_once_who_wrote_last_has_it(tmp_path, ended, monkeypatch):
    write_claim(tmp_path, 3, ended)
    write_claim(tmp_path, 4, ended)

    def another_writes(seconds):
        write_claim(tmp_path, 3, processes.current())

    taken_over = []
    with Claims(tmp_path, "ours", lambda claim: taken_over.append(claim.trial) or True) as ours:
        monkeypatch.setattr(claims.time, "sleep", another_writes)
        assert ours.take([3, 4, 5]) == [4, 5]
        assert sorted(ours.progress()) == [4, 5]
    assert taken_over == [4]
    assert [path.name for path in tmp_path.iterdir()] == ["trial-000003.json"]


def test_killed_at_any_moment_a_claim_is_taken_over_and_nothing_is_left(tmp_path, ended):
    folders = (tmp_path / str(number) for number in itertools.count())

    def begin():
        folder = next(folders)
        write_claim(folder, 1, ended)
        return folder

    def claim_and_give_back(folder):
        with Claims(folder, "killed") as ours:
            assert ours.take([1, 2]) == [1, 2]

    def another_takes_all(folder):
        with Claims(folder, "another") as theirs:
            assert theirs.take([1, 2]) == [1, 2]
        claims.remove_abandoned(folder)
        assert list(folder.iterdir()) == []

    assert kill_everywhere(begin, claim_and_give_back, another_takes_all) > 6


@pytest.mark.parametrize("key", ["../../../etc/x", "", "A" * 32, 5, None])
def test_no_name_of_a_file_comes_from_what_a_claim_holds(tmp_path, key, ended):
    folder = tmp_path / "claims"
    path = write_claim(folder, 3, ended)
    found = json.loads(path.read_bytes())
    path.write_bytes(json.dumps({**found, "key": key}).encode())
    with Claims(folder, "ours") as ours:
        assert ours.take([3]) == [3]
        assert [entry.name for entry in folder.iterdir()] == ["trial-000003.json"]
    assert [entry.name for entry in tmp_path.rglob("*")] == ["claims"]
