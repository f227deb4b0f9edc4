"""What padding a length to whole tiles gains: bias-free SDPA with zeros after its keys and without.

    python benchmarks/windows/uneven_lengths.py

Times torch's stock kernel on the CPU in bfloat16, causal, at random lengths that are no multiple of
4. Each length is timed as it is, and padded as variants/sdpa/whole_tiles.py does, copies included.
Both take turns; a ratio is the ratio of the medians.
"""

import random
import statistics

import torch
from torch.utils.benchmark import Timer

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case
from variants.plain import no_bias
from variants.sdpa.whole_tiles import on_whole_tiles

SHAPES = ((8, 64), (16, 64), (12, 128), (32, 128))  # heads, head_dim
RANGES = ((160, 511), (513, 2047))
LENGTHS, ROUNDS, TURN_S = 24, 5, 0.02
THREADS = torch.get_num_threads()


def main() -> None:
    """Print the median and the extremes of the ratio for each shape and range of lengths."""
    lengths = random.Random(0)
    for first, last in RANGES:
        uneven = [length for length in range(first, last + 1) if length % 4]
        for heads, head_dim in SHAPES:
            ratios = [
                filled_over_stock(heads, head_dim, length)
                for length in lengths.sample(uneven, LENGTHS)
            ]
            print(
                f"{first} to {last} keys, {heads} heads of {head_dim}: filled up takes "
                f"{statistics.median(ratios):.2f} times as long (median of {LENGTHS} lengths; "
                f"{min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


def filled_over_stock(heads: int, head_dim: int, length: int) -> float:
    """Return the time of a padded call over that of the stock call."""
    case = Case(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        q_len=length,
        kv_len=length,
        dtype="bfloat16",
    )
    device = torch.device("cpu")
    inputs, spec = draw(case, 0, "before", device), spec_of(case, device)
    tensors = inputs.q, inputs.k, inputs.v, inputs.slopes
    variants = no_bias.prepare(spec), on_whole_tiles(no_bias.prepare, spec)
    timers = [
        Timer(
            "call(*tensors)", globals={"call": attention, "tensors": tensors}, num_threads=THREADS
        )
        for attention in variants
    ]
    turns: tuple[list[float], list[float]] = [], []
    for _ in range(ROUNDS):
        for timer, taken in zip(timers, turns, strict=True):
            taken.append(timer.blocked_autorange(min_run_time=TURN_S).median)
    stock, filled = (statistics.median(taken) for taken in turns)
    return filled / stock


if __name__ == "__main__":
    main()
