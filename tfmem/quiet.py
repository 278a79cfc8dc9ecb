"""TensorFlow as fast as the machine, without its notices, which say nothing about a trial."""

import os
import platform
import re
import sys
import tempfile

# TensorFlow's C++ prints them while it is imported, before it can be told not to.
_NOTICES = re.compile(
    "All log messages before absl|oneDNN custom operations|Could not find cuda drivers|cuInit"
    "|This TensorFlow binary is optimized|rebuild TensorFlow with"
)
_X86 = ("x86_64", "amd64")


def import_tensorflow(find_devices: bool = True) -> None:
    """Imports TensorFlow and finds its devices, which are then taken, without its notices.

    oneDNN's kernels are on, unless TF_ENABLE_ONEDNN_OPTS says otherwise: TensorFlow leaves them off
    on x86 CPUs without AVX-512, whose convolutions they make faster. They change the last bits of
    numbers. What else is printed on stderr meanwhile appears there afterwards.

    Raises:
      ValueError: Keras is told to use another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ValueError(
            f"KERAS_BACKEND is {backend} in the environment, and models here are TensorFlow's: "
            "unset it, or set it to tensorflow"
        )
    if platform.machine().lower() in _X86:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
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
