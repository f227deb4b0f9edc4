"""native_window: a C++ kernel that walks each query's keys outwards and stops when none matters.

A steep head's bias buries far keys. Each block of 64 queries begins at its own keys and goes back,
and on where attention is bidirectional, until the norms of the keys that are left say that they
weigh less, against what each query has seen, than rounding its output costs; large norms put that
off. The bias is made from distances as scores are: no mask, and in float32 no digits lost.
Stores nothing but, in bfloat16 with AMX, a copy of k and v as tiles. Built in a second by the
machine's C++ compiler, once; other half precision is computed in float32.
Source: FlashAttention's running softmax (arXiv 2205.14135), the pruning of arXiv 2504.06949, and a
kernel of our own.
"""

from torch import Tensor

from variants.compiled.cpp_build import cpp_compiler
from variants.native.torch_operator import BLOCK, MOST_HEAD_DIM, MOST_KEYS, attend, operator
from variants.problem import Attention, Spec, Unsupported
from variants.ragged import ragged


def prepare(spec: Spec) -> Attention:
    """Return the kernel; it is built at the first call on a machine."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    _decline(spec)
    cpp_compiler("native_window")
    kernel = operator()

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return kernel(q, k, v, slopes, spec.scale, spec.causal)

    return attention


def density(spec: Spec, q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the share of all pairs that are looked at; a causal block sees its own keys whole."""
    past = spec.kv_len - spec.q_len
    blocks = [(row, min(row + BLOCK, spec.q_len)) for row in range(0, spec.q_len, BLOCK)]
    pairs = sum((end - row) * (past + end if spec.causal else spec.kv_len) for row, end in blocks)
    looked_at = attend(q, k, k, slopes, spec.scale, spec.causal)[1]
    return looked_at / (spec.batch * spec.heads * pairs)


def _decline(spec: Spec) -> None:
    if spec.slopes_need_grad:
        raise Unsupported("the kernel has no backward; eager, compile and sdpa_mask do")
    if spec.needs_grad:
        raise Unsupported("the kernel has no backward; compile_blocks and sdpa_key have")
    if spec.device.type != "cpu":
        raise Unsupported("the kernel is for CPUs; flex_window leaves out the same on CUDA")
    if spec.causal and spec.q_len == 1 < spec.kv_len:
        raise Unsupported("a query alone fills no block; sdpa_key and sdpa_window take it")
    if spec.head_dim > MOST_HEAD_DIM:
        raise Unsupported(f"head_dim {spec.head_dim}: the kernel has room for {MOST_HEAD_DIM}")
    if max(spec.q_len, spec.kv_len) > MOST_KEYS:
        longest = max(spec.q_len, spec.kv_len)
        raise Unsupported(f"length {longest}: the kernel counts to {MOST_KEYS}")
