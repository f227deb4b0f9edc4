"""What a position method costs: the time of its attention over bias-free SDPA's, from races.

Sinusoids are added once before the first layer, so their attention is bias-free, as that of none.
A scaling of RoPE changes its angles alone, so it costs what RoPE does.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tabulate import tabulate

from reports.tables.newest import groups_of_newest
from reports.tables.row import Row
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
    """A method's time over bias-free SDPA's, and the variant that was timed."""

    method: str
    mode: str
    length: int
    ratio: float
    variant: str


def costs_of(files: Sequence[Results], lengths: Iterable[int]) -> list[AttentionCost]:
    """Return the costs at lengths: bfloat16, causal, as many queries as keys, or one in decode.

    Of several shapes that were raced, the first is taken.
    """
    rows = [row for group in groups_of_newest(files) for row in group.rows if _is_usual(row)]
    shapes = [(row.batch, row.heads, row.kv_heads, row.head_dim) for row in rows]
    rows = [row for row, shape in zip(rows, shapes, strict=True) if shape == shapes[0]]
    costs = []
    for method in VARIANT_OF:
        for mode in COST_MODES:
            for length in lengths:
                alike = [row for row in rows if (row.mode, row.kv_len) == (mode, length)]
                if best := _best(method, alike):
                    assert best.vs_no_bias is not None
                    costs.append(AttentionCost(method, mode, length, best.vs_no_bias, best.variant))
    return costs


def cost_table(costs: Sequence[AttentionCost], form: str) -> str:
    """Return the costs as a table, or that there are none."""
    if not costs:
        return "No costs: the races have no bfloat16 rows at these lengths."
    lengths = sorted({cost.length for cost in costs})
    modes = [mode for mode in COST_MODES if any(cost.mode == mode for cost in costs)]
    ratios = {(cost.method, cost.mode, cost.length): f"{cost.ratio:.2f}x" for cost in costs}
    lines = [
        [
            METHOD_BY_NAME[method].title,
            COST_MODES[mode],
            *(ratios.get((method, mode, length), "") for length in lengths),
        ]
        for method in dict.fromkeys(cost.method for cost in costs)
        for mode in modes
    ]
    table = tabulate(lines, ["positions", "mode", *map(str, lengths)], form, disable_numparse=True)
    variants = sorted({cost.variant for cost in costs if cost.method == "alibi"})
    words = f"ALiBi as {', '.join(variants)}" if variants else "ALiBi was not raced"
    return f"Time of attention over bias-free SDPA's, {DTYPE}; {words}:\n\n{table}"


def _is_usual(row: Row) -> bool:
    is_whole = row.q_len == (1 if row.mode == "decode" else row.kv_len)
    is_plain = not (row.seq_lens or row.window or row.recording or row.norms)
    return row.dtype == DTYPE and row.causal and is_whole and is_plain and row.logit_scale == 1.0


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
