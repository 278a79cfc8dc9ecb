"""Objects from Python files of one's own: `my_recipes.py:NAME` or `package.module:NAME`."""

import contextlib
import importlib
import importlib.util
import inspect
import os
import pathlib
import re
import sys
import textwrap
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Of a terminal.
_LONGEST = 300  # Letters of what others raise, which may be pages long.


def load(text: str) -> tuple[Any, str]:
    """Returns the object that a text names, and the source of the file or module named.

    What the file imports is sought in its folder too, a module in the current folder: both after
    all that is installed.

    Args:
      text: `FILE.py:NAME` or `PACKAGE.MODULE:NAME`.

    Raises:
      ValueError: there is no such file, module or name, or it cannot be imported: one line, with
        the line of the file where it failed.
    """
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(f"{text!r} names nothing: expected FILE.py:NAME or PACKAGE.MODULE:NAME")
    module, source = _of_file(place) if _is_file(place) else _of_name(place)
    if not hasattr(module, name):
        found = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        names = [key for key, value in found.items() if not isinstance(value, types.ModuleType)]
        listed = ", ".join(names) or "no names"
        raise ValueError(f"{module.__file__} has no {name!r}: it has {listed}")
    return getattr(module, name), source


def is_own(text: str) -> bool:
    """Returns whether a text is one that `load` takes, and not a name of ours."""
    return ":" in text


def located(text: str) -> str:
    """Returns the text with its path absolute, if it has one: the same from any folder."""
    place, _, name = text.rpartition(":")
    return f"{_absolute(place)}:{name}" if _is_file(place) else text


def short(text: str) -> str:
    """Returns the text with the name of its file alone, if it has one, for titles."""
    place, _, name = text.rpartition(":")
    return f"{os.path.basename(place)}:{name}" if _is_file(place) else text


def call(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Returns what an object of one's own returns.

    Raises:
      ValueError: it raised something: one line, with the line of its file that led there.
    """
    with told_of(function):
        return function(*args, **options)


@contextlib.contextmanager
def told_of(value: Any) -> Iterator[None]:
    """Turns what is raised within into a ValueError of one line, with the line of the value's file.

    Args:
      value: a function or class of one's own, whose doing it is.
    """
    path, line = _defined(value)
    with _in_one_line(path, line):
        yield


def refused(text: str, value: Any, expected: str) -> ValueError:
    """Returns the error that what a text names is, or returned, a value of another type.

    Args:
      text: as `load` took it.
      value: of another type.
      expected: what was expected, in words.
    """
    name = text.rpartition(":")[2]
    return ValueError(f"{where(text)}: {name} gives {_described(value)}, expected {expected}")


def where(text: str) -> str:
    """Returns the file and the line of the object that a text names, as `load` took it."""
    place, _, name = text.rpartition(":")
    path = _absolute(place) if _is_file(place) else sys.modules[place].__file__ or ""
    source = importlib.util.decode_source(pathlib.Path(path).read_bytes())
    found = re.search(rf"^(?:(?:async )?def |class |from .* )?\b{name}\b", source, re.MULTILINE)
    return f"{path}, line {source[: found.start()].count(chr(10)) + 1}" if found else path


def _described(value: Any) -> str:
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or os.sep in place


def _absolute(place: str) -> str:
    return os.path.abspath(os.path.expanduser(place))


def _of_file(place: str) -> tuple[types.ModuleType, str]:
    path = pathlib.Path(_absolute(place))
    if path.suffix != ".py" or not path.is_file():
        what = "is no Python file" if path.exists() else "does not exist"
        raise ValueError(f"{place} {what}: expected a file whose name ends in .py")
    module = types.ModuleType(f"own_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # Dataclasses look for their module there.
    _search(path.parent)
    with _in_one_line(str(path)):
        source = importlib.util.decode_source(path.read_bytes())
        # Without Python's cache, which knows versions of a file by their second and size.
        exec(compile(source, str(path), "exec"), vars(module))
    return module, source


def _of_name(name: str) -> tuple[types.ModuleType, str]:
    _search(pathlib.Path.cwd())
    spec = None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # A package of it lacks something.
            raise ValueError(_told(error, "")) from error
    except (Exception, SystemExit) as error:
        raise ValueError(_told(error, "")) from error
    if spec is None:
        raise ValueError(
            f"there is no module {name!r}, neither installed nor in {pathlib.Path.cwd()}: "
            "expected FILE.py:NAME or PACKAGE.MODULE:NAME"
        )
    path = pathlib.Path(spec.origin or "")
    if path.suffix != ".py":
        raise ValueError(f"{name} has no Python source, which is kept: give a module that has")
    with _in_one_line(str(path)):
        source = importlib.util.decode_source(path.read_bytes())
        return importlib.import_module(name), source


def _search(folder: pathlib.Path) -> None:
    """Lets Python search a folder after all others: nothing in it hides what is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _defined(value: Any) -> tuple[str, int | None]:
    """Returns the file and the line where a function or class begins; "" and None of another."""
    try:
        inner = inspect.unwrap(value)
        return inspect.getsourcefile(inner) or "", inspect.getsourcelines(inner)[1]
    except (TypeError, OSError):
        return "", None


@contextlib.contextmanager
def _in_one_line(path: str, line: int | None = None) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(_told(error, path, line)) from error


def _told(error: BaseException, path: str, line: int | None = None) -> str:
    """Returns an error in one line, with the last line of a file that led to it.

    Args:
      error: what was raised.
      path: of the file; "" is the one that raised it.
      line: of the file, where none of its lines led to the error.
    """
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [frame for frame in frames if frame[0] == path or not path]
    file, number = places[-1] if places else (path, line)
    message = _COLOURS.sub("", str(error))
    if isinstance(error, SyntaxError) and error.filename:
        file, number, message = error.filename, error.lineno, error.msg
    place = f"{file}, line {number}" if number else file
    return f"{place}: {type(error).__name__}: {textwrap.shorten(message, _LONGEST)}"
