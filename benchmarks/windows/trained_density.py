"""The share of attention inside certified windows on a trained model, beside normal inputs.

    python benchmarks/windows/trained_density.py > results/published/trained_density.csv

The inputs are those of examples/trained_alibi.safetensors: bfloat16, the first tokens of each
layer. Normal ones have the same shape, slopes and dtype. A density is that of window_density.py.
Nothing is timed. docs/variants.md shows the figures. Needs the package safetensors.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from suite.agreement.inputs import spec_of
from suite.cases.case import Case
from variants.windows import density

RECORDING = Path(__file__).parents[2] / "examples" / "trained_alibi.safetensors"
LAYERS = ("layer0", "layer2")
LENGTHS = (512, 2048, 8192)


def main() -> None:
    """Write a line for each layer and length that the recording has."""
    from safetensors.torch import load_file

    tensors = load_file(RECORDING)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("layer", "heads", "head_dim", "length", "trained", "normal"))
    for layer in LAYERS:
        _, heads, tokens, head_dim = tensors[f"{layer}.q"].shape
        for length in (length for length in LENGTHS if length <= tokens):
            shares = densities(tensors, layer, length)
            figures = (f"{share:.4f}" for share in shares)
            table.writerow((layer.removeprefix("layer"), heads, head_dim, length, *figures))


def densities(tensors: dict[str, Tensor], layer: str, length: int) -> tuple[float, float]:
    """Return the density of a layer's first tokens, and of normal numbers in their place."""
    q, k, v = (tensors[f"{layer}.{name}"][:, :, :length].contiguous() for name in "qkv")
    return beside_normal(q, k, v, tensors[f"{layer}.slopes"], density)


def beside_normal(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, density_of: Callable[..., float]
) -> tuple[float, float]:
    """Return the density of q, k and v [1, heads, length, head_dim], and of normal numbers.

    `density_of` takes a spec, q, k, v and slopes, as a variant's `density` does.
    """
    _, heads, length, head_dim = q.shape
    case = Case(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        q_len=length,
        kv_len=length,
        dtype="bfloat16",
    )
    spec, draws = spec_of(case, q.device), torch.Generator().manual_seed(length)
    normal = [torch.randn(q.shape, generator=draws).to(q.dtype) for _ in range(3)]
    return density_of(spec, q, k, v, slopes), density_of(spec, *normal, slopes)


if __name__ == "__main__":
    main()
