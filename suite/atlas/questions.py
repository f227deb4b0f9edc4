"""The process that asks one implementation everything, and writes what it has learnt so far.

    python -m suite.atlas.questions VARIANT EDITION

A line of JSON after each question, so that a crash costs the questions that are left.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import torch

from suite.agreement.inputs import PrepareFunction
from suite.atlas import bias_errors, conventions
from suite.atlas.findings import BiasError, Edition, Findings
from suite.atlas.implementation import prepare_of
from variants.problem import Unsupported

_LONGEST_REASON = 60


def main(variant: str, edition: Edition) -> None:
    """Write the findings, a line after each question."""
    lines = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    torch.set_num_threads(1)
    prepare = prepare_of(variant, edition)
    assert prepare is not None, f"{variant} ships what is raced"
    findings = Findings(variant=variant, edition=edition)
    for question in questions(findings, prepare):
        question()
        lines.write(msgspec.json.encode(findings) + b"\n")
    os._exit(0)  # some libraries' threads abort a process that ends


def questions(findings: Findings, prepare: PrepareFunction) -> list[Callable[[], None]]:
    """Return what is asked, in order: functions that fill in `findings`."""

    def ask(field: str, question: Callable[[], str]) -> Callable[[], None]:
        return lambda: setattr(findings, field, _in_words(question))

    of_the_bias = (
        ("sign", conventions.sign),
        ("slopes", conventions.use_of_slopes),
        ("scale", conventions.place_of_scale),
        ("bidirectional", conventions.bidirectional_form),
        ("chunk", conventions.alignment),
    )
    of_the_rest = (
        ("grouped", conventions.grouped_heads),
        ("gradients", conventions.gradients),
        ("slope_gradients", conventions.slope_gradients),
    )
    first, second = (
        [ask(field, partial(question, prepare)) for field, question in fields]
        for fields in (of_the_bias, of_the_rest)
    )
    rules = [partial(_ask_rule, findings, prepare, heads) for heads in conventions.HEAD_COUNTS]
    # The others are held against the caller's slopes, and what is shipped may have its own.
    if findings.edition == "shipped":
        return [*first, *rules]
    padding = ask("padding", lambda: conventions.padding(findings.variant))
    return [*first, *rules, *second, padding, *_questions_of_errors(findings, prepare)]


def _ask_rule(findings: Findings, prepare: PrepareFunction, heads: int) -> None:
    try:
        findings.rules.append(conventions.slope_rule(prepare, heads))
    except Exception:  # noqa: BLE001 - a head count that is not taken has no slopes
        return


def _questions_of_errors(
    findings: Findings, prepare: PrepareFunction
) -> Iterator[Callable[[], None]]:
    """Yield what is asked of the bias's errors: at each length, then in the middle of one."""

    def ask(dtype: str, length: int, *, middle: bool) -> None:
        try:
            if middle:
                answer = bias_errors.middle_error(prepare, dtype)
            else:
                answer = bias_errors.bias_error(prepare, dtype, length)
        except Exception as error:  # noqa: BLE001 - whatever it raises is the answer
            answer = BiasError(dtype, length, middle=middle, reason=_words_of(error))
        findings.errors.append(answer)

    for dtype in bias_errors.DTYPES:
        for length in bias_errors.LENGTHS:
            yield partial(ask, dtype, length, middle=False)
    for dtype in bias_errors.DTYPES:
        yield partial(ask, dtype, bias_errors.MIDDLE_OF, middle=True)


def _in_words(question: Callable[[], str]) -> str:
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - whatever it raises is the answer
        return _words_of(error)


def _words_of(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, Unsupported | NotImplementedError):
        return f"declines: {text}"
    return f"fails: {type(error).__name__}: {text[:_LONGEST_REASON]}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])  # type: ignore[arg-type]
