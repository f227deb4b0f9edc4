"""Whatever can be named on the command line is listed, without importing what it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reports.pages import listing
from suite.cases.mixed_batch import notation
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS
from variants.catalog import CATALOG, Variant

ROOT = Path(__file__).parents[3]


def line_of(listed: str, name: str) -> str:
    """Return the one line of a listing that is about a name."""
    (line,) = (line for line in listed.splitlines() if line.split()[0] == name)
    return line


@pytest.mark.parametrize("variant", CATALOG, ids=lambda variant: variant.name)
def test_every_variant_is_listed_with_what_it_answers_whose_default_it_is_and_what_it_is(
    variant: Variant,
) -> None:
    line = line_of(listing.variants(), variant.name)
    assert line.split()[1:3] == [variant.answers, variant.device]
    assert len(listing.words(variant)) > 20
    assert line.endswith(listing.words(variant))


def test_the_columns_say_what_they_are() -> None:
    headers = re.split(r"  +", listing.variants().splitlines()[0].strip())
    assert headers == ["variant", "answers", "default on", "what it is"]


def test_the_words_of_a_variant_are_its_file_s_and_its_options() -> None:
    plain = Variant("sdpa_mask", "variants.sdpa.sdpa_mask")
    words = "SDPA with the relative bias precomputed as a dense mask"
    assert listing.words(plain) == words
    one = plain._replace(options={"backend": "efficient"})
    assert listing.words(one) == f"{words} (backend efficient)"
    two = plain._replace(options={"backend": "cudnn", "mode": "fast"})
    assert listing.words(two) == f"{words} (backend cudnn, mode fast)"


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_listed_with_its_grid_and_its_purpose(name: str) -> None:
    line = line_of(listing.sweeps(), name)
    sweep = SWEEPS[name]
    for part in (sweep.lengths, sweep.dtypes, sweep.modes):
        assert not part or ",".join(map(str, part)) in line.split()
    joined = "+".join(map(str, sweep.seq_lens))
    assert (notation(sweep.q_lens, sweep.seq_lens) if sweep.q_lens else joined) in line
    assert sweep.purpose in line
    assert str(sweep.passes) in line.split()
    for shape in sweep.shapes:
        assert f"{shape.heads} heads of {shape.head_dim}" in line


def test_the_default_sweep_of_each_device_is_marked_and_no_other() -> None:
    marked = re.findall(r"^(\S+) \(default on (\S+)\)", listing.sweeps(), re.MULTILINE)
    assert {device: name for name, device in marked} == DEFAULT_SWEEPS
    assert listing.sweeps().count("(default") == len(DEFAULT_SWEEPS)


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        listing.summary("variants.nowhere")


@pytest.mark.parametrize("kind", ["variants", "sweeps"])
def test_listing_imports_no_torch_and_no_variant(kind: str) -> None:
    code = (
        f"import sys; from reports.pages import listing; listing.{kind}();"
        "print([name for name, module in sys.modules.items()"
        " if name.split('.')[0] in ('torch', 'variants') and not hasattr(module, '__path__')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['variants.catalog']\n"
