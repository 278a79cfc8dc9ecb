"""Labels as people write them: whole numbers, texts, truth values, one-hot rows."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from absl import logging

_MOST_SHOWN = 5  # Names of classes in a warning.


class Labels(NamedTuple):
    """Arrays of labels that count the same classes.

    Attributes:
      arrays: by name, int64 [n] each, 0 or more.
      names: of the classes, where labels are texts; None where they are numbers.
      num_classes: how many there are.
    """

    arrays: dict[str, np.ndarray]
    names: tuple[str, ...] | None
    num_classes: int


def read(arrays: Mapping[str, np.ndarray], what: str, known: Iterable[str] = ()) -> Labels:
    """Returns labels of one dataset as classes.

    They are numbers, integers or floating point ones that are whole, or truth values, 1 where true;
    [n] or [n, 1]. Or they are one-hot rows [n, k]. Or texts: decimal numbers, or else names, whose
    sorted order is that of the classes. A warning says what was made of all but plain integers.

    Args:
      arrays: by name, which errors name.
      what: the file that they are of, with which messages start.
      known: names of the classes, in order: labels that are texts are among them.

    Raises:
      ValueError: they are no labels.
    """
    flat = {name: _flat(array, f"{what}: {name}") for name, array in arrays.items()}
    texts = [name for name, array in flat.items() if array.dtype.kind in "US"]
    names = None
    if texts:
        if len(texts) < len(flat):
            other = next(name for name in flat if name not in texts)
            raise ValueError(
                f"{what}: {texts[0]} has texts, {other} has {flat[other].dtype}; expected the same"
            )
        flat, names = _of_texts(flat, what, tuple(known))
    found = {name: _numbers(array, f"{what}: {name}") for name, array in flat.items()}
    widths = {array.shape[1] for array in flat.values() if array.ndim == 2}
    if len(widths) > 1:
        raise ValueError(f"{what}: one-hot rows are of {sorted(widths)} classes, expected the same")
    largest = max((int(array.max()) for array in found.values() if len(array)), default=-1)
    return Labels(found, names, max([largest + 1, len(names or ()), *widths]))


def _flat(array: np.ndarray, what: str) -> np.ndarray:
    """Returns [n], or [n, k] of two columns and more."""
    if array.ndim not in (1, 2) or (array.ndim == 2 and not array.shape[1]):
        raise ValueError(f"{what} has shape {array.shape}, expected [n] or [n, 1]: one label each")
    if array.dtype.kind not in "biufUS":
        raise ValueError(f"{what} is {array.dtype}, expected integer labels, or names of classes")
    flat = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
    return np.char.decode(flat, "utf-8") if flat.dtype.kind == "S" else flat


def _of_texts(
    arrays: Mapping[str, np.ndarray], what: str, known: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """Returns numbers in place of texts, and the names of the classes where these are names."""
    for name, array in arrays.items():
        if array.ndim != 1:
            raise ValueError(f"{what}: {name} has shape {array.shape}, expected one text each")
    there = np.unique(np.concatenate([*arrays.values()]))
    if not known and np.char.isdecimal(there).all():
        logging.warning("%s: %s are texts: taken as numbers", what, " and ".join(arrays))
        return {name: array.astype(np.int64) for name, array in arrays.items()}, None
    names = known or tuple(there.tolist())
    unknown = sorted(set(there.tolist()) - set(names))
    if unknown:
        raise ValueError(f"{what} has the label {unknown[0]!r}, which is not among its class_names")
    shown = ", ".join([*names[:_MOST_SHOWN], *["..."][: len(names) > _MOST_SHOWN]])
    logging.warning("%s: %s are texts: the classes are %s", what, " and ".join(arrays), shown)
    places = {name: label for label, name in enumerate(names)}
    numbers = np.array([places[text] for text in there.tolist()], np.int64)
    return {name: numbers[np.searchsorted(there, array)] for name, array in arrays.items()}, names


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    if array.ndim == 2:
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise ValueError(
                f"{what} has shape {array.shape}, expected [n] or [n, 1], one label each, or "
                "one-hot rows: a single 1 among zeros"
            )
        logging.warning("%s has one-hot rows of %d classes: taken as labels", what, array.shape[1])
        return array.argmax(axis=1)
    if array.dtype.kind == "b":
        logging.warning("%s is bool: False is class 0, True class 1", what)
    if array.dtype.kind == "f":
        broken = ~(np.isfinite(array) & (array == np.floor(array)))
        if broken.any():
            index = int(np.argmax(broken))
            raise ValueError(f"{what} has label {array[index]} at {index}, expected whole numbers")
        logging.warning("%s is %s: whole numbers, taken as labels", what, array.dtype)
    if (array < 0).any():
        index = int(np.argmax(array < 0))
        raise ValueError(f"{what} has label {array[index]} at {index}, expected 0 or more")
    return array.astype(np.int64)
