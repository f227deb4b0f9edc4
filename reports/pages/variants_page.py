"""docs/variants.md and docs/reach.svg, written from docstrings, results and densities.

    python -m reports.pages.variants_page results/published/*/*.jsonl

Whatever is said there is said elsewhere first, so that it can't go stale by itself.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from reports.pages.reach import BITS, HEADS, picture, reach, slopes
from reports.pages.variant_sections import section, wrap
from reports.tables.cells import Group, groups
from reports.tables.row import NOT_YET
from reports.tables.table import by, conditions, fastest, shape_of
from suite.conditions.policy import ROOT
from suite.records.store import read
from variants.catalog import CATALOG

PAGE, PICTURE = ROOT / "docs" / "variants.md", ROOT / "docs" / "reach.svg"
DENSITIES = "results/published/window_density.csv"

_OPENING = """# Variants

What each variant stores, moves and computes, where it wins, what it gets wrong and what it
declines. `make docs` writes this page from the variants' docstrings and from

{files}

so a change belongs there. `vs no_bias` is a call's time over that of causal SDPA without a bias in
the same race; kept is what a variant holds between calls, peak the most that a call allocates at
once. The error is the relative one of the worst head or row, beside its budget: over 100% a variant
disagrees and is not timed. [method.md](method.md) has the whole of it. In what a variant says when
it declines, … stands for what depends on the case."""

_REACH = """## How far each head looks

![Keys back until the bias alone has made a weight 2^-8 and 2^-24, by head](reach.svg)

{falls}

2^-8 is what rounding a number costs in bfloat16, 2^-24 what it costs in float32, three times as far
back. So steep heads are local and gentle ones global. That is the bias alone: scores can win back
what it took, and far keys are many, so what may be left out for certain begins farther back."""

_DENSITY = """## How much certified windows look at

What can be left out for certain depends on the data. Here are the shares of causal pairs, in blocks
of 64 queries and 64 keys, inside the windows that `variants/windows.py` certifies from the norms of
q and k; `sdpa_window` computes more, because windows that share a call are as wide as the widest.
Standard normal q and k with heads of {head_dim}, times the logit scale: scores grow with its
square. `python benchmarks/window_density.py` repeats it; nothing in it is timed."""


def main() -> None:
    """Write both files, with the tables of the results files that are named."""
    PICTURE.write_text(picture())
    files = sys.argv[1:]
    PAGE.write_text(page(groups([read(ROOT / file) for file in files]), files))


def page(results: Sequence[Group], files: Sequence[str]) -> str:
    """Return the page with the tables of results, and the files that they are from."""
    modules = by(lambda variant: variant.module, CATALOG)
    parts = [_OPENING.format(files="\n".join(f"- `{file}`" for file in [*files, DENSITIES]))]
    parts += ["## Where each wins", *(part for group in results for part in _winners(group))]
    parts += [section(lines, results) for lines in modules.values()]
    return "\n\n".join([*parts, _reach(), _density(ROOT / DENSITIES)]) + "\n"


def _winners(group: Group) -> Iterator[str]:
    yield conditions(group)
    ended = [row for row in group.rows if row.reason != NOT_YET]
    for shape, rows in by(shape_of, ended).items():
        yield shape
        yield fastest(rows, "github")


def _reach() -> str:
    ends = [
        f"with {heads} heads {reach(head_slopes[0], BITS['bfloat16']):.0f} and "
        f"{reach(head_slopes[-1], BITS['bfloat16']):.0f}"
        for heads, head_slopes in ((heads, slopes(heads)) for heads in HEADS)
    ]
    falls = (
        "A weight falls with exp(-slope * distance). It is 2^-8 so many keys back in the steepest "
    )
    return _REACH.format(falls=wrap(f"{falls}and in the gentlest head: {', '.join(ends)}."))


def _density(file: Path) -> str:
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    scales = list(dict.fromkeys(row["logit_scale"] for row in rows))
    settings = by(lambda row: (row["heads"], row["dtype"], row["length"]), rows)
    table = []
    for setting, setting_rows in settings.items():
        shares = {row["logit_scale"]: row["density"] for row in setting_rows}
        table.append([*setting, *(shares.get(scale, "") for scale in scales)])
    headers = ["heads", "dtype", "length", *(f"logit scale {scale}" for scale in scales)]
    align = ["right", "left", *["right"] * (1 + len(scales))]
    shown = tabulate(table, headers, "github", colalign=align, disable_numparse=True)
    return f"{_DENSITY.format(head_dim=rows[0]['head_dim'])}\n\n{shown}"


if __name__ == "__main__":
    main()
