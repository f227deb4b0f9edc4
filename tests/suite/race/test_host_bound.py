"""Cells whose cost is the host's time are left out, with the whole race if the baseline is one."""

import msgspec

from suite.clocks.series import SeriesName
from suite.race.host_bound import without_host_bound
from suite.records.record import CellRecord
from tests.records import a_case, a_check, a_fault, a_memory, a_time

CASE = a_case()


def cell(variant: str, cost: SeriesName) -> list[CellRecord]:
    time = msgspec.structs.replace(a_time(CASE, variant), cost=cost)
    return [a_check(CASE, variant), a_memory(CASE, variant), time]


def names(records: list[CellRecord]) -> set[str]:
    return {record.variant for record in records}


def test_a_host_bound_cell_goes_with_all_its_records() -> None:
    device_bound = cell("no_bias", "device") + cell("eager", "device")
    assert without_host_bound(device_bound + cell("flex", "issue")) == device_bound


def test_a_call_that_the_host_waits_for_is_host_bound() -> None:
    records = cell("no_bias", "device") + cell("flex", "wall")
    assert names(without_host_bound(records)) == {"no_bias"}


def test_nothing_stays_of_a_race_whose_baseline_is_host_bound() -> None:
    records = cell("no_bias", "issue") + cell("eager", "device") + [a_fault(CASE, "flex")]
    assert without_host_bound(records) == []


def test_faults_and_the_calls_of_a_cpu_stay() -> None:
    records = [*cell("no_bias", "call"), a_fault(CASE, "flex")]
    assert without_host_bound(records) == records
