"""A table shows what became of every cell in every format, and names the fastest that agrees."""

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
import pytest

from reports.cells import groups
from reports.row import NOT_YET
from reports.table import Format, render
from suite.case import Case
from suite.record import CellRecord
from suite.store import Results
from tests.records import (
    VARIANTS,
    a_canary,
    a_case,
    a_check,
    a_fault,
    a_machine,
    a_plan,
    a_time,
    measured,
    results,
)

CONTRACT = {
    "case", "batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim", "dtype", "mode", "causal",
    "variant", "answers", "status", "reason", "time_ms", "time_ci_ms", "samples", "passes",
    "vs_no_bias", "tflops", "first_call_s", "peak_bytes", "persistent_bytes", "nvml_bytes",
    "error", "error_budget",
}  # fmt: skip
DETAILS: dict[str, dict[str, Any]] = {
    "logit scale": {"logit_scale": 4.0},
    "layout": {"layout": "bnhd"},
    "steepest slope": {"bias_max": 4.0},
    "causal": {"causal": False},
    "queries": {"q_len": 1},
    "key-value heads": {"kv_heads": 2},
    "batch": {"batch": 2},
    "heads": {"heads": 16},
    "size of a head": {"head_dim": 32},
}


def of_all_kinds() -> Results:
    """Return a file in which every kind of fate has befallen a cell."""
    short, long = a_case(512), a_case(2048, "bfloat16", "backward")
    records: list[CellRecord] = []
    for number in (1, 2, 3):
        records += measured(short, "no_bias", 2.0, number)
        records += measured(short, "eager", 6.0, number)
        records += measured(short, "flex", 3.0, number)
        records += measured(long, "no_bias", 90.0, number)
    records += [
        a_check(short, "compile", error=1e-5),
        a_check(short, "sdpa_mask", error=None),
        a_fault(long, "eager", status="out_of_memory", reason="needs 9 GiB of 4; go shorter"),
        a_fault(long, "flex", status="unsupported", reason="no backward here; use eager"),
        a_fault(long, "compile", status="timed_out", reason="60 s; raise --step-timeout"),
    ]
    plan = a_plan(short, long, variants=[*VARIANTS, "compile", "sdpa_mask"], passes=3)
    return results(a_machine(plan), a_canary(), *records)


def table(layout: Format, *files: Results) -> str:
    """Return the rendered table of files."""
    return render(groups(files), layout)


def strictly(text: str) -> Any:
    """Read JSON that has nothing in it but JSON."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def lines_of(text: str) -> list[list[str]]:
    """Return the words of each line, without what frames a table."""
    return [line.replace("|", " ").split() for line in text.splitlines()]


def cells_of(text: str) -> list[tuple[str, ...]]:
    """Return (length, dtype, mode, variant) of each line that shows a cell."""
    dtypes = {"float32", "bfloat16", "float16"}
    return [tuple(words[:4]) for words in lines_of(text) if len(words) > 3 and words[1] in dtypes]


def summary_of(text: str) -> dict[tuple[str, str], str]:
    """Return what the summary says for each length and mode."""
    lines = text[text.index("fastest that agrees") :].splitlines()[2:]
    found = {}
    for line in lines:
        words = line.replace("|", " ").split()
        if len(words) < 3 or words[1] not in {"forward", "backward"}:
            break
        found[words[0], words[1]] = " ".join(words[2:])
    return found


def test_json_has_a_row_for_every_cell_with_the_fields_of_the_contract() -> None:
    rows = strictly(table("json", of_all_kinds()))
    assert len(rows) == 2 * 5
    assert all(set(row) >= CONTRACT for row in rows)


def test_what_does_not_exist_is_null_in_json() -> None:
    rows = strictly(table("json", of_all_kinds()))
    for row in rows:
        absent = {"time_ms", "time_ci_ms", "vs_no_bias", "tflops", "first_call_s"}
        assert [row[name] is None for name in absent] == [row["status"] != "measured"] * 5
        assert (row["reason"] is None) == (row["status"] == "measured")
    by_variant = {row["variant"]: row for row in rows if row["kv_len"] == 512}
    assert by_variant["sdpa_mask"]["error"] is None
    assert by_variant["compile"]["error"] == 1e-5


def test_json_keeps_every_digit() -> None:
    file = results(a_machine(), *measured(a_case(), "eager", 1.0 / 3))
    (row,) = (row for row in strictly(table("json", file)) if row["variant"] == "eager")
    assert row["time_ms"] == groups([file])[0].rows[1].time_ms


def test_csv_has_the_rows_and_fields_of_json_with_an_interval_in_two_columns() -> None:
    rows = strictly(table("json", of_all_kinds()))
    read = list(csv.DictReader(io.StringIO(table("csv", of_all_kinds()))))
    assert len(read) == len(rows)
    assert any(row["time_ci_ms"] for row in rows)
    for written, row in zip(read, rows, strict=True):
        for name in ("time_ci_ms", "vs_no_bias_ci", "sm_clock_mhz"):
            low, high = row.pop(name) or ("", "")
            assert (written[f"{name}_low"], written[f"{name}_high"]) == (str(low), str(high))
        for name in ("kernels", "seq_lens"):
            assert written[name] == " ".join(map(str, row.pop(name)))
        for name, value in row.items():
            assert written[name].lower() == ("" if value is None else str(value).lower())


@pytest.mark.parametrize("layout", ["json", "csv"])
def test_programs_get_a_header_and_no_rows_of_no_files(layout: Format) -> None:
    assert (
        render([], layout)
        .splitlines()[0]
        .startswith("[" if layout == "json" else "hardware_key,software,case,batch")
    )


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_people_see_every_cell_that_something_befell_once(layout: Format) -> None:
    shown = cells_of(table(layout, of_all_kinds()))
    names = [*VARIANTS, "compile", "sdpa_mask"]
    expected = [("512", "float32", "forward", name) for name in names]
    expected += [("2048", "bfloat16", "backward", name) for name in names]
    expected.remove(("2048", "bfloat16", "backward", "sdpa_mask"))
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_cells_that_are_not_measured_yet_are_counted_in_one_line(layout: Format) -> None:
    last = table(layout, of_all_kinds()).splitlines()[-1]
    assert last == f"1 of 10 cells are {NOT_YET}"
    assert "--resume" in NOT_YET
    begun = results(a_machine(a_plan(a_case(512), a_case(1024))), *measured(a_case(512), "eager"))
    text = table(layout, begun)
    assert text.splitlines()[-1] == f"5 of 6 cells are {NOT_YET}"
    assert cells_of(text) == [("512", "float32", "forward", "eager")]


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_a_table_of_all_cells_speaks_of_none_to_come(layout: Format) -> None:
    case = a_case()
    records = [record for name in VARIANTS for record in measured(case, name)]
    assert NOT_YET not in table(layout, results(a_machine(a_plan(case)), *records))


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_baseline_opens_each_case_then_come_the_fastest_then_the_rest(layout: Format) -> None:
    shown = [variant for *_, variant in cells_of(table(layout, of_all_kinds()))]
    assert shown[:3] == ["no_bias", "flex", "eager"]
    assert set(shown[3:5]) == {"compile", "sdpa_mask"}
    assert shown[5] == "no_bias"


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_whatever_could_not_be_measured_has_its_status_and_its_reason(layout: Format) -> None:
    file = of_all_kinds()
    text = table(layout, file)
    unmeasured = [
        row for row in groups([file])[0].rows if row.status != "measured" and row.reason != NOT_YET
    ]
    assert len(unmeasured) == 5
    for row in unmeasured:
        length = "512" if row.kv_len == 512 else "2048"
        (line,) = (
            words for words in lines_of(text) if words[:1] == [length] and row.variant in words[3:4]
        )
        assert line[-1] == row.status
        assert row.reason is not None
        assert row.reason in text
        assert row.case in text


def test_a_reason_that_many_cells_share_is_given_once_with_their_number() -> None:
    cases = [a_case(length) for length in (64, 128, 256)]
    faults = [a_fault(case, "eager", reason="no such kernel") for case in cases]
    text = table("simple", results(a_machine(a_plan(*cases)), *faults))
    assert text.count("no such kernel") == 1
    (line,) = (line for line in text.splitlines() if "no such kernel" in line)
    assert line.startswith("eager unsupported (3 cells, ")


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_conditions_are_told_above_the_table(layout: Format) -> None:
    first = table(layout, of_all_kinds()).splitlines()[0]
    for words in (
        "Invented CPU, 2 cores",
        "torch 2.13.0",
        "2 threads",
        "3 passes",
        "(1024 x 1024 float32 product) 7.0 ms",
    ):
        assert words in first
    assert "triton" not in first


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_each_group_has_conditions_and_a_table_of_its_own(layout: Format) -> None:
    case = a_case()
    here = results(a_machine(a_plan(case)), *measured(case, "eager"))
    there = results(a_machine(a_plan(case), torch="2.11.0"), *measured(case, "eager", 2.0))
    text = table(layout, here, there)
    assert text.count("torch 2.13.0") == text.count("torch 2.11.0") == 1
    assert cells_of(text).count(("512", "float32", "forward", "eager")) == 2
    assert len(re.findall("fastest that agrees", text)) == 2


def two_dtypes(modes: Sequence[Any] = ("forward",)) -> Results:
    """Return a file with a winner in float32 and none that agrees in bfloat16."""
    records: list[CellRecord] = []
    cases = []
    for mode in modes:
        right, wrong = a_case(512, "float32", mode), a_case(512, "bfloat16", mode)
        cases += [right, wrong]
        for number in (1, 2, 3):
            records += measured(right, "no_bias", 2.0, number)
            records += measured(right, "eager", 6.0, number)
            records += measured(right, "flex", 3.0, number)
            records += measured(wrong, "no_bias", 2.0, number)
        records += [
            a_check(wrong, "eager", error=1.0),
            a_check(wrong, "flex", stage="after", error=1.0),
        ]
    return results(a_machine(a_plan(*cases, passes=3)), *records)


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_summary_names_the_fastest_and_none_where_nothing_agrees(layout: Format) -> None:
    assert summary_of(table(layout, two_dtypes())) == {("512", "forward"): "flex 1.50x none"}


def test_the_summary_has_a_line_for_each_length_and_mode() -> None:
    found = summary_of(table("simple", two_dtypes(["forward", "backward"])))
    assert set(found) == {("512", "forward"), ("512", "backward")}


def test_the_summary_never_names_the_baseline() -> None:
    case = a_case()
    records = [*measured(case, "no_bias", 0.5), a_fault(case, "eager")]
    file = results(a_machine(a_plan(case, variants=["no_bias", "eager"])), *records)
    assert summary_of(table("simple", file)) == {("512", "forward"): "none"}


def test_the_summary_names_all_that_are_tied() -> None:
    case = a_case()
    records: list[CellRecord] = []
    for number, ms in enumerate((2.1, 1.95, 2.08), start=1):
        records += measured(case, "no_bias", 1.0, number)
        records += measured(case, "flex", 2.0, number)
        records += measured(case, "eager", ms, number)
    text = table("simple", results(a_machine(a_plan(case, passes=3)), *records))
    assert summary_of(text) == {("512", "forward"): "flex 2.00x = eager"}
    assert "2 (tied with 1)" in text


def test_a_tie_that_reaches_far_is_said_to_be_noise() -> None:
    case = a_case()
    records: list[CellRecord] = []
    for number, ms in enumerate((2.0, 3.0, 2.2), start=1):
        records += measured(case, "no_bias", 1.0, number)
        records += measured(case, "flex", 2.0, number)
        records += measured(case, "eager", ms, number)
    text = table("simple", results(a_machine(a_plan(case, passes=3)), *records))
    assert summary_of(text) == {("512", "forward"): "flex 2.00x = eager?"}
    assert "2 (too noisy to tell from 1)" in text


def test_a_run_with_nothing_measured_yet_has_no_fastest() -> None:
    text = table("simple", results(a_machine(a_plan(a_case()))))
    assert "fastest" not in text
    assert "not measured yet" in text


def test_graphs_compiled_in_timed_steps_are_told_under_the_table() -> None:
    step = msgspec.structs.replace(a_case(), q_len=1, mode="decode")
    counted = {"steps": 48, "recompilations": 48}
    times = (
        a_time(step, "no_bias"),
        msgspec.structs.replace(a_time(step, "flex", 9.0), **counted),
        msgspec.structs.replace(a_time(step, "flex", 9.0, pass_number=2), **counted),
    )
    file = results(a_machine(a_plan(step)), *times)
    assert f"\nflex {step.id}: 96 graphs compiled in 96 steps\n" in table("simple", file)
    assert f"\n- flex {step.id}: 96 graphs compiled in 96 steps\n" in table("github", file)
    assert f"no_bias {step.id}" not in table("simple", file)


def test_reasons_are_a_list_in_github_format() -> None:
    file = results(a_machine(), a_fault(a_case(), "eager"))
    assert "\n- eager unsupported" in table("github", file)
    assert "\neager unsupported" in table("simple", file)


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0.00051, "0.0005"),
        (0.0123, "0.0123"),
        (1.0, "1.00"),
        (47.26, "47.3"),
        (99.97, "100"),
        (1234.6, "1235"),
    ],
)
def test_figures_have_three_digits_and_no_exponent(ms: float, shown: str) -> None:
    text = table("simple", results(a_machine(), *measured(a_case(), "eager", ms)))
    (line,) = (words for words in lines_of(text) if "eager" in words[3:4])
    assert line[4] == shown


@pytest.mark.parametrize("detail", DETAILS)
def test_cases_that_differ_in_a_detail_do_not_look_alike(detail: str) -> None:
    plain = a_case()
    other = msgspec.structs.replace(plain, **DETAILS[detail])
    shown = []
    for case in (plain, other):
        file = results(a_machine(a_plan(case, variants=["eager"])), *measured(case, "eager"))
        shown.append(re.sub(r"\d+\.\d+", "", table("simple", file)))
    assert shown[0] != shown[1]


def test_cases_that_differ_in_logit_scale_have_a_winner_each() -> None:
    plain = a_case()
    other: Case = msgspec.structs.replace(plain, logit_scale=4.0)
    records = [
        *measured(plain, "eager", 2.0),
        *measured(plain, "flex", 4.0),
        *measured(other, "eager", 4.0),
        *measured(other, "flex", 2.0),
    ]
    text = table("simple", results(a_machine(a_plan(plain, other)), *records))
    summaries = "".join(text.split("fastest that agrees")[1:])
    assert "eager" in summaries
    assert "flex" in summaries


def test_a_case_that_nobody_planned_is_not_called_lost() -> None:
    short, long = a_case(512, "float32"), a_case(1024, "bfloat16")
    records = [*measured(short, "flex"), *measured(long, "flex")]
    text = table("simple", results(a_machine(a_plan(short, long, variants=["flex"])), *records))
    assert "none" not in "".join(summary_of(text).values())


def test_conditions_of_a_run_without_a_canary_leave_it_out() -> None:
    first = table("simple", results(a_machine())).splitlines()[0]
    assert "  " not in first
    assert "canary" not in first
