"""The right answer, until the environment variable PLANTED says where and how to go wrong.

PLANTED is JSON: {variant: {q_len: [one of MOMENTS, one of KINDS]}}.
"""

import json
import os
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tests.fakes.lane import Fate
from variants.problem import Attention, Spec, Unsupported
from variants.reference import attend

MOMENTS = ("prepare", "first call", "check", "turns", "after")
MORE_THAN_CAN_BE_ADDRESSED = 1 << 46
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
    return {1: "first call", 2: "check", 3: "check"}.get(calls, "turns")


def go_wrong(kind: str) -> None:
    """Do what `kind` says; where it ends or hangs, by the hand of `meet`."""
    match kind:
        case "raise":
            raise RuntimeError("this variant raises on demand")
        case "unsupported":
            raise Unsupported("this variant declines on demand")
        case "memory":
            torch.empty(MORE_THAN_CAN_BE_ADDRESSED)
        case "kernel":
            Path(os.environ["MEMORY_CGROUP"], "cgroup.procs").write_text(str(os.getpid()))
            torch.ones(1 << 30)
        case _:
            meet(Fate(kind))


def meet(fate: Fate) -> None:
    """Let this process meet its fate; the file HUNG is made before it hangs."""
    if fate.kind == "hang" and "HUNG" in os.environ:
        Path(os.environ["HUNG"]).touch()
    fate.meet()
