"""The page of variants takes any results: none, several machines, and what was not measured."""

from collections.abc import Sequence

import msgspec
import pytest

from reports.pages.variants_page import page
from reports.tables.cells import groups
from reports.tables.row import NOT_YET
from suite.records.store import Results
from tests.records import a_case, a_check, a_fault, a_machine, a_plan, a_time, measured, results
from variants.catalog import CATALOG

CASE = a_case(768, "bfloat16")


def pages(files: Sequence[Results]) -> str:
    return page(groups(files), [f"file{number}.jsonl" for number, _ in enumerate(files)])


def section(text: str, name: str) -> str:
    return text.partition(f"\n## `{name}`")[2].partition("\n## ")[0]


def lines_of(text: str) -> list[list[str]]:
    """Return the cells of a section's table, headings first."""
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_without_results_every_module_still_has_its_section() -> None:
    text = pages([])
    modules = {variant.module for variant in CATALOG}
    assert text.count("Not in the results of this page.") == len(modules)
    assert "…; sdpa_mask runs on the CPU" in section(text, "sdpa_mask")


def test_a_cell_is_a_line_in_the_section_of_its_variant_alone() -> None:
    plan = a_plan(CASE, variants=("no_bias", "eager", "flex"))
    cells = [*measured(CASE, "no_bias", 2.0), *measured(CASE, "eager", 6.0)]
    text = pages([results(a_machine(plan), *cells, *measured(CASE, "flex", 3.0))])
    header, row = lines_of(section(text, "eager"))
    shown = dict(zip(header, row, strict=True))
    assert (shown["length"], shown["dtype"], shown["vs no_bias"]) == ("768", "bfloat16", "3.00x")
    assert shown["rank"] == "2"
    assert "| flex 1.50x" in text.partition("## Where each wins")[2].partition("\n## ")[0]


def test_lines_of_the_catalog_with_one_module_share_a_section_with_their_names() -> None:
    names = ("sdpa_mask", "sdpa_mask_math")
    cells = [record for name in names for record in measured(CASE, name)]
    text = section(pages([results(a_machine(a_plan(CASE, variants=names)), *cells)]), "sdpa_mask")
    header, *rows = lines_of(text)
    assert [row[header.index("variant")] for row in rows] == list(names)
    assert "`sdpa_mask_math` (backend math, default on CUDA)" in " ".join(text.split())


@pytest.mark.parametrize("status", ["unsupported", "crashed"])
def test_what_was_not_measured_has_its_reason_and_what_is_to_come_is_left_out(status: str) -> None:
    later = a_case(1536)
    plan = a_plan(CASE, later, variants=("eager", "flex"))
    fault = msgspec.structs.replace(a_fault(CASE, "flex"), status=status)
    checked = a_check(CASE, "eager", error=1e-3)
    text = pages([results(a_machine(plan), fault, checked)])
    assert "no kernel for this; try another" in section(text, "flex")
    assert "eager disagrees" in section(text, "eager")
    assert "1536" not in section(text, "flex") + section(text, "eager")
    assert NOT_YET not in text


def test_machines_and_shapes_have_tables_of_their_own() -> None:
    wide = msgspec.structs.replace(CASE, heads=32, kv_heads=32)
    plan = a_plan(CASE, wide, variants=("eager",))
    cells = [*measured(CASE, "eager"), *measured(wide, "eager")]
    files = [results(a_machine(plan, key=key), *cells) for key in ("cpu-one", "cpu-other")]
    text = section(pages(files), "eager")
    assert text.count("8 heads of 64, causal:") == text.count("32 heads of 64, causal:") == 2


def test_how_much_a_windowed_variant_looked_at_is_told_with_its_figures() -> None:
    plan = a_plan(CASE, variants=("sdpa_window",))
    time = msgspec.structs.replace(a_time(CASE, "sdpa_window"), density=0.254)
    text = pages([results(a_machine(plan), a_check(CASE, "sdpa_window"), time)])
    assert f"- sdpa_window looked at 25% of {CASE.id}" in section(text, "sdpa_window")
