"""What `auto` asks: a spec as the problem that selections know, and as a command to measure it."""

import math

import torch

from variants.problem import Spec
from variants.selection import Dtype, Problem

_DTYPES: dict[torch.dtype, Dtype] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
_STEP = 16  # so few queries over a longer cache are a step of decode, more are a chunk


def problem_of(spec: Spec) -> Problem:
    """Return a spec as a problem; slopes and numbers, which it doesn't know, are the usual ones."""
    longest = max(spec.seq_lens, default=0)
    q_len, kv_len = longest or spec.q_len, longest or spec.kv_len
    a_step = spec.causal and q_len < kv_len and q_len < _STEP
    return Problem(
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        q_len=q_len,
        kv_len=kv_len,
        dtype=_DTYPES[spec.dtype],
        mode="backward"
        if spec.needs_grad or spec.slopes_need_grad
        else "decode"
        if a_step
        else "forward",
        batch=len(spec.seq_lens) or spec.batch,
        causal=spec.causal,
        layout="bnhd" if spec.layout == "bnhd" else "bhnd",
        scale="1/d" if math.isclose(spec.scale, 1 / spec.head_dim) else "1/sqrt(d)",
    )


def command(problem: Problem, device: str) -> str:
    """Return the command line that measures a problem on a device and chooses for it."""
    options = {
        "--device": device,
        "--modes": problem.mode,
        "--dtypes": problem.dtype,
        "--lengths": problem.kv_len,
        "--batch": problem.batch,
        "--heads": problem.heads,
        "--kv-heads": problem.kv_heads,
        "--head-dim": problem.head_dim,
    }
    if problem.q_len != problem.kv_len:
        options["--q-len"] = problem.q_len
    if problem.layout != "bhnd":
        options["--layout"] = problem.layout
    words = [f"{name} {value}" for name, value in options.items()]
    words += [] if problem.causal else ["--noncausal"]
    return " ".join(["python run_bench.py choose --tune", *words])
