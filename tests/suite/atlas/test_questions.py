"""One implementation is asked everything; a crash or a refusal costs what it costs and no more."""

from pathlib import Path

import msgspec
import pytest
import torch

from reports.pages.atlas_traps import traps
from suite.atlas.bias_errors import DTYPES, LENGTHS
from suite.atlas.conventions import HEAD_COUNTS
from suite.atlas.findings import NO_NUMBER, Findings
from suite.atlas.processes import ask_all, implementations
from suite.atlas.questions import questions
from suite.failures import BadRequest
from tests.fakes.console import bench
from tests.suite.atlas import biases
from tests.suite.atlas.biases import implementation
from variants.catalog import ALIBI
from variants.problem import Attention, Spec, Unsupported


def test_every_question_is_asked_and_eager_has_no_trap() -> None:
    findings = Findings(variant="eager", edition="raced")
    for question in questions(findings, implementation(biases.right)):
        question()
    values = vars_of(findings)
    assert not [name for name, value in values.items() if not value and name != "ended"]
    assert [rule.heads for rule in findings.rules] == [*HEAD_COUNTS]
    assert len(findings.errors) == len(DTYPES) * (len(LENGTHS) + 1)
    assert [error.dtype for error in findings.errors if error.middle] == [*DTYPES]
    assert {error.length for error in findings.errors if not error.middle} == {*LENGTHS}
    assert traps([findings]) == []


def vars_of(findings: Findings) -> dict[str, object]:
    return {name: getattr(findings, name) for name in findings.__struct_fields__}


def test_outputs_that_are_no_numbers_are_an_answer_that_can_be_written() -> None:
    def prepare_nan(spec: Spec) -> Attention:
        return lambda q, *_: torch.full_like(q, torch.nan)

    findings = Findings(variant="eager", edition="raced")
    for question in questions(findings, prepare_nan):
        question()
    again = msgspec.json.decode(msgspec.json.encode(findings), type=Findings)
    assert again.sign == NO_NUMBER
    assert {rule.rule for rule in again.rules} == {NO_NUMBER}


def test_what_ships_is_asked_of_its_bias_alone() -> None:
    findings = Findings(variant="bloom", edition="shipped")
    for question in questions(findings, implementation(biases.without_bias_max)):
        question()
    assert findings.slopes == "its own"
    assert (findings.grouped, findings.padding, findings.errors) == ("", "", [])


def test_a_refusal_and_an_exception_are_answers() -> None:
    def declines(spec: Spec) -> Attention:
        raise Unsupported("not today")

    def fails(spec: Spec) -> Attention:
        raise ValueError("a bug")

    for prepare, words in ((declines, "declines: not today"), (fails, "fails: ValueError: a bug")):
        findings = Findings(variant="eager", edition="raced")
        for question in questions(findings, prepare):
            question()
        assert findings.sign == findings.gradients == words
        assert {error.reason for error in findings.errors} == {words}
        assert findings.rules == []


def test_all_of_ours_are_asked_and_one_may_be_named() -> None:
    names = [name for name, edition in implementations(None) if edition == "raced"]
    assert {"eager", "native_window", "auto"} <= set(names) <= {*ALIBI, *names}
    assert implementations("ggml,eager") == [
        ("ggml", "raced"),
        ("ggml", "shipped"),
        ("eager", "raced"),
    ]
    with pytest.raises(BadRequest, match="--variants no_bias: no such name"):
        implementations("no_bias")


@pytest.mark.heavy
def test_the_command_writes_a_page_and_a_process_that_dies_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    done = bench("atlas", "--variants", "eager,sdpa_key", "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert "0 traps in 2 implementations" in done.stdout
    assert "[2/2] sdpa_key: answered" in done.stderr
    assert "| sdpa_key " in page.read_text()
    monkeypatch.setattr("suite.atlas.processes.COMMAND", ("false",))
    (dead,) = ask_all([("eager", "raced")], 1, lambda _: None)
    assert dead.ended.startswith("exited with 1")
