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
        if math.isnan(self.error) or self.budget == 0:
            return math.inf
        return self.error / self.budget


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
    answers = _answers(attention, inputs, dout)
    for name, answer in answers.items():
        asked = {"out": inputs.q, "dq": inputs.q, "dk": inputs.k, "dv": inputs.v}[name]
        if answer.shape != asked.shape or answer.dtype != asked.dtype:
            found, wanted = list(answer.shape), list(asked.shape)
            where = f"{name} is {answer.dtype} {found} and not {asked.dtype} {wanted}"
            return Comparison(math.inf, 0.0, where)
    truths = _formula(inputs, slopes, spec, dout, rows, torch.float64)
    yardsticks = _formula(inputs, slopes, spec, dout, rows, spec.dtype)
    keys = torch.arange(spec.kv_len, device=rows.device)
    comparisons: list[Comparison] = []
    for name, answer in answers.items():
        places = rows if name in {"out", "dq"} else keys
        least = _least_size(name, inputs, spec.scale)
        found_here = _Judge(name, truths[name], yardsticks[name], places, least, spec.dtype)
        comparisons += found_here.of(answer[:, :, places])
    return max(comparisons, key=lambda comparison: comparison.excess)


def compare(answer: Tensor, truth: Tensor, yardstick: Tensor) -> Comparison:
    """Compare an output with a truth from elsewhere, on the budget of what `yardstick` gets wrong.

    All [batch, heads, rows, head_dim], truth in float64; every row is checked.
    """
    rows = torch.arange(truth.shape[2], device=truth.device)
    judge = _Judge("out", truth, yardstick, rows, _TINY, answer.dtype)
    return max(judge.of(answer), key=lambda comparison: comparison.excess)


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


@dataclass(frozen=True)
class _Judge:
    """What one tensor's answer is held against; all [batch, heads, rows, head_dim]."""

    name: str
    truth: Tensor
    yardstick: Tensor
    places: Tensor
    least_size: float
    dtype: torch.dtype

    def of(self, answer: Tensor) -> Iterator[Comparison]:
        """Yield the comparison by heads and the one by rows."""
        floor = ALLOWANCE[self.name] * torch.finfo(self.dtype).eps
        for sizes, dims in ((self._head_sizes(), (2, 3)), (self._row_sizes(), (3,))):
            error = vector_norm(answer.double() - self.truth, dim=dims) / sizes
            own = vector_norm(self.yardstick.double() - self.truth, dim=dims) / sizes
            worst = int(error.nan_to_num(nan=math.inf).argmax())
            batch, head, *row = torch.unravel_index(torch.tensor(worst), error.shape)
            where = f"{self.name}, batch {int(batch)} head {int(head)}"
            yield Comparison(
                error=error.flatten()[worst].item(),
                budget=max(floor, ALLOWANCE[self.name] * own.max().item()),
                where=f"{where} row {int(self.places[row[0]])}" if row else where,
            )

    def _head_sizes(self) -> Tensor:
        least = self.least_size * math.sqrt(self.truth.shape[2])
        sizes: Tensor = vector_norm(self.truth, dim=(2, 3)).clamp(min=least)  # [batch, heads]
        return sizes

    def _row_sizes(self) -> Tensor:
        sizes: Tensor = vector_norm(self.truth, dim=3).clamp(min=self.least_size)
        if self.name == "out":
            return sizes  # [batch, heads, rows]
        # A gradient row can cancel to nothing (the first query has one key and so no choice) while
        # its rounding does not: a row counts as no smaller than the largest near it.
        return max_pool1d(sizes, 2 * NEIGHBOURS + 1, stride=1, padding=NEIGHBOURS)


def _least_size(name: str, inputs: Inputs, scale: float) -> float:
    """Return the norm below which a row counts as zero: a thousandth of dq's or dk's terms.

    With a single key dq and dk are zero throughout, so that all there is of them is rounding: it
    is held against four times those terms.
    """
    if name in {"out", "dv"} or inputs.dout is None:
        return _TINY
    q, k, v, dout = (
        float(vector_norm(tensor.double(), dim=3).square().mean().sqrt())
        for tensor in (inputs.q.detach(), inputs.k.detach(), inputs.v.detach(), inputs.dout)
    )
    dweight = dout * v / math.sqrt(inputs.v.shape[3])
    share = 4.0 if inputs.k.shape[2] == 1 else 1e-3
    return max(_TINY, share * scale * dweight * (k if name == "dq" else q))


def _answers(attention: Attention, inputs: Inputs, dout: Tensor | None) -> dict[str, Tensor]:
    q, k, v = inputs.q, inputs.k, inputs.v
    if dout is None:
        with torch.no_grad():
            return {"out": attention(q, k, v, inputs.slopes)}
    out = attention(q, k, v, inputs.slopes)
    if out.shape != q.shape:
        return {"out": out.detach()}
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    return {"out": out.detach(), "dq": dq, "dk": dk, "dv": dv}


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
    by_rows: list[tuple[Tensor, ...]] = []
    sums: dict[str, Tensor] = {}  # as large as k and v, so that no block's own is kept
    for block in torch.split(rows, max(1, BLOCK_BYTES // row_bytes)):
        q_rows, positions = q[:, :, block], block + spec.kv_len - spec.q_len
        if dout is None:
            by_rows.append((out_of(q_rows, k, v, slopes, positions=positions),))
            continue
        dout_rows = dout[:, :, block].to(dtype)
        out, dq, dk, dv = gradients_of(q_rows, k, v, slopes, dout_rows, positions=positions)
        by_rows.append((out, dq))
        for name, part in (("dk", dk), ("dv", dv)):
            sums[name] = sums[name].add_(part) if name in sums else part
    parts = zip(("out", "dq"), zip(*by_rows, strict=True), strict=False)
    return {name: torch.cat(blocks, dim=2) for name, blocks in parts} | sums
