"""Imports point one way, and the library neither prints nor reads flags (WORKSPACE.md)."""

import ast

import pytest

from tests.conftest import ROOT

TRAINING = {"tfmem.pipeline", "tfmem.training", "tfmem.engine", "tfmem.models", "tfmem.schedules"}
# What modules under the first may not import, by prefix.
FORBIDDEN = {
    "tfmem": {"launchers", "analysis", "absl.flags", "absl.app", "tests"},
    "analysis": {"launchers", "tests", *TRAINING},
    "launchers": {"tests"},
    "tfmem/store.py": {"tensorflow", "keras", *TRAINING},
    "tfmem/config.py": {"tfmem", "numpy", "tensorflow", "keras"},
    "tfmem/seeds.py": {"tfmem", "tensorflow", "keras"},
}


def modules(place):
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_point_one_way(place):
    for path in modules(place):
        for name in imported(ast.parse(path.read_text())):
            for forbidden in FORBIDDEN[place]:
                assert name != forbidden, path
                assert not name.startswith(forbidden + "."), path


def test_the_library_does_not_print():
    for path in modules("tfmem"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        assert not [call for call in calls if getattr(call.func, "id", None) == "print"], path
