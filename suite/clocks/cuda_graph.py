"""Capture a call in a CUDA graph, so that the host needs almost no time to replay it."""

from collections.abc import Callable
from functools import cache

import torch

WARM_CALLS = 3


def capture(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return the replay of `call`'s work on the device.

    Raises RuntimeError when the call can't be captured, because it waits for the device or
    allocates outside torch. The process must then not be used any further.
    """
    stream = _capture_stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_CALLS):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        call()
    return graph.replay


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream for all captures: cuBLAS keeps a workspace for every stream it has used."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
