"""Trials that somebody else trained, in the formats that can be read. Adding one is a row here."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tfmem.imports import arrays, datamodels, released
from tfmem.imports.source import Source


class Format(NamedTuple):
    """One way in which trials come.

    Attributes:
      has_labels: whether a source can say which labels its examples have.
      open: takes its path; ValueError if there is no such source.
    """

    has_labels: bool
    open: Callable[[str], Source]


FORMATS: Mapping[str, Format] = {
    "arrays": Format(True, arrays.open_arrays),
    "heldout": Format(False, released.ReleasedRuns),
    "datamodels": Format(False, datamodels.open_datamodels),
}
