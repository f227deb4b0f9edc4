"""The cost of choosing: a call of alibi_attention's "auto" against a call of the variant it chose.

    python benchmarks/overhead/auto_overhead.py

Both make the same call, on a shape so small that the overhead shows. They take turns, and the
median of the paired differences is printed. The first call for a shape also reads selections (once
a process), picks a variant and prepares it; every step of decode has a new shape.
"""

import importlib
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case
from variants.attention import alibi_attention
from variants.catalog import CATALOG
from variants.dispatch import auto

ROUNDS, CALLS = 60, 300
SHORT = Case(heads=1, kv_heads=1, head_dim=64, q_len=16, kv_len=16, dtype="bfloat16")


def main() -> None:
    """Print the overhead of a call for a cached shape, the first call, and a step of decode."""
    inputs, spec = (
        draw(SHORT, 0, "before", torch.device("cpu")),
        spec_of(SHORT, torch.device("cpu")),
    )
    tensors = inputs.q, inputs.k, inputs.v
    with torch.no_grad():
        first_us = _once_us(lambda: alibi_attention(*tensors))
        name = auto.choice(spec)
        entry = next(variant for variant in CATALOG if variant.name == name)
        attention = importlib.import_module(entry.module).prepare(spec, **entry.options)
        cached_us = _difference_us(
            lambda: alibi_attention(*tensors), lambda: attention(*tensors, inputs.slopes)
        )
        print(f"auto chose {name} for {SHORT.id}")
        print(f"first call of the process: {first_us / 1000:.1f} ms")
        print(f"a call for a known shape: {cached_us:.1f} us more than {name} itself")
        print(f"a call for a new shape: {_new_shape_us(tensors):.0f} us in all, in steps of decode")


def _once_us(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1000


def _difference_us(first: Callable[[], object], second: Callable[[], object]) -> float:
    differences = [_each_us(first) - _each_us(second) for _ in range(ROUNDS)]
    return statistics.median(differences)


def _each_us(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - began) / CALLS / 1000


def _new_shape_us(tensors: tuple[Tensor, ...]) -> float:
    q, k, v = tensors
    cache = [torch.cat([part] * 32, dim=2) for part in (k, v)]  # 512 keys
    steps = [(q[:, :, -1:], *(part[:, :, :length] for part in cache)) for length in range(300, 500)]
    return statistics.median(_once_us(partial(alibi_attention, *step)) for step in steps)


if __name__ == "__main__":
    main()
