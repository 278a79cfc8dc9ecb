"""TensorFlow without its notices, which say nothing about a trial."""

import os
import re
import sys
import tempfile

# TensorFlow's C++ prints them while it is imported, before it can be told not to.
_NOTICES = re.compile(
    "All log messages before absl|oneDNN custom operations|Could not find cuda drivers|cuInit"
    "|This TensorFlow binary is optimized|rebuild TensorFlow with"
)


def import_tensorflow(find_devices: bool = True) -> None:
    """Imports TensorFlow and finds its devices, which are then taken, without its notices.

    What else is printed on stderr meanwhile appears there afterwards.

    Raises:
      ValueError: Keras is told to use another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ValueError(
            f"KERAS_BACKEND is {backend} in the environment, and models here are TensorFlow's: "
            "unset it, or set it to tensorflow"
        )
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow as tf

            if find_devices:
                tf.config.list_logical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            lines = captured.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.writelines(line for line in lines if not _NOTICES.search(line))
