"""Commands that programs print, run as a reader would."""

import shlex

from tests.conftest import run_program


def run_printed(command, check=True):
    """Runs a command that a program printed, `tfmem NAME --flags`; returns the finished process."""
    tfmem, name, *flags = shlex.split(command)
    assert tfmem == "tfmem"
    return run_program(f"launchers.{name}", *flags, check=check)
