"""compile: torch.compile of eager, so that inductor may fuse bias, mask and softmax.

For: what torch.compile makes of the formula by itself.
Not for: speed in most shapes; each new shape compiles for seconds.

Stores a compiled graph for each shape. Scores still pass through memory between the two matrix
products, but bias and mask need not. Pairs above the diagonal are computed too. `search autotune`
times several kernels for the products at compile time (torch's max-autotune, but without CUDA
graphs, whose replays would leave the host's time out of a call's time). `lengths dynamic` compiles
one graph for all lengths and shares it in the process; torch makes further graphs, also for all
lengths, for a single query, a chunk and a view of a cache. Source: the same formula as eager.
"""

from dataclasses import replace
from functools import cache, partial
from typing import cast

from variants.batches import formula
from variants.batches.ragged import ragged
from variants.batches.sequences import GeneralAttention
from variants.compiled.torch_compile import compile_alone
from variants.plain import eager
from variants.problem import Attention, Spec, Unsupported


def prepare(spec: Spec, search: str = "none", lengths: str = "static") -> Attention:
    """Return eager's attention compiled; the graph is built at the first call that needs it."""
    if lengths == "dynamic":
        if spec.seq_lens:
            return ragged(partial(prepare, search=search, lengths=lengths), spec)
        return _any_length(replace(spec, q_len=0, kv_len=0), search)
    return _graph(spec, search, dynamic=False)


@cache
def _any_length(spec: Spec, search: str) -> Attention:
    return _graph(spec, search, dynamic=True)


def _graph(spec: Spec, search: str, *, dynamic: bool) -> Attention:
    attention = eager.prepare(spec)

    def formula(q, k, v, slopes):  # type: ignore[no-untyped-def]
        return attention(q, k, v, slopes)

    mode = "max-autotune-no-cudagraphs" if search == "autotune" else None
    return compile_alone(formula, spec.device, dynamic=dynamic, mode=mode)


def prepare_general(spec: Spec, search: str = "none", lengths: str = "static") -> GeneralAttention:
    """Return eager's general attention compiled, a graph for each shape."""
    if lengths == "dynamic":
        raise Unsupported(
            f"{', '.join(spec.extras.names)}: compile takes it, a graph for each shape"
        )

    def general_formula(q, k, v, slopes, sequences):  # type: ignore[no-untyped-def]
        return formula.attend(spec, q, k, v, slopes, sequences)

    mode = "max-autotune-no-cudagraphs" if search == "autotune" else None
    return cast(GeneralAttention, compile_alone(general_formula, spec.device, mode=mode))
