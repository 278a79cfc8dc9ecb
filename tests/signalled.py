"""A program that gets a signal in its own midst, at the same moment on any machine.

python -m tests.signalled SIGNAL MODULE:NAME TIMES PROGRAM [FLAG ...]
"""

import functools
import inspect
import itertools
import os
import pkgutil
import runpy
import signal
import sys

from tests import forked
from tests.programs import Finished


def words(program, number: int, call: str, times: int = 1) -> list:
    """Returns the module and the flags of a program that gets a signal.

    Args:
      program: its module and its flags.
      number: of the signal.
      call: the function or method, MODULE:NAME, after whose call the signal comes.
      times: after which of its calls.
    """
    return ["tests.signalled", int(number), call, times, *program]


def run(program, number: int, call: str, times: int = 1) -> Finished:
    """Runs `python -m` with such words in a process of its own; see `words`."""
    return forked.run("-m", *words(program, number, call, times), check=False)


def kill(program, call: str, times: int = 1) -> None:
    """Runs a program that gets SIGKILL; see `words`."""
    done = run(program, signal.SIGKILL, call, times)
    assert done.returncode == -signal.SIGKILL, done.stderr


def main(number, call, times, program, *flags) -> None:
    module, _, path = call.partition(":")
    *owners, name = path.split(".")
    owner = pkgutil.resolve_name(f"{module}:{'.'.join(owners)}")
    function = getattr(owner, name)
    calls = itertools.count(1)

    @functools.wraps(function)
    def called(*args, **kwargs):
        result = function(*args, **kwargs)
        if next(calls) == int(times):
            os.kill(os.getpid(), int(number))
        return result

    setattr(owner, name, called if inspect.isfunction(function) else staticmethod(called))
    sys.argv = [program, *flags]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
