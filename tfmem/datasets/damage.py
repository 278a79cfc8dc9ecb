"""Errors of files that TFDS prepared: damaged, cut off or missing ones."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def reading(builder: Any) -> Iterator[None]:
    """Lets files of a prepared dataset that are damaged or missing be one error, a ValueError."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise unreadable(f"{builder.name} in {builder.data_dir}", error) from error


def unreadable(what: str, error: Exception) -> ValueError:
    """Returns what says of files that TFDS prepared that they cannot be read, and what mends it."""
    # TensorFlow tells in which of its operations it was.
    reason = re.sub(r"{{.*?}}|\[Op:.*", "", first_line(error)).strip()
    return ValueError(
        f"{what} cannot be read ({reason}): delete the folder of that version, and the same "
        "command prepares it again"
    )


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
