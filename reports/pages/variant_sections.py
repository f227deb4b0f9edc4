"""What docs/variants.md says of one module of variants: its words, refusals and figures."""

import ast
import textwrap
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from reports.pages.listing import source, words
from reports.tables.cells import Group
from reports.tables.columns import COLUMNS
from reports.tables.row import NOT_YET, Row
from reports.tables.table import by, looked_at, reasons, shape_of
from variants.catalog import Variant

WIDTH = 100
_SHOWN = "ms", "vs no_bias", "kept MiB", "peak MiB", "error", "% of budget", "rank"
_PLACED = {"cpu": "default on the CPU", "cuda": "default on CUDA", "any": "default everywhere"}


def section(lines: Sequence[Variant], groups: Sequence[Group]) -> str:
    """Return all of one module, which several lines of the catalog may share."""
    tree = ast.parse(source(lines[0].module).read_text())
    own = (ast.get_docstring(tree) or "").split("\n", 1)
    body = own[1].strip() if len(own) > 1 else ""
    parts = [f"## `{lines[0].name}`: {words(lines[0])}", body, _names(lines)]
    parts += [_declines(tree), *_figures({line.name for line in lines}, groups)]
    return "\n\n".join(part for part in parts if part)


def wrap(text: str, indent: str = "") -> str:
    """Return a paragraph in lines as wide as the page's own."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _names(lines: Sequence[Variant]) -> str:
    """Return each line's options and whose default set it is in."""
    told = []
    for line in lines:
        options = [f"{name} {value}" for name, value in line.options.items()]
        placed = _PLACED.get(line.device, "in no default set")
        told.append(f"`{line.name}` ({', '.join([*options, placed])})")
    return wrap(f"In the catalog: {', '.join(told)}.")


def _declines(tree: ast.Module) -> str:
    """Return the reasons with which the module refuses, where its words are in the file itself."""
    refusals = [
        _text(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Unsupported"
    ]
    return (
        "\n".join(["Declines, saying:\n", *(wrap(f"- {text}", "  ") for text in refusals)])
        if refusals
        else ""
    )


def _text(words: ast.expr) -> str:
    """Return a string, with dots for what is known only when it is said."""
    if isinstance(words, ast.JoinedStr):
        return "".join(_text(part) for part in words.values)
    return str(words.value) if isinstance(words, ast.Constant) else "…"


def _figures(names: set[str], groups: Sequence[Group]) -> Iterator[str]:
    """Yield a table for each machine and shape on which any of the names was measured."""
    found = False
    for group in groups:
        rows = [row for row in group.rows if row.variant in names and row.reason != NOT_YET]
        for shape, own in by(shape_of, rows).items():
            found = True
            yield f"{group.header.hardware.name}; {shape}:"
            yield _table(own)
        yield looked_at(rows, "github")
        yield reasons(rows, "github")
    if not found:
        yield "Not in the results of this page."


def _table(rows: Sequence[Row]) -> str:
    columns = {column.header: column for own in COLUMNS.values() for column in own}
    named = ["variant"] if len({row.variant for row in rows}) > 1 else []
    chosen = [columns[header] for header in ("length", "dtype", "mode", *named, *_SHOWN)]
    return tabulate(
        [[column.shows(row) for column in chosen] for row in rows],
        [column.header for column in chosen],
        "github",
        colalign=["right" if column.figure else "left" for column in chosen],
        disable_numparse=True,
    )
