"""The recording of the trained model is what the docs say of it, and fits `--inputs`."""

import re

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.windows.trained_density import beside_normal
from examples.record_trained import cut, largest_scores
from suite.conditions.policy import ROOT
from suite.recordings.layers import read_layers
from variants.native.native_window import density
from variants.problem import alibi_slopes

PATH = ROOT / "examples" / "trained_alibi.safetensors"
TENSORS = load_file(PATH)


def layer(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return TENSORS[f"{name}.q"], TENSORS[f"{name}.k"], TENSORS[f"{name}.v"]


def test_it_has_two_layers_one_of_them_long_in_under_two_megabytes() -> None:
    shapes = {each.recording[-15:-9]: (each.heads, each.length) for each in read_layers(str(PATH))}
    assert shapes == {"layer0": (8, 512), "layer2": (2, 8192)}
    assert PATH.stat().st_size < 2_000_000


def test_its_slopes_are_those_of_its_heads() -> None:
    assert torch.equal(TENSORS["layer0.slopes"], alibi_slopes(8))
    assert torch.equal(TENSORS["layer2.slopes"], alibi_slopes(8)[[2, 7]])


def test_the_long_layer_has_the_head_of_large_scores() -> None:
    q, k, _ = layer("layer2")
    assert largest_scores(q, k)[0] > 33
    q, k, _ = layer("layer0")
    assert largest_scores(q, k).max() < 10


@pytest.mark.parametrize(("length", "column"), [(512, 0), (2048, 1), (8192, 2)])
def test_the_docs_have_the_density_of_the_committed_heads(length: int, column: int) -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    (line,) = re.findall(r"\| layer 2, heads 2 and 7 \|(.*)\|", page)
    heads = torch.arange(2)
    q, k, v = cut(layer("layer2"), heads, length)
    shares = beside_normal(q, k, v, TENSORS["layer2.slopes"], density)
    model, normal = (f"{share:.0%}" for share in shares)
    assert line.split("|")[column].strip() == f"{model}, normal {normal}"
