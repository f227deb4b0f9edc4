"""The right answer, until the environment variable PLANTED says where and how to go wrong.

PLANTED is JSON: {variant: {q_len: [one of MOMENTS, one of KINDS]}}.
"""

import json
import os
import resource
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from variants.problem import Attention, Spec, Unsupported
from variants.reference import attend

MOMENTS = ("prepare", "first call", "check", "turns", "after")
KINDS = ("SIGKILL", "SIGSEGV", "exit", "hang", "raise", "memory", "kernel", "unsupported", "nan")


def prepare_as(name: str, spec: Spec) -> Attention:
    """Prepare the variant `name`: the formula, with the fault that is planned for it."""
    planted = json.loads(os.environ.get("PLANTED", "{}"))
    moment, kind = planted.get(name, {}).get(str(spec.q_len), (None, None))
    if moment == "prepare":
        go_wrong(kind)
    right = partial(attend, scale=spec.scale, causal=spec.causal)
    calls = 0

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if moment == moment_of(calls, slopes):
            if kind == "nan":
                return torch.full_like(q, float("nan"))
            go_wrong(kind)
        return right(q, k, v, slopes)

    return attention


def moment_of(calls: int, slopes: Tensor) -> str:
    """Return which step a call belongs to; fresh inputs have their slopes in reverse."""
    if slopes[0] < slopes[-1]:
        return "after"
    return {1: "first call", 2: "check"}.get(calls, "turns")


def go_wrong(kind: str) -> Any:
    """Do what `kind` says."""
    match kind:
        case "SIGKILL" | "SIGSEGV":
            os.kill(os.getpid(), signal.Signals[kind])
        case "exit":
            os._exit(7)
        case "hang":
            time.sleep(3600)
        case "raise":
            raise RuntimeError("this variant raises on demand")
        case "unsupported":
            raise Unsupported("this variant declines on demand")
        case "memory":
            in_use = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (in_use + (64 << 20), resource.RLIM_INFINITY))
            torch.empty(1 << 30)
        case "kernel":
            Path(os.environ["MEMORY_CGROUP"], "cgroup.procs").write_text(str(os.getpid()))
            torch.ones(1 << 30)
