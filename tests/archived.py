"""Stores with archives: made, merged, and read as nobody has read them before."""

import copy
import math
import pathlib

import numpy as np
from etils import epath

from tests.trials import assert_same_trial
from tfmem.store import archives
from tfmem.store.errors import DamagedFileError
from tfmem.store.places import Places
from tfmem.store.store import Store
from tfmem.workers import compaction


def compact(path, max_bytes=math.inf, progress=lambda trials: None):
    opened = Store.open(path)
    return compaction.compact(opened, max_bytes, progress)


def compacted(opened):
    compact(opened.path)
    return opened


def files(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).glob("*")}


def the_archive(opened):
    (path,) = opened.archive_folder.iterdir()
    return pathlib.Path(path)


def assert_holds(path, trials):
    """Asserts that a store has these trials, equal array by array, and nothing damaged."""
    opened = Store.open(path)
    assert opened.numbers() == sorted(trials)
    assert opened.damaged(opened.numbers()) == {}
    assert opened.damaged_archives() == []
    for number, trial in trials.items():
        assert_same(opened.read(number), trial)
    if trials:
        subsets = np.stack([trials[number].subset for number in sorted(trials)])
        np.testing.assert_array_equal(Store.open(path).load().subset.columns(), subsets)


def assert_same(read, trial):
    assert_same_trial(read, trial)
    assert read.epochs.keys() == trial.epochs.keys()
    for epoch, arrays in trial.epochs.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(read.epochs[epoch][name], array)


def found(opened, trials):
    """Reads trials from a store of which nothing was read yet; asserts that no other is read.

    Returns:
      the trials that are right, those that are damaged, and what is said of archives.
    """
    opened = copy.copy(opened)
    opened.places = Places(opened.path)
    right, damaged = set(), set()
    for number in opened.numbers():
        try:
            read = opened.read(number)
        except DamagedFileError as error:
            damaged.add(number)
            message = str(error)
            assert f"trial {number} in {opened.archive_folder}" in message
            assert f"--trials={number}:{number + 1}" in message
        else:
            assert_same(read, trials[number])
            right.add(number)
    return right, damaged, opened.damaged_archives()


def damage(archive, trial):
    """Changes a byte of a trial in an archive; returns what the archive holds then."""
    content = bytearray(archive.read_bytes())
    content[archives.inspect(epath.Path(archive)).parts[trial].position + 30] ^= 1
    archive.write_bytes(content)
    return bytes(content)
