"""A calibration for people and programs: spread by cell, rates by pairs, a recommendation."""

from typing import Any

import msgspec
from tabulate import tabulate

from reports.verdicts import verdict_table
from reports.verdicts.calibration import EFFECTS, Calibration, CountRate, PairsPlan
from reports.verdicts.comparison import Comparison
from reports.verdicts.verdict_table import VerdictFormat

TOO_FEW = "Too few pairs of the same code to draw comparisons from: give 12 or more."


def render(
    calibration: Calibration | None, layout: VerdictFormat, comparison: Comparison | None = None
) -> str:
    """Return the tables and the recommendation; JSON also has the comparison, if there is one."""
    if layout == "json":
        fields = {} if comparison is None else verdict_table.comparison_fields(comparison)
        fields["rates"] = None if calibration is None else _fields(calibration)
        return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()
    if calibration is None:
        return TOO_FEW
    spread = [(cell, f"{100 * deviation:.2f}") for cell, deviation in calibration.spread.items()]
    alignment = ("left", "right")
    parts = [
        f"{calibration.pairs} pairs of the same code; correlation of successive pairs "
        f"{calibration.autocorrelation:+.2f}",
        tabulate(spread, ("cell", "spread %"), layout, colalign=alignment, disable_numparse=True),
    ]
    if not calibration.plans:
        return "\n\n".join([*parts, TOO_FEW])
    headers = ("pairs", "false alarms", *(f"+{effect:.0%} found" for effect in EFFECTS))
    lines = [_line(plan) for plan in calibration.plans]
    parts.append(tabulate(lines, headers, layout, disable_numparse=True))
    return "\n\n".join([*parts, _recommendation(calibration)])


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


def _line(plan: PairsPlan) -> tuple[str, ...]:
    power = (f"{plan.power[effect].share:.0%}" for effect in EFFECTS)
    return str(plan.pairs), str(plan.false_alarms), *power


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
