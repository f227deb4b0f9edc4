"""A calibration for people: spread by cell, rates by number of pairs, and what they recommend."""

from tabulate import tabulate

from reports.calibration import EFFECTS, Calibration, Plan

TOO_FEW = "Too few pairs of the same code to draw comparisons from: give 12 or more."


def render(calibration: Calibration) -> str:
    """Return the tables and the recommendation."""
    spread = [(cell, f"{100 * own:.2f}") for cell, own in calibration.spread.items()]
    parts = [
        f"{calibration.pairs} pairs of the same code; correlation of successive pairs "
        f"{calibration.autocorrelation:+.2f}",
        tabulate(spread, ("cell", "spread %"), colalign=("left", "right"), disable_numparse=True),
    ]
    if not calibration.plans:
        return "\n\n".join([*parts, TOO_FEW])
    headers = ("pairs", "false alarms", *(f"+{effect:.0%} found" for effect in EFFECTS))
    parts.append(
        tabulate([_line(plan) for plan in calibration.plans], headers, disable_numparse=True)
    )
    return "\n\n".join([*parts, _recommendation(calibration)])


def _line(plan: Plan) -> tuple[str, ...]:
    found = (f"{plan.power[effect].share:.0%}" for effect in EFFECTS)
    return str(plan.pairs), str(plan.false_alarms), *found


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
