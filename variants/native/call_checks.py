"""What is asked of tensors before the C++ kernel reads their memory."""

from itertools import pairwise

import torch
from torch import Tensor

from variants.native.kernel_arguments import MOST_KEYS
from variants.native.kernel_library import FEW_QUERIES, MOST_HEAD_DIM, SEQUENCE_FIELDS
from variants.problem import Spec
from variants.tracing import is_traced

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def is_plain(*tensors: Tensor | None) -> bool:
    """Return whether torch would do nothing for a call but call the kernel.

    The operator costs 0.02 to 0.1 ms. Torch does more with it for tensors that need a gradient, for
    subclasses, in traces and transforms, and where a profiler writes down what runs.
    """
    if torch.compiler.is_compiling() or is_traced() or torch._C._autograd._profiler_enabled():
        return False
    has_graph = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) is not Tensor or not tensor.is_cpu or tensor.is_neg():
            return False
        if has_graph and tensor.requires_grad:
            return False
    return True


def fits(spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> bool:
    """Return whether the tensors of a dense call are those of its spec."""
    return (
        k.dtype == v.dtype == q.dtype == spec.dtype
        and slopes.dtype == torch.float32
        and q.shape == (spec.batch, spec.heads, spec.q_len, spec.head_dim)
        and k.shape == v.shape == (spec.batch, spec.kv_heads, spec.kv_len, spec.head_dim)
        and slopes.shape == (spec.heads,)
    )


def reads_pages(spec: Spec) -> bool:
    """Return whether the kernel reads the pages of a spec; else they are copied out of them."""
    page_size = spec.extras.page_size or 0
    is_power_of_two = page_size & (page_size - 1) == 0
    learns = spec.needs_grad or spec.slopes_need_grad
    return spec.q_len <= FEW_QUERIES and is_power_of_two and not learns


def need_grad(*tensors: Tensor) -> bool:
    """Return whether any tensor takes part in a graph of gradients."""
    return any(tensor.requires_grad for tensor in tensors)


def refuse_shapes(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    before: int,
    after: int,
    block_tables: Tensor | None = None,
) -> None:
    """Raise ValueError for tensors that the kernel would read out of bounds or answer wrongly."""
    if block_tables is not None:
        _refuse_pages(q, k, block_tables)
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.dim() != 4 or 0 in tensor.shape[:2] or not tensor.shape[3]:
            raise ValueError(f"{name} is {list(tensor.shape)}: give [batch, heads, length, dim]")
        if tensor.dtype not in _DTYPES or tensor.dtype != q.dtype:
            raise ValueError(f"{name} is {tensor.dtype} and q {q.dtype}: give one floating dtype")
        if tensor.shape[3] > MOST_HEAD_DIM:
            raise ValueError(f"head_dim {tensor.shape[3]}: the kernel has room for {MOST_HEAD_DIM}")
        if tensor.shape[2] > MOST_KEYS:
            raise ValueError(f"length {tensor.shape[2]}: the kernel counts to {MOST_KEYS}")
    batch, heads = q.shape[:2]
    if (k.shape[0] != batch and block_tables is None) or k.shape[3] != q.shape[3]:
        raise ValueError(f"q is {list(q.shape)} and k {list(k.shape)}: batch or head_dim differ")
    if v.shape[:3] != k.shape[:3]:
        raise ValueError(f"k is {list(k.shape)} and v {list(v.shape)}: only their last may differ")
    if heads % k.shape[1]:
        raise ValueError(f"{heads} heads can't share {k.shape[1]} kv heads evenly")
    if slopes.dtype != torch.float32:
        raise ValueError(f"slopes {slopes.dtype}: the kernel reads float32")
    if list(slopes.shape) not in ([heads], [batch, heads]):
        raise ValueError(f"slopes are {list(slopes.shape)}: give [{heads}] or [{batch}, {heads}]")
    if min(before, after) < 0:
        raise ValueError(f"reach {before}, {after}: give positions, at least 0 on both sides")


def _refuse_pages(q: Tensor, k: Tensor, block_tables: Tensor) -> None:
    if block_tables.dtype != torch.int32 or block_tables.dim() != 2 or len(block_tables) != len(q):
        shape = f"{block_tables.dtype} {list(block_tables.shape)}"
        raise ValueError(f"block_tables is {shape}: give int32 [{q.shape[0]}, pages]")
    if k.shape[2] & (k.shape[2] - 1) or q.shape[2] > FEW_QUERIES:
        raise ValueError(
            f"{q.shape[2]} queries and pages of {k.shape[2]}: the kernel reads pages of a power of "
            f"two slots for at most {FEW_QUERIES} queries"
        )
    if block_tables.numel() and not 0 <= block_tables.min() <= block_tables.max() < k.shape[0]:
        raise ValueError(f"block_tables leads out of the {k.shape[0]} pages")


def refuse_sequences(sequences: Tensor, q: Tensor, room: int) -> None:
    """Raise ValueError for sequences that are not inside of q and of `room` keys."""
    if sequences.dtype != torch.int64 or sequences.shape[1:] != (len(SEQUENCE_FIELDS),):
        shape = f"[sequences, {len(SEQUENCE_FIELDS)}]"
        raise ValueError(f"sequences {sequences.dtype} {list(sequences.shape)}: give int64 {shape}")
    sizes = (q.shape[0], q.shape[2], room)
    for number, line in enumerate(sequences.tolist()):  # a tensor's operations take 0.05 ms
        batch, first_query, queries, first_key, keys, position = line
        parts = ((batch, 1), (first_query, queries), (first_key, keys))
        for (first, count), size in zip(parts, sizes, strict=True):
            if first < 0 or count < 0 or first + count > size:
                raise ValueError(f"sequence {number}, {line}: it ends past {size}")
        if abs(position) > MOST_KEYS:
            raise ValueError(f"position {position}: the kernel counts to {MOST_KEYS}")


def refuse_overlaps(sequences: Tensor) -> None:
    """Raise ValueError for sequences that share queries or keys: two threads would add to a row."""
    lines = [line for line in sequences.tolist() if line[2] and line[4]]
    for name, first, count in (("queries", 1, 2), ("keys", 3, 4)):
        ordered = sorted(lines, key=lambda line: (line[0], line[first]))
        for before, after in pairwise(ordered):
            if before[0] == after[0] and before[first] + before[count] > after[first]:
                raise ValueError(
                    f"sequences {before} and {after} share {name}, so their gradients would be "
                    "added at once: call once for each"
                )


def refuse_outputs(
    d_out: Tensor,
    d_log_sum_exp: Tensor | None,
    out: Tensor,
    log_sum_exp: Tensor,
    shape: tuple[int, int, int, int],
) -> None:
    """Raise ValueError for what is no output of a `shape`, [batch, heads, q_len, value_dim]."""
    for name, tensor in (("d_out", d_out), ("out", out)):
        if tensor.shape != shape or tensor.dtype not in _DTYPES:
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}: give {list(shape)}")
    for name, given in (("d_log_sum_exp", d_log_sum_exp), ("log_sum_exp", log_sum_exp)):
        if given is None:
            continue
        if given.shape != shape[:3] or given.dtype != torch.float32:
            wanted = f"float32 {list(shape[:3])}"
            raise ValueError(f"{name} is {given.dtype} {list(given.shape)}: give {wanted}")
