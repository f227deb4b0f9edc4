"""A picture of the tiles that triton_window visits, by head: docs/visited-tiles.svg.

    python benchmarks/windows/visited_tiles.py

Counted by the rule in float64 and plain torch, to which tests hold the kernel: causal attention of
8 heads of 64 over 4096 keys, standard normal q, k and v in bfloat16, tiles of 64 x 64.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tests.variants.triton.interpreted.model import model_counts
from variants.problem import alibi_slopes
from variants.windows import tolerance

HEADS, LENGTH, HEAD_DIM = 8, 4096, 64
PICTURE = Path(__file__).parents[2] / "docs" / "visited-tiles.svg"
_SIDE, _GAP, _TOP, _ACROSS = 160, 20, 46, 4


def main() -> None:
    """Count, draw, and print the share of each head."""
    counts = visited_before()
    PICTURE.write_text(picture(counts))
    print("  ".join(f"{share(row):.3f}" for row in counts), f"all: {share(counts):.3f}")


def visited_before() -> Tensor:
    """Return the tiles that each block of queries visits before its own: int [heads, blocks]."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, LENGTH, HEAD_DIM).bfloat16() for _ in range(3))
    least = tolerance(torch.bfloat16)
    return model_counts(q, k, v, alibi_slopes(HEADS), least)[..., 0]


def share(before: Tensor) -> float:
    """Return the share of all causal tiles that are visited; a block's own tile counts whole."""
    blocks = before.shape[-1]
    everything = before.numel() // blocks * blocks * (blocks + 1) // 2
    return float((before + 1).sum()) / everything


def picture(counts: Tensor) -> str:
    """Return the picture as SVG: for each head the triangle of tiles, the visited ones dark."""
    rows = math.ceil(HEADS / _ACROSS)
    width = _ACROSS * (_SIDE + _GAP) + _GAP
    height = rows * (_SIDE + _TOP) + _GAP
    panels = [line for head in range(HEADS) for line in _panel(head, counts[head])]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            *panels,
            "</svg>\n",
        ]
    )


def _panel(head: int, before: Tensor) -> Iterator[str]:
    left = _GAP + head % _ACROSS * (_SIDE + _GAP)
    top = _TOP + head // _ACROSS * (_SIDE + _TOP)
    yield f'<text x="{left}" y="{top - 8}">slope 2^-{head + 1}: {share(before):.0%} of tiles</text>'
    triangle = f"M{left} {top}V{top + _SIDE}H{left + _SIDE}Z"
    yield f'<path d="{triangle}" fill="#dce6f0"/>'
    size = _SIDE / len(before)
    boxes = [
        f"M{left + (block - count) * size:g} {top + block * size:g}"
        f"h{(count + 1) * size:g}v{size:g}h{-(count + 1) * size:g}z"
        for block, count in enumerate(before.tolist())
    ]
    yield f'<path d="{"".join(boxes)}" fill="#3b6ea5"/>'


if __name__ == "__main__":
    main()
