"""Record q, k and v of the ALiBi model that `lengths` trained, and say how much of them matters.

    python run_bench.py lengths --quick --out results/lengths.jsonl
    python examples/record_trained.py results/lengths.jsonl --out trained.safetensors
    python run_bench.py run --inputs trained.safetensors --variants sdpa_mask,native_window

Writes two layers over a held-out source file of sympy. The first is the layer with the smallest
scores: all heads over 512 tokens. The second has the largest score: the two heads with the largest
over 8192 tokens, 64 times what the model learned at. So the file stays under 2 MB. It then prints
the share of pairs of a query and a key that `native_window` computes on each, beside standard
normal q and k of the same shape, slopes and dtype. Needs: pip install safetensors.
"""

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.windows.trained_density import beside_normal
from suite.quality.experiment import models_folder
from suite.quality.methods import METHOD_BY_NAME
from suite.quality.model.decoder import Decoder, Projections
from suite.quality.model.training import new_model
from suite.quality.results import read
from suite.quality.text.corpus import vocabulary_of
from suite.quality.text.sources import package_files
from variants.native.native_window import density
from variants.problem import alibi_slopes

METHOD, SEED = METHOD_BY_NAME["alibi"], 0
TEXT = "sympy/solvers/diophantine/diophantine.py"
SHORT, LONG, LONG_HEADS = 512, 8192, 2
LENGTHS = (512, 2048, 8192)


def main() -> None:
    """Record, write and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="a file of `lengths`, beside its models")
    parser.add_argument("--out", type=Path, default=Path("trained_alibi.safetensors"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers = record_layers(options.results)
    scores = [largest_scores(q, k) for q, k, _ in layers]
    for number, by_head in enumerate(scores):
        print(f"layer {number}: largest scores", *(f"{score:.1f}" for score in by_head))
    calm, sharp = (end(range(len(layers)), key=lambda i: scores[i].max()) for end in (min, max))
    heads = scores[sharp].topk(LONG_HEADS).indices.sort().values
    every_head = torch.arange(METHOD.heads)
    parts = {
        f"layer{calm}": cut(layers[calm], every_head, SHORT),
        f"layer{sharp}": cut(layers[sharp], heads, LONG),
    }
    slopes = alibi_slopes(METHOD.heads)
    write(parts, {f"layer{calm}": slopes, f"layer{sharp}": slopes[heads]}, options.out)
    print(f"{options.out}: {', '.join(parts)}, {options.out.stat().st_size / 1e6:.2f} MB")
    for name, layer, some in (
        (f"layer {calm}", layers[calm], every_head),
        (f"layer {sharp}", layers[sharp], every_head),
        (f"layer {sharp}, heads {heads.tolist()}", layers[sharp], heads),
    ):
        for length in LENGTHS:
            of_model, of_normal = beside_normal(*cut(layer, some, length), slopes[some], density)
            print(f"{name}, {length} tokens: {of_model:.3f}, normal {of_normal:.3f}")


def record_layers(results: Path) -> list[Projections]:
    """Return q, k and v of each layer over the text: [1, heads, 8192, head_dim] bfloat16."""
    design = read(results).header.design
    files = package_files()
    (source,) = [file.text for file in files if file.name == TEXT and file.is_held_out]
    tokens = vocabulary_of(files, design.size.vocabulary).encode(source)[:LONG]
    model: Decoder = new_model(METHOD, design, design.size.vocabulary, SEED)
    weights = models_folder(results) / f"{METHOD.name}-{SEED}.pt"
    model.load_state_dict(torch.load(weights, weights_only=True))
    layers: list[Projections] = []
    with torch.no_grad():
        positions = METHOD.positions(design.trained_len)
        model.to(torch.bfloat16).eval()(torch.tensor([tokens]), positions, layers)
    return layers


def largest_scores(q: Tensor, k: Tensor) -> Tensor:
    """Return each head's largest scaled product of a query and any 8th key: [heads] float32."""
    products = q[0].float() @ k[0, :, ::8].float().mT
    return products.abs().amax(dim=(1, 2)) / math.sqrt(q.shape[-1])


def cut(layer: Projections, heads: Tensor, length: int) -> Projections:
    """Return some heads of the first tokens of a layer."""
    q, k, v = (each[:, heads, :length].contiguous() for each in layer)
    return q, k, v


def write(parts: dict[str, Projections], slopes: dict[str, Tensor], path: Path) -> None:
    """Write a recording (docs/your-inputs.md)."""
    from safetensors.torch import save_file

    tensors = {
        f"{layer}.{name}": tensor
        for layer, part in parts.items()
        for name, tensor in zip(("q", "k", "v", "slopes"), (*part, slopes[layer]), strict=True)
    }
    save_file(tensors, path)


if __name__ == "__main__":
    main()
