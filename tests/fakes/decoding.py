"""A variant that is wrong at one length, or compiles a graph for every length."""

from functools import partial

from torch import Tensor

from variants.compiled.torch_compile import compile_alone
from variants.problem import Attention, Spec
from variants.reference import attend


def prepare(spec: Spec, kind: str = "plain", wrong_at: str = "0") -> Attention:
    """Return the formula; `wrong_at` a kv_len its last key is dropped."""
    formula = partial(attend, scale=spec.scale, causal=spec.causal)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if spec.kv_len == int(wrong_at):
            k, v = k.clone(), v.clone()
            v[:, :, -1] = 0
        return formula(q, k, v, slopes)

    return compile_alone(attention, spec.device) if kind == "compiling" else attention
