"""A step of decode over one cache again and again, and over the caches of a model's layers in turn.

    python benchmarks/overhead/caches_in_memory.py

`run` times a step over the same keys and values, so a small cache stays in the processor's. A model
reads the cache of each layer once a token, and mostly finds it in memory. Here a step takes layers
in turn, as many as fill 256 MiB; variants take turns, and a figure is the median of the rounds.
"""

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from tabulate import tabulate

from suite.agreement.inputs import draw, spec_of
from suite.cases.case import Case, Dtype
from variants.catalog import BY_NAME

VARIANTS = ("no_bias", "native_window", "sdpa_key", "sdpa_mask")
LENGTHS = (1024, 4096)
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
HEADS, HEAD_DIM = 8, 64
MODEL_BYTES = 256 << 20
ROUNDS, STEPS = 15, 64


class StepTimes(NamedTuple):
    """Milliseconds of a step: over one cache again and again, and over layers in turn."""

    same_cache_ms: float
    layers_ms: float


def main() -> None:
    """Print a line for each dtype, length and variant."""
    rows = []
    for dtype, length in product(DTYPES, LENGTHS):
        times = _times(
            Case(
                heads=HEADS,
                kv_heads=HEADS,
                head_dim=HEAD_DIM,
                q_len=1,
                kv_len=length,
                dtype=dtype,
            )
        )
        base = times["no_bias"]
        rows += [
            (
                *(dtype, length, name),
                *(each.same_cache_ms, each.same_cache_ms / base.same_cache_ms),
                *(each.layers_ms, each.layers_ms / base.layers_ms),
            )
            for name, each in times.items()
        ]
    names = ["dtype", "keys", "variant", "one cache, ms", "vs no_bias", "layers, ms", "vs no_bias"]
    print(tabulate(rows, names, floatfmt=("", "", "", ".3f", ".2f", ".3f", ".2f")))


def _times(case: Case) -> dict[str, StepTimes]:
    """Return the times of each variant, which take turns."""
    device = torch.device("cpu")
    inputs, spec = draw(case, 0, "before", device), spec_of(case, device)
    layers = MODEL_BYTES // (inputs.k.nbytes + inputs.v.nbytes)
    caches = [(torch.randn_like(inputs.k), torch.randn_like(inputs.v)) for _ in range(layers)]
    attentions = {
        name: importlib.import_module(BY_NAME[name].module).prepare(spec) for name in VARIANTS
    }
    turns: dict[str, list[StepTimes]] = {name: [] for name in VARIANTS}
    with torch.no_grad():
        for _ in range(ROUNDS):
            for name, attention in attentions.items():

                def step(layer: int, attention: Callable[..., object] = attention) -> None:
                    attention(inputs.q, *caches[layer], inputs.slopes)

                turns[name].append(
                    StepTimes(_each_ms(step, [0] * STEPS), _each_ms(step, range(layers)))
                )
    return {
        name: StepTimes(*(statistics.median(each) for each in zip(*taken, strict=True)))
        for name, taken in turns.items()
    }


def _each_ms(step: Callable[[int], object], layers: Sequence[int]) -> float:
    """Return the milliseconds of a step, over `layers` one after another."""
    step(layers[0])
    began = time.perf_counter_ns()
    for layer in layers:
        step(layer)
    return (time.perf_counter_ns() - began) / 1e6 / len(layers)


if __name__ == "__main__":
    main()
