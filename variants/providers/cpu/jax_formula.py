"""jax: the formula in JAX, compiled by XLA for the processor.

For: seeing what the plain formula costs where a model is in JAX.
Not for: gradients, long sequences: scores have heads x q_len x kv_len numbers.

Bias: the caller's slopes times the relative distance, made inside of the compiled function in
float32, as the scores are. Each length is compiled anew. Arrays pass by dlpack; those that are not
contiguous are copied. Source: the definition in arXiv 2108.12409; JAX 0.10.
"""

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package

_INSTALL = "pip install jax"
_ABILITIES = Abilities(
    "the JAX formula", dtypes=("float32", "bfloat16", "float16"), bidirectional=True
)


@cache
def _formula(scale: float, causal: bool) -> Any:
    """Return the formula, which jit compiles at the first call of each shape."""
    jax = package("jax", _INSTALL)
    numpy = jax.numpy

    def formula(q: Any, k: Any, v: Any, slopes: Any) -> Any:
        groups, (q_len, kv_len) = q.shape[1] // k.shape[1], (q.shape[2], k.shape[2])
        k, v = (numpy.repeat(each, groups, axis=1) for each in (k, v))
        scores = numpy.einsum("bhid,bhjd->bhij", q, k, preferred_element_type=numpy.float32)
        distance = numpy.arange(kv_len)[None] - numpy.arange(kv_len - q_len, kv_len)[:, None]
        scores = scores * scale - slopes[:, None, None] * numpy.abs(distance)
        if causal:
            scores = numpy.where(distance > 0, -numpy.inf, scores)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return numpy.einsum("bhij,bhjd->bhid", weights, v)

    return jax.jit(formula)


def prepare(spec: Spec) -> Attention:
    """Return the formula as a function of torch's tensors."""
    _ABILITIES.decline(spec)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax = package("jax", _INSTALL)
    formula = _formula(spec.scale, spec.causal)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        arrays = (jax.dlpack.from_dlpack(each.contiguous()) for each in (q, k, v, slopes))
        return torch.utils.dlpack.from_dlpack(formula(*arrays).block_until_ready())

    return attention
