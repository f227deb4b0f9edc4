"""Which of a problem's variants may be chosen: those that were measured, agree and keep limits."""

from collections.abc import Sequence
from typing import NamedTuple

from reports.tables.row import NOT_YET, Row
from variants.catalog import ALIBI, AUTO, BASELINE
from variants.selection.schema import Candidate, Objective


class Rules(NamedTuple):
    """What is chosen by, and what a candidate may not exceed."""

    objective: Objective = "eager"
    max_memory_bytes: int | None = None
    max_error: float | None = None


def candidates_of(rows: Sequence[Row], rules: Rules) -> dict[str, Candidate]:
    """Return what may be chosen of one problem's rows, the lowest score first."""
    found = []
    baseline = next((row.time_ms for row in rows if row.variant == BASELINE.name), None)
    for row in rows:
        score = _score(row, rules.objective, baseline)
        known = row.time_ms is not None and row.error is not None and row.error_budget is not None
        if score is None or not known or row.variant not in ALIBI or row.variant == AUTO.name:
            continue
        candidate = Candidate(
            variant=row.variant,
            score=score,
            time_ms=row.time_ms or 0.0,
            time_ci_ms=row.time_ci_ms,
            passes=row.passes,
            error=row.error or 0.0,
            error_budget=row.error_budget or 0.0,
            peak_bytes=row.peak_bytes,
            persistent_bytes=row.persistent_bytes,
        )
        if _keeps(candidate, rules):
            found.append(candidate)
    return {one.variant: one for one in sorted(found, key=lambda one: one.score)}


def _score(row: Row, objective: Objective, baseline_ms: float | None) -> float | None:
    """Return what a row is ranked by; a time is the baseline's times the paired ratio to it."""
    if row.status != "measured":
        return None
    if objective == "graph":
        return row.device_ms
    if objective == "memory":
        known = row.peak_bytes is not None and row.persistent_bytes is not None
        return float(max(1, (row.peak_bytes or 0) + (row.persistent_bytes or 0))) if known else None
    if baseline_ms is None or row.vs_no_bias is None:
        return row.time_ms
    return baseline_ms * row.vs_no_bias


def _keeps(candidate: Candidate, rules: Rules) -> bool:
    limit = rules.max_memory_bytes
    if limit is not None and (candidate.bytes is None or candidate.bytes > limit):
        return False
    return rules.max_error is None or candidate.error <= rules.max_error


def why_none(rows: Sequence[Row], rules: Rules) -> str:
    """Return why none of a problem's variants may be chosen."""
    if rules.objective == "graph" and all(row.device_ms is None for row in rows):
        return "no time on a device, which only a GPU has; choose by another --objective"
    if candidates_of(rows, Rules(rules.objective)):
        return "no variant keeps --max-memory and --max-error"
    if all(row.reason == NOT_YET for row in rows):
        return NOT_YET
    return "no variant was measured and agrees"
