"""The picture of a device has a panel for each mode and dtype that was measured."""

import re
from xml.etree import ElementTree

import msgspec

from reports.generated.ratio_picture import picture
from reports.generated.write import usual_rows
from suite.cases.case import Case
from tests.records import a_case, a_cell, a_machine, a_plan, results

STEP = Case(heads=8, kv_heads=8, head_dim=64, q_len=1, kv_len=512, dtype="bfloat16", mode="decode")


def picture_of(*cases: Case) -> str:
    """Return the picture of cases in which flex takes twice the time of no_bias."""
    records = [
        record
        for case in cases
        for variant, ms in (("no_bias", 1.0), ("flex", 2.0))
        for record in a_cell(case, variant, ms)
    ]
    plan = a_plan(*cases, variants=("no_bias", "flex"))
    return picture(usual_rows([results(a_machine(plan), *records)]), "A title")


def panels(svg: str) -> list[str]:
    return re.findall(r'class="title">(.+?)</text>', svg)[1:]


def test_each_mode_that_was_measured_has_a_row_of_panels() -> None:
    svg = picture_of(a_case(512), a_case(1024), a_case(512, mode="backward"), STEP)
    assert panels(svg) == [
        "forward, bfloat16: not measured",
        "forward, float32",
        "forward and backward, bfloat16: not measured",
        "forward and backward, float32",
        "decode, one query, bfloat16",
        "decode, one query, float32: not measured",
    ]
    assert svg.count(">flex</text>") == 3


def test_a_mode_that_was_not_measured_takes_no_room() -> None:
    forward, both = picture_of(a_case(512)), picture_of(a_case(512), a_case(512, mode="backward"))
    heights = [int(ElementTree.fromstring(svg).attrib["height"]) for svg in (forward, both)]
    assert panels(forward) == ["forward, float32"]
    assert heights[0] < heights[1]


def test_decode_with_norms_has_panels_of_its_own() -> None:
    with_norms = msgspec.structs.replace(STEP, norms=True)
    assert panels(picture_of(STEP, with_norms)) == [
        "decode, one query, bfloat16",
        "decode with norms, bfloat16",
    ]


def test_the_scale_reaches_down_to_the_smallest_ratio() -> None:
    records = [*a_cell(STEP, "no_bias", 1.0), *a_cell(STEP, "flex", 0.01)]
    plan = a_plan(STEP, variants=("no_bias", "flex"))
    svg = picture(usual_rows([results(a_machine(plan), *records)]), "A title")
    assert ">1/128x<" in svg
    assert ">1/256x<" not in svg


def test_windows_and_ragged_batches_are_not_drawn() -> None:
    dense = picture_of(a_case(512))
    assert picture_of(a_case(512), msgspec.structs.replace(a_case(1024), window=64)) == dense


def test_each_mode_has_a_scale_of_its_own() -> None:
    records = [*a_cell(STEP, "no_bias", 1.0), *a_cell(STEP, "flex", 0.01)]
    records += [*a_cell(a_case(512), "no_bias", 1.0), *a_cell(a_case(512), "flex", 2.0)]
    plan = a_plan(STEP, a_case(512), variants=("no_bias", "flex"))
    svg = picture(usual_rows([results(a_machine(plan), *records)]), "A title")
    forward, decode = svg.split("decode, one query", 1)
    assert ">1/128x<" in decode
    assert ">1/128x<" not in forward


def test_a_line_passes_through_the_ratio() -> None:
    (path,) = re.findall(
        r'<path d="M([\d. L]+)" fill="none"', picture_of(a_case(512), a_case(1024))
    )
    heights = {point.split()[1] for point in path.split("L")}
    (two,) = re.findall(
        r'y="([\d.]+)" text-anchor="end">2x<', picture_of(a_case(512), a_case(1024))
    )
    assert {round(float(height)) for height in heights} == {round(float(two) - 4)}
