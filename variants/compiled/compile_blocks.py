"""compile_blocks: blocks of queries against the keys that they may see, compiled as one graph.

Of the pairs above the diagonal, which compile takes all, only those in a block's own square are
computed. Bias, mask, exponential and sum are one pass over the scores of a block, which stay in a
cache while sequences are short. A weight below e^-80 of its row's largest is 0: as subnormal
numbers such weights would cost a CPU more than all others. Stores one [height, kv_len] table of
distances that all blocks share, and a graph for each shape. In training every block's weights are
kept for the backward, half the square of the length in all. Source: the formula of eager.
"""

import torch
from torch import Tensor

from variants.compiled.torch_compile import compile_alone
from variants.problem import Attention, Spec, Unsupported
from variants.ragged import ragged

_PARTS = 8
_FEWEST, _FEWEST_HALF = 64, 128  # rows of a block: every product has a cost of its own
_NEVER = -(2.0**30)  # a distance that no query has; -inf times a slope of 0 would be NaN
_LEAST = -80.0  # float32 is subnormal from e^-87


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
    overflows = spec.dtype == torch.float16  # what weights of up to 1 add up to may pass 65504

    def attention(q, k, v, slopes):  # type: ignore[no-untyped-def]
        q = q.unflatten(1, (spec.kv_heads, groups))
        slope = slopes.view(spec.kv_heads, groups, 1, 1)
        outs = []
        for begin, end in _blocks(spec.q_len, height):
            first = spec.kv_len - spec.q_len + begin  # the first row's own key
            seen = first + end - begin if spec.causal else spec.kv_len
            column = spec.kv_len - height - first
            distance = distances[: end - begin, column : column + seen]
            rows = q[:, :, :, begin:end].flatten(2, 3)  # [batch, kv_heads, groups * rows, head_dim]
            scores = (rows @ k[:, :, :seen].mT).float().unflatten(2, (groups, -1)) * spec.scale
            scores = torch.where(distance > _NEVER, scores + slope * distance, -torch.inf)
            shifted = scores - scores.detach().amax(-1, keepdim=True)
            weights = torch.where(shifted > _LEAST, shifted.exp(), 0.0)
            total = weights.sum(-1, keepdim=True)
            if overflows:
                weights = weights / total
            out = (weights.to(v.dtype).flatten(2, 3) @ v[:, :, :seen]).unflatten(2, (groups, -1))
            outs.append(out if overflows else (out / total).to(v.dtype))
        return torch.cat(outs, dim=3).flatten(1, 2)

    return compile_alone(attention, spec.device)


def _blocks(q_len: int, height: int) -> list[tuple[int, int]]:
    """Return where blocks begin and end; what is over comes first, where rows see the fewest."""
    return [(max(0, end - height), end) for end in range(q_len, 0, -height)][::-1]


def _distances(spec: Spec, height: int) -> Tensor:
    """Return -|key - query| for the rows of a block, or `_NEVER` where a key is out of sight.

    The columns reach from the first key that the last block sees to the last of the first block.
    """
    row = torch.arange(height, device=spec.device)[:, None]
    last = height if spec.causal else spec.q_len
    key = torch.arange(height - spec.kv_len, last, device=spec.device)
    distance = -(key - row).abs().float()
    return distance.masked_fill(key > row, _NEVER) if spec.causal else distance
