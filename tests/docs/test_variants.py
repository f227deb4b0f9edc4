"""docs/variants.md and peers.md are what their sources give; what is said of heads is true."""

import csv
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.windows.trained_density import RECORDING, densities
from benchmarks.windows.window_density import over_heads
from reports.generated import peers_page
from reports.generated.reach import BITS, HEADS, picture, reach, slopes
from reports.generated.variants_page import DENSITIES, TRAINED_DENSITIES, page
from variants.catalog import CATALOG, PEERS
from variants.problem import alibi_slopes
from variants.windows import tolerance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "variants.md").read_text()


def test_the_page_is_what_make_docs_writes() -> None:
    assert page() == PAGE, "run make docs"


def test_the_page_of_peers_is_what_make_docs_writes_and_has_each_with_its_bias() -> None:
    text = (ROOT / "docs" / "peers.md").read_text()
    assert peers_page.page() == text, "run make docs"
    sections = {part.partition("`")[0]: part for part in text.split("\n## `")[1:]}
    assert [*sections] == [peer.name for peer in PEERS if not peer.options]
    assert all("\nBias: " in section for section in sections.values())
    assert all(
        "ot yet seen on a GPU" in sections[peer.name].replace("\n", " ")
        for peer in PEERS
        if peer.device == "cuda"
    )


def test_the_picture_is_what_make_docs_writes() -> None:
    assert (ROOT / "docs" / "reach.svg").read_text() == picture(), "run make docs"


def test_every_variant_is_on_the_page() -> None:
    assert all(f"`{variant.name}`" in PAGE for variant in CATALOG)


@pytest.mark.parametrize("heads", HEADS)
def test_the_pictures_slopes_are_those_of_alibi(heads: int) -> None:
    assert slopes(heads) == pytest.approx(alibi_slopes(heads).tolist())


@pytest.mark.parametrize(("dtype", "bits"), BITS.items())
def test_a_bar_ends_where_a_weight_is_as_small_as_rounding(dtype: str, bits: int) -> None:
    assert tolerance(getattr(torch, dtype)) == 2.0**-bits
    assert math.exp(-0.25 * reach(0.25, bits)) == pytest.approx(2.0**-bits)


def test_a_published_density_is_found_again() -> None:
    with DENSITIES.open() as lines:
        (row,) = [
            row
            for row in csv.DictReader(lines)
            if list(row.values())[:5] == ["8", "64", "float32", "2048", "2"]
        ]
    assert over_heads(8, "float32", 2048, 2.0) == pytest.approx(float(row["density"]), rel=0.01)


def test_a_published_density_of_the_trained_model_is_found_again() -> None:
    with TRAINED_DENSITIES.open() as lines:
        rows = {(row["layer"], row["length"]): row for row in csv.DictReader(lines)}
    assert [*rows] == [("0", "512"), ("2", "512"), ("2", "2048"), ("2", "8192")]
    for layer in ("0", "2"):
        row = rows[layer, "512"]
        shares = densities(load_file(RECORDING), f"layer{layer}", 512)
        assert shares == pytest.approx((float(row["trained"]), float(row["normal"])), rel=0.01)
