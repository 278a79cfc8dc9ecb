"""Boolean matrices, eight entries to a byte: masks and correctness of thousands of trials."""

import dataclasses

import numpy as np


def packed_length(count: int) -> int:
    """Returns how many bytes hold `count` bits."""
    return (count + 7) // 8


def pack(values: np.ndarray) -> np.ndarray:
    """Packs bool [..., count] into uint8 [..., packed_length(count)], little-endian bits."""
    return np.packbits(np.asarray(values, bool), axis=-1, bitorder="little")


def unpack(packed: np.ndarray, count: int) -> np.ndarray:
    """The inverse of `pack`: bool [..., count]."""
    return np.unpackbits(packed, axis=-1, count=count, bitorder="little").view(bool)


@dataclasses.dataclass(frozen=True)
class BitMatrix:
    """A boolean matrix [rows, count], kept packed.

    Attributes:
      packed: uint8 [rows, packed_length(count)], little-endian bits.
      count: the number of columns.
    """

    packed: np.ndarray
    count: int

    @classmethod
    def from_bool(cls, values: np.ndarray) -> "BitMatrix":
        return cls(pack(values), np.asarray(values).shape[-1])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.packed), self.count

    def rows(self, index) -> "BitMatrix":
        """Returns the chosen rows, an index array or slice, still packed."""
        return BitMatrix(self.packed[index], self.count)

    def columns(self, index: np.ndarray | slice | None = None) -> np.ndarray:
        """Returns bool [rows, len(index)]: the columns of an index array or slice, or all."""
        if index is None:
            return unpack(self.packed, self.count)
        if isinstance(index, slice):
            start, stop, _ = index.indices(self.count)
            first = start // 8
            part = self.packed[:, first : packed_length(stop)]
            return unpack(part, stop - 8 * first)[:, start - 8 * first :]
        index = np.asarray(index)
        taken = np.take(self.packed, index >> 3, axis=1)
        taken &= np.left_shift(1, index & 7).astype(np.uint8)
        return taken != 0

    def column_sums(self) -> np.ndarray:
        """Returns int64 [count]: how many rows are true in each column."""
        sums = np.zeros(self.count, np.int64)
        for block in range(0, len(self.packed), 128):
            rows = unpack(self.packed[block : block + 128], self.count)
            sums += rows.sum(axis=0, dtype=np.int64)
        return sums
