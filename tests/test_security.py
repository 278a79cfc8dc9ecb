"""What is never done: shells, pickles, and commands or paths that somebody else's text decides."""

import ast
import shlex

import pytest

from tests.conftest import ROOT
from tfmem.store.store import Store

_PACKAGES = ("tfmem", "launchers", "analysis")
_NEVER_IMPORTED = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Files of one's own, which their user names, are run; nothing else is.
_RUNS_FILES = ("own.py", "exec")
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
            if (path.name, name) != _RUNS_FILES:
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
def test_a_printed_command_is_one_command_whatever_is_in_it(text, tmp_path, tiny, tiny_config):
    """check_store prints it, and people paste it into a shell."""
    store = Store.create(tmp_path / text, tiny_config, tiny, ["train_trials", f"--dataset={text}"])
    words = shlex.split(Store.open(store.path).command(3, 5))
    assert words == [
        *("tfmem", "train_trials", f"--dataset={text}"),
        *(f"--store={tmp_path / text}", "--trials=3:5"),
    ]
