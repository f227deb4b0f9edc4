"""The oracle: the reference formula in float64, and in the case's dtype for the error budget.

The float64 keys of a long case with many heads would take many GiB. So the oracle works on portions
of the heads, of 1 GiB at most, and on blocks of a portion's checked rows, of 64 MiB.
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
"""Up to so many queries all rows are checked, else 256 of them."""

PORTION_BYTES = 1 << 30
BLOCK_BYTES = 64 << 20
TENSORS_A_HEAD = 7
"""The most float64 tensors of k's size, with the checked rows, that one query head needs.

They are k and v, dk and dv, the sums of dk and dv over blocks, and over a group of heads copies of
k and v and the sums.
"""

_PEAKS = ((TENSORS_A_HEAD, 3), (4, 5))
"""(tensors a head, tensors of a block's scores): while dk and dv are summed, and before that."""


@dataclass(frozen=True)
class Portion:
    """Some batch entries, some of their kv heads, and query heads that use those kv heads."""

    batch: slice
    heads: slice
    kv_heads: slice

    def of_queries(self, tensor: Tensor) -> Tensor:
        """Return the portion of a tensor [batch, heads, ...]."""
        return tensor[self.batch, self.heads]

    def of_keys(self, tensor: Tensor) -> Tensor:
        """Return the portion of a tensor [batch, kv_heads, ...]."""
        return tensor[self.batch, self.kv_heads]

    def by_heads(self, count: int) -> Iterator["Portion"]:
        """Yield the portion in pieces of `count` query heads."""
        for first in range(self.heads.start, self.heads.stop, count):
            yield replace(self, heads=slice(first, min(self.heads.stop, first + count)))


def portions(spec: Spec) -> Iterator[Portion]:
    """Yield a case's portions in order of batch entry and head, each as large as fits.

    A portion never splits a group: a kv head with its query heads, over which dk and dv are summed.
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


def check_bytes(spec: Spec) -> int:
    """Return the most bytes that a check takes beside inputs and answers."""
    heads = min(spec.batch * spec.heads, _heads_at_once(spec))
    block = min(BLOCK_BYTES, 8 * heads * min(spec.q_len, ALL_ROWS) * spec.kv_len)
    peaks = (tensors * heads * _tensor_bytes(spec) + blocks * block for tensors, blocks in _PEAKS)
    return max(peaks)


def _heads_at_once(spec: Spec) -> int:
    return max(1, PORTION_BYTES // (TENSORS_A_HEAD * _tensor_bytes(spec)))


def _tensor_bytes(spec: Spec) -> int:
    """Return the bytes of one head's keys and checked rows in float64, and of each row's norm."""
    return 8 * (spec.kv_len + min(spec.q_len, ALL_ROWS)) * (spec.head_dim + 1)


@dataclass(frozen=True)
class Formula:
    """The reference formula on the checked rows of a case's inputs.

    `answers` is the catalog's: for "alibi" the formula has the bias, for "no_bias" and "rope" it
    has none. For "rope" queries and the last q_len keys are turned by their positions. The keys
    before those come from a cache, and are turned already.
    """

    spec: Spec
    inputs: Inputs
    answers: Answers
    rows: Tensor

    def evaluate(self, portion: Portion, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return `out`, evaluated in `dtype`; with dout also `dq`, `dk` and `dv`.

        out and dq are [batch, heads, checked rows, head_dim], dk and dv have k's shape. All query
        heads of the portion are evaluated together, unless one kv head has more than fit.
        """
        k, v = (portion.of_keys(tensor.detach()) for tensor in (self.inputs.k, self.inputs.v))
        k, v = self._turn_keys(k.to(dtype), 1), v.to(dtype)
        pieces = list(portion.by_heads(_heads_at_once(self.spec)))
        rows_of_scores = pieces[0].of_queries(self.inputs.q)[:, :, 0, 0].numel()
        row_bytes = 8 * rows_of_scores * self.spec.kv_len
        blocks = torch.split(self.rows, max(1, BLOCK_BYTES // row_bytes))
        parts = (self._on_rows(rows, piece, k, v) for piece in pieces for rows in blocks)
        results = _join(parts, len(blocks))
        if "dk" in results:
            results["dk"] = self._turn_keys(results["dk"], -1)
        return results

    def _turn_keys(self, keys: Tensor, sign: int) -> Tensor:
        """Return keys, or dk, with the last q_len turned by their positions times `sign`."""
        if self.answers != "rope":
            return keys
        cached = max(0, self.spec.kv_len - self.spec.q_len)
        positions = torch.arange(cached, self.spec.kv_len, device=keys.device)
        turned = rotate(keys[:, :, cached:], sign * positions)
        return torch.cat([keys[:, :, :cached], turned], dim=2) if cached else turned

    def _turn_queries(self, queries: Tensor, positions: Tensor) -> Tensor:
        return rotate(queries, positions) if self.answers == "rope" else queries

    def _on_rows(self, rows: Tensor, portion: Portion, k: Tensor, v: Tensor) -> dict[str, Tensor]:
        spec, slopes = self.spec, self.inputs.slopes[portion.heads]
        slopes = slopes if self.answers == "alibi" else torch.zeros_like(slopes)
        positions = rows + spec.kv_len - spec.q_len
        q = portion.of_queries(self.inputs.q.detach())[:, :, rows].to(k.dtype)
        q = self._turn_queries(q, positions)
        if self.inputs.dout is None:
            out = attend(q, k, v, slopes, scale=spec.scale, causal=spec.causal, positions=positions)
            return {"out": out}
        dout = portion.of_queries(self.inputs.dout)[:, :, rows].to(k.dtype)
        results = gradients(
            q, k, v, slopes, dout, scale=spec.scale, causal=spec.causal, positions=positions
        )
        by_name = dict(zip(("out", "dq", "dk", "dv"), results, strict=True))
        by_name["dq"] = self._turn_queries(by_name["dq"], -positions)
        return by_name


def _join(parts: Iterable[dict[str, Tensor]], blocks: int) -> dict[str, Tensor]:
    """Concatenate out and dq of all parts, `blocks` of rows a head, and add up dk and dv.

    A part is emptied before the next is made, so that dk and dv of two parts never exist at once.
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
