"""Every program in a process of its own, once; and that a test's own process does as well."""

import logging as python_logging
import os
import shutil
import signal
import sys
from unittest import mock

import pytest
from absl import flags, logging

from tests.programs import ROOT, run_process, run_program, run_together

# Those that train, evaluate, the demo and the benchmark are run so where their stores are made.
READING = {
    "analysis.estimate": "--store={trials} --out={out}/e.npz --influence=full",
    "analysis.select_pairs": "--estimates={estimates} --out={out}/p.npz",
    "analysis.convergence": "--store={trials}",
    "analysis.table": "--store={trials} --out={out}/t.parquet",
    "analysis.report": "--store={trials} --out={out}/r.html",
    "analysis.consistency": "--estimates_a=a={estimates} --estimates_b={estimates}",
    "analysis.consistency_scores": "--store={trials} --out={out}/s.npz",
    "analysis.last_layer": "--estimates={estimates} --last_layer={estimates}",
    "analysis.compare": "--estimates_a=a={estimates} --estimates_b={estimates}",
    "analysis.figures": "--estimates={estimates} --dataset=digits --out={out} --formats=png",
    "analysis.paper_tables": "--estimates=digits={estimates}",
    "analysis.removal": "--store={removal} --out={out}/r.png",
    "analysis.turnover": "--store={turnover} --out={out}/s.npz --figures={out} --formats=png",
    "analysis.dynamics": "--store={dynamics} --out={out}/d.png --gradients_out={out}/g.png",
    "launchers.check_store": "--store={trials} --trials=0:12",
    "launchers.import_trials": "--format=arrays --source={imported}.npz --store={out}/i",
    "launchers.compact_store": "--store={copy}",
}
PROGRAMS = [
    *READING,
    *(f"launchers.train_{name}" for name in ("trials", "last_layer", "removal", "turnover")),
    "launchers.train_dynamics",
    "launchers.evaluate",
    "launchers.benchmark",
    "launchers.demo",
]


@pytest.fixture(scope="module")
def without_tensorflow(tmp_path_factory):
    """The environment of a process where importing TensorFlow or Keras fails."""
    folder = tmp_path_factory.mktemp("absent")
    for name in ("tensorflow", "keras"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.fixture(scope="module")
def estimates(random_subsets, tmp_path_factory):
    path = tmp_path_factory.mktemp("estimates") / "estimates.npz"
    run_program("analysis.estimate", f"--store={random_subsets.store.path}", f"--out={path}")
    return path


@pytest.fixture(scope="module")
def places(random_subsets, removal_runs, turnover_models, followed_runs, imported, estimates):
    """Where there is what the programs read, by the names in `READING`."""
    made = dict(trials=random_subsets, removal=removal_runs, turnover=turnover_models)
    made |= dict(dynamics=followed_runs, imported=imported)
    return {name: one.store.path for name, one in made.items()} | {"estimates": estimates}


@pytest.mark.parametrize("program", READING)
def test_a_program_that_trains_nothing_needs_no_tensorflow(
    program, places, without_tensorflow, tmp_path
):
    copy = shutil.copytree(places["imported"], tmp_path / "copy")
    words = READING[program].format(**places, out=tmp_path / "out", copy=copy).split()
    (tmp_path / "out").mkdir()
    done = run_process(program, *words, env=without_tensorflow)
    assert "was imported" not in done.stderr
    assert done.stderr.count("Traceback") == 0


@pytest.fixture(scope="module")
def helps(without_tensorflow):
    """What each program answers to --help, all in one process without TensorFlow."""
    commands = [(program, "--help") for program in PROGRAMS]
    return dict(zip(PROGRAMS, run_together(commands, env=without_tensorflow), strict=True))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_documents_the_program_without_tensorflow(program, helps):
    done = helps[program]
    assert "was imported" not in done.stderr
    assert f"tfmem {program.partition('.')[2]}" in done.stdout
    assert "  --" in done.stdout


def test_no_program_is_forgotten():
    found = {
        f"{folder}.{path.stem}"
        for folder in ("analysis", "launchers")
        for path in (ROOT / folder).glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    }
    assert found == set(PROGRAMS)


@pytest.mark.parametrize(
    "words",
    [
        ("analysis.estimate", "--store=absent", "--out=x"),
        ("analysis.estimate", "--stor=absent"),
        ("analysis.estimate", "--help"),
        ("analysis.paper_tables",),
    ],
)
def test_a_program_does_the_same_in_both_ways(words):
    here, there = run_program(*words, check=False), run_process(*words, check=False)
    assert (here.returncode, here.stdout) == (there.returncode, there.stdout)
    assert here.stderr == there.stderr


def test_an_error_of_a_programs_own_is_a_traceback():
    with mock.patch("tfmem.store.store.Store.open", side_effect=RuntimeError("a mistake")):
        done = run_program("analysis.convergence", "--store=x", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("RuntimeError: a mistake\n")


def test_a_program_leaves_nothing_behind():
    def state():
        return (
            set(flags.FLAGS),
            flags.FLAGS.is_parsed(),
            {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)},
            dict(os.environ),
            os.getcwd(),
            list(sys.argv),
            (sys.stdout, sys.stderr),
            python_logging.getLogger().level,
            list(python_logging.getLogger().handlers),
            logging.get_verbosity(),
            list(logging.get_absl_logger().filters),
        )

    before = state()
    for words in (
        ("analysis.paper_tables",),
        ("analysis.estimate", "--nonsense"),
        ("analysis.estimate", "--help"),
        ("launchers.check_store", "--store=absent"),
    ):
        run_program(*words, check=False)
        assert state() == before
