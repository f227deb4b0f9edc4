"""Weighing: the memory that a call allocates at most and that a variant keeps, in untimed calls."""

import ctypes
import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.profiler import profile

from suite.memory.held_tensors import storages

REPEAT_FOR_S = 0.05
"""How long a call repeats on CUDA, so that the parent's polls of NVML fall into it."""

_RESET_PEAK = "5"


@dataclass(frozen=True)
class Weight:
    """Bytes of one call.

    `peak_bytes` is the most that was allocated at once, less what was allocated before the call.
    `persistent_bytes` is what the variant keeps between calls: masks, block masks, workspaces.
    `resident_bytes` is the growth of the resident set, and None on CUDA. `reserved_bytes` is what
    CUDA's allocator holds, and None on a CPU.
    """

    peak_bytes: int
    persistent_bytes: int
    resident_bytes: int | None
    reserved_bytes: int | None


def weigh_on_cpu(call: Callable[[], object], owner: object, inputs: Sequence[Tensor]) -> Weight:
    """Weigh one untimed call of a variant that keeps its tensors in the callable `owner`."""
    return Weight(
        peak_bytes=peak_of_events(_allocations(call)),
        persistent_bytes=sum(storages(owner, inputs).values()),
        resident_bytes=_resident_growth(call),
        reserved_bytes=None,
    )


def weigh_on_cuda(call: Callable[[], object], bytes_before: int, device: torch.device) -> Weight:
    """Weigh one untimed call, then repeat it for 50 ms, so that NVML's polls fall into it.

    `bytes_before` was allocated before the variant prepared. The variant keeps whatever is
    allocated beyond that after a call.
    """
    call()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.synchronize(device)
    base = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = call()
    torch.cuda.synchronize(device)
    del result
    weight = Weight(
        peak_bytes=torch.cuda.max_memory_allocated(device) - base,
        persistent_bytes=max(0, base - bytes_before),
        resident_bytes=None,
        reserved_bytes=torch.cuda.memory_reserved(device),
    )
    end = time.monotonic() + REPEAT_FOR_S
    while time.monotonic() < end:
        call()
        torch.cuda.synchronize(device)
    return weight


def allocated_bytes(device: torch.device) -> int:
    """Return the bytes that torch's allocator has given out on a GPU; 0 on a CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def peak_of_events(sizes: Iterable[int]) -> int:
    """Return the highest running sum of allocations (positive) and frees (negative)."""
    level = peak = 0
    for size in sizes:
        level += size
        peak = max(peak, level)
    return peak


def _allocations(call: Callable[[], object]) -> list[int]:
    gc.collect()
    with profile(use_kineto=True, profile_memory=True) as profiler:
        result = call()
    del result
    events = profiler.kineto_results.events()
    return [event.nbytes() for event in events if event.name() == "[memory]"]


def _resident_growth(call: Callable[[], object]) -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(f"/proc/self/status has no {field}")
