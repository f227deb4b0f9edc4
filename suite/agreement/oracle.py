"""The oracle: the formula in float64, and in the case's own dtype, on a portion of a case's heads.

The keys of a long case of many heads would be many GiB in float64. So heads come in portions of a
stated number of bytes, and the checked rows of a portion in blocks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from suite.agreement.inputs import Inputs
from suite.agreement.rotary import rotate
from variants.catalog import Answers
from variants.problem import Spec
from variants.reference import attend, gradients

ALL_ROWS = 512
PORTION_BYTES = 1 << 30
BLOCK_BYTES = 64 << 20
TENSORS_A_HEAD = 7
"""At most so many float64 tensors like k, with the checked rows, does a query head take: k and v,
dk and dv, their sums over blocks, and over a group of heads copies of the first two and sums."""
_AT_ONCE = ((TENSORS_A_HEAD, 3), (4, 5))
"""Tensors a head, and tensors like a block's scores: where dk and dv are summed, and before."""


@dataclass(frozen=True)
class Portion:
    """Some batch entries, some of their kv heads, and query heads that these serve."""

    batch: slice
    heads: slice
    kv_heads: slice

    def of_queries(self, tensor: Tensor) -> Tensor:
        """Return this portion of a tensor [batch, heads, ...]."""
        return tensor[self.batch, self.heads]

    def of_keys(self, tensor: Tensor) -> Tensor:
        """Return this portion of a tensor [batch, kv_heads, ...]."""
        return tensor[self.batch, self.kv_heads]

    def by_heads(self, count: int) -> Iterator["Portion"]:
        """Yield the portion with `count` query heads at a time."""
        for first in range(self.heads.start, self.heads.stop, count):
            yield replace(self, heads=slice(first, min(self.heads.stop, first + count)))


def portions(spec: Spec) -> Iterator[Portion]:
    """Yield a case in order of batch entry and head: as much at a time as fits, never half a group.

    A group is a kv head with its query heads, over which dk and dv are summed.
    """
    group = spec.heads // spec.kv_heads
    entries = max(1, _heads_at_once(spec) // spec.heads)
    groups = min(spec.kv_heads, max(1, _heads_at_once(spec) // group))
    for entry in range(0, spec.batch, entries):
        for first in range(0, spec.kv_heads, groups):
            past = min(spec.kv_heads, first + groups)
            yield Portion(
                batch=slice(entry, min(spec.batch, entry + entries)),
                heads=slice(first * group, past * group),
                kv_heads=slice(first, past),
            )


def held_bytes(spec: Spec) -> int:
    """Return what a check takes at most beside inputs and answers."""
    heads = min(spec.batch * spec.heads, _heads_at_once(spec))
    block = min(BLOCK_BYTES, 8 * heads * min(spec.q_len, ALL_ROWS) * spec.kv_len)
    held = (tensors * heads * _tensor_bytes(spec) + blocks * block for tensors, blocks in _AT_ONCE)
    return max(held)


def _heads_at_once(spec: Spec) -> int:
    return max(1, PORTION_BYTES // (TENSORS_A_HEAD * _tensor_bytes(spec)))


def _tensor_bytes(spec: Spec) -> int:
    """Return a query head's share of a float64 tensor, with room for each row's norm."""
    return 8 * (spec.kv_len + min(spec.q_len, ALL_ROWS)) * (spec.head_dim + 1)


@dataclass(frozen=True)
class Formula:
    """The reference formula on the checked rows of a case's inputs.

    It has no bias unless it `answers` alibi. For rope it turns queries and new keys beforehand:
    as many last keys as there are queries. Those before them come turned, from a cache.
    """

    spec: Spec
    inputs: Inputs
    answers: Answers
    rows: Tensor

    def evaluate(self, portion: Portion, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return out, and where there is a dout dq, dk and dv, evaluated in `dtype`.

        out and dq are [batch, heads, checked rows, head_dim], dk and dv like k. Query heads are
        taken together, unless a single kv head serves more than fit.
        """
        k, v = (portion.of_keys(tensor.detach()) for tensor in (self.inputs.k, self.inputs.v))
        k, v = self._turned_keys(k.to(dtype), 1), v.to(dtype)
        narrower = list(portion.by_heads(_heads_at_once(self.spec)))
        rows_of_scores = narrower[0].of_queries(self.inputs.q)[:, :, 0, 0].numel()
        row_bytes = 8 * rows_of_scores * self.spec.kv_len
        blocks = torch.split(self.rows, max(1, BLOCK_BYTES // row_bytes))
        parts = (self._on_rows(rows, some, k, v) for some in narrower for rows in blocks)
        joined = _join(parts, len(blocks))
        if "dk" in joined:
            joined["dk"] = self._turned_keys(joined["dk"], -1)
        return joined

    def _turned_keys(self, keys: Tensor, way: int) -> Tensor:
        """Return keys, or their gradients, with the new ones turned there (1) or back (-1)."""
        if self.answers != "rope":
            return keys
        cached = max(0, self.spec.kv_len - self.spec.q_len)
        positions = torch.arange(cached, self.spec.kv_len, device=keys.device)
        turned = rotate(keys[:, :, cached:], way * positions)
        return torch.cat([keys[:, :, :cached], turned], dim=2) if cached else turned

    def _turned_queries(self, queries: Tensor, positions: Tensor) -> Tensor:
        return rotate(queries, positions) if self.answers == "rope" else queries

    def _on_rows(self, rows: Tensor, portion: Portion, k: Tensor, v: Tensor) -> dict[str, Tensor]:
        spec, slopes = self.spec, self.inputs.slopes[portion.heads]
        slopes = slopes if self.answers == "alibi" else torch.zeros_like(slopes)
        positions = rows + spec.kv_len - spec.q_len
        q = portion.of_queries(self.inputs.q.detach())[:, :, rows].to(k.dtype)
        q = self._turned_queries(q, positions)
        if self.inputs.dout is None:
            out = attend(q, k, v, slopes, scale=spec.scale, causal=spec.causal, positions=positions)
            return {"out": out}
        dout = portion.of_queries(self.inputs.dout)[:, :, rows].to(k.dtype)
        found = gradients(
            q, k, v, slopes, dout, scale=spec.scale, causal=spec.causal, positions=positions
        )
        named = dict(zip(("out", "dq", "dk", "dv"), found, strict=True))
        named["dq"] = self._turned_queries(named["dq"], -positions)
        return named


def _join(parts: Iterable[dict[str, Tensor]], blocks: int) -> dict[str, Tensor]:
    """Put together what belongs to queries, `blocks` of rows a head, and add up dk and dv.

    A part is emptied before the next is made, so that no two have their dk and dv at once.
    """
    of_queries: dict[str, list[Tensor]] = {}
    of_keys: dict[str, Tensor] = {}
    for part in parts:
        for name in list(part):
            if name in {"out", "dq"}:
                of_queries.setdefault(name, []).append(part.pop(name))
            elif name in of_keys:
                of_keys[name].add_(part.pop(name))
            else:
                of_keys[name] = part.pop(name)
    whole: dict[str, Tensor] = {}
    for name, pieces in of_queries.items():
        starts = range(0, len(pieces), blocks)
        by_heads = [torch.cat(pieces[start : start + blocks], dim=2) for start in starts]
        whole[name] = torch.cat(by_heads, dim=1)
    return whole | of_keys
