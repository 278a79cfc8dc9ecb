"""What all programs share: paths, terminals, pipes, and errors that are one line."""

import os
import subprocess
import sys

import numpy as np
import pytest
from absl import flags, logging

from analysis.cli import arguments, usage
from tests.programs import ROOT, run_process, run_program
from tests.test_programs import PROGRAMS
from tfmem import datasets
from tfmem.store.store import Store

# Flags that take a text which is no path.
WORDS = {
    *("trials", "shard", "network", "feature_layer", "ray_address", "stack", "model_options"),
    *(
        "optimizer_options",
        "decay_epochs",
        "thresholds",
        "conditions",
        "classes",
        "class",
        "formats",
    ),
}


def text_flags(program, monkeypatch):
    """Returns the flags of a program that take any text, and those of them that take a path."""
    texts, paths = set(), set()

    def note(full):
        for name in usage.own_flags():
            parser = flags.FLAGS[name].parser
            if type(parser) is flags.ArgumentParser:
                texts.add(name)
            elif isinstance(parser, arguments.PathParser):
                paths.add(name)
        return ""

    monkeypatch.setattr(usage, "text", note)
    run_program(program, "--help")
    return texts, paths


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_that_is_no_known_word_takes_a_path(program, monkeypatch):
    texts, paths = text_flags(program, monkeypatch)
    assert texts or paths
    assert texts <= WORDS
    assert not paths & WORDS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("~/store", "/home/me/store"),
        ("name=~/a.npz", "name=/home/me/a.npz"),
        ("mnist=~/a.npz,~/b.npz", "mnist=/home/me/a.npz,/home/me/b.npz"),
        ("folder:~/pictures", "folder:/home/me/pictures"),
        ("a~b/~c", "a~b/~c"),
        ("gs://bucket/~x", "gs://bucket/~x"),
        ("relative", "relative"),
    ],
)
def test_a_tilde_is_home(typed, meant, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert arguments.PathParser().parse(typed) == meant


def test_a_store_at_home_is_found_again(random_subsets, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store").symlink_to(random_subsets.store.path)
    run_program("analysis.estimate", "--store=~/store", "--out=~/e.npz")
    assert (tmp_path / "e.npz").exists()
    assert not (ROOT / "~").exists()


def test_a_dataset_in_files_is_the_same_from_every_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert datasets.located("npz:a.npz") == f"npz:{tmp_path}/a.npz"
    assert datasets.located("folder:../x") == f"folder:{tmp_path.parent}/x"
    assert datasets.located("npz:gs://bucket/a.npz") == "npz:gs://bucket/a.npz"
    assert datasets.located("mnist") == "mnist"
    assert datasets.located("tfds:emnist/letters") == "tfds:emnist/letters"


def test_a_store_says_how_it_is_completed_from_any_directory(tmp_path):
    source = tmp_path / "trials.npz"
    np.savez(
        source,
        subset_mask=np.eye(2, 4, dtype=bool),
        train_correct=np.ones((2, 4), bool),
        test_correct=np.ones((2, 3), bool),
        train_labels=np.arange(4) % 2,
        test_labels=np.arange(3) % 2,
    )
    relative = os.path.relpath(source, ROOT)
    words = "--format=arrays", f"--source={relative}", f"--store={tmp_path / 'store'}"
    run_program("launchers.import_trials", *words)
    store = Store.open(tmp_path / "store")
    assert f"--source={source}" in store.command().split()
    assert store.config.source == str(source)


def test_a_folder_as_the_file_to_write_is_refused_before_any_work(tmp_path):
    folder = tmp_path / "figure.png"
    folder.mkdir()
    for words in (
        ("analysis.estimate", "--store=absent", f"--out={folder}"),
        ("analysis.convergence", "--store=absent", f"--out={folder}"),
        ("analysis.paper_tables", f"--out={tmp_path}"),
        ("analysis.report", "--store=absent", f"--out={tmp_path}"),
    ):
        done = run_program(*words, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert words[-1].partition("=")[2] in done.stderr


def test_a_figure_of_no_known_kind_is_refused_before_any_work():
    done = run_program("analysis.convergence", "--store=absent", "--out=x.jpg", check=False)
    assert done.returncode == 2
    assert "expected a name that ends in .png or .pdf or .svg" in done.stderr


@pytest.mark.parametrize("word", ["--store=absent\r", "--stor\r", "\r"])
def test_windows_line_ends_are_named(word):
    done = run_program("analysis.estimate", word, "--out=x", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {word!r} ends with a carriage return")


def test_a_terminal_without_the_letters_gets_others():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run_process("analysis.paper_tables", env=environment)
    assert "35" in done.stdout
    assert done.stdout.isascii()
    assert done.stderr == ""


def test_a_closed_pipe_ends_nothing(random_subsets, tmp_path):
    out = tmp_path / "settling.png"
    words = "analysis.convergence", f"--store={random_subsets.store.path}", f"--out={out}"
    command = [sys.executable, "-u", "-m", *words, "--splits=1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()  # Before anything is printed.
        said = process.stderr.read().decode()
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "Broken" not in said
    assert out.stat().st_size > 1000


def test_a_warning_is_said_once(monkeypatch):
    def odd(path):
        logging.warning("a file is odd")
        raise ValueError("no such store")

    monkeypatch.setattr(Store, "open", odd)
    done = run_program("analysis.convergence", "--store=x", check=False)
    first, second = done.stderr.splitlines()
    assert first.endswith("a file is odd")
    assert second == "error: no such store"


def test_an_error_without_a_file_is_one_line(monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "open", full)
    done = run_program("analysis.convergence", "--store=x", check=False)
    assert done.returncode == 2
    said = "error: No space left on device; mend that, and the same command continues\n"
    assert done.stderr == said


@pytest.mark.parametrize("problem", ["caf\udce9.png".encode, b"caf\xe9".decode])
def test_what_is_not_utf_8_is_named(problem, monkeypatch):
    monkeypatch.setattr(Store, "open", lambda path: problem("utf-8"))
    done = run_program("analysis.convergence", "--store=x", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(("error: 'caf\\udce9.png' is not UTF-8", "error: b'caf\\xe9' is"))


def test_a_notebooks_figures_are_not_ours(random_subsets, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    out = tmp_path / "settling.svg"
    words = f"--store={random_subsets.store.path}", f"--out={out}", "--splits=1"
    done = run_process("analysis.convergence", *words)
    assert done.returncode == 0
    assert out.exists()


def test_another_keras_backend_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    words = "--experiment=digits_mlp", "--trials=0:1", f"--store={tmp_path / 'store'}"
    done = run_program("launchers.train_trials", *words, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "KERAS_BACKEND is jax" in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_tensorflow_says_nothing_of_its_own_when_a_dataset_is_opened(tmp_path):
    code = (
        "from tfmem.datasets import tfds; tfds.open_builder('mnist', None)\n"
        "import tensorflow as tf; tf.constant(1)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
