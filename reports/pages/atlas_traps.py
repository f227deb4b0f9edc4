"""What of the atlas's answers is no ALiBi of the caller's, in a line each."""

from collections.abc import Sequence

from reports.tables.table import by
from suite.atlas.findings import HIDDEN, BiasError, Findings, SlopeRule

_ERROR_LIMITS = {"float32": 1e-3, "bfloat16": 0.02}
"""Nats by which a bias must be off to be called a trap; far over the rounding of the output."""


def name(findings: Findings) -> str:
    """Return what the page calls an implementation."""
    return findings.variant + (", as shipped" if findings.edition == "shipped" else "")


def traps(findings: Sequence[Findings]) -> list[str]:
    """Return what is no ALiBi of the caller's among the findings, in a line each."""
    lines = []
    for each in findings:
        who = f"**{name(each)}**"
        if each.ended:
            lines.append(f"{who}: not asked to the end: {each.ended}.")
        if each.sign and each.sign != "nearer weigh more" and not each.sign.startswith("declines"):
            lines.append(f"{who}: {each.sign}.")
        if each.slopes and each.slopes != "the caller's" and not is_refusal(each.slopes):
            whatever = ", whatever the caller's" if "its own" in each.slopes else ""
            lines.append(f"{who}: slopes are {each.slopes}{whatever}.")
        if each.scale in {"scaled with the scores", "scaled otherwise"}:
            lines.append(f"{who}: the bias is {each.scale}.")
        if each.bidirectional in {"signed", "another form"}:
            lines.append(f"{who}: without a causal mask the bias is {each.bidirectional}.")
        if each.chunk and each.chunk != "bottom-right" and not is_refusal(each.chunk):
            lines.append(f"{who}: queries of a chunk stand {each.chunk}.")
        lines += [
            f"{who}: wrong with {what}: {answer}."
            for what, answer in (
                ("grouped heads", each.grouped),
                ("padding", each.padding),
                ("gradients", each.gradients),
                ("gradients of slopes", each.slope_gradients),
            )
            if answer.startswith("wrong")
        ]
        for rule, counts in _other_rules(each.rules).items():
            lines.append(f"{who}: with {counts} heads slopes follow {rule}.")
        lines += [f"{who}: {words}" for words in _rounding(each.errors)]
    return lines


def _other_rules(rules: Sequence[SlopeRule]) -> dict[str, str]:
    """Return the rules that are not that of the paper's code, with their head counts in words."""
    others = [rule for rule in rules if "literal" in rule.rule or rule.rule == "another"]
    return {
        name: ", ".join(str(rule.heads) for rule in alike)
        for name, alike in by(lambda rule: rule.rule, others).items()
    }


def _rounding(errors: Sequence[BiasError]) -> list[str]:
    """Return the shortest length of each dtype at which the bias is off, in words."""
    words = []
    for dtype in dict.fromkeys(error.dtype for error in errors):
        for error in errors:
            worst = max(error.near or 0.0, error.far or 0.0)
            if error.dtype != dtype:
                continue
            if error.reason == HIDDEN:
                words.append(f"{HIDDEN} at {error.length} keys in {dtype}.")
            elif worst > _ERROR_LIMITS[dtype] and not error.middle:
                where = "newest" if error.near == worst else "oldest"
                words.append(
                    f"the bias of the {where} keys is off by {worst:.2g} at {error.length} keys in "
                    f"{dtype}."
                )
                break
    return words


def is_refusal(answer: str) -> bool:
    """Return whether an answer is that an implementation declined or failed."""
    return answer.startswith(("declines", "fails"))
