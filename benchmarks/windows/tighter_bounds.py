"""What tighter bounds on q·k would save, by the tiles that triton_window's rule visits.

    python -m benchmarks.windows.tighter_bounds

A softmax stays as it is if a vector c is taken from all keys, so |q| |k - c| is a bound too; so are
a sum over groups of channels, and a ball around the keys of a block. The last column is the least
that a bound of a block's largest score could visit. Counted in float64, every 4th block of queries,
tiles of 64 x 64, tolerance of bfloat16: on the recorded inputs of examples/, and on normal ones,
once with a vector of length 8 that all keys share, once with scores four times as large.
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
GROUPS = 4


class Problem(NamedTuple):
    """q, k and v [heads, length, head_dim] of one sequence, in float64, and the slopes [heads]."""

    name: str
    q: Tensor
    k: Tensor
    v: Tensor
    slopes: Tensor


class BoundedBlock(Block):
    """A block of queries of a head, and a bound on its scaled products with blocks of keys."""

    def __init__(self, problem: Problem, head: int, first: int) -> None:
        self.q, self.k, v = (part[head] for part in (problem.q, problem.k, problem.v))
        share = tolerance(torch.bfloat16)
        slope = float(problem.slopes[head])
        super().__init__(self.q, self.k, v, slope, first, share, SMALL, causal=True)
        self.rows = self.q.shape[1] ** -0.5 * self.q[first : first + SMALL.rows]
        self.blocks = self.k.split(BLOCK)


class MeanSubtraction(BoundedBlock):
    """|q| |k - c| bounds what is left of a score without q·c, which every key of the head has."""

    def __init__(self, problem: Problem, head: int, first: int) -> None:
        super().__init__(problem, head, first)
        centre = self.k.mean(dim=0)
        self.key_norms = torch.stack([(part - centre).norm(dim=1).max() for part in self.blocks])
        self.shift = self.rows @ centre

    def droppable(
        self, blocks: Tensor, distances: Tensor, offsets: Tensor, before: int, after: int
    ) -> int:
        return super().droppable(blocks, distances, offsets - self.shift, before, after)


class GroupsOfChannels(BoundedBlock):
    """The sum over groups of channels of |q| |k| in each."""

    def most_products(self, blocks: Tensor) -> Tensor:
        of_rows, *of_blocks = (
            part.unflatten(1, (GROUPS, -1)).norm(dim=2).amax(dim=0)
            for part in (self.rows, *self.blocks)
        )
        most: Tensor = torch.stack(of_blocks) @ of_rows
        return most[blocks]


class Ball(BoundedBlock):
    """q·c + |q| r, where all keys of a block are within r of their mean c."""

    def most_products(self, blocks: Tensor) -> Tensor:
        centres = torch.stack([part.mean(dim=0) for part in self.blocks])
        radii = [
            (part - centre).norm(dim=1).max()
            for part, centre in zip(self.blocks, centres, strict=True)
        ]
        lengths = self.rows.norm(dim=1, keepdim=True)
        most: Tensor = (self.rows @ centres.T + lengths * torch.stack(radii)).amax(dim=0)
        return most[blocks]


class SumOfNorms(BoundedBlock):
    """The sum over a block of exp(|q| |k|), which native_window bounds by a chord."""

    def most_weights(self, blocks: Tensor) -> Tensor:
        sums = [(self.longest * part.norm(dim=1)).logsumexp(dim=0) for part in self.blocks]
        return super().most_weights(blocks).minimum(torch.stack(sums)[blocks])


class TrueMaximum(BoundedBlock):
    """The largest product itself: no bound of a block's largest score leaves out more."""

    def most_products(self, blocks: Tensor) -> Tensor:
        largest = [(self.rows @ part.T).max() for part in self.blocks]
        return torch.stack(largest)[blocks]


BOUNDS: dict[str, type[BoundedBlock]] = {
    "|q| |k|": BoundedBlock,
    "mean key subtracted": MeanSubtraction,
    f"{GROUPS} groups of channels": GroupsOfChannels,
    "ball of a block": Ball,
    "sum of norms": SumOfNorms,
    "largest known": TrueMaximum,
}


def main() -> None:
    """Print the shares of causal tiles that are visited: a line for each problem."""
    rows = []
    for problem in problems():
        shares = [visited_share(problem, kind) for kind in BOUNDS.values()]
        rows.append([problem.name, *(f"{share:.3f}" for share in shares)])
    print(tabulate(rows, ["inputs", *BOUNDS], disable_numparse=True))


def visited_share(problem: Problem, kind: type[BoundedBlock]) -> float:
    """Return the share of the tiles up to the counted blocks of queries that are visited."""
    visited = everything = 0
    for head in range(problem.q.shape[0]):
        for first in range(EVERY - SMALL.rows, problem.q.shape[1], EVERY):
            visited += kind(problem, head, first).counts()[0] + 1
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
    for factor, size, keys in ((1, 0, 2048), (1, 8, 2048), (1, 0, 8192), (4, 0, 8192)):
        q, k, v = (torch.randn(4, keys, 64).double() for _ in range(3))
        shared = torch.randn(4, 1, 64)
        k += size * shared / shared.norm(dim=-1, keepdim=True)
        name = f"normal, scores x {factor}, a shared vector of {size}, {keys} keys"
        yield Problem(name, factor * q, k, v, alibi_slopes(4))


if __name__ == "__main__":
    main()
