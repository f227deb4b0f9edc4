"""Which attention kernels a call ran, read off the profiler outside of timing."""

from collections.abc import Callable

from torch.autograd.profiler import profile


def of(call: Callable[[], object]) -> list[str]:
    """Return the names of torch's fused attention operators in one call, in order, each once.

    Empty where the attention is no operator of torch's own (a compiled or a plain graph).
    """
    with profile(use_kineto=False) as seen:
        call()
    names = dict.fromkeys(event.name for event in seen.function_events or [])
    return [
        name.removeprefix("aten::_")
        for name in names
        if name.startswith(("aten::_scaled_dot_product", "aten::_flash", "aten::_efficient"))
    ]
