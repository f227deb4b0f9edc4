"""An implementation as the atlas asks it: a function of q, k, v and slopes for any shape."""

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from suite.agreement.inputs import PrepareFunction
from suite.atlas.findings import Edition
from variants.catalog import RACED, Variant
from variants.problem import Attention, Extras, Spec, Unsupported
from variants.reference import attend

PADDING = 9
"""How many places of a padded batch are padding."""
HEAD_DIM = 64
"""Also the most keys whose weights one call shows: v has a column a key."""


def prepare_of(variant: str, edition: Edition) -> PrepareFunction | None:
    """Return how a variant is prepared, as raced or as shipped; None if both are the same.

    A provider's module has `shipped(spec)` where what is raced translates or declines something.
    """
    line, module = _line_and_module(variant)
    if edition == "raced":
        prepare = partial(module.prepare, **line.options)
        keep_cache = getattr(module, "keep_cache", None)
        return prepare if keep_cache is None else partial(_with_cache, prepare, keep_cache)
    shipped: PrepareFunction | None = getattr(module, "shipped", None)
    return shipped and partial(shipped, **line.options)


def _line_and_module(variant: str) -> tuple[Variant, Any]:
    line = next(each for each in RACED if each.name == variant)
    return line, importlib.import_module(line.module)


def _with_cache(
    prepare: PrepareFunction, keep_cache: Callable[[Tensor, Tensor], None], spec: Spec
) -> Attention:
    """Return attention that hands its cache over before each call."""
    attention = prepare(spec)

    def call(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        keep_cache(k, v)
        return attention(q, k, v, slopes)

    return call


def spec_of(**changes: Any) -> Spec:
    """Return a spec of 8 heads of 64 in float32 on the CPU, causal, with these fields changed."""
    fields: dict[str, Any] = {
        "batch": 1,
        "heads": 8,
        "kv_heads": changes.get("heads", 8),
        "q_len": 48,
        "kv_len": 48,
        "head_dim": HEAD_DIM,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "scale": HEAD_DIM**-0.5,
        "causal": True,
        "needs_grad": False,
    }
    return Spec(**fields | changes)


def log_weights(prepare: PrepareFunction, spec: Spec, slopes: Tensor) -> Tensor:
    """Return the logarithms of the weights of queries and keys that are zero.

    [heads, q_len, kv_len] float64; kv_len is at most HEAD_DIM. With a value of one-hot columns an
    output is its row's weights, and with scores of 0 the weights are those of the bias alone.
    """
    q = torch.zeros(spec.batch, spec.heads, spec.q_len, HEAD_DIM, dtype=spec.dtype)
    k = torch.zeros(spec.batch, spec.kv_heads, spec.kv_len, HEAD_DIM, dtype=spec.dtype)
    v = torch.eye(spec.kv_len, HEAD_DIM, dtype=spec.dtype).expand_as(k).contiguous()
    with torch.no_grad():
        out = prepare(spec)(q, k, v, slopes)
    return out[0, :, :, : spec.kv_len].double().log()


def relative_error(prepare: PrepareFunction, spec: Spec, slopes: Tensor) -> float:
    """Return the relative L2 error on random inputs against the formula in float64."""
    q, k, v = _random(spec)
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=spec.causal)
    with torch.no_grad():
        out = prepare(spec)(q, k, v, slopes)
    return float((out.double() - exact).norm() / exact.norm())


def padded_error(variant: str, slopes: Tensor) -> float:
    """Return the relative L2 error of real rows in a batch padded at the left.

    Padding holds NaN. Raises Unsupported for a variant without key_padding.
    """
    line, module = _line_and_module(variant)
    if not hasattr(module, "prepare_general"):
        raise Unsupported("takes no key_padding")
    sequences = importlib.import_module("variants.batches.sequences").Sequences
    spec = spec_of(extras=Extras(sequences="key_padding"))
    q, k, v = _random(spec)
    real_q, real_k, real_v = (each[:, :, PADDING:].double() for each in (q, k, v))
    exact = attend(real_q, real_k, real_v, slopes, scale=spec.scale, causal=True)
    is_padding = torch.arange(spec.kv_len)[None] < PADDING
    for tensor in (q, k, v):
        tensor.masked_fill_(is_padding[:, None, :, None], float("nan"))
    general = module.prepare_general(spec, **line.options)
    with torch.no_grad():
        out = general(q, k, v, slopes, sequences(key_padding=is_padding))[0][:, :, PADDING:]
    return float((out.double() - exact).norm() / exact.norm())


def gradient_error(prepare: PrepareFunction, slopes: Tensor, *, of_slopes: bool) -> float:
    """Return the relative L2 error of the gradients of q, k and v, or of the slopes."""
    spec = spec_of(needs_grad=True, slopes_need_grad=of_slopes)
    q, k, v = (each.requires_grad_() for each in _random(spec))
    slopes = slopes.clone().requires_grad_(of_slopes)
    dout = torch.randn(q.shape, generator=torch.Generator().manual_seed(2))
    found = torch.autograd.grad(
        prepare(spec)(q, k, v, slopes), [slopes] if of_slopes else [q, k, v], dout
    )
    exact = [each.detach().double().requires_grad_() for each in (q, k, v, slopes)]
    out = attend(exact[0], exact[1], exact[2], exact[3], scale=spec.scale, causal=True)
    right = torch.autograd.grad(out, exact[3:] if of_slopes else exact[:3], dout.double())
    pairs = list(zip(found, right, strict=True))
    off = sum(float((each - other).square().sum()) for each, other in pairs)
    return math.sqrt(off / sum(float(other.square().sum()) for _, other in pairs))


def _random(spec: Spec) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(heads: int, length: int) -> Tensor:
        shape = spec.batch, heads, length, spec.head_dim
        return torch.randn(shape, generator=generator).to(spec.dtype)

    return (
        draw(spec.heads, spec.q_len),
        draw(spec.kv_heads, spec.kv_len),
        draw(spec.kv_heads, spec.kv_len),
    )
