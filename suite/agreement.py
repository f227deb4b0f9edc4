"""Agreement: does an answer match the float64 oracle, head by head and row by row?

The budget is what the reference formula, in the same dtype with float32 bias and softmax, gets
wrong itself: a variant's output may err twice as much in its worst head and in its worst row, its
gradients four times. Whole-tensor figures are blind; a window cut to half of the keys passes one
in bfloat16.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import max_pool1d

from suite.inputs import Inputs
from variants.problem import Attention, Spec
from variants.reference import attend, gradients

ALLOWANCE = {"out": 2.0, "dq": 4.0, "dk": 4.0, "dv": 4.0}
NEIGHBOURS = 8
ALL_ROWS = 512
SAMPLED_ROWS = 256
TILE = 64
BLOCK_BYTES = 64 << 20
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Comparison:
    """The figures nearest to their budget, or furthest over it, and where they were found."""

    error: float
    budget: float
    where: str

    @property
    def agrees(self) -> bool:
        """Whether the error is a number within its budget."""
        return self.error <= self.budget

    @property
    def excess(self) -> float:
        """The error as a multiple of its budget; infinite when it is no number."""
        return math.inf if math.isnan(self.error) else self.error / self.budget


def check(
    attention: Attention, spec: Spec, inputs: Inputs, *, biased: bool, seed: int
) -> Comparison:
    """Compare one call of `attention` with the oracle; with gradients where the spec wants them.

    `biased` is false for a variant that answers attention without a bias. Rows are all checked up
    to 512 queries, else 256 of them: the ends, tile edges and a random rest.
    """
    rows = rows_to_check(spec.q_len, seed, inputs.q.device)
    slopes = inputs.slopes if biased else torch.zeros_like(inputs.slopes)
    dout = None
    if inputs.dout is not None:
        dout = torch.zeros_like(inputs.dout)
        dout[:, :, rows] = inputs.dout[:, :, rows]
    answers = _answers(attention, inputs, dout, rows)
    truths = _formula(inputs, slopes, spec, dout, rows, torch.float64)
    yardsticks = _formula(inputs, slopes, spec, dout, rows, spec.dtype)
    comparisons = [
        comparison
        for name, answer in answers.items()
        for comparison in compare(name, answer, truths[name], yardsticks[name], spec.dtype)
    ]
    return max(comparisons, key=lambda comparison: comparison.excess)


def rows_to_check(q_len: int, seed: int, device: torch.device) -> Tensor:
    """Return the query rows to check, sorted: all of a short case, 256 of a long one."""
    if q_len <= ALL_ROWS:
        return torch.arange(q_len, device=device)
    generator = torch.Generator().manual_seed(seed)
    edges = torch.arange(TILE, q_len, TILE)
    edges = edges[torch.randperm(len(edges), generator=generator)[: SAMPLED_ROWS // 4]]
    chosen = torch.cat([torch.tensor([0, 1, q_len - 2, q_len - 1]), edges - 1, edges])
    chosen = torch.unique(chosen)
    order = torch.randperm(q_len, generator=generator)
    others = order[~torch.isin(order, chosen)]
    return torch.cat([chosen, others[: SAMPLED_ROWS - len(chosen)]]).sort().values.to(device)


def compare(
    name: str, answer: Tensor, truth: Tensor, yardstick: Tensor, dtype: torch.dtype
) -> Iterator[Comparison]:
    """Yield the comparison by heads and by rows of [batch, heads, rows, head_dim] tensors."""
    if answer.shape != truth.shape or answer.dtype != dtype:
        found = f"{name} is {answer.dtype} {list(answer.shape)}"
        yield Comparison(math.inf, 0.0, f"{found} and not {dtype} {list(truth.shape)}")
        return
    floor = 2 * torch.finfo(dtype).eps
    by_head = (_by_head(answer, truth), _by_head(yardstick, truth), "head {1}")
    by_row = (_by_row(name, answer, truth), _by_row(name, yardstick, truth), "head {1} row {2}")
    for error, own, spot in (by_head, by_row):
        worst = int(error.nan_to_num(nan=math.inf).argmax())
        indices = [int(index) for index in torch.unravel_index(torch.tensor(worst), error.shape)]
        yield Comparison(
            error=error.flatten()[worst].item(),
            budget=max(floor, ALLOWANCE[name] * own.max().item()),
            where=f"{name}, batch {{0}} {spot}".format(*indices),
        )


def _by_head(tensor: Tensor, truth: Tensor) -> Tensor:
    difference = tensor.double() - truth
    size: Tensor = vector_norm(truth, dim=(2, 3)).clamp(min=_TINY)  # [batch, heads]
    error: Tensor = vector_norm(difference, dim=(2, 3)) / size
    return error


def _by_row(name: str, tensor: Tensor, truth: Tensor) -> Tensor:
    difference = tensor.double() - truth
    size: Tensor = vector_norm(truth, dim=3)  # [batch, heads, rows]
    if name != "out":
        # A gradient row can cancel to nothing (the first query has one key and so no choice) while
        # its rounding does not: a row counts as no smaller than the largest near it.
        size = max_pool1d(size, 2 * NEIGHBOURS + 1, stride=1, padding=NEIGHBOURS)
    error: Tensor = vector_norm(difference, dim=3) / size.clamp(min=_TINY)
    return error


def _answers(
    attention: Attention, inputs: Inputs, dout: Tensor | None, rows: Tensor
) -> dict[str, Tensor]:
    q, k, v = inputs.q, inputs.k, inputs.v
    if dout is None:
        with torch.no_grad():
            return {"out": attention(q, k, v, inputs.slopes)[:, :, rows]}
    out = attention(q, k, v, inputs.slopes)
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    return {"out": out.detach()[:, :, rows], "dq": dq[:, :, rows], "dk": dk, "dv": dv}


def _formula(
    inputs: Inputs,
    slopes: Tensor,
    spec: Spec,
    dout: Tensor | None,
    rows: Tensor,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Evaluate the reference formula in `dtype` on the checked rows, a block of them at a time."""
    q, k, v = (tensor.detach().to(dtype) for tensor in (inputs.q, inputs.k, inputs.v))
    row_bytes = 8 * spec.batch * spec.heads * spec.kv_len
    out_of = partial(attend, scale=spec.scale, causal=spec.causal)
    gradients_of = partial(gradients, scale=spec.scale, causal=spec.causal)
    blocks: list[tuple[Tensor, ...]] = []
    for block in torch.split(rows, max(1, BLOCK_BYTES // row_bytes)):
        q_rows, positions = q[:, :, block], block + spec.kv_len - spec.q_len
        if dout is None:
            blocks.append((out_of(q_rows, k, v, slopes, positions=positions),))
        else:
            dout_rows = dout[:, :, block].to(dtype)
            blocks.append(gradients_of(q_rows, k, v, slopes, dout_rows, positions=positions))
    by_name = dict(zip(("out", "dq", "dk", "dv"), zip(*blocks, strict=True), strict=False))
    return {
        name: sum(parts[1:], parts[0]) if name in {"dk", "dv"} else torch.cat(parts, dim=2)
        for name, parts in by_name.items()
    }
