"""Interrupting a trial right after one of its checkpoints."""

from tfmem.training.checkpoints import Checkpoints


class Interrupted(Exception):
    """What stops the training."""


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
