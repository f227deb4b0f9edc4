"""triton_window: a Triton kernel that walks each query's keys outwards and stops when none matters.

For: prefill, training and decode on a CUDA GPU, at any length (experimental).
Not for: CPUs, windows, dropout, gradients of gradients.

Experimental: nothing of it has run on a GPU yet, so neither `auto` nor a selection takes it. It is
tested with Triton's interpreter, and compiled ahead of time for GPUs.

On a steep head the bias makes far keys negligible. Each block of queries begins with the keys at
its own positions. Their sums and the norms of the other keys and values then say how many tiles are
needed. It visits 512 keys at most, asks again, visits the rest, and asks until no more is needed.
The norms say as well where no later score is far over a row's maximum, which then stays as it is.
On sm_90 and later TMA loads the tiles of dense keys and values.
What is left out weighs at most eps / 2 of each row's weight, and adds at most eps / 2 of the norm
that its output has. Products of float32 are made of three each, so that nearly no digit is lost.
In decode, and where a prefill has few programs, the needed keys of a head are split among programs,
and a second kernel combines them; so are those of the steps in a server's packed batch. Up to 16
queries of all heads that share keys read them once; the norms beside a cache say which to read, and
without norms that is all.
The backward leaves out what adds at most eps / 8 to any row of dq, dk and dv. It adds nothing
atomically, so equal calls give equal bits. In float16 it multiplies weights in TF32, because they
would underflow for keys that are older than all queries.
Source: FlashAttention's running softmax (arXiv 2205.14135) and the pruning of arXiv 2504.06949; the
bounds are ours (docs/kernel.md).
"""

import torch
from torch import Tensor

from variants.batches.runs import FIELDS, runs_of
from variants.batches.sequences import GeneralAttention, Sequences
from variants.problem import Attention, Spec, Unsupported
from variants.triton.availability import check_available

READS_NORMS = True
MOST_HEAD_DIM = 256
MOST_OF_GRADIENTS = 128  # above it the tiles of dk and dv have no room in registers
MOST_OF_FLOAT32_GRADIENTS = 64
MOST_KEYS = 1 << 24  # positions are float32, exact up to here


def prepare(spec: Spec) -> Attention:
    """Return the kernel; Triton compiles it at the first call."""
    _decline(spec)
    from variants.triton.gradient_function import CallOptions, differentiable_attend
    from variants.triton.sequences import runs_of_lengths

    options = CallOptions(spec.scale, spec.causal, runs_of_lengths(spec))

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return differentiable_attend(q, k, v, slopes, options)[0]

    return attention


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return the kernel for batches of any form; it reads no padding."""
    _decline(spec)
    if spec.extras.window != (-1, -1):
        raise Unsupported("the kernel has no window; flex and sdpa_mask have")
    if spec.extras.value_dim is not None:
        raise Unsupported("the kernel takes values of k's head_dim; flex and sdpa_mask take any")
    if spec.extras.dropout_p:
        raise Unsupported("the kernel has no dropout; eager and sdpa_mask have")
    from variants.triton.gradient_function import CallOptions, differentiable_attend

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        runs = runs_of(spec, sequences)
        if runs is not None and not len(runs):
            runs = runs.new_zeros(1, len(FIELDS))  # an empty one, because a launch has to have one
        options = CallOptions(
            spec.scale, spec.causal, None if runs is None else runs.int(), sequences.norms
        )
        return differentiable_attend(q, k, v, slopes, options)

    return attention


def _decline(spec: Spec) -> None:
    check_available(spec)
    if spec.head_dim > MOST_HEAD_DIM:
        raise Unsupported(f"head_dim {spec.head_dim}: the kernel has room for {MOST_HEAD_DIM}")
    if spec.needs_grad or spec.slopes_need_grad:
        wide = spec.dtype == torch.float32
        most = MOST_OF_FLOAT32_GRADIENTS if wide else MOST_OF_GRADIENTS
        if spec.head_dim > most:
            raise Unsupported(
                f"head_dim {spec.head_dim}: gradients have room for {most} in this dtype; "
                "flex and sdpa_mask take it"
            )
    if (longest := max(spec.q_len, spec.kv_len)) > MOST_KEYS:
        raise Unsupported(f"length {longest}: the kernel counts to {MOST_KEYS}")
