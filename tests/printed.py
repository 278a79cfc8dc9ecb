"""Commands that programs print, run as a reader would."""

import pathlib
import re
import shlex

from tests.conftest import run_program


def check_store(path, *flags, check=True):
    return run_program("launchers.check_store", f"--store={path}", *flags, check=check)


def follow(path, made_by=()):
    """Does what check_store says, again and again, until it says that the store is sound.

    Args:
      path: of the store.
      made_by: the words that made it, where it is said that what made it makes a file again.

    Returns:
      The lines that were said meanwhile.
    """
    said = []
    for _ in range(5):
        done = check_store(path, check=False)
        if done.returncode == 0:
            return said
        lines = (done.stdout + done.stderr).splitlines()
        said += lines
        advice = next(line for line in lines if "run: " in line or "move it aside" in line)
        if "or move it aside" in advice:
            wrong = pathlib.Path(re.search(r"\S+/(experiment\.json|dataset\.tfrecord)", advice)[0])
            wrong.rename(wrong.with_suffix(".aside"))
        command = advice.partition("run: ")[2]
        if not command or run_printed(command, check=False).returncode == 2:
            run_program(*made_by, f"--store={path}")
    raise AssertionError(f"the advice has no end: {said}")


def run_printed(command, check=True):
    """Runs a command that a program printed, `tfmem NAME --flags`; returns the finished process."""
    tfmem, name, *flags = shlex.split(command)
    assert tfmem == "tfmem"
    return run_program(f"launchers.{name}", *flags, check=check)
