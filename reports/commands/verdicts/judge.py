"""A comparison shown, and its verdict as an exit code."""

from typing import Any

from reports.commands.console import show
from suite.failures import RunFailed


class NothingJudged(RunFailed):
    """No cell of a comparison has a verdict; the text says what one takes."""


def judge_pairs(pairs: Any, form: Any) -> None:
    """Show the comparison of a file of pairs and end with its verdict.

    For GitHub it also says what such a comparison would have found.
    """
    from reports.pull_request.power import power
    from reports.verdicts.compare_pairs import compare_pairs

    comparison = compare_pairs(pairs)
    judge(comparison, form, power(pairs) if form == "github" else None)


def judge(comparison: Any, form: Any, power: Any = None) -> None:
    """Show a comparison and end with its verdict."""
    from reports.pull_request.comment import comment
    from reports.text.screen import screen
    from reports.verdicts.verdict_table import render

    is_comment = form == "github"
    show(comment(comparison, power) if is_comment else render(comparison, form, screen()))
    exit_by_verdict(comparison)


def exit_by_verdict(comparison: Any) -> None:
    """Exit 1 if anything regressed. Raises NothingJudged, which exits with 3."""
    if comparison.regressed:
        raise SystemExit(1)
    if not comparison.judged:
        raise NothingJudged(
            f"none of {len(comparison.lines)} cells was judged: a verdict takes 2 passes on each "
            "side or 2 pairs, and a quiet machine; measure again with more --passes or --pairs"
        )
