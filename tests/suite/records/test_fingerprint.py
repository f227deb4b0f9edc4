"""Whatever forbids comparing two runs is named; whatever only surrounds them is not."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.cases.request import Request
from suite.conditions import policy
from suite.conditions.device import device_for
from suite.failures import BadRequest
from suite.records.fingerprint import check_resumable, differences, run_header
from suite.records.record import SCHEMA, RunHeader
from tests.records import a_case, a_machine, a_plan
from tests.suite.recordings.files import write_recording
from variants.host.software import software

THIS = a_machine()
CPU = device_for("cpu")


def with_hardware(**changes: Any) -> RunHeader:
    """Return the machine on other hardware."""
    return msgspec.structs.replace(THIS, hardware=msgspec.structs.replace(THIS.hardware, **changes))


def with_software(**changes: str) -> RunHeader:
    """Return the machine with other software."""
    return msgspec.structs.replace(THIS, software=THIS.software | changes)


def with_policy(**changes: Any) -> RunHeader:
    """Return the machine under another policy."""
    return msgspec.structs.replace(THIS, policy=msgspec.structs.replace(THIS.policy, **changes))


def with_circumstances(**changes: Any) -> RunHeader:
    """Return the machine in other circumstances."""
    circumstances = msgspec.structs.replace(THIS.circumstances, **changes)
    return msgspec.structs.replace(THIS, circumstances=circumstances)


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        (with_hardware(key="cpu-other"), "hardware key cpu-invented-2cores and not cpu-other"),
        (with_software(torch="2.11.0"), "torch 2.13.0 and not 2.11.0"),
        (with_software(triton="3.5"), "triton absent and not 3.5"),
        (with_policy(threads=16), "threads 2 and not 16"),
        (with_policy(malloc={"ARENAS": "1"}), "malloc {} and not {'ARENAS': '1'}"),
        (with_policy(omp_wait_policy="ACTIVE"), "omp_wait_policy default and not ACTIVE"),
        (with_policy(clock="cuda"), "clock cpu and not cuda"),
        (with_policy(input_sets=2), "input_sets 1 and not 2"),
    ],
    ids=lambda value: value.split(" and")[0] if isinstance(value, str) else "",
)
def test_each_differing_field_is_named_with_both_its_values(other: RunHeader, phrase: str) -> None:
    assert differences(THIS, other) == [phrase]


def test_software_that_only_one_of_them_names_differs_whichever_it_is() -> None:
    other = with_software(provider="1.0")
    assert differences(THIS, other) == ["provider absent and not 1.0"]
    assert differences(other, THIS) == ["provider 1.0 and not absent"]


def test_a_package_that_peers_need_differs_only_where_both_raced_them() -> None:
    first, second = with_software(jax="0.10"), with_software(jax="0.11")
    assert differences(THIS, first) == differences(first, THIS) == []
    assert differences(first, second) == ["jax 0.10 and not 0.11"]


def test_the_fields_of_the_policy_are_all_compared() -> None:
    tried = {"threads", "malloc", "omp_wait_policy", "clock", "input_sets"}
    assert set(THIS.policy.__struct_fields__) == tried


def test_all_that_differs_is_named() -> None:
    other = a_machine(key="cpu-other", torch="2.11.0", threads=1)
    assert [phrase.split(" ")[0] for phrase in differences(THIS, other)] == [
        "hardware",
        "torch",
        "threads",
    ]


def test_a_machine_does_not_differ_from_itself() -> None:
    assert differences(THIS, a_machine()) == []


@pytest.mark.parametrize(
    "other",
    [
        with_circumstances(load_1m=8.0),
        with_circumstances(commit="1" * 40),
        with_circumstances(kernel="7.0"),
        a_machine(a_plan(a_case(64))),
        msgspec.structs.replace(THIS, started="2027-01-01T00:00:00+00:00", argv=("table",)),
    ],
    ids=["load", "commit", "kernel", "plan", "start"],
)
def test_what_surrounds_a_run_forbids_no_comparison(other: RunHeader) -> None:
    assert differences(THIS, other) == []


def test_a_fingerprint_names_nobodys_folders() -> None:
    words = ["--out", "/home/ada/x.jsonl", "--out=/tmp/x.jsonl", "--variants", "flex,/a/k.py?b=1/2"]
    assert run_header(a_plan(), words, CPU).argv == (
        *("--out", "x.jsonl", "--out=x.jsonl", "--variants", "flex,k.py?b=1/2"),
    )
    relative = ("--out", "results/x.jsonl", "--python", "ggml=python")
    assert run_header(a_plan(), relative, CPU).argv == relative


def test_a_fingerprint_says_who_measured_what_and_when() -> None:
    plan = a_plan(a_case(64))
    found = run_header(plan, ["run", "--lengths", "64"], CPU)
    assert found.schema == SCHEMA
    assert found.plan == plan
    assert found.argv == ("run", "--lengths", "64")
    assert found.hardware == CPU.hardware
    assert found.software == software()
    assert found.policy == policy.policy("cpu", found.hardware.cores)
    assert found.circumstances.gpu == {}
    assert datetime.fromisoformat(found.started).tzinfo is not None


def test_two_fingerprints_of_this_machine_can_be_compared() -> None:
    assert differences(run_header(a_plan(), [], CPU), run_header(a_plan(), ["run"], CPU)) == []


@pytest.mark.parametrize("reread", [msgspec.json, msgspec.msgpack], ids=["json", "msgpack"])
def test_a_fingerprint_survives_being_written(reread: Any) -> None:
    found = run_header(a_plan(), [], CPU)
    decode: Callable[..., RunHeader] = reread.decode
    assert decode(reread.encode(found), type=RunHeader) == found


def test_a_run_on_a_recording_that_has_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "mine.safetensors")
    plan = Request(inputs=str(path), variants="eager").plan("cpu")
    before = msgspec.structs.replace(THIS, plan=plan)
    check_resumable(before, THIS)
    write_recording(path, length=41)
    with pytest.raises(BadRequest, match="has changed since"):
        check_resumable(before, THIS)
