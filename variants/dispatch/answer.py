"""A checked call answered by a variant, whose prepared attention is cached for the next call."""

import importlib
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from variants.batches.pages import from_pages
from variants.batches.sequences import GeneralAttention, Sequences
from variants.catalog import CATALOG, Variant
from variants.dispatch.call import Call
from variants.dispatch.prepared_cache import PreparedCache
from variants.first_order import first_order, no_forward_derivative
from variants.problem import DENSE, Attention, Spec, Unsupported
from variants.tracing import has_tangent, is_traced

PREPARED_AT_MOST, BYTES_AT_MOST = 128, 1 << 30
_LOG = logging.getLogger("alibi_bench")
_CACHE = PreparedCache(PREPARED_AT_MOST, BYTES_AT_MOST)
_BY_NAME = {variant.name: variant for variant in CATALOG if variant.answers == "alibi"}


def check_name(variant: str) -> None:
    """Raise ValueError for a name that no ALiBi variant of the catalog has."""
    if variant not in _BY_NAME:
        raise ValueError(f"variant {variant!r}: there are {', '.join(_BY_NAME)}")


def answer(call: Call, variant: str) -> tuple[Tensor, Tensor]:
    """Return the output, and the log-sum-exp if the call wants it; else that is empty.

    Raises Unsupported where the variant declines, and in a forked process that would wait for ever.
    """
    kind = call.q.device.type
    if kind == "cpu":
        _refuse_after_fork()
    with ExitStack() as stack:
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch._C._len_torch_function_stack():
            stack.enter_context(call.q.device)  # a default device must not move what is prepared
        check_derivative(variant, call.q, call.k, call.v, call.slopes)
        attention = attention_for(variant, call.spec)
        if call.spec.extras == DENSE:
            return attention(call.q, call.k, call.v, call.slopes), _NOTHING
        general: tuple[Tensor, Tensor] = attention(
            call.q, call.k, call.v, call.slopes, call.sequences
        )
        return general


def check_derivative(variant: str, *tensors: Tensor) -> None:
    """Raise Unsupported where a forward-mode derivative is wanted of a variant that has none."""
    if variant not in _FORWARD_MODE and has_tangent(*tensors):
        raise no_forward_derivative(variant)


_FORWARD_MODE = {"eager", "auto"}  # auto asks each variant that it tries
_NOTHING = torch.empty(0)
_past_uses: set[str] = set()  # "here", and "before the fork" in a process that was forked later


def _refuse_after_fork() -> None:
    """Raise Unsupported in a child that lacks the threads which its parent had when it forked."""
    if "before the fork" in _past_uses and torch.get_num_threads() > 1:
        raise Unsupported(
            "this process was forked after its parent had computed, and would wait for threads "
            "that it does not have: call torch.set_num_threads(1) in it, or start it by spawn"
        )
    _past_uses.add("here")


def _note_fork() -> None:
    if "here" in _past_uses:
        _past_uses.add("before the fork")


os.register_at_fork(after_in_child=_note_fork)


def attention_for(variant: str, spec: Spec) -> Callable[..., Any]:
    """Return a variant's attention for a spec, cached where torch traces nothing."""
    if is_traced():
        return _prepare(_BY_NAME[variant], spec)
    return _CACHE.get(variant, spec, lambda: _prepare(_BY_NAME[variant], spec))


def prepare_for(entry: Variant, spec: Spec) -> Callable[..., Any]:
    """Return a variant's Attention for a dense batch, else its GeneralAttention.

    Raises Unsupported where the variant declines, or takes dense batches alone.
    """
    module = importlib.import_module(entry.module)
    if spec.extras.norms and not getattr(module, "READS_NORMS", False):
        return _without_norms(entry, spec)
    if spec.extras.page_size is not None and not getattr(module, "READS_PAGES", False):
        return from_pages(partial(prepare_for, entry), spec)
    if spec.extras == DENSE:
        return _for_backward(entry, spec, module.prepare(spec, **entry.options))
    if not hasattr(module, "prepare_general"):
        wanted = ", ".join(spec.extras.names)
        raise Unsupported(
            f"{entry.name} takes no {wanted}; eager, sdpa_mask, flex and native_window take all"
        )
    return _for_backward(entry, spec, module.prepare_general(spec, **entry.options))


def _without_norms(entry: Variant, spec: Spec) -> GeneralAttention:
    """Return the attention of a variant that has no use for norms."""
    plain = replace(spec, extras=replace(spec.extras, norms=False))
    attention = prepare_for(entry, plain)
    if plain.extras != DENSE:
        return attention

    def general(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, _: Sequences) -> Any:
        return attention(q, k, v, slopes), _NOTHING

    return general


def _for_backward(
    entry: Variant, spec: Spec, attention: Attention | GeneralAttention
) -> Callable[..., Any]:
    has_second = entry.second_gradients == "always" or (
        entry.second_gradients == "learned slopes"
        and spec.slopes_need_grad
        and spec.device.type == "cpu"
    )
    learns = spec.needs_grad or spec.slopes_need_grad
    return first_order(attention, entry.name) if learns and not has_second else attention


def _prepare(entry: Variant, spec: Spec) -> Callable[..., Any]:
    if spec.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise Unsupported(
            f"{entry.name} would build and compile for a new shape inside a CUDA graph's capture; "
            "call it once with such tensors before"
        )
    attention = prepare_for(entry, spec)
    say_once(entry.name, str(spec.dtype).removeprefix("torch."))
    return attention


@cache
def say_once(name: str, dtype: str) -> None:
    """Log what a user of this variant may not expect: that it compiles, or loses digits."""
    if _BY_NAME[name].builds:
        _LOG.info("%s compiles a graph for each new shape, which takes seconds", name)
    if dtype in _BY_NAME[name].disagrees_in:
        most, reason = _BY_NAME[name].disagrees_in[dtype]
        _LOG.warning("%s in %s is off by up to %g: %s", name, dtype, most, reason)
