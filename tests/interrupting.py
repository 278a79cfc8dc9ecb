"""Interrupting a trial right after one of its checkpoints, and what changes a disk anywhere."""

import contextlib
import dataclasses
import itertools
import os
import time

import pytest
from etils import epath
from etils.epath import backend

from tests.programs import run_program
from tfmem.disk import processes
from tfmem.training.checkpoints import Checkpoints
from tfmem.workers import claims

# All that a program does to a disk, but for writing into files that are open.
_CHANGES = [
    *((backend._OsPathBackend, name) for name in ("makedirs", "mkdir", "rmtree", "remove")),
    *((backend._OsPathBackend, name) for name in ("open", "rename", "replace")),
    *((os, name) for name in ("link", "fsync")),
]


class _Killed(BaseException):
    pass


def kill_everywhere(begin, run, then) -> int:
    """Kills `run` right before each change that it makes to the disk, one after the other.

    Args:
      begin: makes what is changed, anew each time, and returns it.
      run: changes it.
      then: called with it when `run` was killed, and when it ended.

    Returns:
      How many changes there are.
    """
    for change in itertools.count():
        changed = begin()
        try:
            with _dying(_after(change)):
                run(changed)
        except _Killed:
            then(changed)
        else:
            then(changed)
            return change


def kill_at_checkpoint(words, number) -> None:
    """Runs a program in this process and kills it right after a trial's first checkpoint.

    Args:
      words: the module and its flags.
      number: of the trial.
    """
    dead = []
    save = Checkpoints.save

    def last(self, trial, checkpoint):
        save(self, trial, checkpoint)
        if trial == number:
            dead.append(trial)
            raise _Killed

    with _dying(lambda: dead), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", last)
        with pytest.raises(_Killed):
            run_program(*words)


def _after(changes):
    """Returns what is true when it has been asked more often than that."""
    made = itertools.count()
    return lambda: next(made) >= changes


@contextlib.contextmanager
def _dying(is_dead):
    """Lets this process change no disk once it is dead, and pass for one that has ended then."""
    ended = dataclasses.replace(processes.current(), pid=2**22 + 1)

    def killing(function):
        def called(*args, **kwargs):
            if function.__name__ == "open" and args[-1].startswith("r"):
                return function(*args, **kwargs)
            if is_dead():
                raise _Killed
            return function(*args, **kwargs)

        return called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "current", lambda: ended)
        for where, name in _CHANGES:
            patch.setattr(where, name, killing(getattr(where, name)))
        yield


def claimed_elsewhere(store, trial, seconds_ago):
    """Writes another machine's claim on a trial, last renewed so long ago; returns its path."""
    path = epath.Path(store) / claims.FOLDER / f"trial-{trial:06d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    process = processes.Process("another", 5, 7)
    path.write_bytes(claims.Claim(trial, process, "0" * 32, "theirs", 0.5).encode())
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


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
