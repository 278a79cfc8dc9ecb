"""A dataset in one npz file, with the names of arrays of Keras's mnist.npz or of MedMNIST."""

import numpy as np
from absl import logging
from etils import epath

from tfmem.datasets import base, features, images, labelling, variants
from tfmem.disk import npz

# Images and labels of a split, as Keras's files and as MedMNIST's name them.
_NAMES = (("x_{}", "y_{}"), ("{}_images", "{}_labels"))
_CLASSES = "class_names"


def load(
    path: str, image_size: int | None = None, test_share: float = 0.0, alone: bool = False
) -> base.ArrayDataset:
    """Returns the dataset of an npz file.

    It has `x_train`, `y_train`, `x_test` and `y_test`, or `train_images`, `train_labels`,
    `test_images` and `test_labels`: images are uint8 [n, height, width] or [n, height, width,
    channels], features finite float32 or float64 [n, ...], labels as `labelling.read` takes them.
    Without a test split, that of val, valid or validation is it; with a test_share there is none.
    The file may have `class_names` (str), `train_ids` and `test_ids` (str or int); without them
    classes and examples are numbered. A warning names what else it has.

    Args:
      path: on any file system that `etils.epath` knows.
      image_size: the side to which images are resized, or None.
      test_share: of each class's examples that are held out, in [0, 1); see `variants.hold_out`.
      alone: whether a split that is alone stands for both.

    Raises:
      ValueError: it is no such file.
    """
    file = epath.Path(path).expanduser()
    with npz.open_npz(file) as archive:
        names = _find_arrays(file, archive.files, test_share, alone)
        inputs = {of: _inputs(archive[own[0]], f"{file}: {own[0]}") for of, own in names.items()}
        given = {
            name: _texts(archive[name], f"{file}: {name}")
            for name in (_CLASSES, *(f"{split}_ids" for split in names))
            if name in archive.files
        }
        known = given.get(_CLASSES, np.array([], np.str_)).tolist()
        labels = {own[1]: archive[own[1]] for own in names.values()}
        found = labelling.read(labels, str(file), known)
        used = {*given, *(name for own in names.values() for name in own)}
        unused = [name for name in archive.files if name not in used]
    if unused:
        logging.warning("%s: left out: %s", file, ", ".join(unused))
    splits = []
    for split, (of_images, of_labels) in names.items():
        own = found.arrays[of_labels]
        ids = given.get(f"{split}_ids", base.numbered_ids(split, len(own)))
        counts = {of_images: len(inputs[split]), of_labels: len(own), f"{split}_ids": len(ids)}
        if len(set(counts.values())) > 1:
            lengths = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise ValueError(f"{file}: lengths differ: {lengths}")
        found_here = inputs[split]
        if found_here.dtype == np.uint8:
            found_here = images.resize(found_here, image_size)
        splits.append((own, ids, found_here))
    if found.num_classes > base.MAX_CLASSES:
        raise ValueError(
            f"{file} has label {found.num_classes - 1}, expected at most {base.MAX_CLASSES - 1}: "
            "predicted labels are stored as uint16"
        )
    class_names = tuple(known or found.names or map(str, range(found.num_classes)))
    try:
        parts = [base.ArraySplit(*split) for split in splits]
        first, last = parts[0], parts[-1]
        train, test = variants.hold_out(first, test_share) if test_share else (first, last)
        pixel_max = 255 if train.images.dtype == np.uint8 else None
        return base.ArrayDataset(f"npz:{path}", train, test, class_names, pixel_max)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _find_arrays(
    file: epath.Path, there: list[str], test_share: float, alone: bool
) -> dict[str, tuple[str, str]]:
    """Returns the names of the images and the labels of the one or two splits to read.

    Raises:
      ValueError: an array is missing, or there is a second split that a share of the first is to
        be.
    """

    def named(style: tuple[str, str], *splits: str) -> dict[str, tuple[str, str]]:
        return {split: (style[0].format(split), style[1].format(split)) for split in splits}

    def missing(names: dict[str, tuple[str, str]]) -> list[str]:
        return [name for own in names.values() for name in own if name not in there]

    for style in _NAMES:
        of_train = named(style, "train")
        of_test = [named(style, name) for name in base.TEST_NAMES]
        second = next((names for names in of_test if not missing(names)), None)
        if second and test_share and not missing(of_train):
            ((name, _),) = second.values()
            raise ValueError(
                f"{file} has {name}: --test_share={test_share:g} is for files without a second "
                "split"
            )
        if not missing(of_train) and (second or test_share or alone):
            return of_train | (second or {})
        if second and alone:
            return second
    splits = ("train",) if test_share else ("train", "test")
    wanted = [named(style, *splits) for style in _NAMES]
    nearest = min(wanted, key=lambda names: len(missing(names)))
    expected = [", ".join(name for own in names.values() for name in own) for names in wanted]
    share = "" if test_share else ", or --test_share=0.2, which holds out a fifth of each class"
    raise ValueError(
        f"{file} lacks {', '.join(missing(nearest))}; it has {', '.join(there) or 'nothing'}; "
        f"expected {', or '.join(expected)}{share}"
    )


def _inputs(array: np.ndarray, what: str) -> np.ndarray:
    """Returns images, uint8 [n, height, width, channels], or features, float64 or float32."""
    is_features = array.dtype.kind == "f" and array.dtype.itemsize in (4, 8)
    if not is_features and array.dtype != np.uint8:
        raise ValueError(
            f"{what} is {array.dtype}, expected uint8 pixels from 0 to 255, or float32 or float64 "
            "features"
        )
    if 0 in array.shape[1:] or not array.ndim or not (is_features or array.ndim in (3, 4)):
        expected = "[n, height, width] or [n, height, width, channels]; as float32, any [n, ...]"
        expected = "[n, ...] without an axis of 0" if is_features else expected
        raise ValueError(f"{what} has shape {array.shape}, expected {expected}")
    if is_features:
        features.require_finite(array, what)
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return native[:, None] if array.ndim == 1 else native
    images.require_channels_last(array.shape, what)
    return array[..., None] if array.ndim == 3 else array


def _texts(array: np.ndarray, what: str) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise ValueError(
            f"{what} is {array.dtype} of shape {array.shape}, expected a list of texts"
        )
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)
