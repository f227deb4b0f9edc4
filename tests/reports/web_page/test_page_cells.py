"""A page's cells have the figures of the tables, and the words that tell them apart."""

import json
from collections import Counter

import msgspec
import pytest

from reports.tables.cells import groups
from reports.tables.table import render
from reports.web_page.page_cells import PageCell, first_view, trade_off_length, view_of
from reports.web_page.page_data import page_data
from suite.cases.case import Case
from suite.failures import BadRequest
from suite.records.store import Results
from tests.records import a_case, a_cell, a_machine, a_plan, results
from tests.reports.table_text import of_all_kinds
from tests.reports.web_page.page_results import a_device, two_devices


def cells_of(*files: Results) -> list[PageCell]:
    """Return a page's cells."""
    return page_data(files).cells


@pytest.mark.parametrize("file", [of_all_kinds(), a_device()], ids=["all kinds", "a device"])
def test_every_cell_has_the_figures_of_the_tables_json(file: Results) -> None:
    rows = {
        (row["case"], row["variant"]): row for row in json.loads(render(groups([file]), "json"))
    }
    cells = json.loads(msgspec.json.encode(cells_of(file)))
    assert len(cells) == len(rows)
    for cell in cells:
        row = rows[cell["case"], cell["variant"]]
        shared = cell.keys() & row.keys() - {"mode"}
        assert {"time_ms", "error"} <= shared or cell["status"] != "measured"
        assert {name: cell[name] for name in shared} == {name: row[name] for name in shared}
        absent = row.keys() & set(PageCell.__struct_fields__) - cell.keys()
        assert not any(row[name] for name in absent)


def test_a_variant_has_one_cell_at_each_length_of_a_setup_and_view() -> None:
    plain = a_case(512)
    like = [
        {"q_len": 64},
        {"window": 32},
        {"seq_lens": (512, 40), "batch": 2},
        {"seq_lens": (512, 80), "batch": 2},
        {"seq_lens": (512, 40), "batch": 2, "form": "packed"},
        {"seq_lens": (512, 40), "q_lens": (1, 40), "q_len": 40, "batch": 2, "form": "packed"},
        {"seq_lens": (512, 40), "q_lens": (2, 40), "q_len": 40, "batch": 2, "form": "packed"},
        {"layout": "bnhd"},
        {"logit_scale": 4.0},
        {"mode": "decode", "q_len": 1},
        {"mode": "decode", "q_len": 2},
        {"mode": "decode", "q_len": 1, "norms": True},
        {"bias_max": 4.0},
    ]
    cases = [plain, *(msgspec.structs.replace(plain, **change) for change in like)]  # type: ignore[arg-type]
    cells = cells_of(_file(cases))
    assert len(cells) == len(cases)
    places = Counter((cell.setup, view_of(cell), cell.kv_len, cell.variant) for cell in cells)
    assert max(places.values()) == 1


def _file(cases: list[Case]) -> Results:
    records = [record for case in cases for record in a_cell(case, "eager")]
    return results(a_machine(a_plan(*cases, variants=["eager"])), *records)


def test_a_model_that_has_the_attention_is_named() -> None:
    case = msgspec.structs.replace(a_case(), heads=16, kv_heads=16)
    (cell,) = cells_of(_file([case]))
    assert cell.model.startswith("16 heads of 64, causal (")
    assert "bloom-560m" in cell.model


def test_a_page_opens_with_the_view_that_has_the_most_measured_cells() -> None:
    cases = [a_case(512), a_case(512, "bfloat16"), a_case(1024, "bfloat16")]
    assert first_view(cells_of(_file(cases))).dtype == "bfloat16"


def test_the_trade_off_is_at_the_longest_length_with_the_most_whole_cells() -> None:
    assert trade_off_length(cells_of(a_device())) == 2048


def test_setups_stay_in_the_order_of_the_files_and_modes_in_the_usual_one() -> None:
    cells = cells_of(*two_devices())
    assert [name.split()[0] for name in dict.fromkeys(c.setup for c in cells)] == [
        "Invented",
        "Other",
    ]
    assert list(dict.fromkeys(cell.mode for cell in cells)) == ["forward", "backward"]


def test_files_without_a_cell_are_refused_by_name() -> None:
    empty = msgspec.structs.replace(a_plan(), cases=())
    with pytest.raises(BadRequest, match=r"no cell in invented\.jsonl"):
        page_data([results(a_machine(empty))])


def test_the_fingerprint_has_each_fact_of_each_file_once() -> None:
    first = a_device()
    later = msgspec.structs.replace(first.header, started="2026-02-03T04:05:06+00:00")
    (setup,) = page_data([first, first._replace(header=later)]).setups
    facts = dict(setup.facts)
    assert facts["hardware key"] == "cpu-invented-2cores"
    assert facts["torch"] == "2.13.0"
    assert facts["threads"] == "2"
    assert facts["started"] == "2026-01-02T03:04:05+00:00 / 2026-02-03T04:05:06+00:00"
    assert facts["code"] == "commit 000000000000"
