"""A table that fits a width: what matters least leaves first, then long texts wrap."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import click
from tabulate import tabulate

GAP = 2
LEAST_WRAPPED = 10
LONGEST_NAME = 20
"""In characters; longer words, such as paths, are cut where there is no room."""


class GridColumn(NamedTuple):
    """A column: its header, its text in each row, and what gives way where there is no room.

    Columns leave in the order of `spare`, the highest first; those of 0 stay. Texts of a column
    that `wraps` go on in the line below.
    """

    header: str
    texts: Sequence[str]
    right: bool = False
    spare: int = 0
    wraps: bool = False

    @property
    def width(self) -> int:
        """The characters of the longest line of the header and the texts."""
        lines = [line for text in (self.header, *self.texts) for line in text.split("\n")]
        return max((len(line) for line in lines), default=0)


def grid(columns: Sequence[GridColumn], width: int, bold: Sequence[bool] = ()) -> str:
    """Return columns as a table of at most `width` characters a line, where wrapping allows it.

    Columns without a text are left out. `bold` says of each row whether it stands out.
    """
    fitted = _wrap(_with_room([column for column in columns if any(column.texts)], width), width)
    lines = [list(texts) for texts in zip(*(c.texts for c in fitted), strict=True)]
    for line in (line for line, stands_out in zip(lines, bold, strict=False) if stands_out):
        line[:] = ["\n".join(_bold(part) for part in text.split("\n")) for text in line]
    rules = ["-" * column.width for column in fitted]
    text = tabulate(
        [[column.header for column in fitted], rules, *lines],
        tablefmt="plain",
        colalign=["right" if column.right else "left" for column in fitted],
        disable_numparse=True,
    )
    return "\n".join(line.rstrip() for line in text.splitlines())


def _bold(text: str) -> str:
    return click.style(text, bold=True) if text else text


def _total(columns: Sequence[GridColumn]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _with_room(columns: Sequence[GridColumn], width: int) -> list[GridColumn]:
    """Return the columns that fit, without the sparest ones where they don't."""
    left = list(columns)
    while _total(left) > width and any(column.spare for column in left):
        left.remove(max(left, key=lambda column: column.spare))
    return left


def _wrap(columns: Sequence[GridColumn], width: int) -> list[GridColumn]:
    """Return columns of which the widest that wrap are as narrow as the width asks for."""
    widths = {place: column.width for place, column in enumerate(columns) if column.wraps}
    least = {place: _least_width(columns[place]) for place in widths}
    for _ in range(_total(columns) - width):
        room = [place for place in widths if widths[place] > least[place]]
        if not room:
            break
        widths[max(room, key=lambda place: widths[place])] -= 1
    return [
        column._replace(
            header=_fill(column.header, widths[place]),
            texts=[_fill(text, widths[place]) for text in column.texts],
        )
        if place in widths
        else column
        for place, column in enumerate(columns)
    ]


def _least_width(column: GridColumn) -> int:
    """Return how narrow a column may be in which names stay whole, if they are of usual length."""
    words = [len(word) for text in (column.header, *column.texts) for word in text.split()]
    return max([LEAST_WRAPPED, *(length for length in words if length <= LONGEST_NAME)])


def _fill(text: str, width: int) -> str:
    return "\n".join(
        part for line in text.split("\n") for part in textwrap.wrap(line, max(width, 1)) or [""]
    )
