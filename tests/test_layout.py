"""What may import what, and what the library may not do (WORKSPACE.md)."""

import ast
import functools
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

PACKAGES = ("tfmem", "launchers", "analysis")
# A package may import itself and what stands behind it. Of its parts that are not named, such as
# tfmem/config.py, the row of the whole package holds; the longest name that fits counts.
MAY_IMPORT = {
    "tfmem": ("tfmem",),
    "tfmem.words": (),
    "tfmem.recipe": ("tfmem.own",),
    "tfmem.config": ("tfmem.recipe",),
    "tfmem.seeds": (),
    "tfmem.own": (),
    "tfmem.subsets": ("tfmem.config", "tfmem.recipe", "tfmem.seeds"),
    "tfmem.experiments": ("tfmem.config", "tfmem.recipe", "tfmem.own", "tfmem.words"),
    "tfmem.quiet": (),
    "tfmem.disk": (),
    "tfmem.datasets": (
        *("tfmem.disk", "tfmem.config", "tfmem.recipe"),
        *("tfmem.quiet", "tfmem.seeds", "tfmem.words"),
    ),
    "tfmem.models": ("tfmem.config", "tfmem.recipe", "tfmem.own", "tfmem.seeds", "tfmem.words"),
    "tfmem.store": (
        "tfmem.disk",
        "tfmem.datasets",
        "tfmem.models",  # Networks in files are made of them.
        "tfmem.config",
        "tfmem.recipe",
        "tfmem.experiments",
        "tfmem.words",
    ),
    "tfmem.imports": (
        *("tfmem.disk", "tfmem.datasets", "tfmem.store"),
        *("tfmem.config", "tfmem.recipe", "tfmem.experiments", "tfmem.words"),
    ),
    "tfmem.training": (
        *("tfmem.disk", "tfmem.datasets", "tfmem.models", "tfmem.store"),
        *("tfmem.config", "tfmem.recipe", "tfmem.experiments"),
        *("tfmem.quiet", "tfmem.seeds", "tfmem.subsets"),
        "tfmem.words",
    ),
    "tfmem.workers": (
        *("tfmem.disk", "tfmem.datasets", "tfmem.store", "tfmem.training"),
        *("tfmem.config", "tfmem.recipe", "tfmem.words"),
    ),
    "analysis": (
        *("analysis", "tfmem.disk", "tfmem.datasets", "tfmem.store"),
        *("tfmem.config", "tfmem.recipe", "tfmem.experiments"),
        *("tfmem.quiet", "tfmem.seeds", "tfmem.words"),
        "tfmem.own",
    ),
    "launchers": ("launchers", "analysis", "tfmem"),
}
# The floors of analysis, from the lowest: a floor may import those before it.
FLOORS = (
    ("analysis.cli",),
    ("analysis.estimates",),
    ("analysis.measures",),
    ("analysis.plots",),
    ("analysis.page", "analysis.paper", "analysis.notebook"),
)
WITHOUT_FLAGS = ("tfmem",)
WITHOUT_TENSORFLOW = (
    "tfmem.disk",
    "tfmem.store",
    "tfmem.datasets",
    "tfmem.config",
    "tfmem.recipe",
    "tfmem.seeds",
)


class Module(NamedTuple):
    """A module of ours.

    Attributes:
      tree: its code.
      imports: full names of what it imports: modules, and names in them.
    """

    tree: ast.Module
    imports: set[str]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def modules(*places):
    found = {}
    for place in places:
        for path in sorted((ROOT / place).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text())
            found[name] = Module(tree, set(imported(tree)))
    return found


def ours(module):
    """Returns the modules of ours that a module imports."""
    known = modules(*PACKAGES)
    found = (name if name in known else name.rpartition(".")[0] for name in module.imports)
    return {name for name in found if name in known}


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def programs():
    """Returns the modules of the files that lie directly in launchers/ and analysis/."""
    return {
        f"{package}.{path.stem}"
        for package in ("launchers", "analysis")
        for path in (ROOT / package).glob("*.py")
        if path.stem != "__init__"
    }


def test_nobody_imports_a_program():
    """A program is flags, one call and printed words; what is worth importing lies in a package."""
    assert len(programs()) == 25
    for name, module in modules(*PACKAGES, "tests").items():
        found = {
            imported
            for imported in module.imports
            for program in programs()
            if within(imported, program)
        }
        assert not found, (
            f"{name} imports {', '.join(sorted(found))}, which is a program: move what it needs "
            "into a package, such as analysis/measures or launchers/cli"
        )


def test_no_circle_of_imports():
    left = {name: ours(module) - {name} for name, module in modules(*PACKAGES).items()}
    while left:
        free = {name for name, needed in left.items() if not needed & left.keys()}
        assert free, f"these import each other in a circle: {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in free}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    assert package in modules(*PACKAGES)
    for name, module in modules(*PACKAGES).items():
        if max((row for row in MAY_IMPORT if within(name, row)), key=len) != package:
            continue
        for needed in ours(module):
            allowed = (package, *MAY_IMPORT[package])
            assert any(within(needed, other) for other in allowed), f"{name} imports {needed}"


@pytest.mark.parametrize("height", range(len(FLOORS)))
def test_the_floors_of_analysis(height):
    above = [package for floor in FLOORS[height + 1 :] for package in floor]
    beside = FLOORS[height]
    assert modules("analysis").keys() >= {*above, *beside}
    for name, module in modules("analysis").items():
        for package in beside:
            if within(name, package):
                others = [*above, *(other for other in beside if other != package)]
                for needed in ours(module):
                    assert not any(within(needed, o) for o in others), f"{name} imports {needed}"


def test_tests_are_imported_by_tests_alone():
    for name, module in modules(*PACKAGES).items():
        assert not [found for found in module.imports if within(found, "tests")], name


@pytest.mark.parametrize("package", WITHOUT_FLAGS)
def test_the_library_reads_no_flags_and_does_not_print(package):
    for name, module in modules(package).items():
        assert not module.imports & {"absl.flags", "absl.app"}, name
        calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
        assert not [call for call in calls if getattr(call.func, "id", None) == "print"], name


@pytest.mark.parametrize("package", WITHOUT_TENSORFLOW)
def test_what_needs_no_tensorflow_does_not_import_it_at_once(package):
    assert package in modules("tfmem")
    for name, module in modules("tfmem").items():
        if within(name, package):
            statements = (ast.Import, ast.ImportFrom)
            at_once = [node for node in module.tree.body if isinstance(node, statements)]
            found = {word.partition(".")[0] for node in at_once for word in imported(node)}
            assert not found & {"tensorflow", "keras", "PIL"}, name
