"""Trials that somebody else trained, in the formats that can be read. Adding one is a row here."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tfmem.imports import matrices, released
from tfmem.imports.source import Source


class Format(NamedTuple):
    """One way in which trials come.

    Attributes:
      has_labels: whether a source says which labels its examples have.
      open: takes its path; ValueError if there is no such source.
    """

    has_labels: bool
    open: Callable[[str], Source]


FORMATS: Mapping[str, Format] = {
    "arrays": Format(True, matrices.open_arrays),
    "heldout": Format(False, released.ReleasedRuns),
    "datamodels": Format(False, matrices.open_datamodels),
}
