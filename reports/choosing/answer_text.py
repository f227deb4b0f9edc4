"""Selections and answers as texts, for people and for programs."""

from collections.abc import Iterator, Sequence

import msgspec

from reports.tables.columns import three_digits
from reports.text.grid import GridColumn, grid
from reports.text.paragraph import paragraph, shell_command
from reports.text.screen import IN_A_PIPE, Screen
from suite.cases.models import word_for_shape
from suite.cases.sweeps import Shape
from variants.selection.interpolation import ExpectedScore
from variants.selection.pick import Answer
from variants.selection.schema import Choice, Objective, Problem, Selection
from variants.selection.tune_command import tune_command

_UNMEASURED = {"static", "stale", "alike", "architecture"}
_OF_MODEL = ("heads", "kv_heads", "head_dim", "causal", "bias_max", "slope_scale", "scale")
_SCORE_UNITS: dict[Objective, str] = {"eager": "ms", "graph": "ms on the device", "memory": "bytes"}
_NOUNS: dict[Objective, str] = {"eager": "", "graph": " on the device", "memory": " the memory"}


def selection_table(selection: Selection, screen: Screen = IN_A_PIPE) -> str:
    """Return a table for each shape, with a line for each choice: problem, variant, ms, reason."""
    by_shape: dict[str, list[Choice]] = {}
    for choice in selection.choices:
        by_shape.setdefault(problem_words(choice.problem)[0], []).append(choice)
    return "\n\n".join(
        f"{shape}\n\n{_choices(choices, selection.objective, screen)}"
        for shape, choices in by_shape.items()
    )


def _choices(choices: Sequence[Choice], objective: Objective, screen: Screen) -> str:
    ordered = sorted(choices, key=lambda choice: choice.problem.kv_len)
    problems = [problem_words(choice.problem) for choice in ordered]
    times = [three_digits(_call_ms(choice, objective)) for choice in ordered]
    columns = [
        GridColumn("length", [length for _, length, _, _ in problems], right=True),
        GridColumn("dtype", [dtype for _, _, dtype, _ in problems]),
        GridColumn("mode", [mode for *_, mode in problems]),
        GridColumn("chosen", [choice.variant for choice in ordered]),
        GridColumn("ms", times, right=True),
        GridColumn("why", [choice.why for choice in ordered], wraps=True),
    ]
    return grid(columns, screen.width)


def answers_text(
    answers: Sequence[Answer],
    form: str,
    device: str | None,
    screen: Screen = IN_A_PIPE,
    *,
    models: str | None = None,
    explain: bool,
) -> str:
    """Return answers as text, or with `form` "json" as a JSON list.

    docs/choosing.md has the list's fields. `device` is this machine's device, for the command that
    would measure an unmeasured problem. It is None where the answers are for another machine.
    `models` is what was typed for `--models`.
    """
    if form == "json":
        fields = [_fields(answer) for answer in answers]
        return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()
    return "\n\n".join(
        _answer(answer, _command(answer, device, models), screen, explain=explain)
        for answer in answers
    )


def _command(answer: Answer, device: str | None, models: str | None) -> str | None:
    """Return the command that measures what was not measured here.

    It names the model where slopes or scale are not the usual ones, which no other option sets.
    """
    if device is None or answer.ground not in _UNMEASURED:
        return None
    problem, usual = answer.problem, Shape()
    rules = problem.bias_max, problem.slope_scale, problem.scale
    if rules == (usual.bias_max, usual.slope_scale, usual.scale):
        return tune_command(problem, device)
    shape = Shape(**{name: getattr(problem, name) for name in _OF_MODEL})
    return tune_command(problem, device, word_for_shape(models or "", shape))


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


def _answer(answer: Answer, command: str | None, screen: Screen, *, explain: bool) -> str:
    shape, length, dtype, mode = problem_words(answer.problem)
    lines = [f"for {shape}, {length} keys, {dtype}, {mode}"]
    if answer.ranking:
        lines.append(f"expected {_time(answer, answer.ranking[0])}{_conditions(answer)}")
        lines.append(_runner_up(answer))
    lines += [f"regret {regret}" for regret in _regret(answer)]
    objective = "" if answer.objective == "eager" else f", by {answer.objective}"
    lines.append(f"{answer.ground}{objective}: {answer.provenance}")
    parts = [answer.variant, *(paragraph(line, screen.width, "    ", "  ") for line in lines)]
    if command is not None:
        parts.append(shell_command(command, screen.width, "  to measure: ", "    "))
    if explain and answer.ranking:
        parts.append(f"\n{_ranking(answer, screen)}")
    return "\n".join(parts)


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
    figures = f"{second.variant}, {ratio:.2f}x{_NOUNS[answer.objective]}, {_time(answer, second)}"
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


def _ranking(answer: Answer, screen: Screen) -> str:
    ranking, least = answer.ranking, answer.ranking[0].score
    ms = "ms, at most" if _is_below(answer) else "ms"
    columns = [
        GridColumn("variant", [each.variant for each in ranking]),
        GridColumn(ms, [three_digits(each.time_ms) for each in ranking], right=True),
        GridColumn("low", [three_digits(each.time_low_ms) for each in ranking], right=True),
        GridColumn("high", [three_digits(each.time_high_ms) for each in ranking], right=True),
        GridColumn("to chosen", [f"{each.score / least:.2f}x" for each in ranking], right=True),
    ]
    return grid(columns, screen.width)


def _time(answer: Answer, expected: ExpectedScore) -> str:
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
    """Return shape, length, dtype and mode in words."""
    square = problem.q_len == problem.kv_len
    length = str(problem.kv_len) if square else f"{problem.q_len} of {problem.kv_len}"
    return problem.shape, length, problem.dtype, problem.mode
