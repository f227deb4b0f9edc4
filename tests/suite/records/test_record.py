"""A record is read as it was written, and one that can not be used is damage."""

from pathlib import Path
from typing import get_args

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
from suite.records.store import read
from tests.records import a_case, a_machine, a_time, write

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
counts = st.integers(1, 2**40)
names = st.text(min_size=1, max_size=20)
figures = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.floats(1e-3, 1e3)
sides = st.sampled_from(SIDES)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that has a meaning."""
    q_len, kv_heads = draw(counts), draw(counts)
    return Case(
        heads=kv_heads * draw(st.integers(1, 8)),
        head_dim=draw(counts),
        q_len=q_len,
        kv_len=q_len + draw(counts),
        kv_heads=kv_heads,
        dtype=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        batch=draw(counts),
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
series_names = st.sampled_from(get_args(SeriesName))
any_record = st.one_of(
    st.builds(Canary, counts, st.text(), figures),
    st.builds(
        Limit,
        counts,
        st.sampled_from(["float32", "bfloat16", "float16"]),
        figures,
        figures,
    ),
    st.builds(
        Agreement,
        **in_a_pass,
        stage=st.sampled_from(["before", "after"]),
        agrees=st.booleans(),
        error=st.none() | figures,
        budget=figures,
        where=st.text(),
        side=sides,
    ),
    st.builds(
        Time,
        **in_a_pass,
        turns=turns,
        calls_per_sample=counts,
        taken=counts,
        stopped_by=st.text(),
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
        nvml=st.text(),
        side=sides,
    ),
    st.builds(
        Fault,
        **in_a_pass,
        status=st.sampled_from(get_args(Status)),
        step=names,
        reason=st.text(),
        side=sides,
    ),
    st.builds(
        Versus,
        base=names,
        head=names,
        base_software=software,
        head_software=software,
        pairs=st.tuples(counts, counts),
        gate=figures,
        injected=st.dictionaries(names, figures, max_size=3),
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


@pytest.mark.parametrize(
    "part",
    [
        {"turns": []},
        {"turns": [[1, []]]},
        {"turns": [[1, [7]], [2, [0]]]},
        {"turns": [[1, [-5]]]},
        {"calls_per_sample": 0},
    ],
    ids=["no turns", "an empty turn", "no time", "less than no time", "no calls"],
)
def test_a_time_that_can_not_be_used_is_damage(part: dict[str, object], tmp_path: Path) -> None:
    file = write(tmp_path / "run.jsonl", a_machine())
    hollow = msgspec.json.decode(msgspec.json.encode(a_time(a_case(), "eager"))) | part
    file.write_bytes(file.read_bytes() + msgspec.json.encode(hollow) + b"\n")
    found = read(file)
    assert found.records == [a_machine()]
    (warning,) = found.warnings
    assert "line 2" in warning
