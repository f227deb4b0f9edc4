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
    """Draw time across, memory upward, and the share of the error's budget as the point's size."""
    whole = alt.Chart(alt.NamedData(name="shown")).transform_filter(
        "datum.time_ms > 0 && datum.peak_mib > 0 && datum.budget_share > 0"
    )
    time = alt.X(
        "time_ms:Q",
        scale=alt.Scale(type="log", nice=False, padding=30),
        axis=alt.Axis(
            labelExpr=EVERY_TIME, labelOverlap="greedy", tickCount=6, ticks=False, grid=False
        ),
        title="time of a call (left is faster)",
    )
    memory = figure_axis(
        LengthAxis("peak_mib", "peak memory (lower is less)", MEBIBYTES, 2), padding=30
    )
    size = alt.Size(
        "budget_share:Q",
        scale=alt.Scale(type="log", range=[50, 420]),
        legend=None,
    )
    points = whole.mark_point(filled=True, opacity=0.9).encode(
        x=time, y=memory, size=size, tooltip=TOOLTIP, color=scales.color, shape=scales.shape
    )
    # One name above its point, the next one below, so that neighbours' names stay apart.
    order = whole.transform_window(
        number="row_number()", sort=[alt.SortField("time_ms"), alt.SortField("variant")]
    )
    names = [
        order.transform_filter(f"datum.number % 2 == {remainder}")
        .mark_text(dy=dy, fill="currentColor", fontSize=11, aria=False)
        .encode(x=time, y=memory, text="variant:N")
        for remainder, dy in ((1, -14), (0, 15))
    ]
    return alt.layer(points, *names).properties(height=HEIGHT)


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
