"""A kernel of one's own: scores in float32, and of each block of queries the keys up to its end.

python run_bench.py run --variants 'sdpa_mask,examples/my_kernel.py?block=256'
"""

import math

import torch
from torch import Tensor

from alibi_bench import Unsupported


def prepare(spec, block=128):  # type: ignore[no-untyped-def]
    """Return a function of q, k, v and slopes for one shape."""
    if spec.needs_grad:
        raise Unsupported("forward alone; sdpa_mask has gradients")
    past, group = spec.kv_len - spec.q_len, spec.heads // spec.kv_heads

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        k, v = (part.repeat_interleave(group, dim=1) for part in (k, v))
        outs = []
        for row in range(0, spec.q_len, block):
            queries = q[:, :, row : row + block].float()
            first, end = past + row, past + row + queries.shape[2]
            keys = end if spec.causal else spec.kv_len
            positions = torch.arange(first, end, device=q.device)
            away = torch.arange(keys, device=q.device) - positions[:, None]
            scores = queries @ k[:, :, :keys].float().mT * spec.scale
            scores -= slopes[:, None, None] * away.abs()
            if spec.causal:
                scores.masked_fill_(away > 0, -math.inf)
            outs.append(scores.softmax(-1).to(v.dtype) @ v[:, :, :keys])
        return torch.cat(outs, dim=2)

    return attention
