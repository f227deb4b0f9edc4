"""alibi_attention as one torch operator, for torch.compile, torch.export and counts of operations.

What a variant does is hidden from the graph: a trace can't follow plans made from data. Lengths may
be dynamic. A backward computes the forward again, by the same variant, instead of storing what is
in between. It has no backward of its own, and no dropout: the two forwards would drop different
weights.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula

from variants.batches import formula
from variants.batches.pages import gather
from variants.batches.sequences import Sequences
from variants.dispatch.answer import answer, attention_for
from variants.dispatch.call import check_call, in_autocast_dtype, norms_of_same
from variants.dispatch.checks.arguments import check_kinds, check_together
from variants.dispatch.checks.batch_arguments import Settings, check_sequences, extras_of
from variants.problem import Spec, Unsupported, alibi_slopes
from variants.tracing import call_by_entry, fake_gradients, gradient_operations, operations

_AUTOGRAD_KEYS = tuple(
    getattr(torch._C.DispatchKey, name)
    for name in ("AutogradCPU", "AutogradCUDA", "AutogradOther", "AutogradMeta", "ADInplaceOrView")
)
_OPTIONS = 4 + len(Sequences._fields)  # where a call's tensors end, and its options begin
_NOMINAL = 16  # queries and keys, where a variant is asked whether it has a backward


@torch.library.custom_op("alibi_bench::attention", mutates_args=())
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    key_padding: Tensor | None,
    cu_seqlens: Tensor | None,
    kv_lens: Tensor | None,
    norms: Tensor | None,
    cu_seqlens_k: Tensor | None,
    block_tables: Tensor | None,
    variant: str,
    causal: bool,
    scale: float | None,
    q_offset: int | None,
    window: list[int] | None,
    return_lse: bool,
) -> tuple[Tensor, Tensor]:
    """Return a variant's output, contiguous, and its log-sum-exp, which is empty if not wanted."""
    sequences = Sequences(key_padding, cu_seqlens, kv_lens, norms, cu_seqlens_k, block_tables)
    settings = Settings(causal, scale, q_offset, _pair(window), 0.0, return_lse)
    out, log_sum_exp = answer(check_call(q, k, v, slopes, sequences, settings), variant)
    return out.contiguous(), log_sum_exp.contiguous().clone()


@attention.register_fake
def _shapes(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    sequences = Sequences(*rest[: len(Sequences._fields)])
    _, causal, scale, q_offset, _, return_lse = rest[len(Sequences._fields) :]
    check_kinds(q, k, v)
    check_together(q, k, v, slopes, sequences, scale)
    check_sequences(q, k, sequences, q_offset=q_offset, causal=causal)
    rows = tuple(q.shape[:3])
    log_sum_exp = q.new_empty(rows if return_lse else (0,), dtype=torch.float32)
    return q.new_empty(*rows, v.shape[3]), log_sum_exp


@torch.library.custom_op("alibi_bench::attention_backward", mutates_args=())
def attention_backward(
    d_out: Tensor,
    d_log_sum_exp: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    key_padding: Tensor | None,
    cu_seqlens: Tensor | None,
    kv_lens: Tensor | None,
    norms: Tensor | None,
    cu_seqlens_k: Tensor | None,
    block_tables: Tensor | None,
    variant: str,
    causal: bool,
    scale: float | None,
    q_offset: int | None,
    window: list[int] | None,
    slopes_need_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of q, k, v and the slopes, contiguous; the last is 0 if not wanted."""
    sequences = Sequences(key_padding, cu_seqlens, kv_lens, norms, cu_seqlens_k, block_tables)
    wants_lse = d_log_sum_exp is not None
    settings = Settings(causal, scale, q_offset, _pair(window), 0.0, wants_lse)
    with _recording():
        q, k, v = (tensor.detach().requires_grad_() for tensor in (q, k, v))
        slopes = slopes.detach().requires_grad_(slopes_need_grad)
        results = answer(check_call(q, k, v, slopes, sequences, settings), variant)
        gradients = torch.autograd.grad(
            results[: 1 + wants_lse],
            (q, k, v, slopes)[: 3 + slopes_need_grad],
            (d_out, d_log_sum_exp)[: 1 + wants_lse],
        )
    d_q, d_k, d_v = (gradient.contiguous() for gradient in gradients[:3])
    return d_q, d_k, d_v, gradients[3] if slopes_need_grad else torch.zeros_like(slopes)


attention_backward.register_fake(fake_gradients)


def trace(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor | None,
    sequences: Sequences,
    settings: Settings,
    variant: str,
) -> tuple[Tensor, Tensor]:
    """Return what the operator gives, from code that torch.compile can follow.

    Raises Unsupported for dropout.
    """
    if settings.dropout_p:
        raise Unsupported("dropout_p: not under torch.compile or in an export; call it uncompiled")
    given = (k, v)
    q, k, v = in_autocast_dtype(q, k, v)
    sequences = norms_of_same(sequences, given, (k, v))
    if slopes is None:
        slopes = alibi_slopes(q.shape[1]).to(q.device)
    window = None if settings.window is None else list(settings.window)
    results: tuple[Tensor, Tensor] = attention(
        *(q, k, v, slopes, *sequences, variant, settings.causal, settings.scale),
        *(settings.q_offset, window, settings.return_lse),
    )
    return results


def write_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor | None,
    sequences: Sequences,
    settings: Settings,
) -> tuple[Tensor, Tensor]:
    """Return the formula's answer from plain operations, which ONNX knows, whatever the variant.

    Lengths may be dynamic, but in the exporter by torch.jit.trace, whose sizes are tensors.
    Raises ValueError for tensors that don't fit together.
    """
    check_kinds(q, k, v)
    check_together(q, k, v, slopes, sequences, settings.scale)
    sequences = sequences._replace(norms=None)  # no answer depends on them
    if sequences.block_tables is not None:
        k, v = (gather(part, sequences.block_tables) for part in (k, v))
        sequences = sequences._replace(block_tables=None)
    is_jit = torch._C._get_tracing_state() is not None
    whole: Callable[[Any], Any] = int if is_jit else lambda size: size
    batch, heads, q_len, head_dim = map(whole, q.shape)
    slopes = alibi_slopes(heads).to(q.device) if slopes is None else slopes
    spec = Spec(
        batch=batch,
        heads=heads,
        kv_heads=whole(k.shape[1]),
        q_len=q_len,
        kv_len=whole(k.shape[2]),
        head_dim=head_dim,
        dtype=q.dtype,
        device=q.device,
        scale=head_dim**-0.5 if settings.scale is None else settings.scale,
        causal=settings.causal,
        needs_grad=False,
        extras=extras_of(q, k, v, slopes, sequences, settings),
    )
    return formula.attend(spec, q, k, v, slopes, sequences)


def _pair(window: list[int] | None) -> tuple[int, int] | None:
    return None if window is None else (window[0], window[1])


def _recording() -> ExitStack:
    """Return a context in which autograd records, though an operator runs below autograd."""
    stack = ExitStack()
    included = torch._C._dispatch_tls_local_include_set()
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in _AUTOGRAD_KEYS:
        excluded = excluded.remove(key)
    stack.enter_context(torch._C._ForceDispatchKeyGuard(included, excluded))
    stack.enter_context(torch.enable_grad())
    return stack


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
    """Keep the inputs for the backward. Raises Unsupported for a variant that has none."""
    q, k, v, slopes, *sequences = inputs[:_OPTIONS]
    variant, causal = inputs[_OPTIONS : _OPTIONS + 2]
    spec = Spec(
        batch=1,
        heads=int(q.shape[1]),
        kv_heads=int(k.shape[1]),
        q_len=_NOMINAL,
        kv_len=_NOMINAL,
        head_dim=int(q.shape[3]),
        dtype=q.dtype,
        device=q.device,
        scale=1.0,
        causal=causal,
        needs_grad=any(ctx.needs_input_grad[:3]),
        slopes_need_grad=ctx.needs_input_grad[3],
    )
    attention_for(variant, spec)
    ctx.save_for_backward(q, k, v, slopes, *sequences)
    *ctx.options, ctx.returned_lse = inputs[_OPTIONS:]


def _backward(ctx: Any, d_out: Tensor, d_log_sum_exp: Tensor) -> tuple[Tensor | None, ...]:
    d_lse = d_log_sum_exp if ctx.returned_lse else None
    wants_slopes = ctx.needs_input_grad[3]
    gradients = attention_backward(d_out, d_lse, *ctx.saved_tensors, *ctx.options, wants_slopes)
    d_q, d_k, d_v, d_slopes = gradients
    return d_q, d_k, d_v, d_slopes if wants_slopes else None, *[None] * 12


def _refuse(ctx: Any, *gradients: Tensor) -> None:  # noqa: ARG001
    raise Unsupported(
        "a gradient of gradients, under torch.compile or in an export: call it uncompiled, where "
        "eager has one"
    )


attention.register_autograd(_backward, setup_context=_save)
attention_backward.register_autograd(_refuse)


attention.register_vmap(call_by_entry(attention))
attention_backward.register_vmap(call_by_entry(attention_backward))


def _gradient_operations(d_out: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:  # noqa: ARG001
    return gradient_operations(q, k, v)


register_flop_formula(torch.ops.alibi_bench.attention)(operations)
# torch counts its attention on GPUs alone.
_CPU_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_CPU_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
for _operator, _count in (
    (_CPU_FLASH, operations),
    (_CPU_FLASH_BACKWARD, _gradient_operations),
):
    if _operator not in flop_registry:
        register_flop_formula(_operator)(_count)


@register_flop_formula(torch.ops.alibi_bench.attention_backward)
def _backward_operations(d_out: Any, d_lse: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:  # noqa: ARG001
    """Return those of the gradients, and of the forward, which is computed again."""
    return operations(q, k, v) + gradient_operations(q, k, v)
