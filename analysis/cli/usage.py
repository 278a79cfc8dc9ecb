"""What --help prints: what a program does, and its flags by what they are for."""

import difflib
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable

from absl import flags

FLAGS = flags.FLAGS
MISSING = re.compile(r"Flag --(\w+) must have a value other than None")
_WIDEST = 100  # Columns; lines that are longer are hard to read.
_INDENT = 24  # Columns before the text of a flag; that of one with a longer name starts below it.


def text(full: bool) -> str:
    """Returns the help of the program that runs, wrapped to the terminal.

    Args:
      full: whether the flags of absl itself, such as those of logging, are listed too.
    """
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    paragraphs = (sys.modules["__main__"].__doc__ or "").strip().split("\n\n")
    parts = [_wrapped(paragraph, width) for paragraph in paragraphs]
    for title, members in groups().items():
        parts.append("\n".join([f"{title}:", *(_entry(flag, width) for flag in members)]))
    if full:
        known = own_flags()
        others = [
            FLAGS[name] for name in sorted(FLAGS) if FLAGS[name].name == name and name not in known
        ]
        parts.append("\n".join(["absl's own:", *(_entry(flag, width) for flag in others)]))
    else:
        parts.append("--helpfull lists the flags of logging and debugging too.")
    return "\n\n".join(parts)


def groups() -> dict[str, list[flags.Flag]]:
    """Returns the flags that `program.group` has put under headings, in the order they came."""
    titles = {
        flag.name: title
        for title, members in FLAGS.key_flags_by_module_dict().items()
        for flag in members
    }
    found: dict[str, list[flags.Flag]] = {}
    for name in FLAGS:
        if name in titles:
            found.setdefault(titles[name], []).append(FLAGS[name])
    return found


def own_flags() -> list[str]:
    """Returns the names of the flags that the program has of its own."""
    return [flag.name for members in groups().values() for flag in members]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that was meant: one that holds it or is in it, or one spelt alike."""
    name = name.replace("-", "_")

    def likeness(other: str) -> tuple[bool, float]:
        holds = name in other or other in name
        return holds, difflib.SequenceMatcher(None, name, other).ratio()

    return max(
        (other for other in known if likeness(other) > (False, 0.6)), key=likeness, default=None
    )


def _wrapped(paragraph: str, width: int) -> str:
    """Returns a paragraph in lines of the width; what is indented, such as commands, stays."""
    if paragraph.startswith(" "):
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), width)


def _entry(flag: flags.Flag, width: int) -> str:
    head = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
    required = any(MISSING.match(validator.message) for validator in flag.validators)
    default = (flag.default_as_str or "").strip("'\"")
    notes = [
        flag.parser.syntactic_help,
        "can be given again" if flag.flag_type().startswith("multi") else "",
        f"default {default}" if default else "",
    ]
    words = [
        "(required)" if required else "",
        flag.help.partition(";\n")[0],  # What absl adds to flags that can be given again.
        f"[{'; '.join(filter(None, notes))}]" if any(notes) else "",
    ]
    indent = " " * _INDENT
    lines = textwrap.fill(
        " ".join(filter(None, words)),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    if len(head) > _INDENT - 2:
        return f"{head}\n{lines}"
    return head.ljust(_INDENT) + lines.lstrip()
