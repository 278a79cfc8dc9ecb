"""A folder of images: PATH/train/CLASS/FILE and PATH/test/CLASS/FILE, one folder a class."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from etils import epath
from PIL import Image

from tfmem.datasets import base, images

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_GREY = ("1", "L", "LA", "La")
_WIDE = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclasses.dataclass(frozen=True)
class _File:
    id: str
    path: epath.Path
    label: int


def load(path: str, image_size: int | None = None) -> base.ArrayDataset:
    """Returns the images of a folder.

    Classes are the sorted names of the folders in PATH/train; PATH/test may lack some of them. Ids
    are `train/CLASS/FILE`, in sorted order. Images are grey if all of them are, else RGB; alpha is
    dropped. Hidden files, and files without one of `SUFFIXES`, are ignored.

    Args:
      path: on any file system that `etils.epath` knows.
      image_size: the side to which images are resized; None where all have one size.

    Raises:
      ValueError: the folder is not of that form, an image cannot be read, or images differ in size
        and there is no image_size.
    """
    root = epath.Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected {root}/train/CLASS/IMAGE")
    for split_name in ("train", "test"):
        if not (root / split_name).is_dir():
            raise ValueError(
                f"{root} has no folder {split_name}; expected {root}/{split_name}/CLASS/IMAGE"
            )
    classes = _subfolders(root / "train")
    if not classes:
        raise ValueError(f"{root}/train has no classes; expected one folder of images a class")
    unknown = [name for name in _subfolders(root / "test") if name not in classes]
    if unknown:
        raise ValueError(
            f"{root}/test has the class {unknown[0]!r}, which {root}/train lacks: the classes are "
            "those of train"
        )
    files = {name: _files(root, name, classes) for name in ("train", "test")}
    mode, size = _common_form([*files["train"], *files["test"]], image_size)
    train, test = (
        base.ArraySplit(
            np.array([file.label for file in listed]),
            np.array([file.id for file in listed]),
            _read(listed, mode, size, image_size),
        )
        for listed in files.values()
    )
    return base.ArrayDataset(f"folder:{path}", train, test, tuple(classes), pixel_max=255)


def _visible(folder: epath.Path, wanted: Callable[[epath.Path], bool]) -> list[str]:
    """Returns the sorted names of what is in a folder, is wanted and is not hidden."""
    paths = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path.name for path in paths if wanted(path))


def _subfolders(folder: epath.Path) -> list[str]:
    return _visible(folder, lambda path: path.is_dir())


def _files(root: epath.Path, split_name: str, classes: list[str]) -> list[_File]:
    files = []
    for label, class_name in enumerate(classes):
        folder = root / split_name / class_name
        if split_name == "test" and not folder.exists():
            continue
        names = _visible(folder, lambda path: path.suffix.lower() in SUFFIXES)
        if not names:
            raise ValueError(f"{folder} has no images; expected files such as *.png or *.jpg")
        start = f"{split_name}/{class_name}"
        files += [_File(f"{start}/{name}", folder / name, label) for name in names]
    return files


def _common_form(files: list[_File], image_size: int | None) -> tuple[str, tuple[int, int]]:
    """Returns the Pillow mode that suits all images, and the (height, width) of the first.

    Only headers are read.
    """
    mode, first_size = "L", (0, 0)
    for file in files:
        with _opened(file) as image:
            own, size = image.mode, (image.height, image.width)
        if own in _WIDE:
            raise ValueError(
                f"{file.path} has more than 8 bits a channel (Pillow mode {own}): convert it to an "
                "8-bit image"
            )
        if own not in _GREY:
            mode = "RGB"
        if file is files[0]:
            first_size = size
        if image_size is None and size != first_size:
            raise ValueError(
                f"images differ in size: {files[0].path} is {images.extent(first_size)} (height x "
                f"width), {file.path} is {images.extent(size)}: give --image_size to resize all"
            )
    return mode, first_size


def _read(
    files: list[_File], mode: str, size: tuple[int, int], image_size: int | None
) -> np.ndarray:
    """Returns uint8 [n, height, width, channels]."""

    def pixels(file: _File) -> np.ndarray:
        with _opened(file) as image:
            array = np.atleast_3d(np.asarray(image.convert(mode)))
        return array if image_size is None else images.square(array, image_size)

    height, width = size if image_size is None else (image_size, image_size)
    result = np.empty((len(files), height, width, len(mode)), np.uint8)
    # Pillow decodes and resizes outside of Python's lock.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for index, array in enumerate(threads.map(pixels, files)):
            result[index] = array
    return result


@contextlib.contextmanager
def _opened(file: _File) -> Iterator[Image.Image]:
    try:
        with file.path.open("rb") as opened, Image.open(opened) as image:
            yield image
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError and others.
        text = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise ValueError(f"{file.path} cannot be read as an image ({text})") from error
