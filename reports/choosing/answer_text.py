"""Selections and answers as texts, for people and for programs."""

from collections.abc import Sequence

import msgspec
from tabulate import tabulate

from reports.tables.columns import three_digits
from variants.selection.interpolation import Expected
from variants.selection.pick import Answer
from variants.selection.schema import Choice, Problem, Selection
from variants.selection.tune_command import tune_command

_UNMEASURED = {"static", "stale", "alike", "architecture"}


def selection_table(selection: Selection) -> str:
    """Return a table with a line for each choice: problem, variant, time in ms, and reason."""
    lines = [
        (
            *problem_words(choice.problem),
            choice.variant,
            three_digits(_candidate_ms(choice)),
            choice.why,
        )
        for choice in selection.choices
    ]
    headers = ("shape", "length", "dtype", "mode", "chosen", "ms", "why")
    return tabulate(lines, headers, disable_numparse=True)


def answers_text(answers: Sequence[Answer], form: str, device: str | None, *, explain: bool) -> str:
    """Return answers as text, or with `form` "json" as a JSON list of every field.

    `device` is this machine's device, for the command that would measure an unmeasured problem. It
    is None where the answers are for another machine.
    """
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(answers), indent=2).decode()
    return "\n\n".join(_answer(answer, device, explain=explain) for answer in answers)


def _answer(answer: Answer, device: str | None, *, explain: bool) -> str:
    shape, length, dtype, mode = problem_words(answer.problem)
    lines = [f"{answer.variant}", f"  for {shape}, {length} keys, {dtype}, {mode}"]
    if answer.ranking:
        lines.append(f"  expected {_time(answer.ranking[0])}")
        lines.append(f"  runner-up {_runner_up(answer)}")
    lines.append(f"  regret {_regret(answer)}")
    objective = "" if answer.objective == "eager" else f", by {answer.objective}"
    lines.append(f"  {answer.ground}{objective}: {answer.provenance}")
    if device is not None and answer.ground in _UNMEASURED:
        lines.append(f"  to measure: {tune_command(answer.problem, device)}")
    if explain and answer.ranking:
        lines.append(f"\n{_ranking(answer.ranking)}")
    return "\n".join(lines)


def _runner_up(answer: Answer) -> str:
    if len(answer.ranking) < 2:
        return "none: nothing else was measured, agreed and kept the limits"
    first, second = answer.ranking[:2]
    return f"{second.variant}, {second.score / first.score:.2f}x, {_time(second)}"


def _regret(answer: Answer) -> str:
    if answer.objective != "eager":
        return f"not bounded: it was chosen by {answer.objective}"
    if answer.regret_at_most is None:
        return "not bounded: it was not measured around here with intervals"
    most = f"{answer.regret_at_most:.1%}"
    return f"at most {most} over the fastest of those measured, by their intervals"


def _ranking(ranking: Sequence[Expected]) -> str:
    least = ranking[0].score
    lines = [
        (
            expected.variant,
            three_digits(expected.time_ms),
            "" if expected.low_ms is None else three_digits(expected.low_ms),
            "" if expected.high_ms is None else three_digits(expected.high_ms),
            f"{expected.score / least:.2f}x",
        )
        for expected in ranking
    ]
    return tabulate(lines, ("variant", "ms", "low", "high", "to chosen"), disable_numparse=True)


def _time(expected: Expected) -> str:
    time = f"{three_digits(expected.time_ms)} ms"
    if expected.low_ms is None or expected.high_ms is None:
        return time
    return f"{time} ({three_digits(expected.low_ms)} to {three_digits(expected.high_ms)})"


def _candidate_ms(choice: Choice) -> float:
    return next(each.time_ms for each in choice.candidates if each.variant == choice.variant)


def problem_words(problem: Problem) -> tuple[str, str, str, str]:
    """Return shape, length, dtype and mode in words; usual values are left out of the shape."""
    shape = f"{problem.batch} x {problem.heads} heads of {problem.head_dim}"
    if problem.kv_heads != problem.heads:
        shape += f" ({problem.kv_heads} kv)"
    shape += "" if problem.causal else ", bidirectional"
    shape += f", bias max {problem.bias_max:g}" if problem.bias_max != 8 else ""
    shape += ", slopes over sqrt(d)" if problem.slope_scale != "1" else ""
    shape += f", scale {problem.scale}" if problem.scale != "1/sqrt(d)" else ""
    shape += f", {problem.layout}" if problem.layout != "bhnd" else ""
    shape += f", logit scale {problem.logit_scale:g}" if problem.logit_scale != 1 else ""
    square = problem.q_len == problem.kv_len
    length = str(problem.kv_len) if square else f"{problem.q_len} of {problem.kv_len}"
    return shape, length, problem.dtype, problem.mode
