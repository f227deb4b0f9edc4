"""alibi_attention: one function that runs any variant of the catalog, for a model's own code."""

import importlib
import logging
from contextlib import ExitStack
from functools import cache, lru_cache

import torch
from torch import Tensor

from variants.catalog import CATALOG, Variant
from variants.dispatch import auto
from variants.dispatch.arguments import check_fit, check_kinds, check_scale, check_slopes
from variants.dispatch.prepared_cache import PreparedCache
from variants.problem import Attention, Spec, Unsupported, alibi_slopes
from variants.tracing import is_traced

PREPARED_AT_MOST, BYTES_AT_MOST = 128, 1 << 30
_LOG = logging.getLogger("alibi_bench")
_CACHE = PreparedCache(PREPARED_AT_MOST, BYTES_AT_MOST)
_BY_NAME = {variant.name: variant for variant in CATALOG if variant.answers == "alibi"}


@torch.compiler.disable  # type: ignore[untyped-decorator]
def alibi_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
    variant: str = "auto",
) -> Tensor:
    """Return softmax(scale * q k^T - slope |i - j|) v: [batch, heads, q_len, head_dim], like q.

    q is [batch, heads, q_len, head_dim]; k and v are [batch, kv_heads, kv_len, head_dim]. All three
    are float32, bfloat16 or float16, on one device. Query row r stands at position
    r + kv_len - q_len. `slopes` is [heads], positive float32; the default is the standard rule for
    that head count (variants.problem.alibi_slopes). `scale` is positive; the default is
    1 / sqrt(head_dim). `variant` is an ALiBi variant of the catalog. "auto" picks the one that was
    measured to be fastest for this shape on this device (variants.dispatch.auto).

    Prepared attention is cached for the 128 most recent shapes, up to 1 GiB; the newest is always
    kept. Slopes may be changed in place between calls. On CUDA do not change slopes through
    `.data`: the change can't be seen, and the old mask would be used.

    Under autocast q, k and v are cast to autocast's dtype, as in torch's own attention. Under
    torch.compile the call is a graph break; variants that need a compiler call it themselves. A
    CUDA graph can capture the call if a call for the same shape, dtype and settings was made
    before the capture. Nothing that is made under a trace or a transform of torch is cached.

    Raises ValueError for tensors that don't fit together. Raises variants.problem.Unsupported where
    the variant can't do this; the text says what would help.
    """
    q, k, v, slopes = _check_and_cast(q, k, v, slopes, causal, scale)
    _check_name(variant)
    with ExitStack() as stack:
        if torch.is_autocast_enabled(q.device.type):
            stack.enter_context(torch.autocast(q.device.type, enabled=False))
        if torch._C._len_torch_function_stack():
            stack.enter_context(q.device)  # a default device must not move what is prepared
        attention = _attention_for(variant, _spec(q, k, v, slopes, causal, scale))
        return attention(q, k, v, slopes)


def variant_for(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    slopes: Tensor | None = None,
    causal: bool = True,
    scale: float | None = None,
) -> str:
    """Return the name of the variant that `alibi_attention` uses for such tensors under "auto".

    It is the variant that took the last call for such a shape. Before the first call it is the one
    that will be tried first. Takes the arguments of `alibi_attention` but `variant`, and raises the
    same errors.
    """
    q, k, v, slopes = _check_and_cast(q, k, v, slopes, causal, scale)
    return auto.choice(_spec(q, k, v, slopes, causal, scale))


def _check_and_cast(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor | None, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q, k and v in autocast's dtype, and the slopes; raise ValueError if they don't fit."""
    check_kinds(q, k, v)
    kind = q.device.type
    if torch.is_autocast_enabled(kind):
        autocast_dtype = torch.get_autocast_dtype(kind)
        q, k, v = q.to(autocast_dtype), k.to(autocast_dtype), v.to(autocast_dtype)
    check_fit(q, k, v, causal=causal)
    check_scale(scale)
    if slopes is None:
        make_slopes = _standard_slopes.__wrapped__ if is_traced() else _standard_slopes
        return q, k, v, make_slopes(int(q.shape[1]), q.device)
    check_slopes(slopes, q.shape[1], q.device)
    return q, k, v, slopes


def _spec(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, causal: bool, scale: float | None
) -> Spec:
    grad_enabled = torch.is_grad_enabled()
    batch, heads, q_len, head_dim = map(int, q.shape)  # torch.jit.trace has tensors for sizes
    kv_heads, kv_len = map(int, k.shape[1:3])
    return Spec(
        batch=batch,
        heads=heads,
        kv_heads=kv_heads,
        q_len=q_len,
        kv_len=kv_len,
        head_dim=head_dim,
        dtype=q.dtype,
        device=q.device,
        scale=head_dim**-0.5 if scale is None else float(scale),
        causal=causal,
        needs_grad=grad_enabled and any(tensor.requires_grad for tensor in (q, k, v)),
        slopes_need_grad=grad_enabled and slopes.requires_grad,
        layout="bhnd" if q.stride(1) >= q.stride(2) else "bnhd",
    )


def _attention_for(variant: str, spec: Spec) -> Attention:
    if is_traced():
        return _prepare(_BY_NAME[variant], spec)
    return _CACHE.get(variant, spec, lambda: _prepare(_BY_NAME[variant], spec))


def _prepare(entry: Variant, spec: Spec) -> Attention:
    if spec.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise Unsupported(
            f"{entry.name} would build and compile for a new shape inside a CUDA graph's capture; "
            "call it once with such tensors before"
        )
    attention: Attention = importlib.import_module(entry.module).prepare(spec, **entry.options)
    _say_once(entry.name, str(spec.dtype).removeprefix("torch."))
    return attention


@cache
def _say_once(name: str, dtype: str) -> None:
    """Log what a user of this variant may not expect: that it compiles, or loses digits."""
    if _BY_NAME[name].builds:
        _LOG.info("%s compiles a graph for each new shape, which takes seconds", name)
    if dtype in _BY_NAME[name].disagrees_in:
        most, reason = _BY_NAME[name].disagrees_in[dtype]
        _LOG.warning("%s in %s is off by up to %g: %s", name, dtype, most, reason)


@lru_cache(maxsize=PREPARED_AT_MOST)
def _standard_slopes(heads: int, device: torch.device) -> Tensor:
    # The cached tensor outlives the call, so the caller's grad and inference modes must not apply.
    with torch.inference_mode(mode=False), torch.no_grad(), torch.device("cpu"):
        return alibi_slopes(heads).to(device)


def _check_name(variant: str) -> None:
    if variant not in _BY_NAME:
        raise ValueError(f"variant {variant!r}: there are {', '.join(_BY_NAME)}")
