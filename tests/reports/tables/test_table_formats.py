"""Programs get every cell with every figure, in json and in csv."""

import csv
import io
import json

import msgspec
import pytest

from reports.tables.cells import groups
from reports.tables.table import ProgramFormat, render
from tests.reports.table_text import of_all_kinds, table

CONTRACT = {
    "case", "batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim", "dtype", "mode", "causal",
    "variant", "answers", "status", "reason", "time_ms", "time_ci_ms", "samples", "passes",
    "vs_no_bias", "tflops", "first_call_s", "peak_bytes", "persistent_bytes", "nvml_bytes",
    "error", "error_budget",
}  # fmt: skip


def test_json_has_a_row_for_every_cell_with_the_fields_of_the_contract() -> None:
    rows = json.loads(table("json", of_all_kinds()))
    assert len(rows) == 2 * 5
    assert all(set(row) >= CONTRACT for row in rows)


def test_what_does_not_exist_is_null_in_json() -> None:
    rows = json.loads(table("json", of_all_kinds()))
    for row in rows:
        absent = {"time_ms", "time_ci_ms", "vs_no_bias", "tflops", "first_call_s"}
        assert [row[name] is None for name in absent] == [row["status"] != "measured"] * 5
        assert (row["reason"] is None) == (row["status"] == "measured")
    by_variant = {row["variant"]: row for row in rows if row["kv_len"] == 512}
    assert by_variant["sdpa_mask"]["error"] is None
    assert by_variant["compile"]["error"] == 1e-5


def test_json_has_every_figure_to_its_last_digit_and_none_that_is_no_number() -> None:
    file = of_all_kinds()
    rows = msgspec.to_builtins(groups([file])[0].rows)
    assert json.loads(table("json", file)) == json.loads(json.dumps(rows, allow_nan=False))


def test_csv_has_the_rows_and_fields_of_json_with_an_interval_in_two_columns() -> None:
    rows = json.loads(table("json", of_all_kinds()))
    read = list(csv.DictReader(io.StringIO(table("csv", of_all_kinds()))))
    assert len(read) == len(rows)
    assert any(row["time_ci_ms"] for row in rows)
    for written, row in zip(read, rows, strict=True):
        for name in ("time_ci_ms", "vs_no_bias_ci", "sm_clock_mhz"):
            low, high = row.pop(name) or ("", "")
            assert (written[f"{name}_low"], written[f"{name}_high"]) == (str(low), str(high))
        for name in ("kernels", "seq_lens", "q_lens", "thread_pools", "pass_ms"):
            assert written[name] == " ".join(map(str, row.pop(name)))
        for name, value in row.items():
            assert written[name].lower() == ("" if value is None else str(value).lower())


@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_get_a_header_and_no_rows_of_no_files(form: ProgramFormat) -> None:
    assert (
        render([], form)
        .splitlines()[0]
        .startswith("[" if form == "json" else "hardware_key,software,code,case,batch")
    )
