"""Where the trials of a store are: in files of their own, or in archives."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping

from tfmem.store.archives import Archive

TRIAL_NAME = re.compile(r"trial-(\d{6,})\.tfrecord")


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the trials of a store are.

    Attributes:
      loose: those with a file of their own, which is read.
      archived: by trial, the archive that is read if it is not loose.
      archives: all of them, by name.
    """

    loose: set[int]
    archived: Mapping[int, Archive]
    archives: list[Archive]

    def times_archived(self) -> Counter[int]:
        """Returns in how many archives each trial is."""
        return Counter(trial for archive in self.archives for trial in archive.parts)


def about_archive(archive: Archive) -> str:
    """Says that an archive is damaged, and what is left of it."""
    count = len(archive.parts)
    found = "1 trial is" if count == 1 else f"{count:,} trials are"
    return f"{archive.path} is damaged ({archive.problem}): {found} found in it"
