"""The charts of a page: what each is called and shows, and its Vega-Lite."""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from reports.web_page.charts.drawings import fastest_map, trade_off
from reports.web_page.charts.layers import (
    KEY_TICKS,
    MEBIBYTES,
    MULTIPLE,
    PERCENT,
    RATIO,
    TIME,
    Drawing,
    LengthAxis,
    over_length,
    scales_of,
)
from reports.web_page.charts.looks import Look


class ChartKind(NamedTuple):
    """A chart: its name in files, its heading, what it shows, and how it is drawn.

    `data` says which cells of a view it takes: all lengths, one length, or the winners of each
    mode or model. It draws a cell if the figures of all `fields` are over 0.
    """

    name: str
    title: str
    caption: str
    draw: Drawing
    fields: tuple[str, ...]
    data: Literal["view", "length", "modes", "models"] = "view"


CHARTS = (
    ChartKind(
        "time",
        "Time against length",
        "A call's time by the number of keys, both on log scales. Bars are 95% intervals over "
        "passes; a point without a bar has fewer than three passes.",
        over_length(LengthAxis("time_ms", "time of a call", TIME, interval="time_ci_ms")),
        ("time_ms",),
    ),
    ChartKind(
        "ratio",
        "Time over bias-free attention's",
        "Each variant's time over that of no_bias in the same race. Under the line at 1x is "
        "faster than attention without a bias.",
        over_length(
            LengthAxis(
                "vs_no_bias",
                "time over no_bias",
                RATIO,
                base=2,
                interval="vs_no_bias_ci",
                line_at=1.0,
            )
        ),
        ("vs_no_bias",),
    ),
    ChartKind(
        "fastest_by_mode",
        "The fastest variant by length and mode",
        "The fastest variant that agrees, and its time over that of no_bias.",
        fastest_map("mode", 152),
        ("rank",),
        data="modes",
    ),
    ChartKind(
        "fastest_by_model",
        "The fastest variant by length and model",
        "The same by the shape of the attention.",
        fastest_map("model", 190),
        ("rank",),
        data="models",
    ),
    ChartKind(
        "gemm_share",
        "Share of the GEMM limit",
        "Useful FLOPs a second over those of a large matrix product on the same device. Useful "
        "FLOPs count all pairs that the mask leaves, so a variant that leaves pairs out can pass "
        "the line at 100%.",
        over_length(LengthAxis("gemm_share", "of a large GEMM", PERCENT, line_at=1.0)),
        ("gemm_share",),
    ),
    ChartKind(
        "copy_share",
        "Share of the copy limit",
        "Useful bytes a second over those of a large copy on the same device: every input read "
        "once, every result written once. The line is 100%.",
        over_length(LengthAxis("copy_share", "of a large copy", PERCENT, line_at=1.0)),
        ("copy_share",),
    ),
    ChartKind(
        "memory",
        "Peak memory",
        "The most that a call allocates at once. A variant whose memory torch does not see, or "
        "that allocates nothing, has no point.",
        over_length(LengthAxis("peak_mib", "peak memory of a call", MEBIBYTES, base=2)),
        ("peak_mib",),
    ),
    ChartKind(
        "error",
        "Error and its budget",
        "The error against the float64 oracle, in the head or row that came nearest to its budget, "
        "over that budget. The line at 1x is the budget: what lies over it disagrees and is "
        "not ranked. Errors and budgets themselves stand in the table of cells.",
        over_length(LengthAxis("budget_share", "error over its budget", MULTIPLE, line_at=1.0)),
        ("budget_share",),
    ),
    ChartKind(
        "trade_off",
        "Speed, memory and error at one length",
        "Left is faster, lower takes less memory, and a larger point has used more of its error "
        "budget.",
        trade_off,
        ("time_ms", "peak_mib", "budget_share"),
        data="length",
    ),
    ChartKind(
        "density",
        "Density of windows",
        "The share of the pairs of query and key that variants with certified windows looked at. "
        "It depends on the data; the others look at all pairs.",
        over_length(LengthAxis("density", "share of pairs", PERCENT)),
        ("density",),
    ),
)


def spec_of(kind: ChartKind, looks: Sequence[Look], *, legend: bool = False) -> dict[str, Any]:
    """Return a chart's Vega-Lite without data; without a legend it is for a page that has its own.

    No field of it is an address. Its parameter KEY_TICKS is empty; who knows the lengths that are
    shown fills it, as `key_ticks` does.
    """
    chart = kind.draw(scales_of(looks, legend=legend)).properties(
        description=f"{kind.title}. {kind.caption}"
    )
    spec: dict[str, Any] = chart.to_dict(validate=True)
    del spec["$schema"]
    spec["params"] = [{"name": KEY_TICKS, "value": []}]
    spec["config"] = CONFIG
    return spec


def key_ticks(lengths: Collection[int]) -> list[int]:
    """Return the lengths to name on an axis: all of a few; of many the powers of two, or the ends.

    `lengths` has at least one.
    """
    if len(lengths) <= _FEW_LENGTHS:
        return sorted(lengths)
    powers = sorted(length for length in lengths if length & (length - 1) == 0)
    return powers or [min(lengths), max(lengths)]


_FEW_LENGTHS = 6  # page.js has the same rule

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.13,
        "domainOpacity": 0.4,
        "tickOpacity": 0.4,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleOpacity": 0.75,
    },
    "legend": {"labelColor": "currentColor", "labelFontSize": 12},
    "header": {"labelColor": "currentColor", "labelFontSize": 12},
    "title": {"color": "currentColor"},
}
