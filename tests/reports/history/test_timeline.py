"""A history as rows, and as text for people, GitHub and programs."""

import json
from pathlib import Path

import msgspec
import pytest

from reports.history.text import render, summary
from reports.history.timeline import Timeline, timeline
from suite.records.record import Time
from suite.records.store import Results, StoreError
from tests.records import a_case, a_cell, a_fault, a_pair, a_plan, a_versus, results
from tests.reports.histories import a_commit, header, header_with, runs_at

SLOWER = [1.0] * 10 + [1.05] * 6
MIXED = {"eager": SLOWER, "flex": [1.0] * 8 + [0.8] * 8, "sdpa_key": [2.0] * 6 + [2.2] * 10}


def mixed_timeline() -> Timeline:
    """Return a history of three cells, each in files of its own."""
    return timeline(
        [file for name, levels in MIXED.items() for file in runs_at(levels, variant=name)]
    )


def test_what_regressed_comes_first_and_then_the_largest() -> None:
    steps = mixed_timeline().steps
    assert [step.variant for step in steps] == ["sdpa_key", "eager", "flex"]
    assert [step.is_regression for step in steps] == [True, True, False]


def test_a_point_is_marked_where_a_step_begins_and_nowhere_else() -> None:
    points = timeline(runs_at(SLOWER)).points
    assert [point.mark for point in points] == [""] * 10 + ["slower"] + [""] * 5
    assert points[10].cause == "code"
    assert [point.started for point in points] == sorted(point.started for point in points)


def test_a_file_that_another_unit_completed_is_a_run_of_each_unit() -> None:
    first, second = (
        header_with(
            header(day, commit=0),
            plan=a_plan(variants=["eager", "flex", "sdpa_key"]),
            circumstances=msgspec.structs.replace(header(day, commit=0).circumstances, unit=unit),
        )
        for day, unit in ((0, "1a"), (1, "2b"))
    )
    case = a_case()
    eager, flex = a_cell(case, "eager"), a_cell(case, "flex")
    points = timeline([results(first, *eager, second, *flex)]).points
    assert sorted((point.variant, point.unit, point.status) for point in points) == [
        ("eager", "1a", "measured"),
        ("flex", "2b", "measured"),
        ("sdpa_key", "1a", "skipped"),
        ("sdpa_key", "2b", "skipped"),
    ]
    assert [point.started for point in points if point.unit == "2b"] == [second.started] * 2


def test_a_point_has_the_interval_of_three_passes_and_none_of_one() -> None:
    case = a_case()
    (three,) = timeline(
        [
            results(
                header_with(header(0), plan=a_plan(case, variants=["eager"])),
                *(each for n in (1, 2, 3) for each in a_cell(case, "eager", 1 + n / 100, n)),
            )
        ]
    ).points
    assert three.passes == 3
    assert three.time_ms == pytest.approx(1.02, rel=1e-3)
    assert three.time_ci_ms is not None
    assert three.time_ci_ms[0] < 1.01
    assert timeline(runs_at([1.0])).points[0].time_ci_ms is None


def test_a_run_in_which_a_cell_failed_keeps_its_place_and_breaks_no_series() -> None:
    files = runs_at(SLOWER)
    case = a_case()
    files[3] = results(files[3].header, a_fault(case, "eager", status="crashed"))
    history = timeline(files)
    assert history.points[3].status == "crashed"
    assert history.points[3].time_ms is None
    assert [step.started for step in history.steps] == [header(10).started]


def test_a_cell_that_fails_in_the_last_run_is_named() -> None:
    files = runs_at(SLOWER)
    files[-1] = results(files[-1].header, a_fault(a_case(), "eager", reason="no kernel"))
    text = render(timeline(files), "simple")
    assert f"eager n512-h8-d64-float32: unsupported since {a_commit(15)[:12]}" in text
    assert "measured before: no kernel" in " ".join(text.split())
    assert "Another status" not in render(timeline(runs_at(SLOWER)), "simple")


def test_short_series_are_counted_and_not_judged() -> None:
    history = timeline(runs_at(SLOWER[:5]))
    assert history.short == {"eager n512-h8-d64-float32 cpu-invented-2cores": 5}
    assert summary(history) == "NOT JUDGED; 0 steps in 0 cells judged, 1 too short"
    assert "a step takes 6 steady runs in one environment: 1 cell with 5" in render(
        history, "simple"
    )


def test_runs_of_ever_changing_environments_are_not_judged() -> None:
    headers = [header(run, torch=f"2.{13 + run % 2}.0") for run in range(16)]
    history = timeline(runs_at(SLOWER, headers=headers))
    assert history.judged == 0
    assert list(history.short.values()) == [1]


def with_disturbances(file: Results, attempts: int) -> Results:
    """Return a file in which each time's turns were disturbed so often in all."""
    return file._replace(
        records=[
            msgspec.structs.replace(record, disturbed=attempts)
            if isinstance(record, Time)
            else record
            for record in file.records
        ]
    )


def test_a_time_that_other_processes_disturbed_has_no_say_in_steps_and_is_shown() -> None:
    files = runs_at(SLOWER)
    busy = [with_disturbances(file, 6 if run >= 10 else 5) for run, file in enumerate(files)]
    history = timeline(busy)
    assert [point.disturbed for point in history.points] == [False] * 10 + [True] * 6
    assert all(point.time_ms for point in history.points)
    assert history.steps == []
    text = render(history, "simple")
    assert "Left out of the search for steps: 6 of 16 times, disturbed by other" in text
    assert "Left out" not in render(timeline(files), "simple")


def test_a_few_disturbed_runs_hide_no_step() -> None:
    files = runs_at(SLOWER)
    for run in (2, 10, 12):
        files[run] = with_disturbances(files[run], 99)
    (step,) = timeline(files).steps
    assert step.first_code == f"commit {a_commit(11)[:12]}"


def test_markup_in_a_reason_shows_as_text_on_github() -> None:
    files = runs_at(SLOWER)
    files[-1] = results(files[-1].header, a_fault(a_case(), "eager", reason="<b>no kernel"))
    assert "&lt;b>no kernel" in render(timeline(files), "github")
    assert "<b>no kernel" in render(timeline(files), "simple")


def test_the_text_leads_from_regressions_to_a_line_that_says_so() -> None:
    text = render(mixed_timeline(), "simple")
    assert text.index("Slower, and nothing") < text.index("sdpa_key") < text.index("eager")
    assert text.index("eager") < text.index("Faster by the code") < text.index("flex")
    assert text.splitlines()[-1] == (
        "REGRESSED: 2 unexplained slower steps; 3 steps in 3 cells judged"
    )
    assert max(map(len, text.splitlines())) <= 80


def test_long_names_wrap_within_the_width() -> None:
    history = mixed_timeline()
    case = "n512-h112-kv8-d128-float32-bnhd-scale4-window4096"
    long = [
        msgspec.structs.replace(step, variant="./folder/my_kernel.py:prepare", case=case)
        for step in history.steps
    ]
    text = render(msgspec.structs.replace(history, steps=long), "simple")
    assert text.count("./folder") == 3
    assert max(map(len, text.splitlines())) <= 80


def test_a_history_without_steps_says_so_and_has_no_table() -> None:
    text = render(timeline(runs_at([1.0] * 8)), "simple")
    assert text.endswith("no unexplained slower step; 0 steps in 1 cell judged")
    assert "95% interval" not in text


def test_what_is_not_the_code_has_its_reason() -> None:
    headers = [header(run, torch="2.13.0" if run < 10 else "2.14.1") for run in range(16)]
    text = render(timeline(runs_at(SLOWER, headers=headers)), "github")
    assert "Not the code" in text
    assert "- eager n512-h8-d64-float32: environment: torch 2.14.1 and not 2.13.0" in text
    assert "no unexplained slower step; 1 step" in text


def test_programs_get_every_point_and_step_as_strict_json() -> None:
    history = mixed_timeline()
    fields = json.loads(render(history, "json"))
    assert fields["regressed"] is True
    assert fields["summary"] == summary(history)
    assert len(fields["points"]) == 48
    assert msgspec.convert(fields["steps"][0], type(history.steps[0])) == history.steps[0]
    json.dumps(fields, allow_nan=False)


def test_a_copy_of_a_run_is_refused() -> None:
    first, *rest = runs_at(SLOWER)
    copy = first._replace(path=Path("copy.jsonl"))
    with pytest.raises(StoreError, match=r"copy\.jsonl: the same run as 00\.jsonl"):
        timeline([first, *rest, copy])


def test_a_file_of_pairs_is_refused() -> None:
    pairs = results(header(0), a_versus(), a_pair(a_case(), "eager"))
    with pytest.raises(StoreError, match="a file of pairs"):
        timeline([pairs])
