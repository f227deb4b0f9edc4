"""The layers that charts are made of: points, lines, intervals and reference lines over lengths.

Layers read data by name: `shown` are a setup's cells, `all_shown` are those of all setups that
stand side by side, which share their scales. Text and lines have `currentColor`, so that they suit
a dark page too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import altair as alt

from reports.web_page.charts.looks import Look

HEIGHT = 300

KEY_TICKS = "key_ticks"
"""The name of the parameter of a chart that has the lengths to name on its axis (ticks_for)."""

TOKENS = "datum.value % 1024 == 0 ? format(datum.value / 1024, 'd') + 'k' : datum.value"
_DIGIT = "round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))"
_HAS_LABEL = f"({_DIGIT} == 1 || {_DIGIT} == 2 || {_DIGIT} == 5)"
"""Whether a tick of a decimal log scale begins with 1, 2 or 5. The others would be too many."""

EVERY_TIME = (
    "datum.value >= 1000 ? format(datum.value / 1000, '~r') + ' s' : "
    "datum.value < 1 ? format(datum.value * 1000, '~r') + ' µs' : format(datum.value, '~r') + ' ms'"
)
TIME = f"!{_HAS_LABEL} ? '' : {EVERY_TIME}"
RATIO = "format(datum.value, '.3~r') + 'x'"
PERCENT = f"!{_HAS_LABEL} ? '' : format(datum.value * 100, '.3~r') + '%'"
MEBIBYTES = (
    "datum.value >= 1024 ? format(datum.value / 1024, '.3~r') + ' GiB' : "
    "datum.value < 1 ? format(datum.value * 1024, '.3~r') + ' KiB' : "
    "format(datum.value, '.3~r') + ' MiB'"
)
MULTIPLE = (
    f"!{_HAS_LABEL} ? '' : "
    "(datum.value < 10000 ? format(datum.value, '~r') : format(datum.value, '.0e')) + 'x'"
)


class LengthAxis(NamedTuple):
    """The vertical axis of a chart over lengths: a field of the cells, its title and labels.

    `interval` is the field of its 95% interval; `line_at` is where a reference line lies.
    """

    field: str
    title: str
    labels: str
    base: int = 10
    interval: str = ""
    line_at: float | None = None


class Scales(NamedTuple):
    """The channels that tell variants apart. A legend, if there is one, shows points."""

    color: Any
    shape: Any
    dash: Any


Drawing = Callable[[Scales], Any]
"""A chart without data, from the scales of the page."""


def scales_of(looks: Sequence[Look], *, legend: bool, field: str = "variant") -> Scales:
    """Return the scales of variants with these looks; `field` has the name of one in the data."""
    names = [look.variant for look in looks]
    guide = (
        alt.Legend(
            title=None,
            orient="bottom",
            columns=5,
            symbolSize=80,
            symbolOpacity=1,
            symbolStrokeWidth=0,
        )
        if legend
        else None
    )

    def channel(kind: Any, values: list[Any], guide: Any = None) -> Any:
        scale = alt.Scale(domain=names, range=values)
        return kind(f"{field}:N", scale=scale, legend=guide)

    return Scales(
        channel(alt.Color, [look.colour for look in looks], guide),
        channel(alt.Shape, [look.shape for look in looks], guide),
        channel(alt.StrokeDash, [list(look.dash) for look in looks]),
    )


def over_length(axis: LengthAxis) -> Drawing:
    """Return the drawing of a figure over lengths, a line for each variant, on log scales."""

    def draw(scales: Scales) -> Any:
        layers = [extent(axis), *_reference(axis), *_interval(axis, scales)]
        layers += [line(axis, scales), points(axis, scales)]
        return alt.layer(*layers).properties(height=HEIGHT)

    return draw


def positive(field: str, data: str = "shown") -> Any:
    """Return a chart of the cells that a log scale can show."""
    return alt.Chart(alt.NamedData(name=data)).transform_filter(f"datum.{field} > 0")


def keys_axis() -> Any:
    """Return the horizontal axis of lengths, with a tick at each of the parameter KEY_TICKS."""
    scale = alt.Scale(type="log", base=2, nice=False, padding=12)
    ticks = alt.ExprRef(KEY_TICKS)
    axis = alt.Axis(values=ticks, labelExpr=TOKENS, labelOverlap="greedy", grid=False)
    return alt.X("kv_len:Q", scale=scale, axis=axis, title="keys (1k = 1024)")


def figure_axis(axis: LengthAxis, field: str = "", padding: int = 12) -> Any:
    """Return the vertical axis of a figure; `field` is another field on it, `padding` in pixels."""
    scale = alt.Scale(type="log", base=axis.base, nice=False, padding=padding)
    grid = {"condition": {"test": _HAS_LABEL, "value": 1}, "value": 0}
    labels = alt.Axis(
        labelExpr=axis.labels,
        labelOverlap="greedy",
        tickCount=4,
        ticks=False,
        **({"gridOpacity": grid} if axis.base == 10 else {}),
    )
    return alt.Y(f"{field or axis.field}:Q", scale=scale, axis=labels, title=axis.title)


def extent(axis: LengthAxis) -> Any:
    """Return a layer without ink: setups side by side get the same scales by it."""
    mark = positive(axis.field, "all_shown").mark_point(opacity=0, size=0, aria=False)
    return mark.encode(x=keys_axis(), y=figure_axis(axis), tooltip=alt.value(None))


def _reference(axis: LengthAxis) -> list[Any]:
    if axis.line_at is None:
        return []
    data = alt.Data(values=[{"at": axis.line_at}])
    rule = alt.Chart(data).mark_rule(stroke="currentColor", strokeWidth=1.2, opacity=0.75)
    return [rule.encode(y=alt.Y("at:Q"))]


def _interval(axis: LengthAxis, scales: Scales) -> list[Any]:
    if not axis.interval:
        return []
    low, high = f"datum.{axis.interval}[0]", f"datum.{axis.interval}[1]"
    whole = positive(axis.field).transform_filter(f"isValid(datum.{axis.interval})")
    ends = whole.transform_calculate(low=low, high=high)
    rule = ends.mark_rule(strokeWidth=1.6, opacity=0.55, aria=False)
    low_end = figure_axis(axis, "low")
    return [rule.encode(x=keys_axis(), y=low_end, y2="high:Q", color=scales.color)]


def line(axis: LengthAxis, scales: Scales) -> Any:
    """Return a line for each variant."""
    mark = positive(axis.field).mark_line(strokeWidth=1.8, aria=False)
    ink = {"color": scales.color, "strokeDash": scales.dash}
    return mark.encode(x=keys_axis(), y=figure_axis(axis), **ink)


def points(axis: LengthAxis, scales: Scales) -> Any:
    """Return a point for each cell, with its figures to hover over."""
    mark = positive(axis.field).mark_point(filled=True, size=38, opacity=1)
    ink = {"color": scales.color, "shape": scales.shape}
    return mark.encode(x=keys_axis(), y=figure_axis(axis), tooltip=TOOLTIP, **ink)


TOOLTIP = (
    alt.Tooltip("variant:N"),
    alt.Tooltip("length:N", title="keys"),
    alt.Tooltip("time_ms:Q", title="ms", format=".3~r"),
    alt.Tooltip("vs_no_bias:Q", title="vs no_bias", format=".3~r"),
    alt.Tooltip("gemm_share:Q", title="of GEMM", format=".1%"),
    alt.Tooltip("copy_share:Q", title="of copy", format=".1%"),
    alt.Tooltip("peak_mib:Q", title="peak MiB", format=".3~r"),
    alt.Tooltip("error:Q", format=".1e"),
    alt.Tooltip("error_budget:Q", title="budget", format=".1e"),
    alt.Tooltip("place:N", title="rank"),
)
