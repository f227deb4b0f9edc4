"""Whatever can be named on the command line is listed, without importing what it names."""

import subprocess
import sys
from pathlib import Path

import pytest

from reports import listing
from suite.sweeps import DEFAULT_SWEEP, SWEEPS
from variants.catalog import CATALOG, Variant

ROOT = Path(__file__).parents[2]


def line_of(listed: str, name: str) -> str:
    """Return the one line of a listing that is about a name."""
    (line,) = (line for line in listed.splitlines() if line.split()[0] == name)
    return line


@pytest.mark.parametrize("variant", CATALOG, ids=lambda variant: variant.name)
def test_every_variant_is_listed_with_what_it_is(variant: Variant) -> None:
    line = line_of(listing.variants(), variant.name)
    assert variant.answers in line.split()
    about = listing.summary(variant.module).partition(": ")[2]
    assert len(about) > 20
    assert about in line


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_listed_with_its_grid_and_its_purpose(name: str) -> None:
    line = line_of(listing.sweeps(), name)
    sweep = SWEEPS[name]
    for part in (sweep.lengths, sweep.dtypes, sweep.modes):
        assert ",".join(map(str, part)) in line.split()
    assert sweep.purpose in line
    assert str(sweep.passes) in line.split()


def test_the_default_sweep_is_marked_and_no_other() -> None:
    marked = [line.split()[0] for line in listing.sweeps().splitlines() if "(default)" in line]
    assert marked == [DEFAULT_SWEEP]


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        listing.summary("variants.nowhere")


@pytest.mark.parametrize("kind", ["variants", "sweeps"])
def test_listing_imports_no_torch_and_no_variant(kind: str) -> None:
    code = (
        f"import sys; from reports import listing; listing.{kind}();"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'variants')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['variants', 'variants.catalog']\n"
