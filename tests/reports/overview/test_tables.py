"""A table for people shows what became of every cell, and why some have no time."""

import re
from typing import Any

import msgspec
import pytest

from reports.tables.cells import groups
from reports.tables.row import NOT_YET
from tests.records import (
    VARIANTS,
    a_case,
    a_cell,
    a_check,
    a_fault,
    a_machine,
    a_plan,
    a_time,
    results,
)
from tests.reports.table_text import TableFormat, cells_of, flat, lines_of, of_all_kinds, table

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


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_people_see_every_cell_that_something_befell_once(layout: TableFormat) -> None:
    shown = cells_of(table(layout, of_all_kinds()))
    names = [*VARIANTS, "compile", "sdpa_mask"]
    expected = [("512", "float32", "forward", name) for name in names]
    expected += [("2048", "bfloat16", "backward", name) for name in names]
    expected.remove(("2048", "bfloat16", "backward", "sdpa_mask"))
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_cells_that_are_not_measured_yet_are_counted_in_one_line(layout: TableFormat) -> None:
    last = table(layout, of_all_kinds()).rpartition("\n\n")[2]
    assert flat(last) == f"1 of 10 cells are {NOT_YET}"
    assert "--resume" in NOT_YET
    begun = results(a_machine(a_plan(a_case(512), a_case(1024))), *a_cell(a_case(512), "eager"))
    text = table(layout, begun)
    assert flat(text.rpartition("\n\n")[2]) == f"5 of 6 cells are {NOT_YET}"
    assert cells_of(text) == [("512", "float32", "forward", "eager")]


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_a_table_of_all_cells_speaks_of_none_to_come(layout: TableFormat) -> None:
    case = a_case()
    records = [record for name in VARIANTS for record in a_cell(case, name)]
    assert NOT_YET not in table(layout, results(a_machine(a_plan(case)), *records))


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_baseline_opens_each_case_then_come_the_fastest_then_the_rest(
    layout: TableFormat,
) -> None:
    shown = [variant for *_, variant in cells_of(table(layout, of_all_kinds()))]
    assert shown[:3] == ["no_bias", "flex", "eager"]
    assert set(shown[3:5]) == {"compile", "sdpa_mask"}
    assert shown[5] == "no_bias"


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_whatever_could_not_be_measured_has_its_status_and_its_reason(layout: TableFormat) -> None:
    file = of_all_kinds()
    text = table(layout, file)
    unmeasured = [
        row for row in groups([file])[0].rows if row.status != "measured" and row.reason != NOT_YET
    ]
    assert len(unmeasured) == 5
    for row in unmeasured:
        length = "512" if row.kv_len == 512 else "2048"
        (line,) = (
            words
            for words in lines_of(text)
            if words[:1] == [length] and row.variant in words[1:4] and row.status in words
        )
        assert line[-1].startswith("[" if layout == "simple" else row.status)
        where = f"at {length} in {row.dtype} {row.mode}"
        assert f"{row.variant} {row.status} {where}: {row.reason}" in flat(text)


def test_a_reason_that_many_cells_share_is_given_once_with_their_number() -> None:
    cases = [a_case(length) for length in (64, 128, 256)]
    faults = [a_fault(case, "eager", reason="no such kernel") for case in cases]
    text = table("simple", results(a_machine(a_plan(*cases)), *faults))
    assert text.count("no such kernel") == 1
    assert "[1] eager unsupported at 64 to 256: no such kernel" in text
    assert text.count("unsupported [1]") == 3


def test_disagreements_of_a_variant_are_told_once_by_the_worst() -> None:
    cases = [a_case(length) for length in (64, 128, 256)]
    errors = (2e-6, None, 9e-6)
    checks = [a_check(c, "eager", error=error) for c, error in zip(cases, errors, strict=True)]
    text = flat(table("simple", results(a_machine(a_plan(*cases)), *checks)))
    assert "[1] eager disagrees at 64 to 256: worst at 128: out, batch 0 head 3: no finite" in text
    assert "[2]" not in text


def test_graphs_compiled_in_timed_steps_are_told_under_the_table() -> None:
    step = msgspec.structs.replace(a_case(), q_len=1, mode="decode")
    counted = {"steps": 48, "recompilations": 48}
    times = (
        a_time(step, "no_bias"),
        msgspec.structs.replace(a_time(step, "flex", 9.0), **counted),
        msgspec.structs.replace(a_time(step, "flex", 9.0, pass_number=2), **counted),
    )
    file = results(a_machine(a_plan(step)), a_check(step, "flex"), *times)
    assert f"\nflex {step.id}: 96 graphs compiled in 96 steps\n" in table("simple", file)
    assert f"\n- flex {step.id}: 96 graphs compiled in 96 steps\n" in table("github", file)
    assert f"no_bias {step.id}" not in table("simple", file)


def test_what_a_variant_left_out_is_told_with_the_share_that_it_looked_at() -> None:
    cases = [a_case(length) for length in (512, 2048)]
    times = [a_time(case, "no_bias") for case in cases]
    for case, density in zip(cases, (0.81, 0.532), strict=True):
        times.append(msgspec.structs.replace(a_time(case, "sdpa_window"), density=density))
    checks = [a_check(case, "sdpa_window") for case in cases]
    file = results(a_machine(a_plan(*cases)), *checks, *times)
    told = "sdpa_window looked at 81% of the pairs at 512, 53% at 2048"
    assert f"\n{told}\n" in table("simple", file)
    assert f"\n- {told}\n" in table("github", file)
    assert table("simple", file).count("looked at") == 1


def test_auto_says_whom_it_chose_in_place_of_a_rank() -> None:
    case = a_case()
    chose = msgspec.structs.replace(a_time(case, "auto", 2.0), chose="flex")
    plan = a_plan(case, variants=("flex", "auto"))
    text = table(
        "simple",
        results(a_machine(plan), *a_cell(case, "flex", 2.0), a_check(case, "auto"), chose),
    )
    assert re.search(r"auto .* chose flex$", text, re.MULTILINE)
    assert "forward  flex" in text.partition("fastest that agrees")[2]


def test_reasons_are_a_list_in_github_format() -> None:
    file = results(a_machine(), a_fault(a_case(), "eager"))
    assert "\n- eager unsupported" in table("github", file)
    assert "\n[1] eager unsupported" in table("simple", file)


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
    text = table("github", results(a_machine(), *a_cell(a_case(), "eager", ms)))
    (line,) = (words for words in lines_of(text) if "eager" in words[3:4])
    assert line[4] == shown


@pytest.mark.parametrize("detail", DETAILS)
def test_cases_that_differ_in_a_detail_do_not_look_alike(detail: str) -> None:
    plain = a_case()
    other = msgspec.structs.replace(plain, **DETAILS[detail])
    shown = []
    for case in (plain, other):
        file = results(a_machine(a_plan(case, variants=["eager"])), *a_cell(case, "eager"))
        shown.append(re.sub(r"\d+\.\d+", "", table("simple", file)))
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    ("layout", "shown"), [("github", ": &lt;b>no"), ("simple", ": <b>no"), ("csv", ",<b>no")]
)
def test_a_reason_is_no_markup(layout: TableFormat, shown: str) -> None:
    fault = msgspec.structs.replace(a_fault(a_case(), "eager"), reason="<b>no")
    assert shown in table(layout, results(a_machine(a_plan(a_case())), fault))


def test_a_text_is_no_formula_in_a_spreadsheet() -> None:
    fault = msgspec.structs.replace(a_fault(a_case(), "eager"), reason="=1+1")
    assert ",'=1+1" in table("csv", results(a_machine(a_plan(a_case())), fault))
