"""The README shows the published table as it is, and published files are sound."""

from pathlib import Path

import pytest

from reports.choosing.regret import flips, price_left_out, price_unseen
from reports.choosing.regret_table import render as render_regret
from reports.choosing.regret_table import summary
from reports.pages.listing import words
from reports.tables.cells import groups
from reports.tables.table import render
from reports.verdicts import calibration_table
from reports.verdicts.calibration import calibrate, pairs_of
from suite.records.store import read
from variants.catalog import CATALOG

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "results" / "published").glob("*/*.jsonl"))


def test_the_readmes_table_is_a_published_one() -> None:
    readme = (ROOT / "README.md").read_text()
    tables = [render(groups([read(file)]), "github") for file in PUBLISHED]
    assert any(table in readme for table in tables)


def test_the_readme_describes_every_variant_in_its_own_words() -> None:
    readme = (ROOT / "README.md").read_text()
    for variant in CATALOG:
        assert f"| `{variant.name}` | {words(variant)} |" in readme


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_a_published_file_is_whole_and_stands_in_its_machines_folder(file: Path) -> None:
    results = read(file)
    assert results.warnings == []
    assert file.parent.name == results.header.hardware.key
    assert file.stat().st_size < 16 << 20
    assert not results.header.circumstances.uncommitted
    planned = results.header.plan
    cells = len(planned.cases) * len(planned.variants) * planned.passes
    assert len(results.finished()) == cells


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_the_table_beside_a_published_file_is_that_files(file: Path) -> None:
    assert file.with_suffix(".md").read_text() == render(groups([read(file)]), "github") + "\n"


def test_the_rates_of_verdicts_are_those_of_the_published_pairs() -> None:
    files = [read(file) for file in sorted((ROOT / "results/published").glob("*/aa/*.jsonl"))]
    assert len(files) == 20
    rates = calibration_table.render(calibrate(pairs_of(files), gate=0.01), "simple")
    indented = "\n".join(f"    {line}".rstrip() for line in rates.splitlines())
    assert indented in (ROOT / "docs" / "verdicts.md").read_text()


def test_the_price_of_advice_is_that_of_the_published_races() -> None:
    folder = ROOT / "results/published/cpu-intel-6.167.1-avx2-avx512f-bf16-fp16-amx-bf16-2cores"
    tuned, fresh = (
        [read(folder / f"{name}.jsonl") for name in names]
        for names in (
            (
                *("forward-1", "forward-2", "forward-blocks", "uneven-forward", "uneven-blocks"),
                *("native", "native-uneven", "backward", "uneven-backward"),
            ),
            (
                *("unseen-forward", "unseen-whole", "unseen-blocks"),
                *("native-unseen", "native-unseen-whole"),
                *("unseen-backward", "unseen-whole-backward"),
            ),
        )
    )
    page = (ROOT / "docs" / "choosing.md").read_text()
    price = render_regret({"": price_unseen(tuned, fresh)}, flips(tuned), "simple").partition(
        "\n\n"
    )[0]
    assert "\n".join(f"    {line}" for line in price.splitlines()) in page
    for name, priced in (
        ("never measured", price_unseen(tuned, fresh)),
        ("left out", price_left_out(tuned)),
    ):
        figures = summary(priced)
        assert figures is not None
        row = (
            f"{name} | {figures.problems} | {figures.first} | {figures.mean:.2%} | "
            f"{figures.at_95:.1%} | {figures.held} |"
        )
        assert row in page
    assert "for {} of {} problems".format(*flips(tuned)) in page
