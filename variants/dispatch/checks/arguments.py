"""The checks of alibi_attention before it calls any variant: do the tensors fit together?"""

import math

import torch
from torch import Tensor

from variants.batches.pages import check_tables
from variants.batches.sequences import Sequences
from variants.tracing import is_traced

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def check_kinds(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raise ValueError for a q, k or v whose layout, shape, dtype or device no variant takes."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.is_nested or tensor.layout != torch.strided:
            raise ValueError(f"{name} is nested or sparse: give a dense tensor")
        if tensor.dim() != 4:
            shape = "[batch, heads, length, head_dim]"
            raise ValueError(f"{name} has shape {list(tensor.shape)}: give {shape}")
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"{name} is {tensor.dtype}: give float32, bfloat16 or float16")
        if tensor.device.type not in {"cpu", "cuda"}:
            raise ValueError(f"{name} is on {tensor.device}: give the CPU or a CUDA GPU")


def check_together(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor | None,
    sequences: Sequences,
    scale: float | None,
) -> None:
    """Raise ValueError for tensors that don't fit together, or a scale that is no positive number.

    Whether sequences fit is variants.dispatch.checks.batch_arguments' to say, but for pages.
    """
    check_fit(q, k, v, in_pages=sequences.block_tables is not None)
    if sequences.block_tables is not None:
        check_tables(q, k, sequences)
    check_scale(scale)
    if slopes is not None:
        check_slopes(slopes, q.shape[0], q.shape[1], q.device)


def check_fit(q: Tensor, k: Tensor, v: Tensor, *, in_pages: bool) -> None:
    """Raise ValueError for q, k and v whose dtypes, devices or shapes don't fit together.

    `in_pages` is True for k and v [pages, kv_heads, page_size, dim].
    """
    for name, tensor in (("k", k), ("v", v)):
        if tensor.dtype != q.dtype or tensor.device != q.device:
            raise ValueError(
                f"{name} is {tensor.dtype} on {tensor.device}, q {q.dtype} on {q.device}: "
                "give one dtype and device"
            )
    if k.shape[:3] != v.shape[:3]:
        raise ValueError(
            f"k is {list(k.shape)} and v {list(v.shape)}: only their head_dim may differ"
        )
    (batch, heads, _, head_dim), (kv_batch, kv_heads, _, kv_dim) = q.shape, k.shape
    if (batch, head_dim) != (batch if in_pages else kv_batch, kv_dim):
        raise ValueError(f"q is {list(q.shape)} and k {list(k.shape)}: batch or head_dim differ")
    if 0 in (*q.shape, *k.shape, *v.shape):
        raise ValueError(f"q is {list(q.shape)} and k {list(k.shape)}: no dimension may be 0")
    if heads % kv_heads:
        raise ValueError(f"{heads} heads can't share {kv_heads} kv heads evenly")


def check_scale(scale: float | None) -> None:
    """Raise ValueError for a scale that is not a positive number."""
    if isinstance(scale, Tensor):
        raise ValueError("scale is a tensor: give a number, and multiply q by one that is learned")
    if scale is not None and not 0 < scale < math.inf:  # sdpa_key multiplies -inf by it
        raise ValueError(f"scale {scale}: give a number over 0")


def check_slopes(slopes: object, batch: int, heads: int, device: torch.device) -> None:
    """Raise ValueError for slopes that are not float32 [heads] or [batch, heads] on this device.

    On a CPU they are also refused if they are negative, infinite or NaN; elsewhere that would wait
    for the device.
    """
    if not isinstance(slopes, Tensor):
        raise ValueError(
            f"slopes are a {type(slopes).__name__}: "
            "give a tensor, torch.tensor(slopes, dtype=torch.float32)"
        )
    fits = list(slopes.shape) in ([heads], [batch, heads])
    if not fits or slopes.dtype != torch.float32 or slopes.device != device:
        raise ValueError(
            f"slopes are {slopes.dtype} {list(slopes.shape)} on {slopes.device}: "
            f"give float32 [{heads}] or [{batch}, {heads}] on {device}"
        )
    if device.type != "cpu" or is_traced():
        return
    values = slopes.detach().flatten().tolist()
    wrong = [value for value in values if not 0 <= value < math.inf]
    if wrong:
        raise ValueError(
            f"slope {wrong[0]} of head {values.index(wrong[0]) % heads}: give a number, 0 or more; "
            "the bias is minus slope times distance"
        )
