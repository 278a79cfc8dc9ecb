"""The command `tfmem`, and what --help of every program says."""

import collections
import os
import platform
import re
import subprocess
import sys
from importlib import metadata

import pytest
from absl import app, flags

import tfmem
from analysis.cli import usage
from launchers.cli import command
from tests.conftest import ROOT, assert_refused, run_program
from tfmem import experiments

# The flags that a program cannot do without.
REQUIRED = {
    "analysis.compare": ["estimates_a"],
    "analysis.consistency": ["estimates_a", "estimates_b"],
    "analysis.consistency_scores": ["store", "out"],
    "analysis.convergence": ["store"],
    "analysis.dynamics": ["store"],
    "analysis.estimate": ["store", "out"],
    "analysis.figures": ["estimates", "out"],
    "analysis.last_layer": ["estimates", "last_layer"],
    "analysis.paper_tables": [],
    "analysis.removal": ["store"],
    "analysis.report": ["store"],
    "analysis.select_pairs": ["estimates", "out"],
    "analysis.table": ["store", "out"],
    "analysis.turnover": ["store"],
    "launchers.benchmark": [],
    "launchers.check_store": ["store"],
    "launchers.compact_store": ["store"],
    "launchers.demo": [],
    "launchers.evaluate": ["store", "dataset", "out_store"],
    "launchers.import_trials": ["format", "source", "store"],
    "launchers.train_dynamics": ["experiment", "store"],
    "launchers.train_last_layer": ["experiment", "store"],
    "launchers.train_removal": ["experiment", "store", "estimates"],
    "launchers.train_trials": ["experiment"],
    "launchers.train_turnover": ["experiment", "store"],
}
HEADINGS = {
    "What is trained",
    "What is measured",
    "What is read and written",
    "What is computed",
    "What is shown",
    "What is done",
    "The recipe (what is given overrides the experiment's)",
    "Where and how",
    "When trials are interrupted or fail",
}


@pytest.fixture
def tfmem_says(monkeypatch, capsys):
    """Runs the command with words; returns its exit code and what it said."""

    def run(*given):
        monkeypatch.setattr(sys, "argv", ["tfmem", *given])
        try:
            command.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess(given, code, *capsys.readouterr())

    return run


@pytest.fixture
def elsewhere(tmp_path):
    """Runs the script that pip installs, in a folder that has modules called like ours."""
    folder, path, script = tmp_path / "folder", tmp_path / "path", tmp_path / "bin" / "tfmem"
    for place in (folder, path, script.parent):
        place.mkdir()
    for hostile in (
        *(folder / f"{name}.py" for name in ("analysis", "launchers", "tfmem", "numpy")),
        path / "analysis.py",
    ):
        hostile.write_text("raise RuntimeError('not ours')")
    script.write_text(
        "import sys\n"
        "from launchers.cli.command import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main())\n"
    )

    def run(*words):
        env = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
        return subprocess.run(
            [sys.executable, *words[:-1], str(script), *words[-1]],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
        )

    return run


def programs_in_files():
    return {
        f"{folder}.{path.stem}"
        for folder in ("analysis", "launchers")
        for path in (ROOT / folder).glob("*.py")
        if path.stem != "__init__"
    }


def test_every_program_is_known():
    assert programs_in_files() == set(REQUIRED)
    assert sorted(command.PROGRAMS.values()) == sorted(REQUIRED)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_command_alone_lists_the_programs(words, tfmem_says):
    done = tfmem_says(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    listed = re.findall(r"^  (\w+) +(\S.*)$", done.stdout, re.MULTILINE)
    assert sorted(name for name, _ in listed) == sorted(
        program.partition(".")[2] for program in REQUIRED
    )
    said = dict(listed)
    assert said["train_trials"] == "Trains trials of an experiment and stores them."
    # Without "(Secs. 3.2, 3.3)".
    assert said["train_removal"] == (
        "Trains on the training set without memorized, random or influential examples."
    )
    assert "Look after a store:\n  check_store " in done.stdout
    assert "as python -m launchers.NAME or python -m analysis.NAME does" in done.stdout


def test_the_version(tfmem_says):
    assert tfmem_says("--version").stdout == (
        f"tfmem {tfmem.__version__}, Python {platform.python_version()}, TensorFlow "
        f"{metadata.version('tensorflow')}, Keras {metadata.version('keras')}\n"
    )


@pytest.mark.parametrize("name", ["experiments", "--version", "--help"])
def test_what_takes_no_words_refuses_them(name, tfmem_says):
    done = tfmem_says(name, "digits_mlp")
    assert_refused(done, f"unexpected argument 'digits_mlp': tfmem {name} takes none")
    assert done.stdout == ""


def test_the_experiments(tfmem_says):
    lines = tfmem_says("experiments").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["experiment", *experiments.EXPERIMENTS]
    rows = {line.split()[0]: re.split("  +", line) for line in lines}
    assert rows["experiment"][1:] == ["dataset", "model", "trials", "cost in the paper"]
    assert rows["digits_mlp"][1:] == ["digits", "mlp", "1,000", "-"]
    assert rows["cifar100_resnet50"][1:] == [
        *("cifar100", "resnet50", "4,000"),
        "4 h a trial on 1 P100, 16,000 GPU-hours for 4,000 trials",
    ]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("nonsense", "consistency_scores"),
        ("train_trails", "train_trials"),
        ("launchers.train_trials", "train_trials"),
        ("experimnts", "experiments"),
        ("--verison", None),
    ],
)
def test_an_unknown_program(word, nearest, tfmem_says):
    done = tfmem_says(word)
    hint = f"did you mean '{nearest}'? " if nearest else ""
    assert_refused(done, f"unknown program '{word}': {hint}the known ones are demo, train_trials, ")
    assert done.stdout == ""


def test_the_command_runs_our_program_wherever_it_is_called(elsewhere):
    done = elsewhere(["estimate", "--store=absent", "--out=x"])
    assert_refused(done, "absent")
    here = run_program("analysis.estimate", "--store=absent", "--out=x", check=False)
    assert (done.returncode, done.stderr) == (here.returncode, here.stderr)


def test_the_command_alone_is_light(elsewhere):
    done = elsewhere("-X", "importtime", ["experiments"])
    assert done.returncode == 0
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "tfmem.experiments" in imported
    assert not imported & {"absl", "numpy", "tensorflow", "keras"}


@pytest.mark.parametrize("program", REQUIRED)
def test_help_has_every_flag_once_under_a_heading(program, monkeypatch):
    app.define_help_flags()
    of_libraries = set(flags.FLAGS)  # Those of absl, and of what other tests have imported.
    monkeypatch.setenv("COLUMNS", "100")
    text = run_program(program, "--helpfull").stdout
    assert f"\n    tfmem {program.partition('.')[2]} " in text
    ours, others = text.split("\nabsl's own:\n")
    listed = collections.Counter(re.findall(r"^  --(?:\[no\])?(\w+)", ours, re.MULTILINE))
    assert set(listed.values()) == {1}
    assert set(re.findall(r"^  --(?:\[no\])?(\w+)", others, re.MULTILINE)) <= of_libraries
    headings = re.findall(r"^(.*):\n  --", ours, re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert set(headings) <= HEADINGS
    assert re.findall(r"^  --(\w+) +\(required\) ", ours, re.MULTILINE) == [
        name for name in listed if name in REQUIRED[program]
    ]


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpshort"])
def test_help_in_full(flag, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = run_program("analysis.estimate", flag).stdout.splitlines()
    first = lines.index("What is read and written:")
    assert lines[first:] == [
        "What is read and written:",
        "  --store               (required) Directory of the store, or of a part of it. "
        "[can be given again]",
        "  --out                 (required) Where to write the estimates, an npz file.",
        "  --[no]allow_missing   Go on without trials that are damaged, and say which; without it, "
        "they end",
        "                        the program. [default false]",
        "",
        "What is computed:",
        "  --trials              START:STOP, to use only those; all by default.",
        "  --influence           <class|full|none>: On the test examples of the same class; full "
        "also of",
        "                        every training on every test example, a float32 matrix [n, n']; "
        "none is",
        "                        memorization only. [default class]",
        "  --estimator           <correctness|probability>: What a trial achieves on an example: 0 "
        "or 1, as",
        "                        in the paper, or the probability that it gives to the true label, "
        "which",
        "                        varies less. [default correctness]",
        "",
        "--helpfull lists the flags of logging and debugging too.",
    ]


def test_help_says_which_values_a_flag_takes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    lines = run_program("analysis.compare", "--help").stdout.splitlines()
    first = lines.index("  --out                 Where to write the figure: a .png, .pdf or")
    assert lines[first + 1 : first + 8] == [
        "                        .svg file. [can be given again]",
        "",
        "What is computed:",
        "  --max_score           Compare scores below this one too: most",
        "                        examples have nearly 1. [a number]",
        "  --mem_threshold       Lowest memorization of the training example in",
        "                        a pair, inclusive. [a number in the range [-1,",
    ]
    # All but commands, which are to be copied.
    assert all(len(line) <= 70 for line in lines if not line.startswith("    tfmem"))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("learning_rate", "base_learning_rate"),
        ("learning-rate", "base_learning_rate"),
        ("batch", "batch_size"),
        ("epoch", "epochs"),
        ("num_epochs", "epochs"),
        ("experiments", "experiment"),
        ("stroe", "store"),
        ("dir", "data_dir"),
        ("gpus", "gpus_per_trial"),
        ("random_seed", "seed"),
        ("scores", "consistency_scores"),
        ("colour", None),
        ("nonsense", None),
    ],
)
def test_the_flag_that_was_meant(name, nearest):
    own = ["experiment", "trials", "store", "data_dir", *experiments.OVERRIDES, "gpus_per_trial"]
    own += ["max_score", "consistency_scores"]
    assert usage.nearest(name, own) == nearest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("launchers.train_trials", "--experiment=digits_mlp", "--learning_rate=1"),
            "Unknown command line flag 'learning_rate': did you mean --base_learning_rate? (--",
        ),
        # absl's own flags are no guesses: --log_dir.
        (("analysis.estimate", "--lo_dir=x"), "Unknown command line flag 'lo_dir' (--help lists"),
        (("analysis.estimate", "--out=x"), "--store is required"),
        (
            ("analysis.estimate", "--influence=classes", "--store=x", "--out=x"),
            "value should be one of <class|full|none>",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(words, said):
    done = run_program(*words, check=False)
    assert_refused(done, said)
    assert done.stdout == ""
