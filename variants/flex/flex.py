"""flex: FlexAttention, which compiles the bias into the attention kernel itself.

For: packed sequences, and CUDA in training.
Not for: gradients on a CPU; each new shape compiles for seconds.

The bias is a score_mod over the captured slopes, computed in float32 inside the kernel. Blocks
above the diagonal, or of another packed sequence, are never visited, and scores never pass through
memory. Stores a BlockMask of q_len/128 x kv_len/128 indices, built directly because
create_block_mask needs gigabytes at 16k keys. Declines gradients of the slopes, and all gradients
on the CPU, where torch has no backward for it. Source: torch's flex_attention.
"""

import torch
from torch.nn.attention.flex_attention import flex_attention

from variants.batches.ragged import ragged
from variants.batches.sequences import GeneralAttention
from variants.compiled.torch_compile import compile_alone
from variants.flex.block_masks import block_mask_of
from variants.flex.flex_general import attention_of
from variants.problem import Attention, Spec, Unsupported


def prepare(spec: Spec) -> Attention:
    """Return flex_attention compiled for the spec; the first call builds the kernel."""
    if spec.seq_lens and (spec.q_lens or not spec.packed):
        return ragged(prepare, spec)
    _decline(spec)
    offset = spec.kv_len - spec.q_len
    block_mask = block_mask_of(spec)
    grouped = spec.heads != spec.kv_heads

    def attention(q, k, v, slopes):  # type: ignore[no-untyped-def]
        def relative_bias(score, batch, head, row, key):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return score - slopes[head] * (row + offset - key).abs()

        return flex_attention(
            q,
            k,
            v,
            score_mod=relative_bias,
            block_mask=block_mask,
            scale=spec.scale,
            enable_gqa=grouped,
        )

    return compile_alone(attention, spec.device)


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return flex_attention for batches of any form; each call makes its BlockMask."""
    _decline(spec)
    if spec.extras.dropout_p:
        raise Unsupported("flex has no dropout; eager and sdpa_mask have")
    if spec.extras.return_lse and spec.device.type == "cpu":
        raise Unsupported(
            "compiled for a CPU, flex gives no log-sum-exp; eager, sdpa_mask and native_window do"
        )
    return attention_of(spec)


def _decline(spec: Spec) -> None:
    if spec.slopes_need_grad:
        raise Unsupported(
            "flex gives captured slopes no gradient here; eager, compile and sdpa_mask do"
        )
    if spec.needs_grad and spec.device.type == "cpu":
        let_torch_refuse(spec)


def let_torch_refuse(spec: Spec) -> None:
    """Raise Unsupported with torch's reason for refusing a gradient here, if torch refuses it.

    Makes a small call that is not compiled, because a compiled call buries the reason in a trace.
    """
    token = torch.zeros(1, 1, 1, 16, dtype=spec.dtype, device=spec.device, requires_grad=True)
    try:
        flex_attention(token, token, token)
    except NotImplementedError as refusal:
        raise Unsupported(f"{refusal} eager, compile and sdpa_mask have a backward") from refusal
