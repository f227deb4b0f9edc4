"""What subtracting a head's mean key before the bound of triton_window would save, by tiles.

    python -m benchmarks.windows.centred_keys

A softmax stays as it is if a vector c is taken from all keys. Scores are q·c + q·(k - c) then, and
|q| |k - c| bounds the second part, which is better where keys share a direction. Counted by the
rule in float64, every 4th block of queries, tiles of 64 x 64, tolerance of bfloat16: on the
recorded inputs of examples/, and on normal ones whose keys share a vector of length 8.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from tests.variants.triton.interpreted.model import SMALL, Block
from variants.norms import BLOCK
from variants.problem import alibi_slopes
from variants.windows import tolerance

EXAMPLES = Path(__file__).parents[2] / "examples"
EVERY = 4 * SMALL.rows


class Problem(NamedTuple):
    """q, k and v [heads, length, head_dim] of one sequence, in float64, and the slopes [heads]."""

    name: str
    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor


class CentredBlock(Block):
    """A block of queries whose bound is of k - c."""

    def __init__(self, problem: Problem, head: int, first: int, centre: Tensor) -> None:
        q, k, v = (part[head] for part in (problem.q, problem.k, problem.v))
        share = tolerance(torch.bfloat16)
        super().__init__(q, k, v, float(problem.slopes[head]), first, share, SMALL, causal=True)
        self.key_norms = torch.stack([part.norm(dim=1).max() for part in (k - centre).split(BLOCK)])
        self.shift = q.shape[1] ** -0.5 * q[first : first + SMALL.rows] @ centre

    def droppable(
        self, blocks: Tensor, distances: Tensor, offsets: Tensor, before: int, after: int
    ) -> int:
        return super().droppable(blocks, distances, offsets - self.shift, before, after)


def main() -> None:
    """Print the shares of causal tiles that are visited: a line for each problem."""
    rows = []
    for problem in problems():
        mean = problem.k.mean(dim=1)
        shares = [visited_share(problem, centres) for centres in (torch.zeros_like(mean), mean)]
        rows.append([problem.name, *(f"{share:.3f}" for share in shares)])
    print(tabulate(rows, ["inputs", "as it is", "mean key subtracted"], disable_numparse=True))


def visited_share(problem: Problem, centres: Tensor) -> float:
    """Return the share of the tiles up to the counted blocks of queries that are visited."""
    visited = everything = 0
    for head, centre in enumerate(centres):
        for first in range(EVERY - SMALL.rows, problem.q.shape[1], EVERY):
            visited += CentredBlock(problem, head, first, centre).counts()[0] + 1
            everything += first // SMALL.keys + 1
    return visited / everything


def problems() -> Iterator[Problem]:
    """Yield the recorded inputs, layer by layer, then those that are drawn."""
    from safetensors.torch import load_file

    for path in sorted(EXAMPLES.glob("*.safetensors")):
        tensors = load_file(path)
        for layer in sorted({name.rpartition(".")[0] for name in tensors}):
            q, k, v = (tensors[f"{layer}.{part}"][0].double() for part in "qkv")
            slopes = tensors.get(f"{layer}.slopes", alibi_slopes(q.shape[0]))
            yield Problem(f"{path.stem}, {layer}, {q.shape[1]} keys", q, k, v, slopes)
    torch.manual_seed(0)
    for size in (0, 8):
        q, k, v = (torch.randn(4, 2048, 64).double() for _ in range(3))
        shared = torch.randn(4, 1, 64)
        k += size * shared / shared.norm(dim=-1, keepdim=True)
        yield Problem(f"normal, a shared vector of {size}, 2048 keys", q, k, v, alibi_slopes(4))


if __name__ == "__main__":
    main()
