"""Downloads by TFDS that fail, that do not come to an end, and that are interrupted."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.programs import ROOT
from tfmem import datasets
from tfmem.datasets import download

DEADLINE = 300  # Seconds: far longer than anything takes.


class Builder:
    """Makes folders as TFDS does, and then does as it is told."""

    name = "made_up"

    def __init__(self, root, then):
        self.data_dir_root, self._then = root, then

    def download_and_prepare(self):
        on_its_way(self.data_dir_root, "1" * 32)
        config = self.data_dir_root / "made_up" / ".config"
        config.mkdir(parents=True)
        (config / "metadata.json").write_text("{}")
        (self.data_dir_root / "made_up" / "letters" / "incomplete.ABCDEF_1.0.0").mkdir(parents=True)
        self._then(self.data_dir_root)


def on_its_way(root, key):
    """Makes the folder of a file that is downloaded, with a part of it; returns the part."""
    folder = root / "downloads" / "made_up" / f"file.tmp.{key}"
    folder.mkdir(parents=True)
    (folder / "part").write_bytes(b"1")
    return folder / "part"


def prepare(builder, told_to_end=lambda: False):
    download.prepare(builder, 30.0, told_to_end)


def fails(root):
    raise ConnectionError("no route to host")


def test_what_fails_leaves_no_folder(tmp_path):
    with pytest.raises(ConnectionError, match="no route to host"):
        prepare(Builder(tmp_path / "some" / "data", fails))
    assert list(tmp_path.iterdir()) == []


def test_what_is_complete_is_kept_and_so_is_what_others_have_on_their_way(tmp_path):
    def completes_a_file(root):
        part = root / "downloads" / "made_up" / f"file.tmp.{'1' * 32}" / "part"
        part.rename(root / "downloads" / "made_up" / "file")
        fails(root)

    theirs = on_its_way(tmp_path, "2" * 32)
    with pytest.raises(ConnectionError):
        prepare(Builder(tmp_path, completes_a_file))
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {theirs, tmp_path / "downloads" / "made_up" / "file"}
    assert [path.name for path in tmp_path.iterdir()] == ["downloads"]


def test_what_succeeds_is_left_as_it_is(tmp_path):
    prepare(Builder(tmp_path, lambda root: None))
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *(".config", "downloads", f"file.tmp.{'1' * 32}", "incomplete.ABCDEF_1.0.0", "letters"),
        *("made_up", "made_up", "metadata.json", "part"),
    ]


def test_a_slow_download_goes_on_and_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    """It is looked at every 20 seconds, and takes two minutes."""
    clock = [0.0]

    def sizes(root):
        part = root / "downloads" / "made_up" / f"file.tmp.{'1' * 32}" / "part"
        for size in (1, 2_000_000, 2_000_000, 4_000_000):
            part.write_bytes(bytes(size))
            yield
        part.unlink()
        part.parent.rmdir()
        yield from [None] * 3  # What was downloaded is written, which takes as long as it takes.

    class Work(download._Work):
        def start(self):
            self.run()

        def is_done(self, seconds):
            clock[0] += 20
            return next(steps, True)

    steps = sizes(tmp_path)
    monkeypatch.setattr(download, "_Work", Work)
    monkeypatch.setattr(download.time, "monotonic", lambda: clock[0])
    prepare(Builder(tmp_path, lambda root: None))
    assert capsys.readouterr().err.splitlines() == [
        "made_up: 2.0 MB arrived",
        "made_up: 4.0 MB arrived",
        "made_up: being written",
    ]


@pytest.fixture
def proxy(monkeypatch):
    """Lets this process and those it starts connect to somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.slow
def test_who_never_answers_is_given_up_in_one_line(tmp_path, monkeypatch, proxy):
    monkeypatch.setattr(download, "_OFFLINE_SECONDS", 1.0)
    data = tmp_path / "some" / "data"
    said = (
        f"cifar100 is not in {data} and could not be downloaded (nothing arrived for 1 s): run "
        "once with a network, or point --data_dir at a directory where TFDS prepared it"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        datasets.load("cifar100", str(data))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_why_it_is_tried_again_is_in_that_line(tmp_path, monkeypatch):
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(download, "_OFFLINE_SECONDS", 1.0)
    with pytest.raises(
        ValueError, match=r"\(nothing arrived for 1 s; .*Connection refused.*\): run"
    ):
        datasets.load("cifar100", str(tmp_path / "data"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(number, tmp_path, proxy):
    data, store = tmp_path / "some" / "data", tmp_path / "store"
    flags = ("--experiment=cifar100_resnet50", f"--data_dir={data}", f"--store={store}")
    process = subprocess.Popen(
        [sys.executable, "-m", "launchers.train_trials", *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + DEADLINE
    while not list(data.glob("downloads/*/*.tmp.*")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number
    word = "interrupted" if number == signal.SIGINT else "terminated"
    first, last = errors.splitlines()
    assert f"cifar100 is not in {data}: preparing it" in first
    assert last == f"{word}; the same command continues"
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_to_end_leaves_no_folder(tmp_path):
    go_on = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        prepare(Builder(tmp_path / "data", lambda root: go_on.wait(DEADLINE)), lambda: True)
    go_on.set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_ends_with_who_waits_for_it(tmp_path, proxy):
    """Whoever that was has been killed, and could not tell."""
    words = "cifar100:3.0.2", str(tmp_path / "data"), "300", "0"
    program = "from tfmem.datasets import download; download.main()"
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
