"""The section of docs/variants.md on one module: its docstring, refusals and figures."""

import ast
import textwrap
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from reports.pages.listing import source, words
from reports.tables.cells import Group
from reports.tables.columns import COLUMNS
from reports.tables.row import NOT_YET, Row
from reports.tables.table import by, density_lines, reasons, shape_of
from variants.catalog import Variant

WIDTH = 100
_HEADERS = "ms", "vs no_bias", "kept MiB", "peak MiB", "error", "% of budget", "rank"
_DEFAULT_SETS = {
    "cpu": "default on the CPU",
    "cuda": "default on CUDA",
    "any": "default everywhere",
}


def section(lines: Sequence[Variant], groups: Sequence[Group]) -> str:
    """Return the section of one module, for all of the module's lines in the catalog."""
    tree = ast.parse(source(lines[0].module).read_text())
    body = (ast.get_docstring(tree) or "").partition("\n")[2].strip()
    parts = [f"## `{lines[0].name}`: {words(lines[0])}", body, _names(lines)]
    parts += [_refusals(tree), *_figures({line.name for line in lines}, groups)]
    return "\n\n".join(part for part in parts if part)


def wrap(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most `WIDTH` characters."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _names(lines: Sequence[Variant]) -> str:
    """Return a paragraph with each line's options and default set."""
    names = []
    for line in lines:
        options = [f"{name} {value}" for name, value in line.options.items()]
        default_set = _DEFAULT_SETS.get(line.device, "in no default set")
        names.append(f"`{line.name}` ({', '.join([*options, default_set])})")
    return wrap(f"In the catalog: {', '.join(names)}.")


def _refusals(tree: ast.Module) -> str:
    """Return a list of the texts of `Unsupported` that the module's own file raises."""
    texts = [
        _text(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Unsupported"
    ]
    return (
        "\n".join(["Declines, saying:\n", *(wrap(f"- {text}", "  ") for text in texts)])
        if texts
        else ""
    )


def _text(words: ast.expr) -> str:
    """Return the text of a string expression, with … for each part that depends on the case."""
    if isinstance(words, ast.JoinedStr):
        return "".join(_text(part) for part in words.values)
    return str(words.value) if isinstance(words, ast.Constant) else "…"


def _figures(names: set[str], groups: Sequence[Group]) -> Iterator[str]:
    """Yield a table for each machine and shape on which any of the names was measured."""
    is_measured = False
    for group in groups:
        rows = [row for row in group.rows if row.variant in names and row.reason != NOT_YET]
        for shape, shape_rows in by(shape_of, rows).items():
            is_measured = True
            yield f"{group.header.hardware.name}; {shape}:"
            yield _table(shape_rows)
        yield density_lines(rows, "github")
        yield reasons(rows, "github")
    if not is_measured:
        yield "Not in the results of this page."


def _table(rows: Sequence[Row]) -> str:
    by_header = {column.header: column for metric in COLUMNS.values() for column in metric}
    variant = ["variant"] if len({row.variant for row in rows}) > 1 else []
    columns = [by_header[header] for header in ("length", "dtype", "mode", *variant, *_HEADERS)]
    return tabulate(
        [[column.shows(row) for column in columns] for row in rows],
        [column.header for column in columns],
        "github",
        colalign=["right" if column.figure else "left" for column in columns],
        disable_numparse=True,
    )
