"""What a position method costs: the time of its attention over bias-free SDPA's, from races.

Sinusoids are added once before the first layer, so their attention is bias-free, as that of none.
A scaling of RoPE changes its angles alone, so it costs what RoPE does.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from tabulate import tabulate

from reports.tables.newest import groups_of_newest
from reports.tables.row import Row
from reports.tables.table import shape_of
from suite.failures import BadRequest
from suite.quality.methods import METHOD_BY_NAME
from suite.records.store import Results
from variants.catalog import BASELINE

COST_MODES = {"forward": "prefill", "decode": "decode", "backward": "training step"}
FASTEST_ALIBI = "alibi"
VARIANT_OF = {
    "alibi": FASTEST_ALIBI,
    "rope": "rope",
    "alibi_rope": "alibi_rope",
    "t5": "t5_bias",
    "sinusoidal": BASELINE.name,
    "nope": BASELINE.name,
}
"""The variant that a method's attention is timed as; for ALiBi the fastest that agrees."""

DTYPE = "bfloat16"


class AttentionCost(NamedTuple):
    """A method's time over bias-free SDPA's, and its 95% interval, None below three passes.

    `variant` is what was timed, `shape` its batch and heads in words.
    """

    method: str
    mode: str
    length: int
    ratio: float
    interval: tuple[float, float] | None
    variant: str
    shape: str


def costs_of(files: Sequence[Results], lengths: Collection[int]) -> list[AttentionCost]:
    """Return the costs at lengths, from races of one device.

    Raises BadRequest for races of several, whose ratios are not of each other.
    """
    keys = sorted({file.header.hardware.key for file in files})
    if len(keys) > 1:
        raise BadRequest(f"--costs: races of {' and '.join(keys)}; give those of one device")
    return costs_of_rows([row for it in groups_of_newest(files) for row in it.rows], lengths)


def costs_of_rows(rows: Sequence[Row], lengths: Collection[int]) -> list[AttentionCost]:
    """Return the costs at lengths: bfloat16, causal, as many queries as keys, or one in decode.

    Of several shapes that were raced, the first is taken.
    """
    usual = [row for row in rows if row.kv_len in lengths and _is_usual(row)]
    alike = [row for row in usual if shape_of(row) == shape_of(usual[0])]
    return [
        AttentionCost(method, mode, length, ratio, best.vs_no_bias_ci, best.variant, shape_of(best))
        for method in VARIANT_OF
        for mode in COST_MODES
        for length in lengths
        if (best := _best(method, [r for r in alike if (r.mode, r.kv_len) == (mode, length)]))
        and (ratio := best.vs_no_bias) is not None
    ]


class CostTable(msgspec.Struct, frozen=True):
    """Costs in words: a row for each method and mode, a column for each length.

    `note` says what was raced.
    """

    title: str
    note: str
    headers: list[str]
    rows: list[list[str]]


def cost_rows(costs: Sequence[AttentionCost], *, has_intervals: bool = True) -> CostTable:
    """Return costs, of which there is at least one, as a table; intervals make it wide."""
    lengths = sorted({cost.length for cost in costs})
    modes = [mode for mode in COST_MODES if any(cost.mode == mode for cost in costs)]
    ratios = {
        (cost.method, cost.mode, cost.length): ratio_words(cost, has_interval=has_intervals)
        for cost in costs
    }
    variants = sorted({cost.variant for cost in costs if cost.method == "alibi"})
    words = f"ALiBi as {', '.join(variants)}" if variants else "ALiBi was not raced"
    rows = [
        [
            METHOD_BY_NAME[method].title,
            COST_MODES[mode],
            *(ratios.get((method, mode, length), "") for length in lengths),
        ]
        for method in dict.fromkeys(cost.method for cost in costs)
        for mode in modes
    ]
    return CostTable(
        f"Time of attention over bias-free SDPA's, {DTYPE}",
        f"{costs[0].shape}; {words}",
        ["positions", "mode", *map(str, lengths)],
        rows,
    )


def ratio_words(cost: AttentionCost, *, has_interval: bool = True) -> str:
    """Return the ratio of a cost, with the interval that it has."""
    words = f"{cost.ratio:.2f}x"
    if has_interval and cost.interval and cost.variant != BASELINE.name:
        words += " ({:.2f} to {:.2f})".format(*cost.interval)
    return words


def cost_table(costs: Sequence[AttentionCost], form: str) -> str:
    """Return the costs as text, or that there are none."""
    if not costs:
        return f"No costs: the races have no {DTYPE} rows at these lengths."
    table = cost_rows(costs, has_intervals=form != "simple")
    shown = tabulate(table.rows, table.headers, form, disable_numparse=True)
    return f"{table.title}.\n{table.note}:\n\n{shown}"


def _is_usual(row: Row) -> bool:
    is_whole = row.q_len == (1 if row.mode == "decode" else row.kv_len)
    is_plain = not (row.seq_lens or row.window or row.recording or row.norms)
    is_standard = (row.logit_scale, row.bias_max, row.slope_scale) == (1.0, 8.0, "1")
    is_usual = row.causal and row.layout == "bhnd" and is_standard
    return row.dtype == DTYPE and is_whole and is_plain and is_usual


def _best(method: str, rows: Sequence[Row]) -> Row | None:
    """Return the row of a method's variant, the fastest if it may be any of ALiBi."""
    variant = VARIANT_OF[method]
    fit = [
        row
        for row in rows
        if row.vs_no_bias is not None
        and (row.rank is not None if variant == FASTEST_ALIBI else row.variant == variant)
    ]
    return min(fit, key=lambda row: row.vs_no_bias or 0.0, default=None)
