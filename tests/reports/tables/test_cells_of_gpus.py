"""A row tells the clock's series apart, and how near a call comes to what the device can do."""

import msgspec
import pytest

from reports.overview.github import page
from reports.tables.cells import groups
from reports.tables.row import Row
from suite.cases.case import Case
from suite.clocks.series import SeriesName
from suite.records.record import Record, Series, Time
from tests.records import a_case, a_check, a_limit, a_machine, a_plan, a_time, results

CASE = a_case()


def on_a_gpu(pass_number: int, **ms: float) -> Time:
    """Return a time of which `device` or `issue` is the cost, whichever is larger."""
    cost: SeriesName = "device" if ms["device"] >= ms["issue"] else "issue"
    names: dict[str, SeriesName] = {
        "device": "device",
        "device_hot": "device_hot",
        "issue": "issue",
        "wall": "wall",
        "graph": "graph",
    }
    others = tuple(
        Series(names[name], ((1, (round(each * 1e6),)),))
        for name, each in ms.items()
        if name != cost
    )
    return msgspec.structs.replace(
        a_time(CASE, "eager", ms[cost], pass_number),
        cost=cost,
        others=others,
        throttled=pass_number,
        sm_clock_mhz=(1900 + pass_number, 1980),
    )


def row_of(*records: Record, case: Case = CASE) -> Row:
    plan = a_plan(case, variants=["eager"], passes=3)
    (group,) = groups([results(a_machine(plan), *records)])
    (row,) = group.rows
    return row


def test_series_beside_the_cost_have_figures_of_their_own() -> None:
    row = row_of(
        a_check(CASE, "eager"),
        on_a_gpu(1, device=0.5, device_hot=0.4, issue=0.1, wall=0.7),
        on_a_gpu(2, device=0.5, device_hot=0.4, issue=0.1, wall=0.7),
    )
    assert row.cost == "device"
    assert row.time_ms == pytest.approx(0.5)
    assert (row.device_ms, row.device_hot_ms) == pytest.approx((0.5, 0.4))
    assert (row.issue_ms, row.wall_ms) == pytest.approx((0.1, 0.7))
    assert row.graph_ms is None
    assert row.throttled == 3
    assert row.sm_clock_mhz == (1901, 1980)


def test_a_call_bound_by_its_host_costs_what_issuing_it_does() -> None:
    row = row_of(a_check(CASE, "eager"), on_a_gpu(1, device=0.02, issue=0.09, graph=0.018))
    assert row.cost == "issue"
    assert row.time_ms == pytest.approx(0.09)
    assert (row.device_ms, row.graph_ms) == pytest.approx((0.02, 0.018))


def test_the_clock_table_shows_them() -> None:
    plan = a_plan(CASE, variants=["eager"])
    time = on_a_gpu(1, device=0.5, device_hot=0.4, issue=0.1, wall=0.7)
    text = page(groups([results(a_machine(plan), a_check(CASE, "eager"), time)]), "clock")
    (line,) = (line for line in text.splitlines() if " eager " in line)
    assert line.replace("|", " ").split()[4:12] == [
        "0.500",
        "device",
        "0.500",
        "0.400",
        "0.100",
        "0.700",
        "1901",
        "to",
    ]


def test_useful_work_is_held_against_the_device_s_limits() -> None:
    row = row_of(
        a_limit(), a_limit(pass_number=2), a_check(CASE, "eager"), a_time(CASE, "eager", 1.0)
    )
    assert row.tflops is not None
    assert row.gemm_share == pytest.approx(row.tflops / 2)
    assert row.copy_share == pytest.approx(4 * 8 * 512 * 64 * 4 / 1e-3 / 5e10)


def test_without_a_limit_of_its_dtype_a_row_has_no_share() -> None:
    row = row_of(a_limit("bfloat16"), a_check(CASE, "eager"), a_time(CASE, "eager", 1.0))
    assert (row.gemm_share, row.copy_share) == (None, None)


def test_every_series_of_decode_is_that_of_a_step_as_the_cost_is() -> None:
    steps = 16
    whole = on_a_gpu(1, device=0.5 * steps, device_hot=0.4 * steps, issue=0.1 * steps)
    row = row_of(
        a_check(CASE, "eager"), msgspec.structs.replace(whole, calls_per_sample=steps, steps=steps)
    )
    assert row.time_ms == pytest.approx(0.5)
    assert (row.device_ms, row.device_hot_ms, row.issue_ms) == pytest.approx((0.5, 0.4, 0.1))
