"""What a store that cannot be used says: what is wrong, and what mends it."""

from collections.abc import Mapping, Sequence


class StoreError(ValueError):
    """A store that cannot be used as asked; in one line, `what` and `mend`.

    Attributes:
      what: what is wrong.
      mend: what mends it; "" if nothing does.
    """

    def __init__(self, what: str, mend: str = ""):
        super().__init__(what, mend)
        self.what, self.mend = what, mend

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.what, self.mend)))


class DamagedFileError(StoreError):
    """A file that is not what was written; `what` names it."""


class DamagedArchiveError(DamagedFileError):
    """An archive that is damaged as a file; `unreached` are the trials that it may have lost."""

    def __init__(self, what: str, mend: str, unreached: Sequence[int]):
        super().__init__(what, mend)
        self.unreached = unreached


class OtherTrialError(DamagedFileError):
    """A trial that is whole, but was made with another config or dataset than its store's."""


def told_apart(
    found: Mapping[int, DamagedFileError],
) -> tuple[dict[int, DamagedFileError], list[int]]:
    """Returns which of the trials that cannot be used are damaged, and which of another config."""
    others = [number for number, error in found.items() if isinstance(error, OtherTrialError)]
    damaged = {n: error for n, error in found.items() if not isinstance(error, OtherTrialError)}
    return damaged, others


class UnreadableError(ValueError):
    """A file that is there, and cannot be read: it says why."""


def reason(error: Exception) -> str:
    """Returns what an error in reading a file says, in words."""
    return f"lacks {error}" if isinstance(error, KeyError) else str(error)
