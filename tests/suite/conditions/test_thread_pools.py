"""A lane names its thread pools, and a table says who has two of a kind."""

import builtins
from typing import Any

import msgspec
import pytest
import torch

from suite.cases.case import Case
from suite.clocks.timer import Bench
from suite.conditions.thread_pools import thread_pools
from suite.lanes.prepared_case import PreparedCase, Subject
from tests.records import a_case, a_check, a_machine, a_plan, a_time, results
from tests.reports.table_text import table

CASE = Case(heads=2, kv_heads=2, head_dim=16, q_len=8, kv_len=8, dtype="float32")


def test_torchs_openmp_is_among_those_that_a_lane_names() -> None:
    subject = Subject("variants.plain.eager", {}, answers="alibi")
    with torch.no_grad():
        named = PreparedCase(subject, CASE, 1, Bench(torch.device("cpu"))).name_kernels()
    assert [pool for pool in named.thread_pools if pool.startswith("openmp:lib")]


def test_a_table_says_who_had_two_openmps() -> None:
    case = a_case()
    two = ("blas:libopenblas:0.3", "openmp:libgomp", "openmp:libiomp5")
    records = [
        msgspec.structs.replace(a_time(case, name, 1.0), thread_pools=pools)
        for name, pools in (("eager", two[:2]), ("flex", two))
    ]
    checks = [a_check(case, name) for name in ("eager", "flex")]
    text = table("simple", results(a_machine(a_plan(case)), *checks, *records))
    assert text.count("two OpenMPs") == 1
    assert "flex had two OpenMPs: libgomp, libiomp5" in text


def test_without_the_package_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *rest: Any) -> Any:
        if name == "threadpoolctl":
            raise ImportError(name)
        return original(name, *rest)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert thread_pools() == ()
