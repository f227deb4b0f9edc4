"""Two files that can't be compared are refused, with every field that differs."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from suite.conditions.policy import Policy
from suite.records.record import SCHEMA, RunHeader
from suite.records.store import StoreError, read
from tests.records import a_machine, a_run, write
from tests.reports.comparisons import STEADY, compare, line_of, refusal, times


def test_a_refusal_names_every_field_that_differs() -> None:
    policy = Policy(threads=1, malloc={"A": "1"}, omp_wait_policy="active", clock="cuda")
    other = msgspec.structs.replace(a_machine(key="cpu-other", torch="2.12.0"), policy=policy)
    told = refusal(a_run({}, name="b.jsonl"), a_run({}, header=other, name="h.jsonl"))
    assert told.startswith("h.jsonl against b.jsonl: hardware key cpu-other and not cpu-invented")
    for words in (
        "torch 2.12.0 and not 2.13.0",
        "threads 1 and not 2",
        "malloc {'A': '1'} and not {}",
        "omp_wait_policy active and not default",
        "clock cuda and not cpu",
    ):
        assert words in told
    assert "triton" not in told
    assert "--across" not in told


def test_other_software_is_refused_with_a_hint_and_compared_when_asked_for() -> None:
    base = a_run({"eager": STEADY}, header=a_machine(torch="2.12.0"))
    head = a_run({"eager": times(1.3)})
    assert refusal(base, head).endswith(
        "torch 2.13.0 and not 2.12.0; --across software compares them"
    )
    found = compare(base, head, across=("software",))
    assert line_of(found).verdict == "slower"
    assert found.notes == ["across software: torch 2.13.0 and not 2.12.0"]


def test_a_package_that_one_side_lacks_is_other_software() -> None:
    header = a_machine()
    with_cuda = msgspec.structs.replace(header, software=header.software | {"cuda": "12.9"})
    told = refusal(a_run({}), a_run({}, header=with_cuda))
    assert "cuda 12.9 and not absent; --across software" in told
    compare(a_run({}), a_run({}, header=with_cuda), across=("software",))


@pytest.mark.parametrize("across", [(), ("software",)])
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (a_machine(key="cpu-other"), "hardware key cpu-other"),
        (a_machine(threads=1), "threads 1 and not 2"),
    ],
    ids=["hardware", "policy"],
)
def test_hardware_and_policy_are_never_compared_across(
    across: Sequence[str], other: RunHeader, words: str
) -> None:
    told = refusal(a_run({}), a_run({}, header=other), across=across)
    assert words in told
    assert "--across" not in told


def test_across_software_only_what_else_differs_is_named() -> None:
    other = a_machine(key="cpu-other", torch="2.12.0")
    told = refusal(a_run({}), a_run({}, header=other), across=("software",))
    assert "hardware key" in told
    assert "torch" not in told


def test_a_file_of_another_schema_is_not_even_read(tmp_path: Path) -> None:
    old = msgspec.structs.replace(a_machine(), schema=SCHEMA - 1)
    with pytest.raises(StoreError, match=f"schema {SCHEMA - 1}"):
        read(write(tmp_path / "old.jsonl", old))
