"""A calibration for people and programs: spread by cell, rates by pairs, a recommendation."""

from collections.abc import Sequence
from typing import Any

import msgspec
from tabulate import tabulate

from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph
from reports.text.screen import IN_A_PIPE, Screen
from reports.verdicts import verdict_table
from reports.verdicts.calibration import EFFECTS, Calibration, CountRate, PairsPlan
from reports.verdicts.comparison import Comparison
from reports.verdicts.verdict_table import VerdictFormat

TOO_FEW = "Too few pairs of the same code to draw comparisons from: give 12 or more."


def render(
    calibration: Calibration | None,
    layout: VerdictFormat,
    comparison: Comparison | None = None,
    screen: Screen = IN_A_PIPE,
) -> str:
    """Return the tables and the recommendation; JSON also has the comparison, if there is one."""
    if layout == "json":
        fields = {} if comparison is None else verdict_table.comparison_fields(comparison)
        fields["rates"] = None if calibration is None else _fields(calibration)
        return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()
    if calibration is None:
        return TOO_FEW
    parts = [
        f"{calibration.pairs} pairs of the same code; correlation of successive pairs "
        f"{calibration.autocorrelation:+.2f}",
        _table(_spread(calibration), layout, screen),
    ]
    if not calibration.plans:
        return "\n\n".join([*parts, TOO_FEW])
    parts.append(_table(_rates(calibration.plans), layout, screen))
    recommendation = _recommendation(calibration)
    if layout == "simple":
        recommendation = paragraph(recommendation, screen.width, "  ")
    return "\n\n".join([*parts, recommendation])


def _spread(calibration: Calibration) -> list[GridColumn]:
    figures = [f"{100 * deviation:.2f}" for deviation in calibration.spread.values()]
    return [
        GridColumn("cell", list(calibration.spread), wraps=True),
        GridColumn("spread %", figures, right=True),
    ]


def _rates(plans: Sequence[PairsPlan]) -> list[GridColumn]:
    """Return the columns of the rates: of false alarms, and of found slowdowns by their size."""
    found = [
        GridColumn(f"+{effect:.0%}", [f"{plan.power[effect].share:.0%}" for plan in plans], True)
        for effect in EFFECTS
    ]
    return [
        GridColumn("pairs", [str(plan.pairs) for plan in plans]),
        GridColumn("false alarms", [str(plan.false_alarms) for plan in plans]),
        found[0]._replace(header=f"found: {found[0].header}"),
        *found[1:],
    ]


def _table(columns: Sequence[GridColumn], layout: VerdictFormat, screen: Screen) -> str:
    if layout == "simple":
        return grid(columns, screen.width)
    return tabulate(
        list(zip(*(column.texts for column in columns), strict=True)),
        [column.header for column in columns],
        layout,
        colalign=["right" if column.right else "left" for column in columns],
        disable_numparse=True,
    )


def _fields(calibration: Calibration) -> dict[str, Any]:
    """Return every figure by name; rates have bounds, effects are shares (0.05 is 5%)."""
    recommended = calibration.recommended
    return {
        "pairs": calibration.pairs,
        "autocorrelation": calibration.autocorrelation,
        "spread": calibration.spread,
        "plans": [
            {
                "pairs": plan.pairs,
                "false_alarms": _rate(plan.false_alarms),
                "found": [{"slowdown": by} | _rate(rate) for by, rate in plan.power.items()],
            }
            for plan in calibration.plans
        ],
        "recommended": recommended
        and {"pairs": recommended.pairs, "gate": recommended.smallest_effect},
    }


def _rate(rate: CountRate) -> dict[str, Any]:
    return {"found": rate.found, "of": rate.of, "bounds": rate.bounds}


def _recommendation(calibration: Calibration) -> str:
    plan = calibration.recommended
    if plan is None:
        return (
            "No number of pairs drawn here keeps false alarms to 1% and finds +5% in 95%: record "
            "more pairs, quieten the machine (doctor), or gate at what is found reliably."
        )
    least = plan.smallest_effect
    assert least is not None
    return (
        f"Recommended: --pairs {plan.pairs}; smallest slowdown found in 80% of comparisons: "
        f"{least:.0%}; --gate {least:.0%} if less should never raise an alarm."
    )
