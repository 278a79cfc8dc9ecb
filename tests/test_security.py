"""What is never done: shells, pickles, and commands or paths that somebody else's text decides."""

import ast
import dataclasses
import shlex

import pytest

from tests.conftest import ROOT
from tfmem import experiments
from tfmem.config import ImportConfig

_PACKAGES = ("tfmem", "launchers", "analysis")
_NEVER_IMPORTED = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_NEVER_CALLED = {"eval", "exec", "system", "popen", "getoutput", "getstatusoutput", "extractall"}


def nodes():
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                yield path, node


def test_no_pickles_and_no_shells():
    calls = 0
    for path, node in nodes():
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & _NEVER_IMPORTED, path
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] not in _NEVER_IMPORTED, path
        elif isinstance(node, ast.Call):
            calls += 1
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert name not in _NEVER_CALLED, (path, node.lineno)
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            assert "shell" not in given, (path, node.lineno)
            if "allow_pickle" in given:
                assert given["allow_pickle"].value is False, (path, node.lineno)
            if name == "load" and getattr(node.func, "value", None):
                # np.load refuses pickles by default; what else is called load is our own.
                assert ast.unparse(node.func) != "np.load" or "allow_pickle" in given, path
    assert calls > 1000


HOSTILE = ["x; rm -rf ~", "$(id)", "`id`", "a b", "'; id #", "--seed=1", "x\ny", "*"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_printed_command_is_one_command_whatever_is_in_it(text):
    """check_store prints it, and people paste it into a shell."""
    config = dataclasses.replace(
        experiments.get("digits_mlp"), dataset=f"npz:{text}", model_options={"hidden": [3]}
    )
    words = shlex.split(experiments.completion_command(config, text, 3, 5))
    assert words == [
        "python",
        "-m",
        "launchers.train_trials",
        "--experiment=digits_mlp",
        f"--store={text}",
        "--trials=3:5",
        f"--dataset=npz:{text}",
        '--model_options={"hidden": [3]}',
    ]
    imported = ImportConfig("arrays", text, "", text, 1, text)
    words = shlex.split(experiments.completion_command(imported, text, 0, 1))
    assert words[3:] == [
        "--format=arrays",
        f"--source={text}",
        f"--dataset={text}",
        f"--labels={text}",
        f"--store={text}",
    ]
