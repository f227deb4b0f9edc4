"""The page of variants has a row and a section for each module of the catalog."""

from collections.abc import Sequence

import pytest

from reports.generated import variant_sections
from reports.generated.variant_sections import row, section
from reports.generated.variants_page import page
from reports.tables.table import by
from variants.catalog import BY_NAME, CATALOG, Variant

MODULES = by(lambda variant: variant.module, CATALOG)


def part(text: str, name: str) -> str:
    return text.partition(f"\n## `{name}`")[2].partition("\n## ")[0]


@pytest.mark.parametrize("lines", MODULES.values(), ids=lambda lines: lines[0].name)
def test_each_module_says_what_it_is_for_and_what_not(lines: Sequence[Variant]) -> None:
    names, what, use, limits = row(lines)
    assert all(f"`{line.name}`" in names for line in lines)
    assert len(what) > 10 < len(use)
    assert len(limits) > 3


def test_a_module_without_these_lines_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant_sections, "_docstring", lambda _: "eager: the formula.")
    with pytest.raises(ValueError, match="eager: its module's docstring has no line 'For: "):
        row([BY_NAME["eager"]])


def test_the_first_table_is_on_the_first_screen() -> None:
    lines = page().splitlines()
    rows = [number for number, line in enumerate(lines) if line.startswith("| [`")]
    assert len(rows) == len(MODULES)
    assert rows[-1] < 24


def test_lines_of_the_catalog_with_one_module_share_a_section_with_their_names() -> None:
    text = part(page(), "sdpa_mask")
    assert "`sdpa_mask_math` (backend math, default on CUDA)" in " ".join(text.split())


def test_a_section_has_what_the_variant_says_when_it_declines() -> None:
    assert "…; sdpa_mask runs on the CPU" in section(MODULES["variants.sdpa.sdpa_mask"])
