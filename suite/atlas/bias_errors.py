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
MIDDLE_OF = 2048
_SMALLEST = -60.0
_MOST = 1e3


def bias_error(prepare: PrepareFunction, dtype: str, length: int) -> BiasError:
    """Return the errors of the newest and the oldest 64 keys of a cache, in nats.

    A logit's error is that of the logarithm of its weight, against float64 on the same inputs. It
    has the rounding of the output in it: up to 0.004 in bfloat16.
    """
    near = float(_largest_error(prepare, dtype, length, lifted=False).max())
    far = float(_largest_error(prepare, dtype, length, lifted=True)[-1])
    if not far < _MOST:
        return BiasError(dtype, length, near, reason=HIDDEN)
    return BiasError(dtype, length, near, far)


def middle_error(prepare: PrepareFunction, dtype: str) -> BiasError:
    """Return the error of the 64 newest keys that the middle row of a prefill sees, in nats.

    Scores are random and under 1. A bias that is counted from the first or the last key is large
    there, and costs them digits.
    """
    spec = spec_of(q_len=MIDDLE_OF, kv_len=MIDDLE_OF, dtype=getattr(torch, dtype))
    slopes, row = alibi_slopes(spec.heads), MIDDLE_OF // 2
    looked_at = slice(row + 1 - HEAD_DIM, row + 1)
    shape = 1, spec.heads, MIDDLE_OF, HEAD_DIM
    q, k, v = (torch.zeros(shape, dtype=spec.dtype) for _ in "qkv")
    v[:, :, looked_at] = torch.eye(HEAD_DIM, dtype=spec.dtype)
    q[..., 0] = 1 / spec.scale
    k[..., 0] = 2 * torch.rand(MIDDLE_OF, generator=torch.Generator().manual_seed(1)) - 1
    distance = torch.arange(row, -1, -1, dtype=torch.float64)
    logits = k[0, :, : row + 1, 0].double() - slopes.double()[:, None] * distance
    exact = logits.log_softmax(-1)[:, looked_at]
    with torch.no_grad():
        out = prepare(spec)(q, k, v, slopes)
    error = (out[0, :, row].double().log() - exact).abs()
    worst = float(error.masked_fill(exact < _SMALLEST, 0).max())
    return BiasError(dtype, MIDDLE_OF, min(worst, _MOST), middle=True)


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
