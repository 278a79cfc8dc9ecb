"""The command `tfmem`: runs a program by its name, and lists what there is."""

import ast
import importlib
import pathlib
import re
import runpy
import sys
from collections.abc import Mapping

import tfmem
from tfmem import words

_ROOT = pathlib.Path(__file__).parents[2]
_JOBS: Mapping[str, tuple[str, ...]] = {
    "Start here": ("launchers.demo",),
    "Train trials": (
        "launchers.train_trials",
        "launchers.train_last_layer",
        "launchers.train_removal",
        "launchers.train_turnover",
        "launchers.train_dynamics",
    ),
    "Look after a store": (
        "launchers.check_store",
        "launchers.compact_store",
        "launchers.import_trials",
        "launchers.evaluate",
    ),
    "Estimate": ("analysis.estimate", "analysis.select_pairs", "analysis.convergence"),
    "Compare and judge": (
        "analysis.consistency",
        "analysis.compare",
        "analysis.consistency_scores",
        "analysis.last_layer",
        "analysis.removal",
        "analysis.turnover",
        "analysis.dynamics",
    ),
    "Figures, tables, pages": (
        "analysis.table",
        "analysis.figures",
        "analysis.paper_tables",
        "analysis.report",
    ),
    "Speed": ("launchers.benchmark",),
}
PROGRAMS = {module.partition(".")[2]: module for modules in _JOBS.values() for module in modules}
_EXPERIMENTS = "experiments"
_USAGE = (
    (
        "tfmem NAME --FLAG=VALUE",
        "runs a program, as python -m launchers.NAME or python -m analysis.NAME does",
    ),
    ("tfmem NAME --help", "says what it does and lists its flags"),
    (f"tfmem {_EXPERIMENTS}", "lists the experiments, and what each cost in the paper"),
    ("tfmem --version", "says which version this is"),
)


def main() -> None:
    """Runs what the command line asks for; a wrong word is one line, and exit code 2."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    _import_ours()
    if name in PROGRAMS:
        del sys.argv[0]
        runpy.run_module(PROGRAMS[name], run_name="__main__", alter_sys=True)
        return
    own = {"--help": listing, "-h": listing, "--version": versions, _EXPERIMENTS: experiments}
    from analysis.cli import output

    output.steady()
    try:
        if name not in own:
            words.lookup({**PROGRAMS, _EXPERIMENTS: ""}, name, "program")
        if len(sys.argv) > 2:
            raise ValueError(f"unexpected argument {sys.argv[2]!r}: tfmem {name} takes none")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(own[name]())


def listing() -> str:
    """Returns the programs by what they are for, each with the first line of its docstring."""
    parts = [f"tfmem {tfmem.__version__}: what neural networks memorize, and what that is worth"]
    parts.append(words.table(_USAGE, left=2))
    width = max(map(len, PROGRAMS))
    for job, modules in _JOBS.items():
        names = [module.partition(".")[2] for module in modules]
        lines = [f"  {name:{width}}  {_summary(PROGRAMS[name])}" for name in names]
        parts.append("\n".join([f"{job}:", *lines]))
    return "\n\n".join(parts)


def versions() -> str:
    """Returns the versions of this, of Python and of TensorFlow."""
    from importlib import metadata

    found = [f"tfmem {tfmem.__version__}", f"Python {sys.version.partition(' ')[0]}"]
    for name in ("TensorFlow", "Keras"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed")
    return ", ".join(found)


def experiments() -> str:
    """Returns a table of the experiments."""
    from tfmem import experiments

    rows = [("experiment", "dataset", "model", "trials", "cost in the paper")]
    for name, config in experiments.EXPERIMENTS.items():
        cost = experiments.paper_cost(config) or "-"
        rows.append((name, config.dataset, config.model, f"{config.num_trials:,}", cost))
    return words.table(rows, left=5)


def _summary(module: str) -> str:
    """Returns the first line of a program's docstring, without sections and years in brackets.

    The program is not imported.
    """
    code = (_ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
    line = (ast.get_docstring(ast.parse(code)) or "").partition("\n")[0]
    return re.sub(r" \([^()]*\)", "", line)


def _import_ours() -> None:
    """Imports our packages from where this one lies, whatever else is called so on the path."""
    sys.path.insert(0, str(_ROOT))
    importlib.import_module("analysis")
    sys.path.remove(str(_ROOT))
