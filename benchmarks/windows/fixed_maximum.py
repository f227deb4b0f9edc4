"""How many blocks of queries triton_window visits with a fixed maximum, on its first visit.

    .venv-triton/bin/python -m benchmarks.windows.fixed_maximum

A block has one if norms certify, after its own keys, that no key before it weighs over 2^60 times a
row's largest weight in bfloat16, or 2^15 in float16 (docs/kernel.md). Counted in float64, every 4th
block of 64 queries that has keys before it, on the inputs of benchmarks.windows.tighter_bounds.
"""

import math

import torch
from tabulate import tabulate

from benchmarks.windows.tighter_bounds import EVERY, BoundedBlock, Problem, problems
from tests.variants.triton.interpreted.model import SMALL
from variants.norms import BLOCK
from variants.triton.launch import log2_limit

DTYPES = (torch.bfloat16, torch.float16)


def main() -> None:
    """Print the shares of blocks: a line for each problem."""
    rows = []
    for problem in problems():
        excesses = [
            log2_excess(problem, head, first)
            for head in range(problem.q.shape[0])
            for first in range(EVERY - SMALL.rows, problem.q.shape[1], EVERY)
        ]
        shares = [
            sum(excess <= log2_limit(dtype) for excess in excesses) / len(excesses)
            for dtype in DTYPES
        ]
        rows.append([problem.name, *(f"{share:.3f}" for share in shares)])
    print(tabulate(rows, ["inputs", "bfloat16", "float16"], disable_numparse=True))


def log2_excess(problem: Problem, head: int, first: int) -> float:
    """Return log2 of how far over a row's largest weight a key before the own ones can be."""
    block = BoundedBlock(problem, head, first)
    before = torch.arange(block.own // BLOCK)
    distances = block.positions[0] - (before + 1) * BLOCK + 1
    heaviest = (block.most_products(before) - block.slope * distances).max()
    offsets = block.slope * (block.positions - block.positions[0])
    tops = block.scores[:, block.own : block.after].amax(dim=1) + offsets
    return float(heaviest - tops.min()) / math.log(2)


if __name__ == "__main__":
    main()
