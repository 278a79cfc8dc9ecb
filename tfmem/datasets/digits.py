"""The handwritten digits that scikit-learn ships: 1,797 images of 8x8 pixels, no download."""

import numpy as np

from tfmem import quiet
from tfmem.datasets import base, images

_NUM_TEST = 540
_SPLIT_SEED = 0
_PIXEL_MAX = 16


def load(image_size: int | None = None) -> base.ArrayDataset:
    """Returns the digits in one fixed, seeded, stratified split: 1,257 train and 540 test.

    Ids are the positions in `sklearn.datasets.load_digits`; each split keeps that order.

    Args:
      image_size: the side to which images are resized, or None.
    """
    with quiet.leaving_out("pandas"):
        from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    labels = digits.target
    train, test = model_selection.train_test_split(
        np.arange(len(labels)), test_size=_NUM_TEST, stratify=labels, random_state=_SPLIT_SEED
    )
    pixels = images.resize(digits.images.astype(np.uint8)[..., None], image_size, _PIXEL_MAX)
    ids = base.numbered_ids("digits", len(pixels))
    train, test = (
        base.ArraySplit(labels[index], ids[index], pixels[index])
        for index in (np.sort(train), np.sort(test))
    )
    return base.ArrayDataset(
        "digits", train, test, tuple(map(str, digits.target_names)), _PIXEL_MAX
    )
