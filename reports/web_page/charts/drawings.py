"""The drawings that are no figure over lengths: the trade-off and the map."""

from typing import Any

import altair as alt

from reports.web_page.charts.layers import (
    EVERY_TIME,
    HEIGHT,
    MEBIBYTES,
    TOOLTIP,
    Drawing,
    LengthAxis,
    Scales,
    figure_axis,
)


def trade_off(scales: Scales) -> Any:
    """Draw time across, memory upward, and the share of the error's budget as the point's size.

    The names stand in a column beside the plot, in the order of the points' memory and apart from
    each other, each with a thin line to its point.
    """
    whole = alt.Chart(alt.NamedData(name="shown")).transform_filter(
        "datum.time_ms > 0 && datum.peak_mib > 0 && datum.budget_share > 0"
    )
    time = alt.X(
        "time_ms:Q",
        scale=alt.Scale(type="log", nice=False, padding=24),
        axis=alt.Axis(
            labelExpr=EVERY_TIME,
            labelOverlap="greedy",
            labelSeparation=8,
            tickCount=6,
            ticks=False,
            grid=False,
        ),
        title="time of a call (left is faster)",
    )
    axis = LengthAxis("peak_mib", "peak memory (lower is less)", MEBIBYTES, 2)
    memory = figure_axis(axis, padding=16)
    size = alt.Size(
        "budget_share:Q",
        scale=alt.Scale(type="log", range=[50, 420]),
        legend=None,
    )
    points = whole.mark_point(filled=True, opacity=0.9).encode(
        x=time, y=memory, size=size, tooltip=TOOLTIP, color=scales.color, shape=scales.shape
    )
    places = _name_places(whole)
    at_name = figure_axis(axis, "name_at", padding=16)
    edge = alt.value("width")
    line = places.mark_rule(stroke="currentColor", strokeWidth=0.7, opacity=0.35, aria=False)
    name = places.mark_text(
        align="left", dx=6, fill="currentColor", fontSize=11, limit=_NAME_WIDTH, aria=False
    )
    return alt.layer(
        line.encode(x=time, x2=edge, y=memory, y2="name_at:Q"),
        points,
        name.encode(x=edge, y=at_name, text="variant:N"),
    ).properties(height=HEIGHT)


_NAME_WIDTH = 130
"""The pixels after which a name is cut short."""

_SLOTS = 15
"""So many names fit above each other in a chart of HEIGHT; with more it has to be higher."""

_LEAST_SPAN = 3
"""The factors of 2 in memory over which names spread at least, if all points lie level."""


def height_for(names: int) -> int:
    """Return the height in pixels at which so many names of a trade-off stand apart.

    charts.js has the same rule.
    """
    return max(HEIGHT, 90 + 15 * names)


def _name_places(whole: Any) -> Any:
    """Add `name_at`, the memory at whose height a point's name stands.

    From the bottom up, a name is at its point or one slot above the name before it. Where they
    would run over the top, they are as high as the names above them leave room for.
    """
    ends = whole.transform_calculate(up="log(datum.peak_mib) / LN2").transform_joinaggregate(
        low="min(up)", high="max(up)", names="count()"
    )
    spread = ends.transform_calculate(
        over=f"max(0, {_LEAST_SPAN} - datum.high + datum.low) / 2",
    ).transform_calculate(
        slot=f"(datum.high - datum.low + 2 * datum.over) / max(datum.names - 1, {_SLOTS - 1})"
    )
    # Of points that lie level the last one on the right is lowest, so that no line crosses another.
    order = [
        alt.SortField("up"),
        alt.SortField("time_ms", order="descending"),
        alt.SortField("variant"),
    ]
    ranked = spread.transform_window(number="row_number()", sort=order).transform_calculate(
        lead="datum.up - datum.number * datum.slot"
    )
    return ranked.transform_window(
        most="max(lead)", sort=order, frame=[None, 0]
    ).transform_calculate(
        name_at="pow(2, min(datum.most + datum.number * datum.slot, "
        "datum.high + datum.over - (datum.names - datum.number) * datum.slot))"
    )


def fastest_map(across: str, step: int) -> Drawing:
    """Return the drawing of the fastest variant by length and by `across`, a field of the cells.

    `step` is the width of a column in pixels. What a label has in brackets is its second line.
    """

    def draw(scales: Scales) -> Any:
        winners = alt.Chart(alt.NamedData(name="shown"))
        header = alt.Axis(
            orient="top",
            labelAngle=0,
            labelLimit=step - 4,
            labelOverlap=False,
            labelExpr=_TWO_LINES,
            labelPadding=20,
            ticks=False,
        )
        x = alt.X(f"{across}:N", title=None, axis=header, sort=None)
        place = {"x": x, "y": alt.Y("kv_len:O", title="keys", axis=alt.Axis(ticks=False))}
        cell = winners.mark_rect(opacity=0.2, stroke="currentColor", strokeOpacity=0.25)
        left = -step / 2
        sign = winners.mark_point(filled=True, size=60, opacity=1, xOffset=left + 12, aria=False)
        words = winners.transform_calculate(words=_WINNER).mark_text(
            align="left", xOffset=left + 23, fill="currentColor", fontSize=11, limit=step - 28
        )
        return alt.layer(
            cell.encode(**place, color=scales.color, tooltip=TOOLTIP),
            sign.encode(**place, color=scales.color, shape=scales.shape),
            words.encode(**place, text="words:N"),
        ).properties(width=alt.Step(step), height=alt.Step(22))

    return draw


_TWO_LINES = (
    "indexof(datum.label, ' (') < 0 ? [datum.label, ''] : "
    "[split(datum.label, ' (')[0], '(' + split(datum.label, ' (')[1]]"
)
_WINNER = (
    "datum.variant + (isValid(datum.vs_no_bias) ? "
    "'  ' + format(datum.vs_no_bias, '.2f') + 'x' : '')"
)
