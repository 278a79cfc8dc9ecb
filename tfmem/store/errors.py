"""What a store that cannot be used says: what is wrong, and what mends it."""


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
