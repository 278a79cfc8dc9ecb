"""A folder of images: PATH/train/CLASS/IMAGE and PATH/test/CLASS/IMAGE, one folder a class."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging
from etils import epath

from tfmem import words
from tfmem.datasets import base, images, variants

_MOST_BAD = 10  # Files that an error names.
_MOST_SHOWN = 3  # Files of a kind that the warning names.


@dataclasses.dataclass(frozen=True)
class _File:
    id: str
    path: epath.Path
    label: int


def load(
    path: str, image_size: int | None = None, test_share: float = 0.0, alone: bool = False
) -> base.ArrayDataset:
    """Returns the images of a folder.

    Classes are the sorted names of the folders in PATH/train. The second split is the first of
    PATH/test, testing, val, valid and validation that is there; it may lack classes, and classes of
    it may be empty. With a test_share it is made of PATH/train, or of PATH/CLASS where there is no
    folder of that name.

    Images are all files that Pillow reads, at any depth below the class. Ids are their paths below
    PATH, such as `train/CLASS/FILE`, in sorted order. They are upright, laid on white where they
    are transparent, and grey if all of them are, else RGB (`images.decode`). Hidden files are
    ignored; a warning counts all others that are left out.

    Args:
      path: on any file system that `etils.epath` knows.
      image_size: the side to which images are resized; None where all have one size.
      test_share: of each class's images that are held out, in [0, 1); see `variants.hold_out`.
      alone: whether a split that is alone, or PATH/CLASS where there is none, stands for both.

    Raises:
      ValueError: the folder is not of that form, images cannot be read, or they differ in size and
        there is no image_size.
    """
    root = epath.Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected {root}/train/CLASS/IMAGE")
    folders = _split_folders(root, test_share, alone)
    train_folder = folders[0]
    classes = _subfolders(train_folder)
    if not classes:
        raise ValueError(f"{train_folder} has no classes; expected one folder of images a class")
    for folder in folders[1:]:
        unknown = [name for name in _subfolders(folder) if name not in classes]
        if unknown:
            raise ValueError(
                f"{folder} has the class {unknown[0]!r}, which {train_folder} lacks: the classes "
                "are those of train"
            )
    left_out = _outside(root, folders)
    listed = [_listed(root, folder, classes, left_out["no image"]) for folder in folders]
    _warn_of(root, left_out)
    present = {file.label for file in listed[0]}
    empty = [folders[0] / name for label, name in enumerate(classes) if label not in present]
    empty += [folder for folder, files in zip(folders, listed, strict=True) if not files]
    if empty:
        raise ValueError(f"{empty[0]} has no images; expected files such as *.png or *.jpg")
    files = [file for of_split in listed for file in of_split]
    ids, labels = (np.array([getattr(file, field) for file in files]) for field in ("id", "label"))
    every = base.ArraySplit(labels, ids, _read(root, files, image_size))
    if test_share:
        train, test = variants.hold_out(every, test_share)
    else:
        train = test = every.take(slice(len(listed[0])))
        if len(listed) > 1:
            test = every.take(slice(len(listed[0]), None))
    return base.ArrayDataset(f"folder:{path}", train, test, tuple(classes), pixel_max=255)


def _split_folders(root: epath.Path, test_share: float, alone: bool) -> list[epath.Path]:
    """Returns the folders of classes: of train and of test, or the one that is to be split."""
    there = {name.lower(): root / name for name in reversed(_subfolders(root))}
    train, test = (
        next((there[name] for name in names if name in there), None)
        for names in (base.TRAIN_NAMES, base.TEST_NAMES)
    )
    if test and test_share:
        raise ValueError(
            f"{root} has the folder {test.name}: --test_share={test_share:g} is for folders "
            "without a second split"
        )
    if test_share:
        return [train or root]
    if train and test:
        return [train, test]
    if alone:
        return [train or test or root]
    if test:
        raise ValueError(f"{root} has no folder train; expected {root}/train/CLASS/IMAGE")
    lacking = "no folder test" if train else "no folders train and test"
    raise ValueError(
        f"{root} has {lacking}; expected {root}/train/CLASS/IMAGE and {root}/test/CLASS/IMAGE (or "
        f"{', '.join(base.TEST_NAMES[1:])}), or --test_share=0.2, which holds out a fifth of each "
        "class"
    )


def _visible(folder: epath.Path) -> Iterator[epath.Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _subfolders(folder: epath.Path) -> list[str]:
    """Returns the sorted names of the visible folders in a folder."""
    return sorted(path.name for path in _visible(folder) if path.is_dir())


def _outside(root: epath.Path, folders: Sequence[epath.Path]) -> dict[str, list[str]]:
    """Returns what lies in no class: files beside the classes, folders beside the splits."""
    strays = [path for folder in folders for path in _visible(folder) if not path.is_dir()]
    others = [] if root in folders else [root / name for name in _subfolders(root)]
    beside = [path for path in others if path not in folders]
    return {
        "no image": [],
        "stray": [str(path.relative_to(root)) for path in strays],
        "folder": [path.name for path in beside],
    }


def _warn_of(root: epath.Path, left_out: Mapping[str, Sequence[str]]) -> None:
    """Says what is no part of the dataset, unless there is nothing."""
    kinds = {
        "no image": ("file that is no image", "files that are no images"),
        "stray": ("file that lies in no class", "files that lie in no class"),
        "folder": ("folder that is no split", "folders that are no splits"),
    }
    said = []
    for kind, names in left_out.items():
        if names:
            shown = ", ".join([*sorted(names)[:_MOST_SHOWN], *["..."][: len(names) > _MOST_SHOWN]])
            said.append(f"{words.counted(len(names), *kinds[kind])} ({shown})")
    if said:
        logging.warning("%s: left out: %s", root, ", ".join(said))


def _files_below(folder: epath.Path, above: frozenset[str] = frozenset()) -> Iterator[epath.Path]:
    """Yields the visible files at any depth."""
    real = os.path.realpath(folder)
    if real in above:  # A link to a folder that it lies in has no files of its own.
        return
    for path in _visible(folder):
        # Whether it is a folder is a request each where files are objects.
        if not images.has_suffix(path.name) and path.is_dir():
            yield from _files_below(path, above | {real})
        else:
            yield path


def _listed(
    root: epath.Path, folder: epath.Path, classes: Sequence[str], no_images: list[str]
) -> list[_File]:
    """Returns the images of a split, class by class; adds the other files to `no_images`."""
    files = []
    for label, class_name in enumerate(classes):
        if not (folder / class_name).is_dir():
            continue
        found = {str(path.relative_to(root)): path for path in _files_below(folder / class_name)}
        for name, path in sorted(found.items()):
            if not _is_text(name):
                raise ValueError(f"{root}: the file name {name!r} is not UTF-8: rename it")
            if images.has_suffix(name) or _is_image(path):
                files.append(_File(name, path, label))
            else:
                no_images.append(name)
    return files


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_image(path: epath.Path) -> bool:
    try:
        with path.open("rb") as file:
            return images.is_image(file)
    except OSError:  # A link to nowhere, a socket, what may not be read.
        return False


def _read(root: epath.Path, files: Sequence[_File], image_size: int | None) -> np.ndarray:
    """Returns uint8 [n, height, width, channels].

    Raises:
      ValueError: images cannot be read, of which ten are named, or two differ in size.
    """

    def pixels(file: _File) -> np.ndarray | str:
        try:
            with file.path.open("rb") as opened:
                image = images.decode(opened)
        except OSError as error:
            return f"{file.path} cannot be read ({error.strerror or error})"
        except ValueError as error:
            return f"{file.path} {error}"
        return image if image_size is None else images.square(image, image_size)

    result, bad = np.empty((0, 1, 1, 1), np.uint8), []
    first = files[0]
    # Pillow decodes and resizes outside of Python's lock.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for index, image in enumerate(threads.map(pixels, files)):
            if isinstance(image, str):
                bad.append(image)
                continue
            if not len(result):
                first, result = files[index], np.empty((len(files), *image.shape), np.uint8)
            size, known = image.shape[:2], result.shape[1:3]
            if size != known:
                raise ValueError(
                    f"images differ in size: {first.path} is {images.extent(known)} (height x "
                    f"width), {files[index].path} is {images.extent(size)}: give --image_size to "
                    "resize all"
                )
            if image.shape[2] > result.shape[3]:  # The first that is not grey.
                result = np.repeat(result, image.shape[2], axis=3)
            result[index] = image
    if len(bad) > 1:
        more = f"; and {len(bad) - _MOST_BAD:,} more" if len(bad) > _MOST_BAD else ""
        raise ValueError(
            f"{root}: {len(bad):,} of {len(files):,} images will not do: "
            f"{'; '.join(bad[:_MOST_BAD])}{more}"
        )
    if bad:
        raise ValueError(bad[0])
    return result
