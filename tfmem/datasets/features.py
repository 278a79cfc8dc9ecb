"""Features in place of images: numbers of any shape that models take as they are."""

import dataclasses

import numpy as np

from tfmem.datasets.base import ArrayDataset, ImageDataset
from tfmem.recipe import ExperimentConfig


def require_finite(values: np.ndarray, what: str) -> None:
    """Raises ValueError, naming the first of them, if values [n, ...] are nan or infinite."""
    broken = ~np.isfinite(values)
    if broken.any():
        place = np.unravel_index(int(broken.argmax()), values.shape)
        raise ValueError(
            f"{what}[{', '.join(map(str, place))}] is {values[place]}, expected finite numbers"
        )


def ready(dataset: ImageDataset, standardize: bool) -> ImageDataset:
    """Returns a dataset whose features are float32, as models take them; or images as they are.

    Args:
      dataset: its features are finite.
      standardize: whether each feature loses the mean that it has in the training set, and is
        divided by its standard deviation there; one that is constant there becomes 0. All trials
        take the same inputs, whatever their subset is.

    Raises:
      ValueError: images are to be standardized, or a feature is too large for float32.
    """
    if not isinstance(dataset, ArrayDataset) or dataset.has_images:
        if standardize:
            raise ValueError(
                f"--standardize is for features, and {dataset.name} has images, whose pixels are "
                f"divided by {dataset.pixel_max}"
            )
        return dataset
    train, test = dataset.train.images, dataset.test.images
    if standardize:
        with np.errstate(over="ignore", invalid="ignore"):  # It is refused below.
            mean = train.mean(axis=0, dtype=np.float64)
            deviation = train.std(axis=0, dtype=np.float64)
        # The mean of equal numbers may differ from them in its last digit.
        constant = (train == train[:1]).all(axis=0) | (deviation == 0)
        require_finite(deviation, f"{dataset.name}: the standard deviation of features")
        scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
        train, test = ((values - mean) * scale for values in (train, test))
    parts = []
    for split, values in ((dataset.train, train), (dataset.test, test)):
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        require_finite(values, f"{dataset.name}: in float32, a feature")
        parts.append(split.with_images(values))
    return dataclasses.replace(dataset, train=parts[0], test=parts[1])


def require_suited(config: ExperimentConfig, dataset: ImageDataset) -> None:
    """Raises ValueError, naming the flag, if the config does to features what is for images."""
    if not dataset.has_images and (config.crop != "none" or config.flip):
        given = f"crop={config.crop}" if config.crop != "none" else "flip=true"
        raise ValueError(
            f"--{given} is for images, and {dataset.name} has features: give --crop=none "
            "--flip=false"
        )
