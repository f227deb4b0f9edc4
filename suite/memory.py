"""Memory of a call, apart from its time: what it allocates at most, and what a variant keeps."""

import ctypes
import gc
import time
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import profile

SEEN_FOR_S = 0.05
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Weight:
    """Bytes of one call.

    `peak_bytes` is the most that was allocated at once over what was there before the call,
    `persistent_bytes` what the variant keeps between calls (masks, block masks, workspaces).
    `resident_bytes` is the growth of the resident set on the CPU, `reserved_bytes` what CUDA's
    allocator holds; each is None on the other device.
    """

    peak_bytes: int
    persistent_bytes: int
    resident_bytes: int | None
    reserved_bytes: int | None


def weigh_on_cpu(call: Callable[[], object], kept_by: object, inputs: Sequence[Tensor]) -> Weight:
    """Weigh one untimed call of a variant whose tensors hang on `kept_by`."""
    return Weight(
        peak_bytes=peak_of_events(_allocations(call)),
        persistent_bytes=sum(storages(kept_by, inputs).values()),
        resident_bytes=_resident_growth(call),
        reserved_bytes=None,
    )


def weigh_on_cuda(call: Callable[[], object], bytes_before: int, device: torch.device) -> Weight:
    """Weigh one untimed call, then repeat it for a while, so that NVML's readers can see it.

    `bytes_before` was allocated before the variant prepared; what is more after a call it keeps.
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
    end = time.monotonic() + SEEN_FOR_S
    while time.monotonic() < end:
        call()
        torch.cuda.synchronize(device)
    return weight


def allocated_bytes(device: torch.device) -> int:
    """Return what torch's allocator has given out on a GPU; 0 on the CPU, which has none."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def peak_of_events(sizes: Iterable[int]) -> int:
    """Return the highest running sum of allocations (positive) and frees (negative)."""
    level = peak = 0
    for size in sizes:
        level += size
        peak = max(peak, level)
    return peak


def storages(root: object, apart_from: Sequence[Tensor] = ()) -> dict[int, int]:
    """Return the size by address of every tensor storage that a callable holds on to.

    Follows closures, bound arguments, containers and attributes, and no module or global.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            if storage.data_ptr() not in known:
                found[storage.data_ptr()] = storage.nbytes()
        else:
            waiting += _held_by(item)
    return found


def _held_by(item: Any) -> Iterable[Any]:
    if isinstance(item, types.FunctionType):
        cells = [cell.cell_contents for cell in item.__closure__ or () if _is_filled(cell)]
        return [*cells, *(item.__defaults__ or ()), *vars(item).values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, type | types.ModuleType | str | bytes | int | float):
        return []
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    bound = [getattr(item, name, None) for name in ("func", "args", "keywords")]
    return [*bound, *getattr(item, "__dict__", {}).values()]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _allocations(call: Callable[[], object]) -> list[int]:
    gc.collect()
    with profile(use_kineto=True, profile_memory=True) as seen:
        result = call()
    del result
    events = seen.kineto_results.events()
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
