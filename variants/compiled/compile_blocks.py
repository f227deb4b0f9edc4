"""compile_blocks: blocks of queries against the keys that they may see, compiled as one graph.

For: float32 training of up to some 2000 keys on a CPU where native_window can't be built.
Not for: new lengths (each compiles for 3 to 19 s), forward in half precision, decode.

`compile` computes all pairs above the diagonal; this variant computes only those inside a block's
own square. Bias, mask, exponential and sum are one pass over a block's scores, which stay in a
cache while sequences are short. Weights below e^-80 of the row's largest become 0: as subnormal
numbers they would cost a CPU more than all other weights. Stores one [height, kv_len] table of
distances that all blocks share, and a graph for each shape. Training stores every block's weights
for the backward, half of q_len * kv_len in all. Declines a single query over a cache. Source: the
formula of eager.
"""

import torch
from torch import Tensor

from variants.batches.ragged import ragged
from variants.compiled.torch_compile import compile_alone
from variants.problem import Attention, Spec, Unsupported

_PARTS = 8
_FEWEST, _FEWEST_HALF = 64, 128  # rows of a block: each product has a fixed cost
_NEVER = -(2.0**30)  # for hidden keys; -inf times a slope of 0 would be NaN
_LEAST = -80.0  # exp() is subnormal in float32 from -87 on


def prepare(spec: Spec) -> Attention:
    """Return attention by blocks, compiled; the graph is built at the first call that needs it."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    if spec.causal and spec.q_len == 1 < spec.kv_len:
        raise Unsupported("a query alone makes no blocks, and a graph a step; sdpa_key takes it")
    fewest = _FEWEST if spec.dtype == torch.float32 else _FEWEST_HALF
    height = min(spec.q_len, max(fewest, -(-spec.q_len // _PARTS)))
    distances = _distances(spec, height)
    groups = spec.heads // spec.kv_heads
    overflows = spec.dtype == torch.float16  # sums of weights may pass float16's 65504

    def attention(q, k, v, slopes):  # type: ignore[no-untyped-def]
        q = q.unflatten(1, (spec.kv_heads, groups))
        slope = slopes.view(spec.kv_heads, groups, 1, 1)
        outs = []
        for begin, end in _blocks(spec.q_len, height):
            first = spec.kv_len - spec.q_len + begin  # the key at the first row's position
            visible = first + end - begin if spec.causal else spec.kv_len
            column = spec.kv_len - height - first
            distance = distances[: end - begin, column : column + visible]
            rows = q[:, :, :, begin:end].flatten(2, 3)  # [batch, kv_heads, groups * rows, head_dim]
            products = rows.float() @ k[:, :, :visible].mT.float()  # half precision may overflow
            scores = products.unflatten(2, (groups, -1)) * spec.scale
            scores = torch.where(distance > _NEVER, scores + slope * distance, -torch.inf)
            shifted = scores - scores.detach().amax(-1, keepdim=True)
            weights = torch.where(shifted > _LEAST, shifted.exp(), 0.0)
            total = weights.sum(-1, keepdim=True)
            if overflows:
                weights = weights / total
            out = (weights.to(v.dtype).flatten(2, 3) @ v[:, :, :visible]).unflatten(2, (groups, -1))
            outs.append(out if overflows else (out / total).to(v.dtype))
        return torch.cat(outs, dim=3).flatten(1, 2)

    return compile_alone(attention, spec.device)


def _blocks(q_len: int, height: int) -> list[tuple[int, int]]:
    """Return where blocks begin and end; a shorter one comes first, where rows see fewest keys."""
    return [(max(0, end - height), end) for end in range(q_len, 0, -height)][::-1]


def _distances(spec: Spec, height: int) -> Tensor:
    """Return -|key - query| for the rows of a block, or `_NEVER` for keys that a row can't see.

    The columns reach from the first key of the last block to the last key of the first block.
    """
    row = torch.arange(height, device=spec.device)[:, None]
    last = height if spec.causal else spec.q_len
    key = torch.arange(height - spec.kv_len, last, device=spec.device)
    distance = -(key - row).abs().float()
    return distance.masked_fill(key > row, _NEVER) if spec.causal else distance
