"""Interrupting a trial right after one of its checkpoints, and programs at any moment."""

import signal
import subprocess
import sys
import time

from tests.conftest import ROOT
from tfmem.training.checkpoints import Checkpoints


class Interrupted(BaseException):
    """What stops the training; like an interruption, and unlike an error, nothing catches it."""


class InterruptingCheckpoints(Checkpoints):
    """Saves at the end of every epoch and stops the training after some of them."""

    def __init__(self, folder, after, digest="digest"):
        super().__init__(folder, digest, every_seconds=0)
        self._left = after

    def save(self, trial, checkpoint):
        super().save(trial, checkpoint)
        self._left -= 1
        if not self._left:
            raise Interrupted


def kill_when(words, moment) -> None:
    """Runs a program, `python -m` and the words, and kills it by SIGKILL at a moment.

    Args:
      words: the module and its flags.
      moment: returns whether it has come.
    """
    command = [sys.executable, "-m", *words]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not moment():
        assert process.poll() is None, "the program ended before the moment came"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
