"""What a program's figures hold, read back from their artists."""

import json
import subprocess
import sys
from typing import NamedTuple

from tests.conftest import ROOT

# Runs the program, with what it would save written as numbers into a file beside it.
_CODE = """
import json, runpy, sys
import numpy as np
from matplotlib.patches import StepPatch
from analysis.plots import style

def heights(patch):
    return patch.get_data().values if isinstance(patch, StepPatch) else [patch.get_height()]

def record(fig, path):
    ax = fig.axes[0]
    found = [
        [np.asarray(image.get_array()).tolist() for image in ax.images],
        [text.get_text() for text in ax.texts],
        [float(height) for patch in ax.patches for height in heights(patch)],
        {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in ax.lines},
    ]
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(found))

style.save = record
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


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


def recorded(program, flag, out, *words, before="") -> tuple[dict[str, Recorded], list[str]]:
    """Returns what figures hold, by name, and the lines that the program said.

    Args:
      program: a module.
      flag: which says where the figures go.
      out: where they go.
      *words: other flags.
      before: code that runs before the program.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{_CODE}", program, f"{flag}={out}", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = {path.stem: Recorded(*json.loads(path.read_text())) for path in out.glob("*.json")}
    return found, done.stdout.splitlines()
