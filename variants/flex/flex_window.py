"""flex_window: FlexAttention on the key blocks that can matter, as certified at every call.

For: long causal prefill on CUDA (not seen on a GPU yet).
Not for: bidirectional attention, learned slopes, gradients on a CPU.

On a steep head the bias makes far keys negligible. From the norms of q, k and v, variants.windows
bounds how far back each block of queries must look. The BlockMask is made from that on the device,
so the host never waits for the data. The keys that are left out weigh at most eps / 2 of any row,
times how much larger their values are than the smallest near the row. Stores only block indices,
[batch, heads, q_len/128, kv_len/128]. Large norms widen the windows, at most to all blocks that
flex visits. Declines bidirectional attention, gradients of the slopes, and any gradient on the CPU.
Source: the pruning of arXiv 2504.06949 with a bound of our own, and torch's flex_attention.
"""

from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from variants.batches.ragged import ragged
from variants.compiled.torch_compile import compile_alone
from variants.flex.block_windows import first_blocks_of, windowed_mask_of
from variants.flex.flex import let_torch_refuse
from variants.problem import Attention, Spec, Unsupported
from variants.windows import density, windows_of

__all__ = ["density", "prepare"]

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def prepare(spec: Spec) -> Attention:
    """Return flex_attention compiled once; each call's data decides which blocks it visits."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    if spec.slopes_need_grad:
        raise Unsupported("windows give the slopes no gradient; eager, compile and sdpa_mask do")
    if not spec.causal:
        raise Unsupported("windows are certified for causal attention; flex takes both sides")
    if spec.needs_grad and spec.device.type == "cpu":
        let_torch_refuse(spec)
    windows, first_blocks, kernel = windows_of(spec), first_blocks_of(spec), _kernel(spec)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return kernel(q, k, v, slopes, first_blocks(windows(q, k, v, slopes).back))

    return attention


def _kernel(spec: Spec) -> Kernel:
    """Return compiled flex_attention, which also takes the first key block of each query block."""
    offset, windowed_mask = spec.kv_len - spec.q_len, windowed_mask_of(spec)

    def attention(q, k, v, slopes, first):  # type: ignore[no-untyped-def]
        def relative_bias(score, batch, head, row, key):  # type: ignore[no-untyped-def]  # noqa: ARG001
            return score - slopes[head] * (row + offset - key).abs()

        return flex_attention(
            q,
            k,
            v,
            score_mod=relative_bias,
            block_mask=windowed_mask(first),
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )

    return cast(Kernel, compile_alone(attention, spec.device))
