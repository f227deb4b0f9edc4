"""docs/variants.md, made from the catalog, the variants' docstrings and measured densities."""

import csv
from pathlib import Path

from tabulate import tabulate

from reports.generated.reach import BITS, HEADS, reach, slopes
from reports.generated.takes_table import takes_table
from reports.generated.variant_sections import row, section, wrap
from reports.tables.table import by
from suite.conditions.policy import ROOT
from variants.catalog import CATALOG

DENSITIES = ROOT / "results" / "published" / "window_density.csv"
TRAINED_DENSITIES = ROOT / "results" / "published" / "trained_density.csv"

_OPENING = """# Variants

{table}

How fast each is on which device and at which length is under
[results/published/](../results/published/), with an index for each device, and in
[performance.md](performance.md). `best` gives advice for a model and a length
([choosing.md](choosing.md)). Below, each section says what a variant stores, moves and computes,
and quotes what it says when it declines, with … for each part that depends on the case.
`make docs` writes this page from the catalog and the variants' docstrings."""

_TAKES = """## Who takes what

Arguments of `alibi_attention` beyond dense batches ([calling.md](calling.md)), asked of each
variant on a CPU, without gradients. Where a cell is empty the variant declines, and its error names
others that take the argument.

{table}"""

_REACH = """## How far each head looks

![Keys back until the bias alone has made a weight 2^-8 and 2^-24, by head](reach.svg)

{falls}

2^-8 is what rounding a number costs in bfloat16, 2^-24 what it costs in float32, three times as far
back. So steep heads are local and gentle ones global. That is the bias alone: scores can win back
what it took, and far keys are many, so what may be left out for certain begins farther back."""

_DENSITY = """## How much certified windows look at

What can be left out for certain depends on the data. Here are the shares of causal pairs, in blocks
of 64 queries and 64 keys, inside the windows that `variants/windows.py` certifies from the norms of
q, k and v. `sdpa_window` computes more, because windows that share a call are as wide as the
widest. Standard normal q, k and v with heads of {head_dim}, times the logit scale: scores grow with
its square. `python benchmarks/windows/window_density.py` repeats it; nothing in it is timed."""

_TRAINED = """Trained inputs beside normal ones of their shape and slopes, in bfloat16, with
heads of {head_dim}: the ALiBi model of [lengths.md](lengths.md), which learned at 128 tokens. Its
[recording](../examples/trained_alibi.safetensors) has all heads of layer 0, and heads 2 and 7 of
layer 2, one of which has the largest scores.
`python benchmarks/windows/trained_density.py` repeats it. What `native_window` looks at differs
less ([performance.md](performance.md#beside-other-projects-kernels))."""


def page() -> str:
    """Return the page."""
    modules = by(lambda variant: variant.module, CATALOG)
    table = tabulate(
        [row(lines) for lines in modules.values()],
        ("variant", "what it is", "use it for", "not for"),
        "github",
        disable_numparse=True,
    )
    takes = _TAKES.format(table=takes_table())
    parts = [_OPENING.format(table=table), takes, *(section(lines) for lines in modules.values())]
    parts += [_reach(), _density(DENSITIES), _trained_densities(TRAINED_DENSITIES)]
    return "\n\n".join(parts) + "\n"


def _reach() -> str:
    ends = [
        f"with {heads} heads {reach(head_slopes[0], BITS['bfloat16']):.0f} and "
        f"{reach(head_slopes[-1], BITS['bfloat16']):.0f}"
        for heads, head_slopes in ((heads, slopes(heads)) for heads in HEADS)
    ]
    falls = (
        "A weight falls with exp(-slope * distance). So many keys back it is 2^-8, in the steepest "
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


def _trained_densities(file: Path) -> str:
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    names = ("layer", "heads", "length", "trained", "normal")
    table = [[row[name] for name in names] for row in rows]
    align = ["right"] * len(names)
    shown = tabulate(table, names, "github", colalign=align, disable_numparse=True)
    return f"{_TRAINED.format(head_dim=rows[0]['head_dim'])}\n\n{shown}"
