"""The charts of a page's quality, as Vega-Lite without data: bits by length, and bits by cost.

Each reads two sets of data by name: `shown` is what it draws, and `all_shown` what charts beside it
draw too, so that they share their scales.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from reports.web_page.charts.kinds import CONFIG
from reports.web_page.charts.layers import HEIGHT, KEY_TICKS, RATIO, TOKENS, Scales, scales_of
from reports.web_page.charts.looks import Look


def bits_spec(looks: Sequence[Look], *, legend: bool = False) -> dict[str, Any]:
    """Return the chart of QualityPoints over lengths; who knows them fills the parameter KEY_TICKS.

    A bar is the range over seeds.
    """
    scales = scales_of(looks, legend=legend, field="series")
    whole = _data("shown")
    rule = whole.mark_rule(strokeWidth=1.6, opacity=0.55, aria=False)
    line = whole.mark_line(strokeWidth=1.8, aria=False)
    point = whole.mark_point(filled=True, size=38, opacity=1)
    x, y = _lengths(), _bits()
    layers = [
        _extent(x=x, y=_bits("low"), y2="high:Q"),
        rule.encode(x=x, y=_bits("low"), y2="high:Q", color=scales.color),
        line.encode(x=x, y=y, color=scales.color, strokeDash=scales.dash),
        _with_signs(point, scales).encode(x=x, y=y, tooltip=_BITS_TOOLTIP),
    ]
    description = "Bits per byte by tested length, a line for each position method"
    return _plain(layers, description) | {"params": [{"name": KEY_TICKS, "value": []}]}


def cost_spec(looks: Sequence[Look], *, legend: bool = False) -> dict[str, Any]:
    """Return the chart of CostPoints at one length: time across, bits upward.

    Bars are the range over seeds, and the 95% interval of the time.
    """
    scales = scales_of(looks, legend=legend, field="series")
    whole = _data("shown")
    rule = whole.mark_rule(strokeWidth=1.6, opacity=0.55, aria=False)
    point = whole.mark_point(filled=True, size=70, opacity=1)
    at_one = alt.Chart(alt.Data(values=[{"at": 1}])).mark_rule(
        stroke="currentColor", strokeWidth=1.2, opacity=0.75
    )
    x, y = _ratio(), _bits()
    layers = [
        _extent(x=x, y=_bits("low"), y2="high:Q"),
        _extent(x=_ratio("ratio_low"), x2="ratio_high:Q", y=y),
        at_one.encode(x=_ratio("at")),
        rule.encode(x=x, y=_bits("low"), y2="high:Q", color=scales.color),
        rule.encode(x=_ratio("ratio_low"), x2="ratio_high:Q", y=y, color=scales.color),
        _with_signs(point, scales).encode(x=x, y=y, tooltip=_COST_TOOLTIP),
    ]
    return _plain(layers, "Bits per byte by the time of attention, a point for each method")


def _data(name: str) -> Any:
    return alt.Chart(alt.NamedData(name=name))


def _extent(**ends: Any) -> Any:
    """Return a layer without ink, from end to end of each bar."""
    mark = _data("all_shown").mark_rule(opacity=0, aria=False)
    return mark.encode(**ends, tooltip=alt.value(None))


def _with_signs(point: Any, scales: Scales) -> Any:
    return point.encode(color=scales.color, shape=scales.shape)


def _lengths() -> Any:
    axis = alt.Axis(values=alt.ExprRef(KEY_TICKS), labelExpr=TOKENS, grid=False)
    scale = alt.Scale(type="log", base=2, nice=False, padding=12)
    return alt.X(
        "length:Q", scale=scale, axis=axis, title="tokens that it was tested at (1k = 1024)"
    )


def _bits(field: str = "bits") -> Any:
    scale = alt.Scale(zero=False, nice=False, padding=12)
    axis = alt.Axis(format=".2f", tickCount=5, ticks=False)
    return alt.Y(f"{field}:Q", scale=scale, axis=axis, title="bits per byte (lower is better)")


def _ratio(field: str = "ratio") -> Any:
    scale = alt.Scale(type="log", base=2, nice=False, padding=24)
    axis = alt.Axis(labelExpr=RATIO, labelOverlap="greedy", tickCount=5, ticks=False, grid=False)
    title = "a prefill's time over bias-free (left is faster)"
    return alt.X(f"{field}:Q", scale=scale, axis=axis, title=title)


def _plain(layers: Sequence[Any], description: str) -> dict[str, Any]:
    """Return a chart of layers as plain values, in which no field is an address."""
    chart = alt.layer(*layers).properties(height=HEIGHT, description=description)
    spec: dict[str, Any] = chart.to_dict(validate=True)
    del spec["$schema"]
    return spec | {"config": CONFIG}


_BITS_TOOLTIP = (
    alt.Tooltip("series:N", title="positions"),
    alt.Tooltip("length:Q", title="tokens"),
    alt.Tooltip("bits:Q", title="bits per byte", format=".3f"),
    alt.Tooltip("low:Q", title="least", format=".3f"),
    alt.Tooltip("high:Q", title="most", format=".3f"),
    alt.Tooltip("seeds:Q"),
)
_COST_TOOLTIP = (
    alt.Tooltip("series:N", title="positions"),
    alt.Tooltip("length:Q", title="tokens"),
    alt.Tooltip("variant:N", title="timed as"),
    alt.Tooltip("ratio:Q", title="time over bias-free", format=".3~r"),
    alt.Tooltip("bits:Q", title="bits per byte", format=".3f"),
)
