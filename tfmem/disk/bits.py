"""Boolean matrices, eight entries to a byte: masks and correctness of thousands of trials."""

import dataclasses
import functools

import numpy as np

_BLOCK = 1024  # Rows, or bytes of a row, that are worked on at once: they fit into a cache.


def packed_length(count: int) -> int:
    """Returns how many bytes hold `count` bits."""
    return (count + 7) // 8


def pack(values: np.ndarray) -> np.ndarray:
    """Packs bool [..., count] into uint8 [..., packed_length(count)], little-endian bits."""
    return np.packbits(np.asarray(values, bool), axis=-1, bitorder="little")


def unpack(packed: np.ndarray, count: int) -> np.ndarray:
    """The inverse of `pack`: bool [..., count]."""
    return np.unpackbits(packed, axis=-1, count=count, bitorder="little").view(bool)


def count(*packed: bytes) -> int:
    """Returns how many bits are set in all of some packed rows of one length."""
    first, *others = (int.from_bytes(row, "little") for row in packed)
    for other in others:
        first &= other
    return first.bit_count()


@dataclasses.dataclass(frozen=True)
class BitMatrix:
    """A boolean matrix [rows, count], kept packed: uint8 [rows, packed_length(count)]."""

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

    def columns(self, index: np.ndarray | None = None) -> np.ndarray:
        """Returns bool [rows, len(index)]: the columns of an index array, or all."""
        if index is None:
            return unpack(self.packed, self.count)
        index = np.asarray(index)
        taken = np.take(self.packed, index >> 3, axis=1)
        taken &= np.left_shift(1, index & 7).astype(np.uint8)
        return taken != 0

    def row_sums(self) -> np.ndarray:
        """Returns int64 [rows]: how many columns are true in each row."""
        sums = [
            np.bitwise_count(self.packed[start : start + _BLOCK]).sum(axis=1, dtype=np.int64)
            for start in range(0, len(self.packed), _BLOCK)
        ]
        return np.concatenate(sums) if sums else np.zeros(0, np.int64)

    def row_means(self) -> np.ndarray:
        """Returns float64 [rows]: which share of the columns is true in each row."""
        return self.row_sums() / self.count

    def __and__(self, other: "BitMatrix") -> "BitMatrix":
        """Returns where both matrices, of one shape, are true."""
        return BitMatrix(self.packed & other.packed, self.count)

    @functools.cached_property
    def transposed(self) -> "BitMatrix":
        """The matrix with rows and columns exchanged, [count, rows]; made once and kept."""
        rows, width = self.packed.shape
        depth = packed_length(rows)
        turned = np.empty((8 * width, depth), np.uint8)
        for start in range(0, width, _BLOCK):
            part = self.packed[:, start : start + _BLOCK]
            columns = part.shape[1]
            padded = np.pad(part, ((0, 8 * depth - rows), (0, 0)))
            # Eight rows of a byte each: a tile of 8 x 8 bits is a 64-bit number.
            eights = padded.reshape(depth, 8, columns).transpose(0, 2, 1)
            tiles = _transpose_tiles(np.ascontiguousarray(eights).view("<u8")[..., 0])
            bytes_ = tiles.view(np.uint8).reshape(depth, 8 * columns)
            turned[8 * start : 8 * (start + columns)] = bytes_.T
        return BitMatrix(turned[: self.count], rows)


def _transpose_tiles(tiles: np.ndarray) -> np.ndarray:
    """Transposes tiles of 8 x 8 bits, each a uint64: its byte is the row, its bit the column.

    Squares of 1, then 2, then 4 bits a side change places across the diagonal.
    """
    for distance, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0xF0F0F0F0)):
        shift, above = np.uint64(distance), np.uint64(mask)
        moved = (tiles ^ (tiles >> shift)) & above
        tiles = tiles ^ moved ^ (moved << shift)
    return tiles
