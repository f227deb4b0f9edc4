"""alibi_attention in an attention block of BLOOM's shape, forward and backward, on the CPU.

    python examples/bloom_block.py
    python examples/bloom_block.py --heads 32 --head-dim 128 --length 2048 --dtype bfloat16

Prints which variant "auto" chose for inference and for training, and how much faster the block is
with it than with "eager", the formula in plain torch. Before that it compares the outputs and the
gradients of both, and ends with status 1 if they differ by more than rounding. `make setup`
installs what it imports.
"""

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

try:
    import click
    import torch
    from torch import Tensor, nn

    from alibi_bench import alibi_attention, variant_for
except ImportError as error:
    if __name__ != "__main__":
        raise
    help_ = "`make setup` installs what this needs; run it with .venv/bin/python"
    print(f"Error: {error}: {help_}", file=sys.stderr)
    raise SystemExit(2) from None

ROUNDS = 5
BUDGETS = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 4e-3}
"""The largest difference between two right answers, as a share of their norm.

In half precision four units in the last place; in float32 enough for errors that grow with length.
"""


class Block(nn.Module):
    """BLOOM's attention half of a layer: layer norm, fused projection, attention, residual sum."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        hidden = heads * head_dim
        self.heads = heads
        self.input_layernorm = nn.LayerNorm(hidden)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.dense = nn.Linear(hidden, hidden)

    def project(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return q, k and v as views of one projection: [batch, heads, length, head_dim] each."""
        fused = self.query_key_value(self.input_layernorm(hidden))
        by_head = fused.unflatten(-1, (self.heads, 3, -1))  # [batch, length, heads, 3, head_dim]
        return tuple(part.transpose(1, 2) for part in by_head.unbind(dim=3))

    def forward(self, hidden: Tensor, variant: str = "auto") -> Tensor:
        """Return the new hidden states: [batch, length, hidden], like `hidden`."""
        q, k, v = self.project(hidden)
        attended = alibi_attention(q, k, v, variant=variant)  # causal, BLOOM's slopes and scale
        out: Tensor = hidden + self.dense(attended.transpose(1, 2).flatten(2))
        return out


@click.command()
@click.option("--heads", type=click.IntRange(1), default=16, show_default=True)
@click.option("--head-dim", type=click.IntRange(1), default=64, show_default=True)
@click.option("--length", type=click.IntRange(1), default=1024, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--dtype", type=click.Choice(list(BUDGETS)), default="float32", show_default=True)
def main(heads: int, head_dim: int, length: int, batch: int, dtype: str) -> None:
    """Compare a BLOOM-shaped block on "auto" with itself on "eager"; the defaults are BLOOM-560m's.

    \b
    Example:
      python examples/bloom_block.py --length 2048 --dtype bfloat16
    """
    torch.manual_seed(0)
    block = Block(heads, head_dim).to(getattr(torch, dtype))
    hidden, noise = torch.randn(2, batch, length, heads * head_dim).to(block.dense.weight.dtype)
    print(f"{batch} x {length} tokens, {heads} heads of {head_dim}, {dtype}, on the CPU")
    differences = compare(block, hidden.requires_grad_(), noise)
    worst = max(differences, key=lambda name: differences[name])
    print(f"auto and eager differ by at most {differences[worst]:.1e}, in {worst}")
    if not all(difference <= BUDGETS[dtype] for difference in differences.values()):
        sys.exit(f"Error: that is over {BUDGETS[dtype]:.0e}: one of the two is wrong")
    with torch.no_grad():
        report("forward", block, hidden, lambda variant: block(hidden, variant))
    report("training", block, hidden, lambda variant: train(block, hidden, noise, variant))
    as_bloom = (heads, head_dim) == (16, 64)
    shape = "--models bloom-560m" if as_bloom else f"--heads {heads} --head-dim {head_dim}"
    print(
        f"Quick figures, of the whole block, medians of {ROUNDS} turns. The real ones: python "
        f"run_bench.py run {shape} --lengths {length} --batch {batch} "
        f"--modes forward,backward --dtypes {dtype}"
    )


def report(what: str, block: Block, hidden: Tensor, call: Callable[[str], object]) -> None:
    """Print the variant chosen for a call in the current grad mode, and how much faster it is."""
    name = variant_for(*block.project(hidden))
    print(f"{what + ':':10}auto chose {name}, {gain(call):.2f}x as fast as eager")


def compare(block: Block, hidden: Tensor, noise: Tensor) -> dict[str, float]:
    """Return how far "auto" is from "eager", in the outputs and in every gradient.

    By name, as the norm of the difference over the norm of "eager".
    """
    with torch.no_grad():
        pairs = {"the output without grad": (block(hidden), block(hidden, "eager"))}
    ours, theirs = (train(block, hidden, noise, variant) for variant in ("auto", "eager"))
    pairs |= {name: (ours[name], theirs[name]) for name in theirs}
    return {name: relative_difference(*pair) for name, pair in pairs.items()}


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the norm of the difference over the norm of `theirs`; 0 where both are 0."""
    return float((ours - theirs).double().norm() / theirs.double().norm().clamp_min(1e-300))


def train(block: Block, hidden: Tensor, noise: Tensor, variant: str) -> dict[str, Tensor]:
    """Return the output, and the gradients of input and weights for the output gradient `noise`."""
    out = block(hidden, variant)
    weights = dict(block.named_parameters())
    gradients = torch.autograd.grad(out, (hidden, *weights.values()), noise)
    names = [f"the gradient of {name}" for name in ("its input", *weights)]
    return {"the output": out.detach(), **dict(zip(names, gradients, strict=True))}


def gain(call: Callable[[str], object]) -> float:
    """Return the time of a call with "eager" over its time with "auto": medians, in turns."""
    seconds: dict[str, list[float]] = {"auto": [], "eager": []}
    for turn in range(ROUNDS + 1):
        for variant in sorted(seconds, reverse=turn % 2 == 1):
            began = perf_counter()
            call(variant)
            seconds[variant].append(perf_counter() - began)
    return median(seconds["eager"][1:]) / median(seconds["auto"][1:])


if __name__ == "__main__":
    main()
