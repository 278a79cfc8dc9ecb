"""Small JSON files that others write too, or people edit: read whole, or refused in one line."""

import functools
import json
import math
from typing import Any, NoReturn

from absl import logging
from etils import epath

from tfmem.disk import atomic

_DIGITS = 20  # No number in these files needs more.


class BadJsonError(ValueError):
    """A file that holds no JSON object, or none that can be believed; it names the file.

    Attributes:
      reason: what is wrong.
    """

    def __init__(self, path: epath.Path, reason: str):
        super().__init__(f"{path} cannot be read ({reason})")
        self.reason = reason


def read(path: epath.PathLike, max_bytes: int) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      FileNotFoundError: there is no such file.
      BadJsonError: it holds something else, more than `max_bytes`, or a number that is none.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        if reason := atomic.unreadable(path, error):
            raise BadJsonError(path, reason) from error
        raise
    try:
        if len(content) > max_bytes:
            raise ValueError(f"it has more than {max_bytes:,} bytes")
        found = json.loads(content, parse_int=_int, parse_float=_float, parse_constant=_refuse)
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
    except RecursionError as error:
        raise BadJsonError(path, "it is nested too deeply") from error
    except ValueError as error:
        raise BadJsonError(path, str(error)) from error
    return found


@functools.cache
def say_once(error: str) -> None:
    """Warns that a file is taken for absent; those who look often say it only once."""
    logging.warning("%s: it counts as if it were not there", error)


def _int(text: str) -> int:
    if len(text) > _DIGITS:
        _refuse(f"of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(text[:_DIGITS])
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"the number {text} is not expected")
