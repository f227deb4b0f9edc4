"""Whatever can be named on the command line is listed, without importing what it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reports.pages import listing
from reports.text.screen import Screen
from suite.cases.mixed_batch import notation
from suite.cases.models import built_in
from suite.cases.sweeps import DEFAULT_SWEEPS, SWEEPS
from variants.catalog import CATALOG, Variant

WIDE = Screen(400)
ROOT = Path(__file__).parents[3]


def line_of(listed: str, name: str) -> str:
    """Return the one line of a listing that is about a name."""
    (line,) = (line for line in listed.splitlines() if line.split()[:1] == [name])
    return line


@pytest.mark.parametrize("variant", CATALOG, ids=lambda variant: variant.name)
def test_every_variant_is_listed_with_what_it_answers_whose_default_it_is_and_what_it_is(
    variant: Variant,
) -> None:
    line = line_of(listing.variants(WIDE), variant.name)
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
    lines = listing.sweeps(WIDE).splitlines()
    (place,) = (place for place, line in enumerate(lines) if line.split()[0] == name)
    purpose, grid = lines[place : place + 2]
    sweep = SWEEPS[name]
    assert purpose.endswith(sweep.purpose)
    for part in (sweep.lengths, sweep.dtypes, sweep.modes):
        assert ", ".join(map(str, part)) in grid
    joined = "+".join(map(str, sweep.seq_lens))
    assert (notation(sweep.q_lens, sweep.seq_lens) if sweep.q_lens else joined) in grid
    assert re.search(rf" {sweep.passes} pass(es)?$", grid)
    for shape in sweep.shapes:
        assert f"{shape.heads} heads of {shape.head_dim}" in grid


def test_models_are_listed_with_what_is_unusual_and_whether_it_was_verified() -> None:
    listed = listing.models()
    assert re.search(r"^mpt-7b +1 x 32 of 128 +verified$", listed, re.MULTILINE)
    assert re.search(r"^Refact-1.6B +1 x 32 \(1 kv\) of 64", listed, re.MULTILINE)
    for model, words in (
        ("jina-embeddings-v2-large", "bidirectional +recalled"),
        ("falcon-rw-1b", r"slopes /sqrt\(d\)"),
        ("mpt-7b-storywriter", "bias max 16"),
        ("btlm-3b-8k", "scale 1/d"),
    ):
        assert re.search(f" {words}", line_of(listed, model))


def test_a_wide_terminal_shows_the_source_and_the_lengths_of_every_model() -> None:
    listed = listing.models(WIDE)
    for model in built_in().values():
        line = line_of(listed, model.name)
        assert line.endswith(model.source)
        assert f"{model.lengths[0]} to {model.lengths[-1]} ({len(model.lengths)})" in line


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_list_is_wider_than_the_terminal(width: int) -> None:
    for kind in (listing.variants, listing.models, listing.sweeps):
        assert max(map(len, kind(Screen(width)).splitlines())) <= width


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
