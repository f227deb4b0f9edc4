"""A run resumes under its own conditions alone; what differs is named."""

from typing import Any

import msgspec
import pytest

from suite.failures import BadRequest
from suite.records.fingerprint import check_resumable
from suite.records.record import RunHeader
from tests.records import a_machine, a_plan
from tests.suite.plans import NAMES


def now() -> RunHeader:
    """Return a machine whose plan names variants that exist."""
    return a_machine(a_plan(variants=NAMES))


def test_a_run_resumes_where_nothing_has_changed_but_its_surroundings() -> None:
    before = now()
    circumstances = msgspec.structs.replace(before.circumstances, load_1m=9.0, kernel="7.0")
    later = msgspec.structs.replace(before, circumstances=circumstances, started="later", argv=())
    check_resumable(before, later)


@pytest.mark.parametrize(
    ("before", "fields"),
    [
        ({"key": "cpu-other"}, ["hardware key cpu-invented-2cores and not cpu-other"]),
        ({"torch": "2.11.0"}, ["torch 2.13.0 and not 2.11.0"]),
        ({"threads": 8}, ["threads 2 and not 8"]),
        (
            {"key": "cpu-other", "torch": "2.11.0", "threads": 8},
            ["hardware key cpu-invented-2cores", "torch 2.13.0 and", "threads 2 and not 8"],
        ),
    ],
    ids=["hardware", "torch", "threads", "all three"],
)
def test_a_run_under_other_conditions_does_not_resume_and_the_fields_are_named(
    before: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(BadRequest) as refused:
        check_resumable(a_machine(a_plan(variants=NAMES), **before), now())
    line = str(refused.value)
    assert line.startswith("--resume")
    assert "\n" not in line
    assert all(field in line for field in fields)
    assert line.count(" and not ") == len(fields)


@pytest.mark.parametrize(
    "changes",
    [{"commit": "1" * 40}, {"uncommitted": True, "code_digest": "0123"}],
    ids=["another commit", "uncommitted changes"],
)
def test_a_run_of_other_code_does_not_resume_and_both_codes_are_named(
    changes: dict[str, Any],
) -> None:
    before = now()
    circumstances = msgspec.structs.replace(before.circumstances, **changes)
    later = msgspec.structs.replace(before, circumstances=circumstances)
    with pytest.raises(BadRequest) as refused:
        check_resumable(before, later)
    assert f"code {circumstances.code} and not {before.circumstances.code}" in str(refused.value)


def test_a_run_of_a_variant_that_is_gone_does_not_resume() -> None:
    before = a_machine(a_plan(variants=["no_bias", "flexx"]))
    with pytest.raises(BadRequest, match="variant flexx: no such name; did you mean flex"):
        check_resumable(before, now())
