"""Keras's settings, pinned: a trial is the same whatever keras.json and the environment say."""

import contextlib
from collections.abc import Iterator

import keras


def pin() -> None:
    """Gives this process the settings of a clean home, for good.

    What is read from keras.json (image data format, float type, epsilon) and from KERAS_MAX_EPOCHS
    and KERAS_MAX_STEPS_PER_EPOCH counts whenever Keras computes, not only when a model is built.
    """
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


@contextlib.contextmanager
def dtype_policy(name: str = "float32") -> Iterator[None]:
    """Pins the settings, and sets the default dtype policy of what is built within.

    The policy before is restored: layers read it when they are made, and never again.
    """
    pin()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
