"""A dataset in one npz file, with the arrays of Keras's mnist.npz or those of MedMNIST."""

import numpy as np
from etils import epath

from tfmem.datasets import base, images
from tfmem.disk import npz

# Images and labels of train, then of test.
_KERAS = ("x_train", "y_train", "x_test", "y_test")
_MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")
_OPTIONAL = ("class_names", "train_ids", "test_ids")


def load(path: str, image_size: int | None = None) -> base.ArrayDataset:
    """Returns the dataset of an npz file.

    It has `x_train`, `y_train`, `x_test` and `y_test`, or `train_images`, `train_labels`,
    `test_images` and `test_labels`: images are uint8 [n, height, width] or [n, height, width,
    channels], labels int [n] or [n, 1] from 0. It may have `class_names` (str), `train_ids` and
    `test_ids` (str or int); without them classes and examples are numbered.

    Args:
      path: on any file system that `etils.epath` knows.
      image_size: the side to which images are resized, or None.

    Raises:
      ValueError: it is no such file.
    """
    file = epath.Path(path).expanduser()
    with npz.open_npz(file) as archive:
        there = archive.files
        layout = max((_KERAS, _MEDMNIST), key=lambda names: len(set(names) & set(there)))
        missing = [name for name in layout if name not in there]
        if missing:
            raise ValueError(
                f"{file} lacks {', '.join(missing)}; it has {', '.join(there) or 'nothing'}; "
                f"expected {', '.join(_KERAS)}, or {', '.join(_MEDMNIST)}"
            )
        checks = dict(zip(layout, (_pixels, _labels, _pixels, _labels), strict=True))
        checks |= {name: _texts for name in _OPTIONAL if name in there}
        found = {name: check(archive[name], f"{file}: {name}") for name, check in checks.items()}
    names_of = {"train": (*layout[:2], "train_ids"), "test": (*layout[2:], "test_ids")}
    for names in names_of.values():
        counts = {name: len(found[name]) for name in names if name in found}
        if len(set(counts.values())) > 1:
            lengths = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise ValueError(f"{file}: lengths differ: {lengths}")
    largest = max(found[labels].max(initial=0) for _, labels, _ in names_of.values())
    if largest >= base.MAX_CLASSES:
        raise ValueError(
            f"{file} has label {largest}, expected at most {base.MAX_CLASSES - 1}: predicted "
            "labels are stored as uint16"
        )

    def split(name: str) -> base.ArraySplit:
        of_images, of_labels, of_ids = names_of[name]
        labels, pixels = found[of_labels], images.resize(found[of_images], image_size)
        ids = found.get(of_ids, base.numbered_ids(name, len(labels)))
        return base.ArraySplit(labels, ids, pixels)

    try:
        class_names = tuple(map(str, found.get("class_names", range(largest + 1))))
        return base.ArrayDataset(f"npz:{path}", split("train"), split("test"), class_names, 255)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _pixels(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ValueError(f"{what} is {array.dtype}, expected uint8 pixels from 0 to 255")
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise ValueError(
            f"{what} has shape {array.shape}, expected [n, height, width] or "
            "[n, height, width, channels]"
        )
    return array[..., None] if array.ndim == 3 else array


def _labels(array: np.ndarray, what: str) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{what} is {array.dtype}, expected integer labels")
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise ValueError(f"{what} has shape {array.shape}, expected [n] or [n, 1]: one label each")
    labels = array.reshape(-1)
    if (labels < 0).any():
        index = int(np.argmax(labels < 0))
        raise ValueError(f"{what} has label {labels[index]} at {index}, expected 0 or more")
    return labels.astype(np.int64)


def _texts(array: np.ndarray, what: str) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise ValueError(
            f"{what} is {array.dtype} of shape {array.shape}, expected a list of texts"
        )
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)
