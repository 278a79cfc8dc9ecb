"""What a program's figures hold, read back from their artists."""

import pathlib
from typing import NamedTuple
from unittest import mock

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from analysis.plots import style
from tests.programs import run_program


class Recorded(NamedTuple):
    """The first axes of a figure.

    Attributes:
      images: pixels of each picture.
      texts: in the order they were written.
      heights: of bars and steps.
      lines: values by label.
    """

    images: list
    texts: list[str]
    heights: list[float]
    lines: dict[str, list[float]]


def recorded(program, flag, out, *words) -> tuple[dict[str, Recorded], list[str]]:
    """Returns what figures hold, by name, and the lines that the program said.

    Args:
      program: a module.
      flag: which says where the figures go.
      out: where they go; they are not written.
      *words: other flags.
    """
    found = {}

    def record(fig: Figure, path: pathlib.Path) -> None:
        found[path.stem] = _read(fig)

    with mock.patch.object(style, "save", record):
        done = run_program(program, f"{flag}={out}", *words)
    return found, done.stdout.splitlines()


def _read(fig: Figure) -> Recorded:
    ax = fig.axes[0]
    return Recorded(
        [np.asarray(image.get_array()).tolist() for image in ax.images],
        [text.get_text() for text in ax.texts],
        [float(height) for patch in ax.patches for height in _heights(patch)],
        {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in ax.lines},
    )


def _heights(patch):
    return patch.get_data().values if isinstance(patch, StepPatch) else [patch.get_height()]
