"""What may fool a bound on weights, and what weights are: drawn, by the formula, and attacked."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from variants.problem import Spec

HEADS = 4
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def spec_for(q: Tensor, k: Tensor) -> Spec:
    return Spec(
        batch=q.shape[0],
        heads=q.shape[1],
        kv_heads=k.shape[1],
        q_len=q.shape[2],
        kv_len=k.shape[2],
        head_dim=q.shape[3],
        dtype=q.dtype,
        device=q.device,
        scale=q.shape[3] ** -0.5,
        causal=True,
        needs_grad=False,
    )


def draw_qk(
    kv_len: int, q_len: int | None = None, dtype: torch.dtype = torch.float32, size: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return q [1, HEADS, q_len, 32] and k [1, HEADS, kv_len, 32] of normal numbers."""
    torch.manual_seed(kv_len)
    q = torch.randn(1, HEADS, q_len or kv_len, 32) * size
    return q.to(dtype), (torch.randn(1, HEADS, kv_len, 32) * size).to(dtype)


def logs_of_weights(q: Tensor, k: Tensor, slopes: Tensor, *, causal: bool = True) -> Tensor:
    """Return the logarithm of every weight, by the formula: [batch, heads, q_len, kv_len]."""
    q_len, kv_len = q.shape[2], k.shape[2]
    distance = torch.arange(kv_len) - torch.arange(kv_len - q_len, kv_len)[:, None]
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = q.double() @ k.double().mT / math.sqrt(q.shape[3])
    scores -= slopes.double()[:, None, None] * distance.abs()
    return scores.masked_fill((distance > 0) & causal, -math.inf).log_softmax(dim=-1)


def huge_norms(q: Tensor, k: Tensor) -> None:
    q *= 30
    k *= 30


def a_far_key_that_wins(q: Tensor, k: Tensor) -> None:
    q[:, :, -1] = 6
    k[:, :, 5] = 6


def rows_that_cancel(q: Tensor, k: Tensor) -> None:
    """Let a query's scores grow with distance as its bias falls."""
    q[..., 0] = 8
    k[..., 0] = -torch.arange(k.shape[2]) / 16


def one_outlier_key(q: Tensor, k: Tensor) -> None:
    k[:, :, 200] *= 40


def one_outlier_query(q: Tensor, k: Tensor) -> None:
    q[:, :, -70] *= 40


def near_keys_that_repel(q: Tensor, k: Tensor) -> None:
    """Give a query's nearest keys the worst scores, so that the weight is elsewhere."""
    q[:, :, -1] = 3
    k[:, :, -40:] = -3


def keys_with_one_direction(q: Tensor, k: Tensor) -> None:
    q += 2
    k += 3


ATTACKS: tuple[Callable[[Tensor, Tensor], None], ...] = (
    huge_norms,
    a_far_key_that_wins,
    rows_that_cancel,
    one_outlier_key,
    one_outlier_query,
    near_keys_that_repel,
    keys_with_one_direction,
)
