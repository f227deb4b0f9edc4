"""How far a bias is off at a length: one query against keys of which 64 are looked at.

Values are one-hot at the keys looked at, so that an output is their weights. The oldest keys have
scores that lift their weights to those of the newest, so that they can be seen.
"""

import torch
from torch import Tensor

from suite.agreement.inputs import PrepareFunction
from suite.atlas.findings import HIDDEN, BiasError
from suite.atlas.implementation import HEAD_DIM, spec_of
from variants.problem import alibi_slopes

LENGTHS = (1024, 8192, 65536)
DTYPES = ("float32", "bfloat16")
_SMALLEST = -60.0
_MOST = 1e3


def bias_error(prepare: PrepareFunction, dtype: str, length: int) -> BiasError:
    """Return the errors of the newest and the oldest 64 keys of a cache, in nats.

    A logit's error is that of the logarithm of its weight, against float64 on the same inputs. It
    has the rounding of the output in it: up to 0.004 in bfloat16.
    """
    near = _largest_error(prepare, dtype, length, lifted=False)
    far = _largest_error(prepare, dtype, length, lifted=True)
    if not (near.max() < _MOST and far[-1] < _MOST):
        return BiasError(dtype, length, reason=HIDDEN)
    return BiasError(dtype, length, float(near.max()), float(far[-1]))


def _largest_error(prepare: PrepareFunction, dtype: str, length: int, *, lifted: bool) -> Tensor:
    """Return the largest error of each head's logits at the keys looked at: [heads]."""
    spec = spec_of(q_len=1, kv_len=length, dtype=getattr(torch, dtype))
    slopes = alibi_slopes(spec.heads)
    first = 0 if lifted else length - HEAD_DIM
    looked_at = slice(first, first + HEAD_DIM)
    q = torch.zeros(1, spec.heads, 1, HEAD_DIM, dtype=spec.dtype)
    k, v = (torch.zeros(1, spec.kv_heads, length, HEAD_DIM, dtype=spec.dtype) for _ in "kv")
    v[:, :, looked_at] = torch.eye(HEAD_DIM, dtype=spec.dtype)
    if lifted:
        middle = length - HEAD_DIM / 2
        q[0, :, 0, 0] = (slopes * middle / spec.scale).to(spec.dtype)
        k[:, :, looked_at, 0] = 1
    distance = torch.arange(length - 1, -1, -1, dtype=torch.float64)
    logits = q[0, :, :, 0].double() * k[0, :, :, 0].double() * spec.scale
    logits = logits - slopes.double()[:, None] * distance
    exact = logits.log_softmax(-1)[:, looked_at]
    with torch.no_grad():
        out = prepare(spec)(q, k, v, slopes)
    error = (out[0, :, 0].double().log() - exact).abs()
    return error.masked_fill(exact < _SMALLEST, 0).amax(-1)
