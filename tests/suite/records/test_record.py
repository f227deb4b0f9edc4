"""A record is read as it was written, and one that can not be used is damage."""

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.cases.case import MOST_BIAS_MAX, Case
from suite.clocks.series import SeriesName
from suite.records.record import (
    SIDES,
    Agreement,
    Canary,
    Fault,
    Limit,
    Memory,
    Pair,
    Record,
    Series,
    Stage,
    Status,
    Time,
    Versus,
)
from suite.records.store import StoreError, read
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_limit,
    a_machine,
    a_memory,
    a_pair,
    a_time,
    a_versus,
    write,
)

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
counts = st.integers(1, 2**40)
sizes_of_cases = st.integers(1, 2**20)
names = st.from_regex(r"[A-Za-z0-9_][\w.:/-]{0,19}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "))
figures = st.floats(0, 1e9)
rates = st.floats(1e-3, 1e9)
sizes = st.floats(1e-3, 1e3)
sides = st.sampled_from(SIDES)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that has a meaning."""
    q_len, kv_heads = draw(sizes_of_cases), draw(sizes_of_cases)
    return Case(
        heads=kv_heads * draw(st.integers(1, 8)),
        head_dim=draw(sizes_of_cases),
        q_len=q_len,
        kv_len=q_len + draw(sizes_of_cases),
        kv_heads=kv_heads,
        dtype=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        batch=draw(sizes_of_cases),
        mode=draw(st.sampled_from(["forward", "backward"])),
        causal=draw(st.booleans()),
        bias_max=draw(st.floats(1e-3, MOST_BIAS_MAX)),
        slope_scale=draw(st.sampled_from(["1", "1/sqrt(d)"])),
        scale=draw(st.sampled_from(["1/sqrt(d)", "1/d"])),
        layout=draw(st.sampled_from(["bhnd", "bnhd"])),
        logit_scale=draw(sizes),
    )


turns = st.lists(
    st.tuples(counts, st.lists(counts, min_size=1, max_size=4).map(tuple)), min_size=1, max_size=4
).map(tuple)
software = st.dictionaries(names, names, max_size=3)
in_a_pass = {"case": cases(), "variant": names, "pass_number": counts}


def an_agreement(error: float | None, budget: float, **fields: Any) -> Agreement:
    """Return a check that agrees if its error is within its budget."""
    agrees = error is not None and error <= budget
    return Agreement(error=error, budget=budget, agrees=agrees, **fields)


series_names = st.sampled_from(get_args(SeriesName))
any_record = st.one_of(
    st.builds(Canary, counts, texts, rates),
    st.builds(
        Limit,
        counts,
        st.sampled_from(["float32", "bfloat16", "float16"]),
        rates,
        rates,
    ),
    st.builds(
        an_agreement,
        **in_a_pass,
        stage=st.sampled_from(["before", "after"]),
        error=st.none() | figures,
        budget=figures,
        where=texts,
        side=sides,
    ),
    st.builds(
        Time,
        **in_a_pass,
        turns=turns,
        calls_per_sample=st.integers(1, 2**20),
        taken=counts,
        stopped_by=texts,
        prepare_s=figures,
        first_call_s=figures,
        cold=st.booleans(),
        kernels=st.lists(names, max_size=3).map(tuple),
        race=counts,
        cost=series_names,
        others=st.lists(st.builds(Series, series_names, turns), max_size=3).map(tuple),
        retaken=counts,
        throttled=counts,
        disturbed=counts,
        sm_clock_mhz=st.none() | st.tuples(counts, counts),
    ),
    st.builds(
        Memory,
        **in_a_pass,
        peak_bytes=counts,
        persistent_bytes=counts,
        resident_bytes=st.none() | counts,
        reserved_bytes=st.none() | counts,
        nvml_bytes=st.none() | counts,
        nvml=texts,
        side=sides,
    ),
    st.builds(
        Fault,
        **in_a_pass,
        status=st.sampled_from([each for each in get_args(Status) if each != "measured"]),
        step=names,
        reason=texts,
        side=sides,
    ),
    st.builds(
        Versus,
        base=names,
        head=names,
        base_software=software,
        head_software=software,
        pairs=st.tuples(counts, counts),
        gate=sizes,
        injected=st.dictionaries(names, sizes, max_size=3),
    ),
    st.builds(
        Pair,
        case=cases(),
        variant=names,
        pair_number=counts,
        stage=st.sampled_from(get_args(Stage)),
        rounds=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=4).map(tuple),
        disturbed=counts,
    ),
)


@calmly
@given(written=st.lists(any_record, max_size=5))
def test_what_is_written_is_read_again(
    written: list[Record], tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = a_machine()
    file = write(tmp_path_factory.mktemp("store") / "run.jsonl", header, *written)
    found = read(file)
    assert found.header == header
    assert found.records == [header, *written]
    assert found.warnings == []


TIME = a_time(a_case(), "eager")
HEADER = a_machine()
PARTS: list[tuple[Record, dict[str, object]]] = [
    (TIME, {"turns": []}),
    (TIME, {"turns": [[1, []]]}),
    (TIME, {"turns": [[1, [7]], [2, [0]]]}),
    (TIME, {"turns": [[1, [-5]]]}),
    (TIME, {"turns": [[1, [10**15 + 1]]]}),
    (TIME, {"others": [{"name": "wall", "turns": []}]}),
    (TIME, {"others": [{"name": "wall", "turns": [[1, [-1]]]}]}),
    (TIME, {"calls_per_sample": 0}),
    (TIME, {"first_call_s": -1.0}),
    (TIME, {"prepare_s": 1e300}),
    (TIME, {"density": -0.1}),
    (TIME, {"taken": -1}),
    (a_limit(), {"flops_per_s": 0}),
    (a_limit(), {"bytes_per_s": -1.0}),
    (a_canary(), {"median_ms": 0}),
    (a_check(a_case(), "eager"), {"error": -1e-7}),
    (a_check(a_case(), "eager"), {"budget": 1e31}),
    (a_memory(a_case(), "eager"), {"peak_bytes": -1}),
    (a_memory(a_case(), "eager"), {"nvml_bytes": 1 << 60}),
    (a_fault(a_case(), "eager"), {"status": "measured"}),
    (a_fault(a_case(), "eager"), {"pass_number": -1}),
    (a_versus(), {"gate": -0.1}),
    (a_versus(), {"pairs": [-1, 6]}),
    (a_versus(), {"injected": {"eager n512": -1.0}}),
    (a_pair(a_case(), "eager"), {"rounds": []}),
    (a_pair(a_case(), "eager"), {"rounds": [[0.0, 1.0]]}),
    (a_pair(a_case(), "eager"), {"rounds": [[1.0, 1e300]]}),
]
"""Records, each with fields that make it damage."""


@pytest.mark.parametrize(("record", "part"), PARTS, ids=lambda part: str(part)[:40])
def test_a_record_whose_numbers_are_out_of_range_is_damage(
    record: Record, part: dict[str, object], tmp_path: Path
) -> None:
    file = write(tmp_path / "run.jsonl", HEADER)
    hollow = msgspec.json.decode(msgspec.json.encode(record)) | part
    file.write_bytes(file.read_bytes() + msgspec.json.encode(hollow) + b"\n")
    found = read(file)
    assert found.records == [HEADER]
    (warning,) = found.warnings
    assert "line 2" in warning


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"policy": {"threads": 0}}, "threads 0 is not from 1"),
        ({"plan": {"passes": 0}}, "passes 0 is not from 1"),
        ({"plan": {"step_timeout_s": 0.0}}, "step_timeout_s 0.0 is not from 0.001"),
    ],
)
def test_a_header_whose_numbers_are_out_of_range_is_refused(
    part: dict[str, dict[str, object]], words: str, tmp_path: Path
) -> None:
    fields = msgspec.json.decode(msgspec.json.encode(HEADER))
    for name, values in part.items():
        fields[name] |= values
    (tmp_path / "run.jsonl").write_bytes(msgspec.json.encode(fields) + b"\n")
    with pytest.raises(StoreError, match=f"line 1: {words}"):
        read(tmp_path / "run.jsonl")


def test_a_series_may_have_samples_that_its_clock_reads_as_nothing() -> None:
    assert Series("wall", ((1, (0,)),)).turns == ((1, (0,)),)
