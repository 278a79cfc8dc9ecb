import dataclasses
import sys

import pytest

from tfmem import own


@pytest.fixture(autouse=True)
def python_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, code, name="mine.py"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    return path


def refusal(function, *args, **options):
    """Returns the one line that a call is refused with."""
    with pytest.raises(ValueError, match=r"^.*$") as caught:
        function(*args, **options)
    return str(caught.value)


def test_a_file_and_what_lies_beside_it(tmp_path, monkeypatch):
    write(tmp_path, "SIZE = 5\n", "own_sizes_test.py")
    code = "from __future__ import annotations\nimport dataclasses, own_sizes_test\n"
    code += "@dataclasses.dataclass\nclass Thing:\n    size: int = own_sizes_test.SIZE\n"
    path = write(tmp_path, code)
    thing, source = own.load(f"{path}:Thing")
    assert (dataclasses.asdict(thing()), source) == ({"size": 5}, code)
    monkeypatch.chdir(tmp_path)
    assert own.located("mine.py:Thing") == f"{path}:Thing"
    assert own.short(f"{path}:Thing") == "mine.py:Thing"
    assert own.load("mine.py:Thing")[1] == code
    # Another version of the file is another object.
    for value in (7, 8):
        write(tmp_path, f"Thing = {value}\n")
        assert own.load("mine.py:Thing") == (value, f"Thing = {value}\n")


def test_a_module_of_a_package_in_the_current_folder(tmp_path, monkeypatch):
    write(tmp_path, "", "own_package_test/__init__.py")
    write(tmp_path, "def build():\n    return 3\n", "own_package_test/models.py")
    monkeypatch.chdir(tmp_path)
    build, source = own.load("own_package_test.models:build")
    assert (build(), source) == (3, "def build():\n    return 3\n")
    for same in (own.located, own.short):
        assert same("own_package_test.models:build") == "own_package_test.models:build"
    assert own.short("linear on the features of a:b") == "linear on the features of a:b"


def test_nothing_in_the_folder_hides_what_is_installed(tmp_path):
    write(tmp_path, "raise RuntimeError", "textwrap.py")
    path = write(tmp_path, "import textwrap\nshorten = textwrap.shorten\n")
    assert own.load(f"{path}:shorten")[0]("a  b", 5) == "a b"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\nimport nowhere_at_all\n", "line 2: ModuleNotFoundError: No module named 'nowhe"),
        ("x = 1\ny = (\n", "line 2: SyntaxError: '(' was never closed"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('two\\nlines')\n", "line 2: SystemExit: two lines"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: Expecting property name"),
        ("import json\nother = 1\n_own = 2", " has no 'build': it has other"),
        ("", " has no 'build': it has no names"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_with_the_file_and_the_line(code, words, tmp_path):
    path = write(tmp_path, code)
    message = refusal(own.load, f"{path}:build")
    assert message.startswith((f"{path}, {words}", f"{path}{words}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("build", "'build' names nothing: expected FILE.py:NAME or PACKAGE.MODULE:NAME"),
        (":build", "':build' names nothing"),
        ("mine.py:", "'mine.py:' names nothing"),
        ("nowhere.py:build", "nowhere.py does not exist: expected a file whose name ends in .py"),
        ("some/where:build", "some/where does not exist: expected a file whose name ends"),
        ("own_nowhere_test:build", "there is no module 'own_nowhere_test', neither installed nor"),
        ("own_nowhere_test.part:build", "there is no module 'own_nowhere_test.part'"),
        ("json.part:build", "there is no module 'json.part'"),
        ("itertools:chain", "itertools has no Python source, which is kept: give a module"),
    ],
)
def test_what_is_not_there(text, words):
    assert refusal(own.load, text).startswith(words)


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    path = write(tmp_path, "\nimport nowhere_at_all\n", "own_broken_test/__init__.py")
    write(tmp_path, "", "own_broken_test/part.py")
    monkeypatch.chdir(tmp_path)
    for name in ("own_broken_test", "own_broken_test.part"):
        with pytest.raises(ValueError, match="ModuleNotFoundError") as caught:
            own.load(f"{name}:build")
        assert str(caught.value).startswith(f"{path}, line 2: ModuleNotFoundError")


def test_what_is_called_fails_with_its_own_line(tmp_path):
    code = "import json\n\ndef deep():\n    json.loads('{')\n\ndef build(x):\n    deep()\n"
    code += "    raise ValueError('a' * 9 + ' b' * 300)\n"
    path = write(tmp_path, code)
    build, _ = own.load(f"{path}:build")
    assert refusal(own.call, build, 1).startswith(f"{path}, line 4: JSONDecodeError: Expecting")
    # What the call itself is refused for.
    message = refusal(own.call, build, 1, colour=2)
    assert message.startswith(f"{path}, line 6: TypeError: build() got an unexpected")
    path.write_text(code.replace("    deep()\n", "\n"))
    message = refusal(own.call, own.load(f"{path}:build")[0], 1)
    assert message.startswith(f"{path}, line 8: ValueError: aaaaaaaaa b b")
    assert len(message) < 350 + len(str(path))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("build", None, "line 3: build gives None, expected a model"),
        ("Net", int, "line 1: Net gives a type, expected a model"),
        ("other", 3, "line 5: other gives an int, expected a model"),
    ],
)
def test_what_is_of_another_type(name, value, words, tmp_path):
    code = "from os import PathLike as Net\n\ndef build():\n    other = 3\nother = 3\n"
    path = write(tmp_path, code)
    own.load(f"{path}:{name}")
    assert str(own.refused(f"{path}:{name}", value, "a model")) == f"{path}, {words}"
