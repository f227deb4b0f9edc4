"""Selections and answers as texts, for people and for programs."""

from collections.abc import Iterator, Sequence

import msgspec
from tabulate import tabulate

from reports.tables.columns import three_digits
from variants.selection.interpolation import Expected
from variants.selection.pick import Answer
from variants.selection.schema import Choice, Objective, Problem, Selection
from variants.selection.tune_command import tune_command

_UNMEASURED = {"static", "stale", "alike", "architecture"}
_SCORE_UNITS: dict[Objective, str] = {"eager": "ms", "graph": "ms on the device", "memory": "bytes"}
_OF: dict[Objective, str] = {"eager": "", "graph": " on the device", "memory": " the memory"}


def selection_table(selection: Selection) -> str:
    """Return a table with a line for each choice: problem, variant, time in ms, and reason."""
    lines = [
        (
            *problem_words(choice.problem),
            choice.variant,
            three_digits(_call_ms(choice, selection.objective)),
            choice.why,
        )
        for choice in selection.choices
    ]
    headers = ("shape", "length", "dtype", "mode", "chosen", "ms", "why")
    return tabulate(lines, headers, disable_numparse=True)


def answers_text(answers: Sequence[Answer], form: str, device: str | None, *, explain: bool) -> str:
    """Return answers as text, or with `form` "json" as a JSON list.

    docs/choosing.md has the list's fields. `device` is this machine's device, for the command that
    would measure an unmeasured problem. It is None where the answers are for another machine.
    """
    if form == "json":
        fields = [_fields(answer) for answer in answers]
        return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()
    return "\n\n".join(_answer(answer, device, explain=explain) for answer in answers)


def _fields(answer: Answer) -> dict[str, object]:
    ranking = [
        {
            **expected._asdict(),
            "score_unit": _SCORE_UNITS[answer.objective],
            "score_ratio_to_chosen": expected.score / answer.ranking[0].score,
        }
        for expected in answer.ranking
    ]
    fields = msgspec.structs.asdict(answer)
    share = fields.pop("regret_at_most")
    problem = msgspec.structs.asdict(answer.problem)
    return {**fields, "problem": problem, "ranking": ranking, "regret_share_at_most": share}


def _answer(answer: Answer, device: str | None, *, explain: bool) -> str:
    shape, length, dtype, mode = problem_words(answer.problem)
    lines = [f"{answer.variant}", f"  for {shape}, {length} keys, {dtype}, {mode}"]
    if answer.ranking:
        lines.append(f"  expected {_time(answer, answer.ranking[0])}{_conditions(answer)}")
        lines.append(f"  {_runner_up(answer)}")
    lines += [f"  regret {regret}" for regret in _regret(answer)]
    objective = "" if answer.objective == "eager" else f", by {answer.objective}"
    lines.append(f"  {answer.ground}{objective}: {answer.provenance}")
    if device is not None and answer.ground in _UNMEASURED:
        lines.append(f"  to measure: {tune_command(answer.problem, device)}")
    if explain and answer.ranking:
        lines.append(f"\n{_ranking(answer)}")
    return "\n".join(lines)


def _conditions(answer: Answer) -> str:
    """Return what the expected times hold for, where that is not what was asked about."""
    words = ""
    if _is_below(answer):
        words += f", as at {answer.measured_lengths[0]} keys, the shortest length measured"
    if answer.measured_threads != answer.threads:
        words += f", with {answer.measured_threads} threads; here {answer.threads} would compute"
    return words


def _runner_up(answer: Answer) -> str:
    if len(answer.ranking) < 2:
        return "runner-up none: nothing else was measured, agreed and kept the limits"
    first, second = answer.ranking[:2]
    ratio = second.score / first.score
    figures = f"{second.variant}, {ratio:.2f}x{_OF[answer.objective]}, {_time(answer, second)}"
    if ratio < 1:
        return f"not surely over 2% better: {figures}"
    return f"runner-up {figures}"


def _regret(answer: Answer) -> Iterator[str]:
    """Yield the bound on regret, or why there is none; nothing where no other was measured."""
    if answer.regret_at_most is not None:
        most = f"{answer.regret_at_most:.1%}"
        yield f"at most {most} over the fastest of those measured, by their intervals"
    elif answer.objective != "eager":
        yield f"not bounded: it was chosen by {answer.objective}"
    elif len(answer.ranking) != 1:
        yield "not bounded: it was not measured around here with intervals"


def _ranking(answer: Answer) -> str:
    least = answer.ranking[0].score
    lines = [
        (
            expected.variant,
            three_digits(expected.time_ms),
            "" if expected.time_low_ms is None else three_digits(expected.time_low_ms),
            "" if expected.time_high_ms is None else three_digits(expected.time_high_ms),
            f"{expected.score / least:.2f}x",
        )
        for expected in answer.ranking
    ]
    ms = "ms, at most" if _is_below(answer) else "ms"
    return tabulate(lines, ("variant", ms, "low", "high", "to chosen"), disable_numparse=True)


def _time(answer: Answer, expected: Expected) -> str:
    time = f"{'at most ' if _is_below(answer) else ''}{three_digits(expected.time_ms)} ms"
    low_ms, high_ms = expected.time_low_ms, expected.time_high_ms
    if low_ms is None or high_ms is None:
        return time
    return f"{time} ({three_digits(low_ms)} to {three_digits(high_ms)})"


def _is_below(answer: Answer) -> bool:
    """Whether all measured lengths are longer, so that the times are upper limits."""
    return answer.problem.kv_len < min(answer.measured_lengths, default=0)


def _call_ms(choice: Choice, objective: Objective) -> float:
    """Return the time of a call of the chosen variant; by "eager" it is the score, as in advice."""
    candidate = next(each for each in choice.candidates if each.variant == choice.variant)
    return candidate.score if objective == "eager" else candidate.time_ms


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
