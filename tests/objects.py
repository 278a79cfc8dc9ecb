"""A stand-in for gs://: TensorFlow's own file interface, with the objects in a local folder.

Paths, files and errors are those that `etils.epath` and `tf.io.gfile` give on gs://: there are no
hard links, no exclusive creation and no descriptors, a file cannot be appended to, and one that is
written cannot be sought in. Only where the bytes lie is made up.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator
from unittest import mock

from etils import epath
from etils.epath import backend

_SCHEME = "gs://"


class _Objects(backend._TfBackend):
    def __init__(self, root: pathlib.Path):
        self._root = root

    def _local(self, path) -> str:
        text = os.fspath(path)
        assert text.startswith(_SCHEME), text
        return str(self._root / text.removeprefix(_SCHEME))

    def open(self, path, mode):
        assert "a" not in mode, "objects cannot be appended to"
        return super().open(self._local(path), mode)

    def exists(self, path):
        return super().exists(self._local(path))

    def isdir(self, path):
        return super().isdir(self._local(path))

    def listdir(self, path):
        return super().listdir(self._local(path))

    def makedirs(self, path, **options):
        super().makedirs(self._local(path), **options)

    def mkdir(self, path, **options):
        super().mkdir(self._local(path), **options)

    def rmtree(self, path):
        super().rmtree(self._local(path))

    def remove(self, path):
        super().remove(self._local(path))

    def rename(self, path, dst):
        super().rename(self._local(path), self._local(dst))

    def replace(self, path, dst):
        super().replace(self._local(path), self._local(dst))

    def stat(self, path):
        return super().stat(self._local(path))


def install(root) -> None:
    """Makes gs:// paths of this process lie in a local folder."""
    backend.tf_backend = _Objects(pathlib.Path(root))


@contextlib.contextmanager
def installed(root) -> Iterator[None]:
    """Makes them lie there in a context."""
    with mock.patch.object(backend, "tf_backend", _Objects(pathlib.Path(root))):
        yield


def words(root, program, *flags) -> list[str]:
    """Returns the command of a program whose gs:// lies in a local folder."""
    code = (
        f"from tests import objects; objects.install({str(root)!r});"
        "import runpy, sys; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
    )
    return [sys.executable, "-c", code, program, *map(str, flags)]


def path(root, text) -> pathlib.Path:
    """Returns where the bytes of a gs:// path are."""
    return pathlib.Path(root) / os.fspath(epath.Path(text)).removeprefix(_SCHEME)
