"""The candidates for a problem: its variants that were measured, agree and are within limits."""

from collections.abc import Sequence
from typing import NamedTuple

from reports.tables.rank import paired_ms
from reports.tables.row import NOT_YET, Row
from variants.catalog import ALIBI, BASELINE, NEVER_CHOSEN
from variants.selection.schema import Candidate, Objective


class Rules(NamedTuple):
    """The objective that ranks candidates, and the limits that a candidate may not exceed.

    With `others`, peers and a user's kernels are candidates beside the variants of ours.
    """

    objective: Objective = "eager"
    max_memory_bytes: int | None = None
    max_error: float | None = None
    others: bool = False


def candidates_of(rows: Sequence[Row], rules: Rules) -> dict[str, Candidate]:
    """Return the candidates among one problem's rows by variant, the lowest score first."""
    candidates = []
    baseline = next((row.time_ms for row in rows if row.variant == BASELINE.name), None)
    for row in rows:
        score = _score(row, rules.objective, baseline)
        figures = row.time_ms, row.error, row.error_budget
        if score is None or None in figures or not _may_be_chosen(row, rules):
            continue
        if is_too_noisy(row, rules):
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
        if _is_within_limits(candidate, rules):
            candidates.append(candidate)
    candidates.sort(key=lambda candidate: candidate.score)
    return {candidate.variant: candidate for candidate in candidates}


def _may_be_chosen(row: Row, rules: Rules) -> bool:
    return (
        row.answers == "alibi"
        and row.variant not in NEVER_CHOSEN
        and (rules.others or row.variant in ALIBI)
    )


def is_too_noisy(row: Row, rules: Rules) -> bool:
    """Whether a row has no rank by the objective because its figures contradict each other."""
    return row.contradictory and rules.objective == "eager"


def _score(row: Row, objective: Objective, baseline_ms: float | None) -> float | None:
    """Return a row's score, lower is better; None if the row can't be ranked.

    "eager": the time in ms by which tables rank. "graph": the time on the device in ms. "memory":
    peak plus persistent bytes.
    """
    if row.status != "measured":
        return None
    if objective == "graph":
        return row.device_ms
    if objective == "memory":
        if row.peak_bytes is None or row.persistent_bytes is None:
            return None
        return float(max(1, row.peak_bytes + row.persistent_bytes))
    return paired_ms(row, baseline_ms)


def _is_within_limits(candidate: Candidate, rules: Rules) -> bool:
    limit = rules.max_memory_bytes
    if limit is not None and (candidate.bytes is None or candidate.bytes > limit):
        return False
    return rules.max_error is None or candidate.error <= rules.max_error


def why_none(rows: Sequence[Row], rules: Rules) -> str:
    """Return the reason why a problem has no candidate."""
    if rules.objective == "graph" and all(row.device_ms is None for row in rows):
        return "no time on a device, which only a GPU has; choose by another --objective"
    if candidates_of(rows, Rules(rules.objective, others=rules.others)):
        return "no variant keeps --max-memory and --max-error"
    if any(is_too_noisy(row, rules) for row in rows):
        return "what agrees is too noisy to rank; measure again on a quiet machine"
    if all(row.reason == NOT_YET for row in rows):
        return NOT_YET
    return "no variant was measured and agrees"
