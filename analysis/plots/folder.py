"""How a program's figures get into a folder: each in every format, or left out and said why."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from analysis.cli import program
from analysis.plots import fonts, pictures, style
from tfmem.datasets import Dataset, ImageDataset, StreamedDataset


class LeftOut(Exception):
    """A figure that cannot be drawn, and why."""


def require(
    path: epath.PathLike, flag: str, formats: Sequence[str]
) -> tuple[epath.Path, list[str]]:
    """Returns the folder and the formats, each once.

    Args:
      path: of the folder, which need not be there.
      flag: that it was given by.
      formats: of files.

    Raises:
      ValueError: it is a file, or a format is unknown.
    """
    kinds = list(dict.fromkeys(formats))
    if not kinds or not set(kinds) <= set(style.FORMATS):
        raise ValueError(
            f"--formats={','.join(kinds)}: expected one or more of {', '.join(style.FORMATS)}"
        )
    folder = epath.Path(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--{flag}={folder} is a file, expected a folder")
    return folder, kinds


def write(
    folder: epath.Path,
    formats: Sequence[str],
    makers: Mapping[str, Callable[[], Figure | Sequence[Figure]]],
) -> Iterator[str]:
    """Makes and writes the figures one by one; yields a line about each.

    Args:
      folder: where, made if it is not there.
      formats: of files.
      makers: by name; a maker of several figures has them numbered, even where there is but one,
        and one that raises `LeftOut` is left out.
    """
    for name, make in makers.items():
        try:
            made = make()
        except LeftOut as reason:
            yield f"{name} is left out: {reason}"
            continue
        numbered = (
            {name: made}
            if isinstance(made, Figure)
            else {f"{name}-{number}": figure for number, figure in enumerate(made, start=1)}
        )
        for full_name, figure in numbered.items():
            paths = [folder / f"{full_name}.{kind}" for kind in formats]
            for path in paths:
                style.save(figure, path)
            yield f"{full_name}: {', '.join(map(str, paths))}"


def require_drawable(dataset: ImageDataset) -> None:
    """Raises LeftOut if the images of a dataset are no pictures; features are shown by ids."""
    try:
        if dataset.has_images:
            pictures.require_drawable(dataset.input_shape[-1])
    except ValueError as error:
        raise LeftOut(str(error)) from error


@contextlib.contextmanager
def examples(
    dataset: Dataset, split: str, index: Iterable[int]
) -> Iterator[Mapping[int, np.ndarray | str]]:
    """Figures that are made inside can show these examples: what is yielded is a `Picture.image`.

    Yields:
      By index, uint8 images from 0 to 255, of which no others are read; or ids, where examples
      have features in place of images, or neither.
    """
    wanted = sorted(set(index))
    if isinstance(dataset, ImageDataset) and dataset.has_images:
        yield _images(dataset, split, wanted)
        return
    with fonts.showing(getattr(dataset, split).ids[wanted].tolist()) as names:
        yield dict(zip(wanted, names, strict=True))


def _images(dataset: ImageDataset, split: str, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    if not isinstance(dataset, StreamedDataset):
        arrays = getattr(dataset, split).images
        return {i: pictures.to_pixels(arrays[i], dataset.pixel_max) for i in wanted}
    found = {}
    with program.progress_bar(len(wanted), f"pictures of {split}") as progress:
        for i, image in dataset.stream.pictures(split, np.array(wanted)):
            found[i] = image
            progress(1)
    return found
