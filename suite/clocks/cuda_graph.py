"""A call captured in a CUDA graph, so that replaying it costs the host next to nothing."""

from collections.abc import Callable
from functools import cache

import torch

WARM_CALLS = 3


def capture(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return the replay of `call`'s work on the device.

    Raises RuntimeError when the call can't be captured (it waits for the device, or allocates
    outside torch); the process is then not to be used any further.
    """
    aside = _aside(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_CALLS):
            call()
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=aside):
        call()
    return graph.replay


@cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream for captures, because cuBLAS keeps a workspace for each it has met."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
