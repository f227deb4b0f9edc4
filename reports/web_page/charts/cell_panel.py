"""One cell over the runs of its device: times with intervals, and a mark where a step begins.

It reads three sets of data by name: `points` and `steps` of the cell (CellPoint, CellStep), and
`frame`, the corners that the panel has at least. Its parameters say how runs are named.
"""

from typing import Any

import altair as alt

from reports.web_page.charts.kinds import CONFIG
from reports.web_page.charts.layers import EVERY_TIME

HEIGHT = 190

SLOWER, FASTER, NOT_THE_CODE = "#d9541e", "#0f7bbf", "#868b90"
_UP, _DOWN, _SQUARE, _DIAMOND = "triangle-up", "triangle-down", "square", "diamond"

_MARK = (
    f"datum.cause == 'environment' ? '{_SQUARE}' : datum.cause == 'machine' ? '{_DIAMOND}' : "
    f"datum.change > 0 ? '{_UP}' : '{_DOWN}'"
)
_INK = f"datum.cause != 'code' ? '{NOT_THE_CODE}' : datum.change > 0 ? '{SLOWER}' : '{FASTER}'"
_WORDS = "format(datum.change, '+.1%') + ' ' + datum.cause"


def panel_spec() -> dict[str, Any]:
    """Return a panel's Vega-Lite without data and with empty parameters.

    `run_names` is a list of (commit, day), one a run; `run_ticks` are the runs that are named.
    """
    layers = [_frame(), _step_lines(), *_points(), _gaps(), *_step_marks()]
    spec: dict[str, Any] = alt.layer(*layers).properties(height=HEIGHT).to_dict(validate=True)
    del spec["$schema"]
    spec["params"] = [{"name": "run_names", "value": []}, {"name": "run_ticks", "value": []}]
    spec["config"] = CONFIG
    return spec


def _run() -> Any:
    axis = alt.Axis(
        values=alt.ExprRef("run_ticks"),
        labelExpr="run_names[datum.value]",
        labelOverlap=False,
        grid=False,
    )
    ends = [0, alt.ExprRef("max(run_names.length - 1, 1)")]
    scale = alt.Scale(domain=ends, nice=False, padding=16)
    return alt.X("run:Q", title=None, axis=axis, scale=scale)


def _time(field: str = "time_ms") -> Any:
    axis = alt.Axis(labelExpr=EVERY_TIME, tickCount=4, ticks=False)
    return alt.Y(f"{field}:Q", title=None, axis=axis, scale=alt.Scale(zero=False, nice=False))


def _frame() -> Any:
    corners = alt.Chart(alt.NamedData(name="frame")).mark_point(opacity=0, size=0, aria=False)
    return corners.encode(x=_run(), y=_time(), tooltip=alt.value(None))


def _timed_points() -> Any:
    return alt.Chart(alt.NamedData(name="points")).transform_filter("isValid(datum.time_ms)")


def _points() -> list[Any]:
    line = _timed_points().transform_filter("!datum.disturbed")
    ends = _timed_points().transform_filter("isValid(datum.time_ci_ms)")
    rule = ends.transform_calculate(low="datum.time_ci_ms[0]", high="datum.time_ci_ms[1]")
    fill = alt.condition("datum.disturbed", alt.value("transparent"), alt.value("currentColor"))
    return [
        line.mark_line(stroke="currentColor", strokeWidth=1, opacity=0.35, aria=False).encode(
            x=_run(), y=_time()
        ),
        rule.mark_rule(stroke="currentColor", strokeWidth=1.4, opacity=0.45, aria=False).encode(
            x=_run(), y=_time("low"), y2="high:Q"
        ),
        _timed_points()
        .mark_point(stroke="currentColor", strokeWidth=1.2, size=26, opacity=1)
        .encode(x=_run(), y=_time(), fill=fill, tooltip=_TOOLTIP),
    ]


def _gaps() -> Any:
    """Return a letter at the foot of each run in which the cell has no time."""
    gaps = alt.Chart(alt.NamedData(name="points")).transform_filter("!isValid(datum.time_ms)")
    letters = gaps.transform_calculate(letter="upper(slice(datum.status, 0, 1))")
    text = letters.mark_text(fill="currentColor", fontSize=11, fontWeight="bold", dy=-7)
    return text.encode(x=_run(), y=alt.value("height"), text="letter:N", tooltip=_TOOLTIP)


def _steps() -> Any:
    """Return the steps, each between the run where it begins and the one before."""
    whole = alt.Chart(alt.NamedData(name="steps"))
    return whole.transform_calculate(run="datum.run - 0.5", words=_WORDS)


def _step_lines() -> Any:
    rule = _steps().mark_rule(stroke=_expr(_INK), strokeDash=[3, 3], strokeWidth=1.4, aria=False)
    return rule.encode(x=_run())


def _step_marks() -> list[Any]:
    """Return at the top of each step its shape, and beside it its size and cause in words."""
    late = "datum.run > run_names.length / 2"
    point = _steps().mark_point(
        filled=True, size=70, opacity=1, shape=_expr(_MARK), fill=_expr(_INK)
    )
    words = _steps().mark_text(
        fill="currentColor",
        fontSize=11,
        aria=False,
        align=_expr(f"{late} ? 'right' : 'left'"),
        dx=_expr(f"{late} ? -8 : 8"),
    )
    top = alt.value(-9)
    return [
        point.encode(x=_run(), y=top, tooltip=_STEP_TOOLTIP),
        words.encode(x=_run(), y=top, text="words:N"),
    ]


def _expr(expression: str) -> Any:
    return alt.ExprRef(expression)


_TOOLTIP = (
    alt.Tooltip("commit:N"),
    alt.Tooltip("started:N", title="began"),
    alt.Tooltip("status:N"),
    alt.Tooltip("time_ms:Q", title="ms", format=".4~r"),
    alt.Tooltip("passes:Q"),
    alt.Tooltip("disturbed:N"),
    alt.Tooltip("reason:N"),
)
_STEP_TOOLTIP = (
    alt.Tooltip("words:N", title="step"),
    alt.Tooltip("commit:N", title="first commit"),
    alt.Tooltip("reason:N"),
)
