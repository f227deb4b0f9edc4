"""What docs/variants.md says of one module: its row in the first table, and its section."""

import ast
import re
import textwrap
from collections.abc import Sequence

from reports.pages.listing import source, words
from variants.catalog import Variant

WIDTH = 100
_DEFAULT_SETS = {
    "cpu": "default on the CPU",
    "cuda": "default on CUDA",
    "any": "default everywhere",
}


def row(lines: Sequence[Variant]) -> tuple[str, ...]:
    """Return a module's row: its names, what it is, when to use it and what it is not for.

    The last two are the docstring's lines "For: …" and "Not for: …". Raises ValueError for a module
    that lacks one of them.
    """
    name = lines[0].name
    others = ", ".join(f"`{line.name}`" for line in lines[1:])
    text = _docstring(lines[0])
    return (
        f"[`{name}`](#{name})" + (f", {others}" if others else ""),
        words(lines[0]),
        _label_text("For", text, name),
        _label_text("Not for", text, name),
    )


def section(lines: Sequence[Variant]) -> str:
    """Return the section of one module, for all of the module's lines in the catalog."""
    body = _docstring(lines[0]).partition("\n")[2].strip()
    body = re.sub(r"^(For|Not for): .*\n", "", body, flags=re.MULTILINE).strip()
    tree = ast.parse(source(lines[0].module).read_text())
    what = wrap(f"**{words(lines[0])}.**")
    parts = [f"## `{lines[0].name}`", what, body, _names(lines), _refusals(tree)]
    return "\n\n".join(part for part in parts if part)


def wrap(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most `WIDTH` characters."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _docstring(line: Variant) -> str:
    return ast.get_docstring(ast.parse(source(line.module).read_text())) or ""


def _label_text(label: str, text: str, name: str) -> str:
    match = re.search(rf"^{label}: (.+)\.$", text, re.MULTILINE)
    if match is None:
        raise ValueError(f"{name}: its module's docstring has no line '{label}: … .'")
    return match[1]


def _names(lines: Sequence[Variant]) -> str:
    """Return a paragraph with each line's options and default set; peers are in none."""
    if lines[0].package:
        return ""
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
    if not texts:
        return ""
    return "\n".join(["Declines, saying:\n", *(wrap(f"- {text}", "  ") for text in texts)])


def _text(words: ast.expr) -> str:
    """Return the text of a string expression, with … for each part that depends on the case."""
    if isinstance(words, ast.JoinedStr):
        return "".join(_text(part) for part in words.values)
    return str(words.value) if isinstance(words, ast.Constant) else "…"
