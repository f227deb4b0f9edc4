"""Which attention kernels a call ran, read off the profiler outside of timing."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch.autograd.profiler import profile

CPU = torch.device("cpu")
MOST_NAMES = 8
LONGEST_NAME = 120
LEAD_CYCLES = 100_000_000
_FUSED = ("aten::_scaled_dot_product", "aten::_flash", "aten::_efficient", "alibi_bench::")
_PLAIN = frozenset({"aten::bmm", "aten::baddbmm", "aten::mm", "aten::_softmax"})
_TELLING = re.compile(
    r"\w*(?:fmha_|cudnn_|flash_(?:fwd|bwd)|attn|attention|triton_|gemm|gemv|nvjet|softmax)\w*"
    r"(?!\w|::)",
    re.IGNORECASE,
)
"""The word of a device kernel's name that says whose it is.

fmha_ is SDPA's efficient backend, cudnn_ its cuDNN and flash_ its flash backend, triton_ what
inductor made (flex, compile); the math backend and eager are a matrix product (gemm, gemv, nvjet)
and a softmax. A namespace is no such word.
"""


def attention_kernels(call: Callable[[], object], device: torch.device = CPU) -> list[str]:
    """Return the names of the attention kernels in one call, in order, each once.

    On a CPU they are fused attention operators, torch's and ours, or else products and softmax, and
    then what inductor made (cpp_...). On CUDA they are the device's kernels. At most 8 names of at
    most 120 characters.
    """
    if device.type == "cuda":
        return device_kernel_names(_device_kernels(call, device))
    return _few_and_short(_on_cpu(call))


def device_kernel_names(names: Iterable[str]) -> list[str]:
    """Return what tells attention kernels apart in the names of device kernels.

    Template and call arguments, namespaces and kernels that only move or add are left out. In
    order, each once, at most 8 names of at most 120 characters.
    """
    found = (_TELLING.search(name) for name in names)
    return _few_and_short(match.group() for match in found if match)


def _few_and_short(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name[:LONGEST_NAME] for name in names))[:MOST_NAMES]


def _on_cpu(call: Callable[[], object]) -> list[str]:
    generated: list[str] = []
    with _watching(generated), profile(use_kineto=False) as seen:
        call()
    names = [event.name for event in seen.function_events or []]
    operators = [name for name in names if name.startswith(_FUSED)] or [
        name for name in names if name in _PLAIN
    ]
    return [re.sub("^aten::_?", "", name) for name in operators] + generated


@contextmanager
def _watching(generated: list[str]) -> Iterator[None]:
    """Collect the kernels that inductor's graphs call in this thread; its profiler omits them.

    A generated module has one function `call`, which names its kernels as globals.
    """

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "call":
            generated.extend(name for name in frame.f_code.co_names if name.startswith("cpp_"))

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        yield
    finally:
        sys.setprofile(before)


def _device_kernels(call: Callable[[], object], device: torch.device) -> list[str]:
    """Return the names of all that ran on the device, in order. Not seen on a GPU yet.

    A spin goes first: CUPTI before CUDA 13.1 loses what runs at a session's start.
    """
    torch.cuda.synchronize(device)
    # acc_events is for several cycles, but without it torch 2.11 warns where there is one too.
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
    ) as seen:
        torch.cuda._sleep(LEAD_CYCLES)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        call()
        torch.cuda.synchronize(device)
    return [event.name for event in seen.events() or [] if event.device_type.name == "CUDA"]
