"""TensorFlow as fast as the machine, without its notices, which say nothing about a trial."""

import contextlib
import gc
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow's C++ prints them while it is imported, before it can be told not to.
_NOTICES = re.compile(
    "All log messages before absl|oneDNN custom operations|Could not find cuda drivers|cuInit"
    "|This TensorFlow binary is optimized|rebuild TensorFlow with"
)
_X86 = ("x86_64", "amd64")
_is_program = False


def in_program() -> None:
    """Says that this process is a program of ours, which may start and end sooner than others."""
    global _is_program
    _is_program = True


@contextlib.contextmanager
def leaving_out(*packages: str) -> Iterator[None]:
    """Hides packages from what is imported in the context and imports them if it finds them.

    This is for programs of ours, which use nothing of that: in a notebook Keras may have to take
    the tables of pandas. Packages that were imported before stay; afterwards all can be imported.
    """
    names = set(packages) - sys.modules.keys() if _is_program else set()
    absent: dict = dict.fromkeys(names)  # Importing a module that is None fails.
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextlib.contextmanager
def _keeping_all() -> Iterator[None]:
    """Looks for no garbage in the context; in programs of ours never again in what is there then.

    Of what imports make next to nothing is garbage, and it is much to look through, also when a
    program ends.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _is_program:
            gc.freeze()
        if was_enabled:
            gc.enable()


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
            if "tensorflow" not in sys.modules:
                # With which Keras would draw models and train on tables.
                with _keeping_all(), leaving_out("matplotlib", "pandas", "sklearn"):
                    import tensorflow  # noqa: F401
            import tensorflow as tf

            if find_devices:
                tf.config.list_logical_devices()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            lines = captured.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.writelines(line for line in lines if not _NOTICES.search(line))
