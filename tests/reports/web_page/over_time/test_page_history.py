"""A page has a history where runs share cells: runs by device, points, and steps by run number."""

import pytest

from reports.history import change_points
from reports.history.change_points import NoRuptures
from reports.web_page.over_time.page_history import CellTimeline, PageHistory
from reports.web_page.page_data import page_data
from suite.records.store import Results, StoreError
from tests.records import a_case, a_machine, a_pair, a_run, a_versus, results
from tests.reports.histories import a_commit, header, header_with, runs_at
from tests.reports.web_page.page_results import MARKUP, RUNS, a_history
from variants.host.hardware import Gpu


def history_of(files: list[Results]) -> PageHistory:
    """Return the history of a page that has one."""
    history = page_data(files).history
    assert history is not None
    return history


@pytest.fixture(scope="module")
def history() -> PageHistory:
    """Return the history of the invented runs."""
    return history_of(a_history())


def timeline_of(history: PageHistory, variant: str, length: int) -> CellTimeline:
    """Return the timeline of a cell."""
    return next(
        each
        for each in history.timelines
        if (each.cell.variant, each.cell.kv_len) == (variant, length)
    )


def test_each_planted_step_has_its_run_cause_and_size(history: PageHistory) -> None:
    steps = {
        each.cell.variant: (step.run, step.cause, round(step.change, 2), step.is_regression)
        for each in history.timelines
        for step in each.steps
    }
    assert steps == {
        "eager": (6, "code", 0.05, True),
        "flex": (12, "environment", -0.10, False),
        "native_window": (18, "machine", 0.06, False),
    }
    assert timeline_of(history, "eager", 1024).steps == []
    assert history.summary == "REGRESSED: 1 unexplained slower step; 3 steps in 8 cells judged"


def test_a_step_names_its_first_commit_and_its_interval(history: PageHistory) -> None:
    (step,) = timeline_of(history, "eager", 512).steps
    assert step.first_code == a_commit(6)[:12] == history.devices[0].runs[6][1]
    assert 0.04 < step.change_ci[0] < step.change < step.change_ci[1] < 0.06


def test_a_run_without_a_time_keeps_its_place_with_its_reason(history: PageHistory) -> None:
    points = timeline_of(history, "flex", 512).points
    assert [point.run for point in points] == list(range(RUNS))
    assert (points[3].status, points[3].reason, points[3].time_ms) == ("crashed", MARKUP, None)


def test_a_point_has_its_interval_and_says_if_it_was_disturbed(history: PageHistory) -> None:
    points = timeline_of(history, "eager", 512).points
    assert [point.run for point in points if point.disturbed] == [15]
    assert all(
        point.time_ci_ms and point.time_ms and point.time_ci_ms[0] < point.time_ms
        for point in points
    )


def test_the_filters_find_a_timeline_where_they_find_its_cell() -> None:
    data = page_data(a_history())
    assert data.history is not None
    places = {(c.model, c.mode, c.dtype, c.length, c.kv_len, c.variant) for c in data.cells}
    for each in data.history.timelines:
        it = each.cell
        assert (it.model, it.mode, it.dtype, it.length, it.kv_len, it.variant) in places


def test_software_splits_setups_and_no_timeline(history: PageHistory) -> None:
    (device,) = history.devices
    assert [name.rpartition(", ")[2] for name in device.setups] == [
        "torch 2.13.0",
        "torch 2.14.1",
    ]
    assert len(device.runs) == RUNS
    assert len(history.timelines) == 8


def test_one_run_is_no_history() -> None:
    assert page_data(a_history()[:1]).history is None


def test_runs_that_share_a_baseline_alone_are_no_history() -> None:
    times = {"no_bias": [1.0], "eager": [2.0]}, {"no_bias": [1.0], "flex": [2.0]}
    files = [a_run(own, header=header(run)) for run, own in enumerate(times)]
    assert page_data(files).history is None


def test_two_runs_are_a_history_that_was_not_judged() -> None:
    history = history_of(runs_at([1.0, 2.0]))
    assert history.summary == ("No cell has the 6 steady runs in one environment that a step takes")
    assert [len(each.points) for each in history.timelines] == [2]


def test_two_devices_of_one_name_are_told_apart_by_their_keys() -> None:
    keys = ["cpu-invented-2cores", "cpu-other-2cores"]
    files = [
        file
        for key in keys
        for file in runs_at(
            [1.0] * 2,
            headers=[
                header_with(header(run), hardware=a_machine(key=key).hardware) for run in range(2)
            ],
        )
    ]
    devices = history_of(files).devices
    assert [device.name for device in devices] == [f"Invented CPU, 2 cores, {key}" for key in keys]
    assert len({device.setups for device in devices}) == 2


def test_a_power_limit_splits_setups_and_no_timeline() -> None:
    host = a_machine().hardware
    headers = [
        header_with(
            header(run),
            hardware=Gpu(f"cuda-invented-{w}w", "Invented", "9.0", 1, 1, 1, False, w, host),  # type: ignore[arg-type]
        )
        for run, w in enumerate((700, 500))
    ]
    (device,) = history_of(runs_at([1.0, 1.0], headers=headers)).devices
    assert len(device.setups) == 2


def test_without_ruptures_the_points_stay_and_the_page_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_lack() -> None:
        raise NoRuptures("steps need the package ruptures: pip install ruptures")

    monkeypatch.setattr(change_points, "_ruptures", raise_lack)
    history = history_of(a_history())
    assert history.lacks == "steps need the package ruptures: pip install ruptures"
    assert history.summary == "Steps were not looked for"
    assert not any(each.steps for each in history.timelines)
    assert len(timeline_of(history, "eager", 512).points) == RUNS


def test_files_of_pairs_and_copies_of_a_run_are_refused_by_name() -> None:
    pairs = results(header(0), a_versus(), a_pair(a_case(), "eager"))
    with pytest.raises(StoreError, match="a file of pairs"):
        page_data([pairs])
    first = runs_at([1.0])[0]
    longer = first._replace(records=[*first.records, *first.records[1:]])
    with pytest.raises(StoreError, match="the same run as"):
        page_data([first, longer])
