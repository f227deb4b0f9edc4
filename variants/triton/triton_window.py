"""triton_window: a Triton kernel that walks each query's keys outwards and stops when none matters.

For: prefill on a CUDA GPU, causal or bidirectional, at any length (experimental).
Not for: CPUs, gradients, windows, dropout.

Experimental: nothing of it has run on a GPU yet, so neither `auto` nor a selection takes it. It is
tested with Triton's interpreter, and compiled ahead of time for GPUs.

On a steep head the bias makes far keys negligible. Each block of queries begins with the keys at
its own positions. Their sums and the norms of the other keys and values then say how many tiles are
needed. It visits 512 keys at most, asks again, visits the rest, and asks until no more is needed.
What is left out weighs at most eps / 2 of each row's weight, and adds at most eps / 2 of the norm
that its output has. Products of float32 are made of three each, so that nearly no digit is lost.
Source: FlashAttention's running softmax (arXiv 2205.14135) and the pruning of arXiv 2504.06949; the
bounds are ours (docs/kernel.md).
"""

from torch import Tensor

from variants.batches.ragged import ragged
from variants.problem import Attention, Spec, Unsupported
from variants.triton.availability import check_available

MOST_HEAD_DIM = 256
MOST_KEYS = 1 << 24  # positions are float32, exact up to here


def prepare(spec: Spec) -> Attention:
    """Return the kernel; Triton compiles it at the first call."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    _decline(spec)
    from variants.triton.launch import attend

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attend(q, k, v, slopes, spec.scale, causal=spec.causal).out

    return attention


def _decline(spec: Spec) -> None:
    check_available(spec)
    if spec.needs_grad or spec.slopes_need_grad:
        raise Unsupported("the kernel has no gradients; flex and sdpa_mask have")
    if spec.head_dim > MOST_HEAD_DIM:
        raise Unsupported(f"head_dim {spec.head_dim}: the kernel has room for {MOST_HEAD_DIM}")
    if (longest := max(spec.q_len, spec.kv_len)) > MOST_KEYS:
        raise Unsupported(f"length {longest}: the kernel counts to {MOST_KEYS}")
