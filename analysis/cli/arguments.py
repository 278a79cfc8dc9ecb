"""Flags that several programs have, and how their values are read."""

import os
import pathlib
import re
from collections.abc import Sequence

from absl import flags

from tfmem import datasets, experiments, own
from tfmem.disk import atomic

# A flag counts as defined by the program that defines it through this.
FLAGS = flags.FLAGS
flags.disclaim_key_flags()
ESTIMATES = "Estimates file, ours or a published one."
_PICTURE = "Where to write {}: a .png, .pdf or .svg file."
PICTURES = (".png", ".pdf", ".svg")
_SERIALIZER: flags.ArgumentSerializer = flags.ArgumentSerializer()
# At the start, or behind what can stand before a path.
_HOME = re.compile(r"(?:^|(?<=[=:,]))~[^/=:,]*")
_RANGE = re.compile(r"(\d+):(\d+)")


class PathParser(flags.ArgumentParser):
    """Reads a path, alone or behind NAME=, KIND: or another path and a comma; ~ is one's home."""

    def parse(self, argument: str) -> str:
        return _HOME.sub(lambda match: os.path.expanduser(match[0]), argument)


class _Dataset(PathParser):
    """Reads the name of a dataset, which may be a path: folder:PATH or npz:PATH."""


class _Own(PathParser):
    """Reads a name of ours, or an object of one's own: FILE.py:NAME."""


class _OutPath(PathParser):
    """Reads where a file is to be written, which no work is done for in vain."""

    def __init__(self, suffixes: Sequence[str] = ()):
        self._suffixes = suffixes

    def parse(self, argument: str) -> str:
        path = super().parse(argument)
        if self._suffixes and pathlib.PurePath(path).suffix.lower() not in self._suffixes:
            raise ValueError(f"expected a name that ends in {' or '.join(self._suffixes)}")
        if os.path.isdir(path):
            raise ValueError("this is a folder, expected the name of a file")
        return path


def serialize(flag: flags.Flag) -> str:
    """Returns a flag as it is given, its path absolute."""
    if not isinstance(flag.parser, PathParser) or not flag.value:
        return flag.serialize()
    located = {_Dataset: datasets.located, _Own: own.located}
    absolute = located.get(type(flag.parser), atomic.absolute)
    return f"--{flag.name}={absolute(flag.value)}"


def define_path(name: str, text: str, required: bool = False, default: str | None = None) -> None:
    """Defines a flag for a path, or for NAME=PATH and the like, whose ~ is the user's home."""
    flags.DEFINE(PathParser(), name, default, text, required=required)


def define_dataset(text: str, default: str | None = None, required: bool = False) -> None:
    """Defines --dataset; `text` says what it is for."""
    help_text = f"{text}: {datasets.known()}."
    flags.DEFINE(_Dataset(), "dataset", default, help_text, required=required)


def define_own(name: str, text: str, required: bool = False) -> None:
    """Defines a flag for a name of ours, or for an object of one's own: FILE.py:NAME."""
    flags.DEFINE(_Own(), name, None, text, required=required)


def define_paths(name: str, text: str, required: bool = False) -> None:
    """Defines a flag for such paths: it can be given again."""
    flags.DEFINE_multi(PathParser(), _SERIALIZER, name, None, text, required=required)


def define_out(
    text: str, required: bool = False, default: str | None = None, suffixes: Sequence[str] = ()
) -> None:
    """Defines --out, of a file that is written; it ends in one of the suffixes if any are given."""
    flags.DEFINE(_OutPath(suffixes), "out", default, text, required=required)


def define_outs(text: str, suffixes: Sequence[str]) -> None:
    """Defines --out, of a file that ends in one of the suffixes: it can be given again."""
    flags.DEFINE_multi(_OutPath(suffixes), _SERIALIZER, "out", None, text)


def define_picture(name: str, what: str) -> None:
    """Defines a flag for a file that a figure is written to."""
    flags.DEFINE(_OutPath(PICTURES), name, None, _PICTURE.format(what))


def define_pictures(what: str) -> None:
    """Defines --out, of such a file: it can be given again."""
    define_outs(_PICTURE.format(what), PICTURES)


def define_text(name: str, text: str, required: bool = False) -> None:
    """Defines a flag for a text that has no default."""
    flags.DEFINE_string(name, None, text, required=required)


def define_count(name: str, default: int | None, text: str, lowest: int = 1) -> None:
    """Defines a flag for a whole number that is at least the lowest."""
    flags.DEFINE_integer(name, default, text, lower_bound=lowest)


def define_store() -> None:
    """Defines --store, of a store that is read."""
    define_path("store", "Directory of the store.", required=True)


def define_allow_missing() -> None:
    """Defines --allow_missing, of a program that reads the trials of a store."""
    text = "Go on without trials that are damaged, and say which; without it, they end the program."
    flags.DEFINE_bool("allow_missing", False, text)


def define_thresholds(
    mem: str = "memorization of the training example in a pair",
    infl: str = "influence on the test example in a pair",
) -> None:
    """Defines --mem_threshold and --infl_threshold, the lowest of what the arguments name."""
    for name, default, what in (
        ("mem_threshold", experiments.MEM_THRESHOLD, mem),
        ("infl_threshold", experiments.INFL_THRESHOLD, infl),
    ):
        text = f"Lowest {what}, inclusive."
        flags.DEFINE_float(name, default, text, lower_bound=-1, upper_bound=1)


def define_formats() -> None:
    """Defines --formats, of figures in a folder."""
    flags.DEFINE_list("formats", ["png", "pdf"], "Kinds of files to write: png, pdf, svg.")


def define_data_dir() -> None:
    """Defines --data_dir."""
    define_path("data_dir", "Where TFDS keeps its data; TFDS's own default if empty.")


def chosen_trials() -> range | None:
    """Returns what --trials asks for, or None if it is not given; see `parse_range`."""
    return parse_range(FLAGS.trials) if FLAGS.trials else None


def parse_range(text: str) -> range:
    """Turns `START:STOP` into a range of trials.

    Raises:
      ValueError: it is no such range, or an empty one.
    """
    match = _RANGE.fullmatch(text)
    if not match:
        raise ValueError(f"--trials={text}: expected START:STOP, such as 0:1000")
    start, stop = int(match[1]), int(match[2])
    if start >= stop:
        raise ValueError(f"--trials={text} is empty: START must be below STOP")
    return range(start, stop)


def named_paths(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Turns each `NAME=PATH` into (name, path).

    A path without a name is called by its file's name without the suffix, or by all of it where
    that would name two.

    Raises:
      ValueError: two have the same name.
    """
    pairs = []
    for text in texts:
        name, equals, path = text.partition("=")
        # What has a slash is a folder, such as in STORE/date=today/estimates.npz.
        pairs.append((name, path) if equals and name and "/" not in name else ("", text))
    stems = [name or pathlib.PurePath(path).stem for name, path in pairs]
    names = [
        name or (stem if stems.count(stem) == 1 else path)
        for (name, path), stem in zip(pairs, stems, strict=True)
    ]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"two files are called {name}: give them names, as in NAME=PATH")
    return [(name, path) for name, (_, path) in zip(names, pairs, strict=True)]


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Turns `0.1,0.2` into ascending numbers; nothing into none.

    Raises:
      ValueError: a part is no number, or not in (0, 1].
    """
    try:
        values = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        values = [float("nan")]
    if not all(0 < value <= 1 for value in values):
        raise ValueError(
            f"--thresholds={text}: expected memorization values in (0, 1], such as 0.1,0.2,0.3"
        )
    return tuple(sorted(set(values)))
