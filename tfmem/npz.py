"""npz files: whole or absent, no pickles, one clear line when one is not what it should be."""

import contextlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from etils import epath

from tfmem import atomic


def write_npz(
    path: epath.PathLike,
    arrays: Mapping[str, np.ndarray],
    blocks: Mapping[str, tuple[tuple[int, ...], Iterable[np.ndarray]]] | None = None,
) -> None:
    """Writes an npz file, atomically.

    Args:
      path: where.
      arrays: by name.
      blocks: float32 arrays too large for memory, by name: their shape, and their rows in blocks.
    """
    with atomic.replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        for name, (shape, parts) in (blocks or {}).items():
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_2_0(member, header)
                for part in parts:
                    member.write(np.ascontiguousarray(part, "<f4").data)


@contextlib.contextmanager
def open_npz(path: epath.PathLike, required: Iterable[str] = ()) -> Iterator[np.lib.npyio.NpzFile]:
    """Opens an npz file without pickles.

    Args:
      path: where it is, on any file system that `etils.epath` knows.
      required: names of the arrays that it must have.

    Raises:
      ValueError: it is absent, not an npz file, damaged, lacks a required array, or an array that
        is read from it holds pickled objects.
    """
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"{path} is not an npz file ({error})") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} is a single array, expected an npz file")
        missing = [name for name in required if name not in archive.files]
        if missing:
            raise ValueError(
                f"{path} lacks {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}"
            )
        try:
            yield archive
        except (zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"{path} is damaged ({error})") from error
