"""The table of the paper's numbers and ours: its rows, how two numbers compare, and its texts."""

import csv
import dataclasses
import io
import itertools
import math
import operator
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from analysis.paper.numbers import Measured, Numbers
from analysis.paper.published import RESULTS, TITLES, Stated
from analysis.paper.quantities import QUANTITIES, Quantity

_NOTHING = "–"
_NO_INPUT = "no input"
_COLUMNS = ("what", "section", "the paper", "measured here", "from", "compared")
_NUMBERS = (
    *("unit", "paper_value", "paper_sd", "paper_runs"),
    *("measured_value", "standard_error", "sd", "runs"),
)
_BOUNDS = {">": operator.gt, "≥": operator.ge, "<": operator.lt}
_MOST_DECIMALS = 6
_BAR = "\\|"  # In a cell of Markdown.
_JOINER = "\u00a0"  # A space at which no line is broken.
_NARROWEST = 8  # Characters that a column keeps on a narrow terminal.


@dataclasses.dataclass(frozen=True)
class Row:
    """A number, by the paper and by us.

    Attributes:
      dataset: its name in `tfmem.datasets`.
      quantity: what the number is of.
      stated: by the paper, or None.
      measured: or None, if no input answers.
      sources: the inputs that answer.
    """

    dataset: str
    quantity: Quantity
    stated: Stated | None
    measured: Measured | None
    sources: tuple[str, ...] = ()

    def cells(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Returns the texts of all columns, with these sources in the one called `from`."""
        return (
            self.quantity.what,
            _NOTHING if self.stated is None else self.stated.section,
            _NOTHING if self.stated is None else paper_text(self.stated),
            _NO_INPUT if self.measured is None else measured_text(self.measured, self.quantity),
            ", ".join(sources),
            compare(self.stated, self.measured),
        )


def compare(stated: Stated | None, measured: Measured | None) -> str:
    """Returns how a measured number compares with the paper's; analysis.paper_tables defines it."""
    if stated is None or measured is None:
        return _NOTHING
    ours, theirs = measured.value, stated.value
    if stated.relation in _BOUNDS:
        return "holds" if _BOUNDS[stated.relation](ours, theirs) else "does not hold"
    if float(f"{ours:.{stated.decimals}f}") == theirs:
        return "equal"
    side = "above" if ours > theirs else "below"
    error = math.hypot(measured.standard_error, stated.standard_error)
    if error > 0:  # It may be nan.
        distance = abs(ours - theirs) / error
        return f"{distance:{'.1f' if distance < 9.95 else ',.0f'}} s.e. {side}"
    return f"ratio {ours / theirs:.3g}" if theirs else f"{side} 0"


def paper_text(stated: Stated) -> str:
    """Returns a number as the paper prints it, with its deviation."""
    number = f"{stated.value:,.{stated.decimals}f}{stated.unit}"
    number += f" (sd {stated.deviation}{stated.unit})" if stated.deviation else ""
    return f"{stated.relation} {number}" if stated.relation else number


def measured_text(measured: Measured, quantity: Quantity) -> str:
    """Returns a measured number with its interval, or its error and deviation, if known."""
    error, unit = measured.standard_error, quantity.unit
    if measured.interval is not None:
        low, high = (f"{end:,.{quantity.decimals}f}" for end in measured.interval)
        return f"{measured.value:,.{quantity.decimals}f}{unit} (95%: {low} to {high}{unit})"
    if math.isnan(error):
        text = f"{measured.value:,.{quantity.decimals}f}{unit}"
    else:
        decimals = max(quantity.decimals, _decimals(error))
        value = f"{measured.value:,.{decimals}f}"
        if not quantity.decimals:  # A count is whole, and its error need not be.
            value, decimals = f"{measured.value:,.0f}", max(decimals, 1 if error < 9.95 else 0)
        text = f"{value}{unit} ± {error:,.{decimals}f}{unit}"
    if math.isnan(measured.deviation):
        return text
    decimals = max(quantity.decimals, _decimals(measured.deviation))
    return f"{text} (sd {measured.deviation:.{decimals}f}{unit})"


def _decimals(error: float) -> int:
    """Returns how many decimals show the first digit of an error."""
    return min(_MOST_DECIMALS, max(0, -math.floor(math.log10(error)))) if error > 0 else 0


class Findings:
    """What was measured, by dataset and quantity, and from which input.

    Where two inputs answer the same question, the one that is added first does.
    """

    def __init__(self):
        self._found: dict[tuple[str, str], tuple[Measured, tuple[str, ...]]] = {}

    def add(self, dataset: str, numbers: Numbers, *sources: str) -> None:
        """Adds the numbers of one dataset that come from these inputs."""
        for name, measured in numbers.items():
            self._found.setdefault((dataset, name), (measured, sources))

    def rows(self, others: Iterable[str] = ()) -> list[Row]:
        """Returns what the paper states or was measured, in order.

        Args:
          others: datasets that the paper does not have, in order.
        """
        rows = []
        for dataset in (*RESULTS, *others):
            for name, quantity in QUANTITIES.items():
                stated = RESULTS.get(dataset, {}).get(name)
                measured, sources = self._found.get((dataset, name), (None, ()))
                if stated is not None or measured is not None:
                    rows.append(Row(dataset, quantity, stated, measured, sources))
        return rows


def _by_title(rows: Sequence[Row]) -> Iterator[tuple[str, Iterator[Row]]]:
    """Returns the rows of each dataset, in their order, and what it is called above them."""
    return itertools.groupby(rows, lambda row: TITLES.get(row.dataset, row.dataset))


def to_text(rows: Sequence[Row], width: int) -> str:
    """Returns the table as aligned text of at most this width, if that can be; inputs by number."""
    inputs = list(dict.fromkeys(source for row in rows for source in row.sources))
    lines = []
    for title, of_dataset in _by_title(rows):
        section = [
            row.cells(f"[{1 + inputs.index(source)}]" for source in row.sources)
            for row in of_dataset
        ]
        widths = _fitted([_COLUMNS, *section], width)
        lines += [title, "=" * len(title), *_aligned(_COLUMNS, widths)]
        lines.append("  ".join("-" * column for column in widths))
        for cells in section:
            lines += _aligned(cells, widths)
        lines.append("")
    lines += [f"[{number}] {source}" for number, source in enumerate(inputs, 1)]
    stated = [row for row in rows if row.stated is not None]
    answered = sum(row.measured is not None for row in stated)
    if stated:
        lines.append(f"{answered} of the paper's {len(stated)} numbers have an input")
    meaning = "± and s.e. are standard errors, sd standard deviations; --help has the definitions"
    lines += textwrap.wrap(meaning, width)
    return "\n".join(lines)


def _fitted(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Returns widths of columns that hold the cells, the widest narrowed until all fit."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped = [_wrapped(cell, column) for cell, column in zip(cells, widths, strict=True)]
    return [
        "  ".join(
            f"{lines[line] if line < len(lines) else '':<{column}}"
            for lines, column in zip(wrapped, widths, strict=True)
        ).rstrip()
        for line in range(max(map(len, wrapped)))
    ]


def _wrapped(cell: str, width: int) -> list[str]:
    """Returns the lines of a cell; `mem >= 0.3` stays on one."""
    whole = re.sub(r" (>=|<|±) |(?<=\(sd) ", lambda match: match[0].replace(" ", _JOINER), cell)
    return [line.replace(_JOINER, " ") for line in textwrap.wrap(whole, width)] or [""]


def to_markdown(rows: Sequence[Row]) -> str:
    """Returns the table as Markdown, one table per dataset."""
    lines = []
    for title, of_dataset in _by_title(rows):
        lines += [f"## {title}", "", f"| {' | '.join(_COLUMNS)} |"]
        lines.append("| --- " * len(_COLUMNS) + "|")
        for row in of_dataset:
            texts = row.cells(row.sources or [_NOTHING])
            lines.append(f"| {' | '.join(text.replace('|', _BAR) for text in texts)} |")
        lines.append("")
    return "\n".join(lines)


def to_csv(rows: Sequence[Row]) -> str:
    """Returns the table as CSV: the texts, and the numbers in the unit of the row."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("dataset", *_COLUMNS, *_NUMBERS))
    for row in rows:
        stated, measured = row.stated, row.measured
        numbers = ["" if stated is None else stated.number, "", "", "", "", "", ""]
        if stated is not None and stated.deviation:
            numbers[1:3] = stated.deviation, str(stated.runs)
        if measured is not None:
            values = measured.value, measured.standard_error, measured.deviation
            numbers[3:] = *map(_plain, values), str(measured.count or "")
        texts = row.cells(row.sources)
        writer.writerow((row.dataset, *texts, row.quantity.unit, *numbers))
    return file.getvalue()


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


# Writers by the suffix of their file.
WRITERS: Mapping[str, Callable[[Sequence[Row]], str]] = {".csv": to_csv, ".md": to_markdown}
